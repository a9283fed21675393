# levels.sh - machines with AVX2 alone, or SSE alone, run the same code and give the same picture: a restoration by builds
# that are held to a level, oneDNN's kernels with them.
. "$(dirname "$0")/lib.sh"

"$latino" degrade "$photo" -o y.npy --fit 96 --degradation downsample:factor=2 --noise gaussian:sigma=0.02 --seed 1 || exit 1
# at PROGRAM ISA OUT
at() { DNNL_MAX_CPU_ISA=$2 ONEDNN_MAX_CPU_ISA=$2 "$1" "$LATINO_MODEL" downsample:factor=2 y.npy "$3"; }
claim "as this machine can" at "$build/examples/example_restore" ALL all.npy
claim "with AVX2 alone" at "$build/tests/restore_level3" AVX2 avx2.npy
claim "with SSE alone" at "$build/tests/restore_level0" SSE41 sse.npy
# 1e-3 of white, as the root of the mean square
claim "AVX2 gives the same picture" similar all.npy avx2.npy 60
claim "SSE gives the same picture" similar all.npy sse.npy 60
if grep -q avx512bw /proc/cpuinfo 2> /dev/null && nm "$build/tests/restore_level3" | grep -q 'arch_x86_64_v3'; then
    differ() { ! cmp -s "$1" "$2"; }
    claim "by other instructions than AVX-512" differ all.npy avx2.npy
    claim "by other instructions than AVX2" differ avx2.npy sse.npy
else
    echo "skip other instructions: all levels are the same here"
fi
