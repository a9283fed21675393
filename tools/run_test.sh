#!/bin/sh
# run_test.sh LOGS NAME COMMAND... - runs one test program into LOGS/NAME.txt, where each line "ok", "not ok" or "skip" is
# one test; LOGS/NAME.err has the rest, LOGS/NAME.seconds its processor time. One that ends badly is a failed test.
set -u
logs=$1 name=$2
shift 2
out=$logs/$name.txt
timeout -k 10 900 "$@" > "$out" 2> "$logs/$name.err" < /dev/null
code=$?
if [ $code -ne 0 ] && ! grep -q '^not ok' "$out"; then
    echo "not ok $name: ended with code $code: $(tail -n 30 "$logs/$name.err" | tr '\n' '|')" >> "$out"
elif ! grep -q '^ok\|^not ok\|^skip' "$out"; then
    echo "not ok $name: no test in it ran" >> "$out"
fi
times > "$logs/$name.times" # not into a pipe: there it would be a new shell's own
# "1m2.5s 0m3.25s", the second line, is that of the children
awk -F '[ms ]+' -v name="$name" 'NR == 2 { printf "%8.2f %s\n", $1 * 60 + $2 + $3 * 60 + $4, name }' "$logs/$name.times" \
    > "$logs/$name.seconds"
exit 0 # whatever happened: xargs goes on
