#!/bin/sh
# blind.sh - how well `latino restore` finds out what it is not told, and what that costs.
#
#     bench/blind.sh BUILD FOLDER PICTURES noise|jpeg|blur
#
# Takes PICTURES pictures of FOLDER at equal distances; prints for each case the true and the mean estimated strength, its mean
# error, and the dB that are lost against a restoration that was told the truth.
build=$1 folder=$2 pictures=$3 what=$4
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
