# restore.sh - degrade, restore, measure: with bounds in dB, and everything that restore writes beside the picture.
. "$(dirname "$0")/lib.sh"

degrade() { "$latino" degrade "$@"; }
restore() { "$latino" restore "$@"; }

# task NAME SPEC SIGMA GAIN: the restoration is at least GAIN dB nearer to the truth than the naive inverse.
task()
{
    degrade "$photo" -o "$1-y.npy" --truth truth.npy --fit 128 --degradation "$2" --noise "gaussian:sigma=$3" --seed 7 &&
        restore "$1-y.npy" -o "$1-x.npy" --degradation "$2" --sigma "$3" --reference truth.npy > report.txt || return 1
    cat report.txt
    gain=$(awk '$1 == "naive" { a = $3 } $1 == "restored" { print $3 - a }' report.txt)
    above "$gain" "$4"
}
claim "super-resolution by 4" task sr downsample:factor=4 0.02 0.3
claim "denoising" task noise identity 0.1 2
claim "inpainting of half the pixels" task holes inpaint:random=0.5,seed=3 0 1
claim "deblurring" task blur blur:sigma=2 0.02 0.3
claim "a chain" task chain blur:sigma=1+downsample:factor=2 0.02 0.2

# One small measurement for the rest.
degrade "$photo" -o y.png --truth truth.png --fit 128 --degradation downsample:factor=2 --noise gaussian:sigma=0.02 || exit 1
run="restore y.png --degradation downsample:factor=2 --solver latino:steps=2 --sigma 0.02"

claim "chi of the truth is 1" sh -c "v=\$('$latino' measure truth.png y.png --degradation downsample:factor=2 --sigma 0.02) && echo \$v && echo \$v | grep -q '^chi \(0\.9[5-9]\|1\.0[0-5]\)'"
claim "a list of specs" sh -c "[ \"\$('$latino' measure truth.png truth.png --metric ms_ssim:scales=2,gmsd | tr '\n' ' ')\" = 'ms_ssim:scales=2 1.0000 gmsd 0.0000 ' ]"

claim "the same seed" $run -o a.png --seed 5
$run -o b.png --seed 5 > /dev/null
claim "gives the same picture" same a.png b.png
$run -o c.png --seed 6 > /dev/null
claim "another seed gives another one" sh -c '! cmp -s a.png c.png'
$run -o one.png --seed 5 --threads 1 > /dev/null
$run -o two.png --seed 5 --threads 2 > /dev/null
claim "whatever the number of threads" similar one.png two.png 60
$run -o little.png --seed 5 --memory 100M > /dev/null
claim "in little memory" similar a.png little.png 60
refuses "an unknown unit of memory" 2 "--memory 2Q: expected a size, as 2.5G" $run -o x.png --memory 2Q

claim "settings repeat the command" restore --from a.png -o again.png
claim "to the same picture" same a.png again.png
claim "with a change" restore --from a.png -o changed.png --seed 6
claim "that is made" same changed.png c.png
claim "with another input" restore --from a.png y.png -o other.png
refuses "a picture without settings" 1 "truth.png: no settings of latino restore" restore --from truth.png -o x.png

$run -o d.png --reference truth.png --json d.json --compare side.png --preview now.png > d.txt
claim "prints the naive metrics" grep -q '^  naive     *psnr [0-9.]*  ssim [0-9.]*$' d.txt
claim "and those of the restoration" grep -q '^  restored  *psnr [0-9.]*  ssim [0-9.]*$' d.txt
claim "and time and memory" grep -q '^d.png: 128 x 80 from 64 x 40, sigma 0.02, 2 steps in [0-9.]* s, peak memory [0-9]* MB$' d.txt
for key in version settings model degradation sigma solver prompt seed seconds peak_memory calls residual gamma psnr ssim; do
    claim "JSON has $key" grep -q "\"$key\": " d.json
done
claim "JSON has both steps" sh -c '[ $(grep -c "\"residual\": [0-9]" d.json) -eq 2 ]'
claim "the comparison has three panels" size side.png 392 80 3
claim "the last preview is the estimate" similar now.png d.png 25
$run -o e.png > e.txt 2> e.err
claim "without a reference no metric" sh -c '! grep -q psnr e.txt'
claim "in a pipe no progress" sh -c '[ ! -s e.err ]'
if command -v script > /dev/null; then
    script -qec "$latino $run -o t.png" /dev/null > terminal.txt 2>&1 < /dev/null
    claim "on a terminal progress" grep -q 'step 1 of 2, residual [0-9.]*, [0-9]* s left' terminal.txt
