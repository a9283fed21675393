# bad.sh - bad input of every kind: the exit code, and what the message says.
. "$(dirname "$0")/lib.sh"

restore() { "$latino" restore "$@"; }
from() { in=$1; shift; restore "$in" -o x.png --degradation identity --sigma 0.1 --solver latino:steps=1 "$@"; }
spec() { restore "$photo" -o x.png --sigma 0.1 --degradation "$1"; }
p=$data/upright.png

# Usage.
refuses "unknown command" 2 'unknown command "resotre"; did you mean "restore"?' "$latino" resotre
refuses "unknown option" 2 'unknown option "--sgima"; did you mean "--sigma"?' from "$p" --sgima 1
refuses "unknown table" 2 'unknown table "solver"; did you mean "solvers"?' "$latino" list solver
refuses "an option without its value" 2 '--sigma needs S' "$latino" restore "$p" -o x.png --sigma
refuses "no output" 2 'restore needs -o OUT' restore "$p" --degradation identity
refuses "no input" 2 'restore needs IN' restore -o x.png --degradation identity
refuses "no degradation" 2 'restore needs --degradation SPEC' restore "$p" -o x.png
refuses "two inputs" 2 'b.png: unexpected' restore a.png b.png -o x.png
refuses "sigma below 0" 2 '--sigma -1: expected a number from 0 to 10' from "$p" --sigma -1
refuses "sigma no number" 2 '--sigma much: expected a number' from "$p" --sigma much
refuses "a broken seed" 2 '--seed 1.5: expected a whole number' from "$p" --seed 1.5
refuses "bits" 2 '--bits 12: expected one of 8|16' from "$p" --bits 12

# Specs.
refuses "unknown degradation" 2 'unknown degradation "downsampel"; did you mean "downsample"?' spec downsampel:factor=4
refuses "unknown parameter" 2 'downsample: unknown parameter "facotr"; did you mean "factor"?' spec downsample:facotr=4
refuses "unknown filter" 2 'bicubic' spec downsample:factor=4,filter=bicubik
refuses "factor out of range" 2 'factor' spec downsample:factor=-3
refuses "unknown solver" 2 'unknown solver "latina"; did you mean "latino"?' from "$p" --solver latina
refuses "unknown metric" 2 'unknown metric "pnsr"; did you mean "psnr"?' "$latino" measure "$p" "$p" --metric pnsr
refuses "a metric and a degradation" 2 '--metric compares two pictures' "$latino" measure "$p" "$p" --metric psnr --degradation identity
refuses "sigma without a degradation" 2 '--degradation is missing' "$latino" measure "$p" "$p" --sigma 1
refuses "a picture too small for its scales" 1 'ms_ssim: 5 scales need 176 x 176 pixels' "$latino" measure "$p" "$p" --metric ms_ssim
refuses "unknown noise" 2 'did you mean "gaussian"?' "$latino" degrade "$p" -o x.png --degradation identity --noise gausian:sigma=1

# Files.
refuses "missing file" 1 'nowhere.png: No such file' from nowhere.png
echo 'this is text' > text.png
refuses "a text file named .png" 1 'text.png: not a PNG, JPEG, WebP or' from text.png
head -c 3000 "$p" > cut.png
refuses "truncated PNG" 1 'cut.png: ' from cut.png
head -c 2000 "$data/oriented.jpg" > cut.jpg
refuses "truncated JPEG" 1 'cut.jpg: ' from cut.jpg
head -c 1000 "$data/photo.webp" > cut.webp
refuses "truncated WebP" 1 'cut.webp: ' from cut.webp
: > empty.png
refuses "an empty file" 1 'empty.png: ' from empty.png
refuses "unknown extension" 2 'x.bmp: no name of a picture' restore "$p" -o x.bmp --degradation identity
refuses "output in no folder" 1 'nowhere/x.png: cannot be written: No such file or directory' restore "$p" -o nowhere/x.png --degradation identity
refuses "output under a file" 1 'text.png/x.png: cannot be written: Not a directory' restore "$p" -o text.png/x.png --degradation identity
refuses "unwritable folder" 1 'latino: /proc/x.png: ' restore "$p" -o /proc/x.png --degradation identity
refuses "unwritable JSON" 1 'nowhere/x.json: cannot be written: ' from "$p" --json nowhere/x.json

