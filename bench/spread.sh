#!/bin/sh
# spread.sh - how honest the spread of `latino restore --samples` is on pictures: z-score and coverage of the 90 % interval.
#
#     bench/spread.sh BUILD FOLDER PICTURES SAMPLES [SOLVER...]
#
# Takes PICTURES pictures of FOLDER at equal distances; prints a row for each task and solver: the deviation, the root of the mean
# squared z-score, the mean coverage, and the PSNR of the mean.
build=$1 folder=$2 pictures=$3 samples=$4
shift 4
[ $# -gt 0 ] || set -- latino-sde
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
field() { sed -n "s/^ *\"$1\": \([0-9.e-]*\|null\),*$/\1/p" "$work/x.json" | tail -n 1; }
restored() { sed -n '/"restored"/,$s/^ *"psnr": \([0-9.]*\),*$/\1/p' "$work/x.json" | head -n 1; }
ls "$folder" | grep '\.png$' | awk -v n="$pictures" '{ f[NR] = $0 } END { for (i = 0; i < n; i++) print f[1 + int(i * NR / n)] }' > "$work/names"
echo "| task | solver | deviation | z-score | in the 90 % interval | PSNR of the mean |"
echo "|---|---|---|---|---|---|"
for task in downsample:factor=4@0.02 identity@0.1 inpaint:random=0.5@0.05 blur:sigma=2@0.02; do
    for solver; do
        : > "$work/rows"
        while read -r name; do
            "$build/cmd/latino" degrade "$folder/$name" -o "$work/y.npy" --truth "$work/t.npy" --degradation "${task%@*}" \
                --noise "gaussian:sigma=${task#*@}" --seed 1 &&
                "$build/cmd/latino" restore "$work/y.npy" -o "$work/x.npy" --degradation "${task%@*}" --sigma "${task#*@}" \
                    --reference "$work/t.npy" --samples "$samples" --solver "$solver" --json "$work/x.json" > /dev/null || exit 1
            echo "$(field deviation) $(field z_score) $(field coverage) $(restored)" >> "$work/rows"
        done < "$work/names"
        awk -v t="$task" -v s="$solver" '{ d += $1; z += $2 * $2; c += $3; p += $4 }
            END { printf "| %s | %s | %.4f | %.3f | %.3f | %.2f |\n", t, s, d / NR, sqrt(z / NR), c / NR, p / NR }' "$work/rows"
    done
done