else
    echo "skip on a terminal progress: no script here"
fi
claim "JSON to standard output" sh -c "$latino $run -o f.png --json - | grep -q peak_memory"
claim "sigma is estimated" sh -c "$latino restore y.png -o g.png --degradation downsample:factor=2 --solver latino:steps=2 | grep -q estimated"
claim "or asked to be" sh -c "$latino restore y.png -o g2.png --degradation downsample:factor=2 --solver latino:steps=2 --sigma auto | grep -q estimated"
claim "to the same picture" same g.png g2.png
"$latino" degrade "$photo" -o p.npy --truth p-truth.npy --fit 128 --degradation identity --noise poisson:gain=.05 --seed 7
claim "the strength of a noise is estimated" sh -c "$latino restore p.npy -o p.png --degradation identity --noise poisson --solver latino:steps=2 | grep -q 'noise poisson:gain=0.0[4-6][0-9]* (estimated)'"
claim "and kept in the settings" grep -qa 'noise poisson:gain=0.0[4-6]' p.png
"$latino" degrade "$photo" -o j.jpg --truth j-truth.png --fit 128 --degradation identity --quality 20
claim "a JPEG tells its quality" sh -c "$latino restore j.jpg -o j.png --degradation jpeg --solver latino:steps=2 > j.txt"
claim "which is printed" grep -q '^  degradation jpeg:quality=20,chroma=4:[24]:[04] (estimated)$' j.txt
refuses "a quality that no file tells" 2 "jpeg: quality=auto: the measurement was not read from a JPEG file" \
    "$latino" restore y.png -o x.png --degradation jpeg:quality=auto
claim "tables of no quality are used as they are" sh -c "$latino restore $data/../jpeg_own_420.jpg -o o.png --degradation jpeg --solver tv:iterations=5 | grep -q '^  degradation jpeg:tables=12:19:26:[0-9:/]*:83,chroma=4:2:0 (estimated)$'"
claim "and repeat the picture" sh -c "$latino restore --from o.png -o o2.png && cmp o.png o2.png"
"$latino" degrade "$photo" -o b.npy --fit 128 --degradation blur:sigma=2 --noise gaussian:sigma=0.01 --seed 7
claim "a blur's width is estimated" sh -c "$latino restore b.npy -o b.png --degradation blur:sigma=auto --solver bicubic | grep -q 'degradation blur:sigma=[12][.0-9]* (estimated)'"
claim "and kept in the settings" grep -qa 'degradation blur:sigma=[12]' b.png
claim "a blur's kernel is found" sh -c "$latino restore b.npy -o k.png --degradation blur:kernel=auto,size=13 --solver tv:iterations=5 | grep -q 'degradation blur:kernel=k-kernel.png,size=13 (estimated)'"
claim "written beside the result" sh -c "$latino degrade k-kernel.png -o k.npy --degradation identity && [ -s k.npy ]"
claim "and kept in the settings" grep -qa 'degradation blur:kernel=k-kernel.png' k.png
claim "which repeat the picture" sh -c "$latino restore --from k.png -o k2.png && cmp k.png k2.png && [ ! -e k2-kernel.png ]"
refuses "a kernel that a degradation is to find" 2 "blur: kernel=auto is for the last part of a chain, in a restoration" \
    "$latino" degrade "$photo" -o x.png --fit 64 --degradation blur:kernel=auto
refuses "a kernel that is not the last part's" 2 "blur: kernel=auto is for the last part of a chain, in a restoration" \
    "$latino" restore b.npy -o x.png --degradation blur:kernel=auto+identity
refuses "a kernel too large for the picture" 1 "blur: kernel=auto of size 51 needs 153 pixels a side, not 128 x 80" \
    "$latino" restore b.npy -o x.png --degradation blur:kernel=auto,size=51
refuses "a size of no kernel" 2 "blur: size is that of a kernel; kernel=auto is missing" \
    "$latino" restore b.npy -o x.png --degradation blur:size=9
