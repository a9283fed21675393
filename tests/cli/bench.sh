# bench.sh - latino bench on the small prior: the table, the JSON, bad input.
. "$(dirname "$0")/lib.sh"

bench() { "$latino" bench --threads 1 --rounds 2 "$@"; }
# The k-th number of that name in a JSON file.
number() { grep "\"$2\": " "$1" | sed -n "${3:-1}s/.*: \([0-9.e+-]*\).*/\1/p"; }
within() { awk -v a="$1" -v low="$2" -v high="$3" 'BEGIN { print a; exit !(a >= low && a <= high) }'; }

bench --parts text,decode --size 64 > table.txt
claim "a table" [ "$(grep -c '^  block ' table.txt)" -eq 2 ]
claim "says threads and peaks" grep -q '1 thread; peaks of the machine: [0-9]* GFLOP/s, [0-9.]* GB/s$' table.txt
claim "each part with its memory" grep -q '^decode, 64 x 64: [0-9.]* s (median [0-9.]*), .* MB; resident at most [0-9]* MB$' table.txt
claim "blocks by kind and kernel" grep -q '^  conv 3x3 ' table.txt
claim "shares come to all" sh -c "sed '1,/^decode/d' table.txt | awk '\$1 != \"block\" && \$1 != \"all\" { for (i = 2; i <= NF; i++) if (\$i == \"%\") { sum += \$(i - 1); break } } END { print sum; exit !(sum > 98 && sum < 102) }'"

bench --parts unet-by-text,unet --json speed.json > out.txt
claim "JSON in place of the table" [ ! -s out.txt ]
claim "the model's own size" [ "$(number speed.json size)" = 128 ]
claim "threads" [ "$(number speed.json threads)" = 1 ]
for name in peak_gflops peak_gbs; do
    claim "$name" within "$(number speed.json $name)" 0.01 10000
done
for name in plan_seconds seconds median gflop mb plan_mb peak_mb; do
    claim "$name of each part" within "$(number speed.json $name)" 1e-5 1e5
done
claim "backward costs more than forward" within \
    "$(awk -v a="$(number speed.json gflop)" -v b="$(grep -A 5 '"part": "unet",' speed.json | sed -n 's/.*"gflop": \([0-9.]*\).*/\1/p')" 'BEGIN { print a / b }')" 1.5 3
bench --parts decode --size 64 --json - > one.json
bench --parts decode --size 64 --batch 3 --json - > three.json
claim "three pictures, three times the work" within \
    "$(awk -v a="$(number three.json gflop)" -v b="$(number one.json gflop)" 'BEGIN { print a / b }')" 2.999 3.001
if command -v python3 > /dev/null; then
    claim "it is JSON" python3 -m json.tool speed.json
else
    echo "skip it is JSON: no python3 here"
fi
# A part's memory is its own, not that of the largest before it.
if [ -w /proc/self/clear_refs ]; then
    bench --parts decode,text --size 256 --rounds 1 --json - > two.json
    claim "each part has its own peak" within "$(awk -v a="$(number two.json peak_mb 2)" -v b="$(number two.json peak_mb 1)" 'BEGIN { print a / b }')" 0 0.7
else
    echo "skip each part has its own peak: no way to forget one here"
fi

refuses "unknown part" 2 'unknown part "dcode"; did you mean "decode"?' bench --parts decode,dcode
refuses "no rounds" 2 '--rounds 0: expected a whole number from 1 to 1000' bench --rounds 0
refuses "a size that is no multiple" 1 'decode: size 100: expected a multiple of 8' bench --parts decode --size 100
refuses "a size that the UNet refuses" 1 'unet, size 72: ' bench --parts unet --size 72
refuses "a size too small" 2 '--size 7: expected a whole number from 8 to 8192' bench --size 7
refuses "no model" 1 'nowhere: no such folder' bench --model nowhere
refuses "JSON in no folder" 1 'nowhere/x.json: cannot be written: ' bench --json nowhere/x.json
