#!/bin/sh
# blind.sh - how well `latino restore` finds out what it is not told, and what that costs.
#
#     bench/blind.sh BUILD FOLDER PICTURES noise|jpeg|blur|filter|kernel [KERNEL FILES]
#
# Takes PICTURES pictures of FOLDER at equal distances; prints for each case the true and the mean estimated strength, its mean
# error, and the dB that are lost against a restoration that was told the truth. kernel: the relative error of kernels after the
# best shift, among pictures in which a blur is seen, and PSNR when told, when found, and of the measurement as it is. filter: how often
# it is right, and PSNR when told, when found, and with the default.
build=$1 folder=$2 pictures=$3 what=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
latino=$build/cmd/latino
ls "$folder" | grep '\.png$' | awk -v n="$pictures" '{ f[NR] = $0 } END { for (i = 0; i < n; i++) print f[1 + int(i * NR / n)] }' > "$work/names"
psnr() { sed -n '/"restored"/,$s/^ *"psnr": \([0-9.]*\),*$/\1/p' "$1" | head -n 1; }
# case DEGRADATION NOISE FAMILY: the first parameter of the noise, found and true, and the variance's ratio for the rest
noise_case()
{
    : > "$work/rows"
    while read -r name; do
        "$latino" degrade "$folder/$name" -o "$work/y.npy" --truth "$work/t.npy" --degradation "$1" --noise "$2" --seed 1
        "$latino" restore "$work/y.npy" -o "$work/x.npy" --degradation "$1" --noise "${2%%:*}" --reference "$work/t.npy" --json "$work/a.json" > /dev/null
        "$latino" restore "$work/y.npy" -o "$work/x.npy" --degradation "$1" --noise "$2" --reference "$work/t.npy" --json "$work/b.json" > /dev/null
        found=$(sed -n 's/^ *"noise": "[^=]*=\([0-9.e-]*\).*$/\1/p' "$work/a.json")
        second=$(sed -n 's/^ *"noise": "[^=]*=[^=]*=\([0-9.e-]*\)",*$/\1/p' "$work/a.json")
        echo "$found $(psnr "$work/a.json") $(psnr "$work/b.json") ${second:--}" >> "$work/rows"
    done < "$work/names"
    awk -v d="$1" -v t="$2" '{ split(t, p, /[=,]/); f += $1; e += ($1 > p[2] ? $1 - p[2] : p[2] - $1) / p[2]; l += $3 - $2; k += $3; s += $4 }
        END { printf "| %s | %s | %.4f%s | %.0f %% | %.2f | %.2f |\n", d, t, f / NR, s ? sprintf(", %.4f", s / NR) : "", 100 * e / NR, k / NR, l / NR }' "$work/rows"
}
# degradation_case SPEC NOISE ASKED: what is found of the last part's first parameter
degradation_case()
{
    : > "$work/rows"
    while read -r name; do
        y=$work/y.npy
        case $1 in
            jpeg:*)
                y=$work/y.jpg q=${1#*=}
                "$latino" degrade "$folder/$name" -o "$y" --truth "$work/t.npy" --degradation identity --quality "$q" ;;
            *) "$latino" degrade "$folder/$name" -o "$y" --truth "$work/t.npy" --degradation "$1" --noise "$2" --seed 1 ;;
        esac
        "$latino" restore "$y" -o "$work/x.npy" --degradation "$3" --reference "$work/t.npy" --json "$work/a.json" > /dev/null
        found=$(sed -n 's/^ *"degradation": "[^=]*=\([0-9.e-]*\).*$/\1/p' "$work/a.json")
        told=$1
        [ "$what" = jpeg ] && told=$(sed -n 's/^ *"degradation": "\(.*\)",*$/\1/p' "$work/a.json")
        "$latino" restore "$y" -o "$work/x.npy" --degradation "$told" --reference "$work/t.npy" --json "$work/b.json" > /dev/null
        echo "$found $(psnr "$work/a.json") $(psnr "$work/b.json")" >> "$work/rows"
    done < "$work/names"
    awk -v d="$1" -v n="$2" '{ split(d, p, /[=,]/); f += $1; e += ($1 > p[2] ? $1 - p[2] : p[2] - $1) / p[2]; l += $3 - $2; k += $3 }
        END { printf "| %s | %s | %.2f | %.0f %% | %.2f | %.2f |\n", d, n, f / NR, 100 * e / NR, k / NR, l / NR }' "$work/rows"
}
# number FILE.npy: its side, then its values
numbers()
{
    skip=$(($(od -An -tu2 -j8 -N2 "$1") + 10))
    od -An -v -tf4 -w4 -j$skip "$1" | awk '{ v[NR] = $1 } END { print sqrt(NR); for (i = 1; i <= NR; i++) print v[i] }'
}
# kernel_error TRUTH.npy FOUND.npy: |found / its sum - truth| / |truth| after the best shift
kernel_error()
{
    { numbers "$1"; numbers "$2"; } | awk '{ v[NR] = $1 } END {
        n = v[1]; m = v[n * n + 2]; h = int(n / 2) - int(m / 2); best = 1e9
        for (i = 0; i < n * n; i++) { t[int(i / n), i % n] = v[i + 2]; size += v[i + 2] ^ 2 }
        for (i = 0; i < m * m; i++) sum += v[n * n + 3 + i]
        for (i = 0; i < m * m; i++) f[int(i / m), i % m] = v[n * n + 3 + i] / sum
        for (a = h - 5; a <= h + 5; a++) for (b = h - 5; b <= h + 5; b++) {
            e = 0
            for (i = 0; i < n; i++) for (j = 0; j < n; j++) e += (t[i, j] - f[i - a, j - b]) ^ 2
            if (e < best) best = e
        }
        print sqrt(best / size) }'
}
naive() { sed -n '/"naive"/,$s/^ *"psnr": \([0-9.]*\),*$/\1/p' "$1" | head -n 1; }
# kernel_case SPEC
kernel_case()
{
    : > "$work/rows"
    "$latino" degrade "$work/point.npy" -o "$work/truth.npy" --degradation "$1"
    while read -r name; do
        "$latino" degrade "$folder/$name" -o "$work/y.npy" --truth "$work/t.npy" --degradation "$1" --noise gaussian:sigma=0.01 --seed 1
        "$latino" restore "$work/y.npy" -o "$work/x.npy" --degradation "$1" --reference "$work/t.npy" --json "$work/b.json" > /dev/null
        error=- found=$(naive "$work/b.json")
        if "$latino" restore "$work/y.npy" -o "$work/x.npy" --degradation blur:kernel=auto --reference "$work/t.npy" --json "$work/a.json" \
            > /dev/null 2> "$work/refused"; then
            "$latino" degrade "$work/x-kernel.png" -o "$work/k.npy" --degradation identity
            error=$(kernel_error "$work/truth.npy" "$work/k.npy") found=$(psnr "$work/a.json")
        fi
        echo "$error $(psnr "$work/b.json") $found $(naive "$work/b.json")" >> "$work/rows"
    done < "$work/names"
    awk -v d="${1##*/}" '{ if ($1 != "-") { e += $1; n++ } k += $2; f += $3; y += $4 }
        END { printf "| %s | %d of %d | %s | %.2f | %.2f | %.2f |\n", d, n, NR, n ? sprintf("%.2f", e / n) : "-", k / NR, f / NR, y / NR }' "$work/rows"
}
# filter_case FILTER
filter_case()
{
    : > "$work/rows"
    while read -r name; do
        "$latino" degrade "$folder/$name" -o "$work/y.npy" --truth "$work/t.npy" --degradation downsample:factor=2,filter=$1 --noise gaussian:sigma=0.01 --seed 1
        for asked in $1 auto bicubic; do
            "$latino" restore "$work/y.npy" -o "$work/x.npy" --degradation downsample:factor=2,filter=$asked --reference "$work/t.npy" --json "$work/$asked.json" > /dev/null
        done
        found=$(sed -n 's/^ *"degradation": ".*filter=\([a-z]*\)",*$/\1/p' "$work/auto.json")
        echo "$found $(psnr "$work/$1.json") $(psnr "$work/auto.json") $(psnr "$work/bicubic.json")" >> "$work/rows"
    done < "$work/names"
    awk -v d="$1" '{ n[$1]++; k += $2; f += $3; b += $4 }
        END { for (i in n) if (i != d) s = s (s ? ", " : "") n[i] " " i
              printf "| %s | %d of %d | %s | %.2f | %.2f | %.2f |\n", d, n[d], NR, s, k / NR, f / NR, b / NR }' "$work/rows"
}
if [ "$what" = filter ]; then
    echo "| filter | right | else | dB when told | dB when found | dB with bicubic |"
    echo "|---|---|---|---|---|---|"
    for f in bicubic bilinear box lanczos gaussian none; do filter_case $f; done
    exit