claim "and no kernel is left" sh -c '[ ! -e x-kernel.png ]'
"$latino" degrade "$photo" -o d.npy --fit 128 --degradation downsample:factor=2,filter=gaussian --noise gaussian:sigma=0.01 --seed 7
claim "a reduction's filter is found" sh -c "$latino restore d.npy -o d.png --degradation downsample:factor=2,filter=auto --solver bicubic | grep -q 'degradation downsample:factor=2,filter=gaussian (estimated)'"
refuses "a reduction's factor that is to be found" 2 "downsample: factor=auto: only filter is found from a measurement" \
    "$latino" restore d.npy -o x.png --degradation downsample:factor=auto
claim "a reduction's kernel is its filter" sh -c "$latino restore d.npy -o d.png --degradation downsample:factor=2,kernel=auto --solver bicubic | grep -q 'degradation downsample:factor=2,kernel=gaussian (estimated)'"

# Several draws.
sde="restore y.png --degradation downsample:factor=2 --sigma 0.02 --solver latino-sde:steps=2,inner=1 --seed 4"
claim "samples" sh -c "$latino $sde -o many.png --samples 3 --reference truth.png --json many.json > many.txt"
claim "each a file, a map, an array, nothing else" sh -c "[ \"\$(ls | grep ^many | tr '\\n' ' ')\" = 'many-deviation.npy many-deviation.png many-sample-01.png many-sample-02.png many-sample-03.png many.json many.png many.txt ' ]"
claim "the second has the second seed" sh -c "$latino $sde -o second.png --seed 5 && $latino restore --from many-sample-02.png -o third.png"
claim "and is what that seed alone gives" same many-sample-02.png second.png
claim "and what its settings repeat" same third.png second.png
claim "the z-score is told" grep -q '^  3 samples, deviation 0\.[0-9]*  z-score [0-9.]*$' many.txt
claim "in JSON too" grep -q '"z_score": [0-9]' many.json
claim "the map has room for a bar" size many-deviation.png 170 80 3
mkdir quiet
refuses "a place for the samples that is none" 1 "quiet/no/x.png: cannot be written" "$latino" $sde -o quiet/no/x.png --samples 2
claim "then nothing is written" [ -z "$(ls quiet)" ]
refuses "one sample" 2 "--samples 1: expected a whole number from 2" "$latino" $sde -o x.png --samples 1

# The text that a solver finds, in words, saved and used again.
pro="restore y.png --degradation downsample:factor=2 --sigma 0.02 --solver latino-pro:rounds=1,inner=2,steps=2"
claim "latino-pro says what it found" sh -c "$latino $pro -o h.png --save-text h.npy --json h.json --prompt 'a photo of a dog' > h.txt"
claim "in words before" grep -q '^  words before  *1.00 a photo of a dog, ' h.txt
claim "and after" grep -q '^  words after  *[0-9.]* a photo of ' h.txt
claim "in JSON too" grep -q '"caption": "a photo of a dog"' h.json
printf 'a photo of the sea\n\na photo of a dog\n' > captions.txt
claim "a saved text, own captions" sh -c "$latino $run -o i.png --text h.npy --captions captions.txt > i.txt"
claim "the nearest first" grep -q '^  words after  *[0-9.]* a photo of a dog, -*[0-9.]* a photo of the sea$' i.txt
claim "plain LATINO has nothing to say" sh -c "! $latino $run -o i.png | grep -q words"
: > nothing.txt
refuses "an empty list of captions" 1 "nothing.txt: no captions in it, one a line" $run -o i.png --captions nothing.txt
refuses "no list of captions" 1 "absent.txt: cannot be read" $run -o i.png --captions absent.txt

# Ctrl-C after the first step.
mkdir quit
"$latino" restore "$photo" -o quit/x.png --degradation identity --sigma 0.1 --solver latino:steps=64 --preview quit/now.png 2> quit.err &
for i in $(seq 300); do
    [ -e quit/now.png ] && break
    sleep 0.1
done
kill -INT $!
wait $!
claim "Ctrl-C ends with 130" [ $? -eq 130 ]
claim "says so" grep -qx 'latino: interrupted' quit.err
claim "and leaves no half file" [ "$(ls quit)" = now.png ]
