#!/bin/sh
# scaling.sh - how time and memory of a model's parts grow with the picture and shrink with threads, as a table.
#
#     bench/scaling.sh LATINO MODEL [SIZES [THREADS [PARTS]]]     for instance: scaling.sh latino sd15 '256 512 1024' '1 2' unet,decode
#
# LATINO is the program. Beside the seconds of the fastest of ROUNDS (3) runs stand the operations of the plain sum, so that a
# kernel that slows down with size shows in GFLOP/s.
set -eu
latino=$1 model=$2
for threads in ${4:-1 2}; do
    for size in ${3:-256 512 1024}; do
        "$latino" bench --model "$model" --size "$size" --threads "$threads" --parts "${5:-unet,decode}" --rounds "${ROUNDS:-3}" --json -
    done
done | awk -F '[ ,]+' '
    BEGIN { print "| part | size | threads | seconds | GFLOP | GFLOP/s | plan, MB | resident, MB |\n|---|---|---|---|---|---|---|---|" }
    /"threads":/ { threads = $3 }
    /"part":/ { part = $3; inside = 0; gsub(/"/, "", part) }
    /"blocks":/ { inside = 1
        printf "| %s | %d | %d | %.3g | %.4g | %.0f | %.0f | %.0f |\n", part, v["size"], threads, v["seconds"], v["gflop"],
            v["gflop"] / v["seconds"], v["plan_mb"], v["peak_mb"] }
    !inside { key = $2; gsub(/[":]/, "", key); v[key] = $3 }'