fi
if [ "$what" = kernel ]; then
    echo "| degradation | blur seen | kernel's error | dB when told | dB when found | dB of y |"
    echo "|---|---|---|---|---|---|"
    { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (33, 33), }"
      head -c 2176 /dev/zero; printf '\000\000\200\077'; head -c 2176 /dev/zero; } > "$work/point.npy"
    for d in identity blur:sigma=0.7 blur:sigma=1.5 blur:sigma=3 defocus:radius=3 motion:size=9,bend=0,seed=3 \
        motion:size=13,bend=0,seed=5 motion:size=13,seed=2; do kernel_case $d; done
    for k in "$@"; do kernel_case "blur:kernel=$k"; done
    exit
fi
if [ "$what" != noise ]; then
    echo "| degradation | noise | found, mean | its error | dB when told | dB lost |"
    echo "|---|---|---|---|---|---|"
fi
if [ "$what" = blur ]; then
    for n in gaussian:sigma=0.01 gaussian:sigma=0.03; do
        for s in 0.7 1 1.5 2 3; do degradation_case blur:sigma=$s $n blur:sigma=auto; done
    done
fi
if [ "$what" = jpeg ]; then
    for q in 10 30 50 80 95; do degradation_case jpeg:quality=$q none jpeg; done
fi
if [ "$what" = noise ]; then
    echo "| degradation | noise | found, mean | its error | dB when told | dB lost |"
    echo "|---|---|---|---|---|---|"
    for d in identity downsample:factor=2 inpaint:random=0.3; do
        for n in gaussian:sigma=0.05 uniform:amplitude=0.1 poisson:gain=0.02 speckle:sigma=0.2 salt-pepper:p=0.1 poisson-gaussian:gain=0.02,sigma=0.05; do
            noise_case $d $n
        done
    done
fi
