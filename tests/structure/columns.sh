#!/bin/sh
# Sources are at most 120 columns wide.
files=$(git ls-files '*.[ch]' 2>/dev/null)
[ -n "$files" ] || { echo "skip columns: not a git checkout"; exit; }
hit=$(LC_ALL=C awk 'length > 120 { printf "%s:%d ", FILENAME, FNR }' $files)
[ -z "$hit" ] && echo "ok columns" || echo "not ok columns: $hit"