# Sizes.
printf '\223NUMPY\001\000v\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1), }" > one.npy
printf '\200' >> one.npy
"$latino" degrade one.npy -o one.png --degradation identity
refuses "factor larger than the picture" 1 'factor' "$latino" degrade "$p" -o x.png --degradation downsample:factor=256
refuses "a mask of another size" 1 'one.png' spec inpaint:mask=one.png
refuses "a reference of another size" 1 'differ in size' from "$p" --reference one.png
refuses "pictures of different size" 1 'differ in size' "$latino" measure "$p" one.png
claim "a picture of 1 x 1" from one.png
claim "stays 1 x 1" size x.png 1 1 1
refuses "1 x 1 cannot become smaller" 1 'factor' "$latino" degrade one.png -o x.png --degradation downsample:factor=2
absent_after() { rm -f "$1"; shift; "$@" > /dev/null 2>&1; absent x.png; }
claim "a failure leaves no file" absent_after x.png from cut.png

# Models: the text encoder's file is patched, the rest is the prior's.
broken()
{
    mkdir "$1"
    for part in "$LATINO_MODEL"/*; do
        [ "$part" = "$LATINO_MODEL/text_encoder" ] || ln -s "$part" "$1/"
    done
    cp -r "$LATINO_MODEL/text_encoder" "$1/"
    file=$1/text_encoder/model.safetensors
    chmod u+w "$file"
}
weight=final_layer_norm.weight
model() { from "$p" --model "$@"; }

refuses "no model" 1 'nowhere: ' model nowhere
refuses "a folder that is no model" 1 'model_index.json' model "$work"
broken missing; LC_ALL=C sed -i "s/$weight/final_layer_norm.weighs/" "$file"
refuses "a missing weight" 1 "$weight: no such weight" model missing
broken shape; LC_ALL=C sed -i "s/\(\"$weight\":[^]]*\"shape\":\)\[128\]/\1[64,2]/" "$file"
refuses "a safetensors header of wrong length" 1 "model.safetensors: " model shape

# with_header FILE SED: rewrites the header with its length; what follows is kept.
with_header()
{
    n=$(od -An -tu4 -N4 "$1" | tr -d ' ')
    tail -c +9 "$1" | head -c "$n" | LC_ALL=C sed "$2" | tr -d '\n' > header
    tail -c +$((n + 9)) "$1" > body
    n=$(wc -c < header)
    for i in 1 2 3 4 5 6 7 8; do
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256))
    done > length
    cat length header body > "$1"
}
broken misshapen; with_header "$file" "s/\(\"$weight\":[^]]*\"shape\":\)\[128\]/\1[64,2]/"
refuses "a misshapen weight" 1 "$weight" model misshapen
broken extra; end=$(($(wc -c < "$file") - 8 - $(od -An -tu4 -N4 "$file")))
with_header "$file" "s/} *\$/,\"spare.weight\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[$end,$((end + 4))]}}/"
printf '\000\000\000\000' >> "$file"
refuses "a weight left over" 1 "spare.weight" model extra
broken nan; start=$(od -An -tu4 -N4 "$file" | tr -d ' ')
printf '\377\377' | dd of="$file" bs=1 seek=$((start + 8)) conv=notrunc 2> /dev/null
refuses "a weight that is no number" 1 "embeddings.position_embedding.weight: not finite" model nan
broken cut; head -c 100000 "$LATINO_MODEL/text_encoder/model.safetensors" > "$file"
refuses "truncated safetensors" 1 "model.safetensors" model cut

# No room: a limit on file sizes, and a full disk where one can be made.
limited() { (trap '' XFSZ; ulimit -f 8; "$latino" degrade "$photo" -o large.png --degradation identity); }
mkdir room && cd room || exit 1
refuses "a file that grows too large" 1 'large.png: ' limited
rm -f out.txt err.txt
claim "leaves nothing" [ -z "$(ls | grep -v claim.txt)" ]
cd ..
mkdir disk
if mount -t tmpfs -o size=64k none disk 2> /dev/null; then
    refuses "disk full" 1 'disk/x.png: ' "$latino" degrade "$photo" -o disk/x.png --degradation identity
    claim "a full disk keeps no half file" [ -z "$(ls disk)" ]
    umount disk
else
    echo "skip disk full: no file system can be mounted here"
fi
full() { "$latino" list > /dev/full; }
refuses "standard output full" 1 'standard output cannot be written' full
