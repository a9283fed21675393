# eval.sh - the grid: killed and resumed it gives the same rows; its means are those of another computation; bad input.
. "$(dirname "$0")/lib.sh"

mkdir photos
"$latino" degrade "$photo" -o photos/chelsea.png --fit 64 --degradation identity &&
    "$latino" degrade "$photo" -o photos/other.png --fit 96 --degradation blur:sigma=2 &&
    "$latino" degrade photos/other.png -o photos/small.png --degradation downsample:factor=2 || exit 1
for file in photos/*; do
    printf '%s\ta photo of a cat\n' "${file#photos/}"
done > captions.txt
mv captions.txt photos/captions.tsv
pictures=3
cat > grid << END
exec '$latino' eval "\$@" --tasks 'sr4-.05, hole=inpaint:random=0.5,seed=3@0' --metrics psnr,ssim \
    --solvers 'naive,tv:weight=.02,iterations=20, latino:steps=1@empty,latino:steps=1' --solver 'said=latino:steps=1@a cat, small'
END
# What is the same in every run: all but seconds and memory, which are the last two.
rows() { grep -v '^#' "$1" | sed 's/,[^,]*,[^,]*$//'; }
agree() { rows "$1" > a.rows; rows "$2" > b.rows; cmp a.rows b.rows; }

sh ./grid photos -o whole > whole.txt || echo "not ok a grid"
claim "a row for every picture, task and solver" [ "$(rows whole.csv | wc -l)" -eq $((1 + pictures * 2 * 5)) ]
claim "names of columns" grep -qx 'task,solver,prompt,file,psnr,ssim,chi,calls,gradients,seconds,peak_mb' whole.csv
claim "commas of a spec become semicolons" grep -q '^hole,tv:weight=.02;iterations=20,caption,chelsea.png,' whole.csv
claim "a text as prompt" grep -q '^hole,said,"a cat, small",chelsea.png,' whole.csv
claim "prompts count" [ "$(grep -c '^sr4.*chelsea' whole.csv)" -eq "$(grep '^sr4.*chelsea' whole.csv | cut -d, -f5 | sort -u | wc -l)" ]

# One row by the other commands: the noise of the k-th picture has the seed k, the solver the seed 1.
"$latino" degrade photos/other.png -o y.npy --degradation downsample:factor=4 --noise gaussian:sigma=0.05 --seed 2
"$latino" restore y.npy -o x.png --bits 16 --degradation downsample:factor=4 --sigma .05 --solver latino:steps=1 --seed 1 \
    --prompt 'a photo of a cat' > /dev/null
one=$(grep '^sr4-.05,latino:steps=1,.*,other.png,' whole.csv | cut -d, -f5)
claim "a row is what restore gives" awk -v a="$one" -v b="$(psnr x.png photos/other.png)" \
    'BEGIN { print a, b; exit !(a > 10 && (a - b) ^ 2 < 1e-6) }'

# Killed after the first rows of the second task.
sh ./grid photos -o cut > cut.txt 2>&1 &
for i in $(seq 300); do
    grep -q '^hole' cut.csv 2> /dev/null && break
    sleep 0.02
done
kill -KILL $!
wait $! 2> /dev/null
before=$(wc -l < cut.csv)
claim "a kill leaves rows missing" [ "$before" -lt "$(wc -l < whole.csv)" ]
printf 'hole,latino:steps=1,caption,chels' >> cut.csv
sh ./grid photos -o cut > /dev/null
claim "resumed, it is what it would have been" agree whole.csv cut.csv
claim "without computing rows again" [ "$(sed 's/,[^,]*,[^,]*$//' cut.csv | sort | uniq -d | wc -l)" -eq 0 ]
cp cut.csv kept.csv
sh ./grid photos -o cut > /dev/null
claim "with nothing to do nothing changes" same cut.csv kept.csv
sh ./grid photos -o two --jobs 2 > /dev/null
rows whole.csv | sort > a.sorted
rows two.csv | sort > b.sorted
claim "two processes give the same rows" same a.sorted b.sorted

# A child that dies, Ctrl-C.
if command -v pgrep > /dev/null; then
    "$latino" eval photos -o dead --tasks identity@.1 --solvers 'tv:iterations=100000,naive' > dead.txt 2> dead.err &
    for i in $(seq 300); do
        sleep 0.02
        [ -e dead.csv ] && pgrep -P $! > child && break
    done
    kill -SEGV "$(cat child)"
    wait $!
    claim "a process that dies is a failure" [ $? -eq 1 ]
    claim "is named" grep -q '^latino: identity@.1, tv:iterations=100000: ended by signal 11 .*, 3 pictures left$' dead.err
    claim "and the rest goes on" [ "$(grep -c ',naive,' dead.csv)" -eq 3 ]
else
    echo "skip a process that dies: no pgrep here"
fi
"$latino" eval photos -o quit --tasks identity@.1 --solvers 'naive,tv:iterations=100000' > quit.txt 2> quit.err &
for i in $(seq 300); do
    grep -q ',naive,.*small.png' quit.csv 2> /dev/null && break
    sleep 0.02
done
kill -INT $!
wait $!
claim "Ctrl-C ends with 130" [ $? -eq 130 ]
claim "says so" grep -qx 'latino: interrupted; the same command goes on from here' quit.err
claim "and keeps the rows" [ "$(grep -c ',naive,' quit.csv)" -eq 3 ]

# Means with intervals, computed apart: two-sided 95 % of Student's t for the number of pictures.
awk -F, -v t="$(awk -v n="$pictures" 'BEGIN { split("0 12.7062 4.30265 3.18245 2.77645 2.57058", q, " "); print q[n] }')" '
    /^sr4-.05,naive,/ { n++; sum += $5; squares += $5 * $5 }
    END { m = sum / n; printf "| naive | %.2f ± %.2f |", m, t * sqrt((squares - n * m * m) / (n - 1) / n) }' whole.csv > mean.txt
claim "means and intervals" grep -qF "$(cat mean.txt)" whole.md
awk -F, '/^sr4-.05,naive,/ { a[$4] = $5 } /^sr4-.05,tv/ { n++; d = $5 - a[$4]; sum += d }
    END { printf "| %+.2f ± ", sum / n }' whole.csv > difference.txt
claim "paired differences" grep -qF "$(cat difference.txt)" whole.md
rm whole.md whole.html
"$latino" eval -o whole.html > again.txt
claim "the report comes from the CSV alone" same whole.txt again.txt
claim "to the page too" grep -qF "$(sed 's/.*naive | //; s/ |//' mean.txt)" whole.html
claim "and so do differences" grep -q -- "$(sed 's/| //; s/ .*//' difference.txt) ± [0-9.]*</small>" whole.html
claim "the page needs nothing else" sh -c "! grep -qE 'https?:|(src|href)=.[^#d]|url\(|@import|<script' whole.html"
claim "pictures: a truth and an input, and one a solver, for each task" [ "$(grep -o 'data:image/png;base64' whole.html | wc -l)" -eq $((pictures * 2 * 7)) ]
base=$(ls whole.d/*.png | head -n 1)
claim "as they are" grep -qF "base64,$(base64 -w 0 "$base")'" whole.html
if command -v xmllint > /dev/null; then
    claim "the page is well-formed" xmllint --noout whole.html
else
    echo "skip the page is well-formed: no xmllint here"
fi
"$latino" eval photos -o odd --tasks 'a<b>&"'"'=identity@0.1" --solver '<i>&=naive' --solver "$(printf 'bad\377byte=naive')" --show 1 > /dev/null
claim "names are escaped" grep -q '&lt;i&gt;&amp;' odd.html
claim "all of them" sh -c "! grep -q '<i>\|<b>' odd.html"
command -v xmllint > /dev/null && claim "and the page stays well-formed" xmllint --noout odd.html
claim "one picture" "$latino" eval photos -n 1 -o one --solvers naive --tasks denoise-.05
claim "has no interval" grep -q '^| naive | 2[0-9.]* |' one.md
claim "another noise, and sigma estimated" "$latino" eval photos -n 1 -o noise --solvers tv:weight=.1 --tasks 'identity@poisson:gain=.01@estimated'

# Bad input.
try() { "$latino" eval photos -o bad "$@"; }
refuses "unknown task" 2 '"sr4-.5": neither a task nor a degradation; did you mean "sr4-.05"?' try --tasks sr4-.5
refuses "unknown parameter of a task" 2 'did you mean "factor"?' try --tasks downsample:facotr=4@.1
refuses "unknown solver" 2 'unknown solver "latina"; did you mean "latino"?' try --solvers naive,latina
refuses "unknown parameter of a solver" 2 'tv: unknown parameter "wieght"; did you mean "weight"?' try --solvers tv:wieght=1
refuses "unknown metric" 2 'unknown metric "pnsr"; did you mean "psnr"?' try --metrics pnsr
refuses "a solver twice" 2 'two solvers are called "naive"' try --solvers naive,naive
refuses "a task twice" 2 'two tasks are called "sr4-.05"' try --tasks sr4-.05,sr4-.05
refuses "a caption that is not there" 2 'chelsea.png has none' "$latino" eval "$root/examples/photos" -o bad --prompt caption
refuses "no such captions" 1 'nowhere.tsv: No such file' try --captions nowhere.tsv
mkdir empty
refuses "no pictures" 1 'empty: no picture in this folder' "$latino" eval empty -o bad
refuses "no folder" 1 'nowhere: No such file' "$latino" eval nowhere -o bad
refuses "a report in no folder" 1 'nowhere/bad.csv: cannot be written: No such file' "$latino" eval photos -o nowhere/bad --solvers naive
refuses "a report without a name" 2 '-o empty/: a name is missing' "$latino" eval photos -o empty/
refuses "no model" 1 'nowhere: ' try --model nowhere --solvers latino
refuses "nothing to report" 1 'bad.csv: no rows' "$latino" eval -o bad
claim "a failure begins no file" absent bad.csv
refuses "other pictures" 1 'whole.csv: made with pictures: ' "$latino" eval photos -n 1 -o whole --solvers naive
refuses "other metrics" 1 'whole.csv: made with other --metrics' "$latino" eval photos -o whole --solvers naive --metrics psnr
refuses "another solver of the same name" 1 'whole.csv: made with solver said: latino:steps=1@a cat, small; now' \
    "$latino" eval photos -o whole --solvers said=naive --metrics psnr,ssim
cp -r "$LATINO_MODEL" other && chmod -R u+w other && echo more >> other/README.md
sed "s/# model: [^,]*/# model: other/" whole.csv > model.csv
claim "a model's card may change" "$latino" eval photos -o model --model other --solvers naive --metrics psnr,ssim --tasks sr4-.05
printf x >> other/unet/config.json
refuses "a model may not" 1 'model.csv: made with model: other, digest' "$latino" eval photos -o model --model other --solvers naive \
    --metrics psnr,ssim --tasks sr4-.05
refuses "another seed" 1 'whole.csv: made with seed: 1; now it is 2' "$latino" eval photos -o whole --seed 2 --metrics psnr,ssim
sed 's/^hole,naive,empty,chelsea.png,[^,]*,/&x/' whole.csv > broken.csv
refuses "a malformed row" 1 'a field that is no number' "$latino" eval -o broken
echo 'a,b,c' > broken.csv
refuses "a CSV of something else" 1 'broken.csv: line 1: no names of columns of latino eval' "$latino" eval -o broken
