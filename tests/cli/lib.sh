# lib.sh - what the scripts of this folder share; sourced with BUILD as $1. Each claim prints one line, as test.h's do.
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
latino=$build/cmd/latino
data=$root/tests/golden/cli
photo=$root/examples/photos/chelsea.png
LATINO_MODEL=$root/models/prior
export LATINO_MODEL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# claim NAME COMMAND...: COMMAND succeeds.
claim()
{
    name=$1
    shift
    if "$@" > claim.txt 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name: $* -> $? $(tail -n 3 claim.txt | tr '\n' ' ')"
    fi
}

# refuses NAME CODE TEXT COMMAND...: COMMAND ends with CODE after one line "latino: ..." that holds TEXT.
refuses()
{
    name=$1 code=$2 text=$3
    shift 3
    "$@" > out.txt 2> err.txt
    got=$?
    if [ $got -eq "$code" ] && [ "$(wc -l < err.txt)" -eq 1 ] && grep -q '^latino: ' err.txt && grep -qF -- "$text" err.txt &&
        ! grep -q '\.$' err.txt; then
        echo "ok $name"
    else
        echo "not ok $name: code $got, expected $code and \"$text\", got: $(tr '\n' '|' < err.txt)"
    fi
}

psnr() { "$latino" measure "$1" "$2" --metric psnr | awk '{print $2}'; }
# above A B: A > B, as numbers; inf is above all.
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a == "inf" || a + 0 > b + 0) }'; }
# similar A B DB: two pictures are at least DB apart-in-PSNR alike.
similar() { p=$(psnr "$1" "$2") && echo "psnr $p" && above "$p" "$3"; }
same() { cmp "$1" "$2"; }
absent() { [ ! -e "$1" ]; }
# size FILE WIDTH HEIGHT CHANNELS
size()
{
    "$latino" measure "$1" "$1" --json > size.txt
    for pair in "width $2" "height $3" "channels $4"; do
        grep -q "\"${pair% *}\": ${pair#* }[,]*\$" size.txt || { cat size.txt; return 1; }
    done
}
