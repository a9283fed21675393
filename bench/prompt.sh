#!/bin/sh
# prompt.sh - what the prompt is worth, and which part of it LATINO-PRO finds from the measurement: pictures restored from
# three severe degradations with their own caption, with that of another class and with none, by LATINO and by LATINO-PRO,
# each with the default rule and with the paper's loop (rule=discrepancy).
#
#     bench/prompt.sh LATINO FOLDER REPORT [OPTION of latino eval, such as -n 20 --jobs 2]...
#
# LATINO is the program; FOLDER has captions.tsv (file, caption). Can be interrupted and repeated. Writes REPORT and, for the
# wrong captions, REPORT-wrong.
set -eu
latino=$1 folder=$2 report=$3
shift 3
# Animals are called the sea, scenes are called a cat.
awk -F '\t' '{ print $1 "\t" ($1 ~ /^scene/ ? "a photo of a cat" : "a photo of the sea") }' "$folder/captions.tsv" > "$report-wrong.tsv"
run()
{
    "$latino" eval "$folder" --tasks sr8-.05,inpaint92-.05,denoise-.3 --metrics psnr,ssim,haarpsi "$@" > "$report.log"
}
run -o "$report-wrong" --captions "$report-wrong.tsv" --prompt caption --solvers \
    'wrong=latino,pro-wrong=latino-pro,wrong-paper=latino:rule=discrepancy,pro-wrong-paper=latino-pro:last=discrepancy' "$@"
run -o "$report" --prompt caption --solvers 'true=latino,true-paper=latino:rule=discrepancy' "$@"
run -o "$report" --prompt empty --solvers \
    'empty=latino,pro-empty=latino-pro,empty-paper=latino:rule=discrepancy,pro-empty-paper=latino-pro:last=discrepancy' "$@"
python3 "$(dirname "$0")/prompt.py" "$report.csv" "$report-wrong.csv"
