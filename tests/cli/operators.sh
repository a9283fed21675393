# operators.sh - every degradation and every noise from end to end: measured, restored, and nearer to the truth than the
# naive inverse by a bound in dB; doc/operators.md has the figures that this prints. Measurements that are no pictures.
. "$(dirname "$0")/lib.sh"

# row GAIN SOLVER DEGRADATION [NOISE [FIT]]: NOISE is known to the restoration as it was drawn.
row()
{
    gain=$1 solver=$2 spec=$3 noise=${4:+--noise $4}
    rm -f x.npy report.txt
    if "$latino" degrade "$photo" -o y.npy --truth truth.npy --fit "${5:-128}" --degradation "$spec" $noise --seed 7 2> err.txt &&
        "$latino" restore y.npy -o x.npy --degradation "$spec" $noise --reference truth.npy --solver "$solver" > report.txt 2>> err.txt; then
        got=$(awk '$1 == "naive" { a = $3 } $1 == "restored" { printf "naive %.2f, restored %.2f dB", a, $3 }' report.txt)
        above "$(awk '$1 == "naive" { a = $3 } $1 == "restored" { print $3 - a }' report.txt)" "$gain" &&
            echo "ok $spec${4:+, $4}, $solver: $got" || echo "not ok $spec${4:+, $4}, $solver: $got, less than $gain dB better"
    else
        echo "not ok $spec${4:+, $4}, $solver: $(tail -n 1 err.txt)"
    fi
}

row 2 tv identity gaussian:sigma=0.1
row 0.1 tv downsample:factor=4 gaussian:sigma=0.02
row 0.1 tv downsample:factor=4,boundary=mirror gaussian:sigma=0.02
row 0.1 tv downsample:factor=4,boundary=circular gaussian:sigma=0.02
row 1 tv blur:sigma=2 gaussian:sigma=0.01
row 1.5 tv blur:sigma=3,across=0.7,angle=30 gaussian:sigma=0.01
row 1 tv motion:size=15,seed=3,boundary=circular gaussian:sigma=0.01
row 1 tv defocus:radius=3 gaussian:sigma=0.01
row 2 tv varying:sigma=0.5,corner=3 gaussian:sigma=0.01
row 0.5 tv inpaint:random=0.5,seed=7 gaussian:sigma=0.05
row 0.5 tv "inpaint:scratches=20,text='Latino, 8 steps',thick=2" gaussian:sigma=0.05
row 0.1 tv colorize gaussian:sigma=0.1
row 1 latino:steps=4 demosaic gaussian:sigma=0.02
row 0.3 tv jpeg:quality=10
row 0 tv jpeg:quality=30,chroma=4:4:4
row 1.5 latino:steps=4 clip gaussian:sigma=0.01
row 1 tv mri:acceleration=3 gaussian:sigma=0.01
row 10 tv compressed:ratio=0.4 gaussian:sigma=0.01
row 5 tv phase gaussian:sigma=0.05
row 0.7 tv phase:oversample=2,turned=1 gaussian:sigma=0.02
row 1 tv blur:sigma=1.5+downsample:factor=2 gaussian:sigma=0.01
row 2 tv:iterations=60 blur:sigma=1+clip gaussian:sigma=0.01
row 0.1 tv:iterations=60 blur:sigma=1+jpeg:quality=30
row 1 tv:iterations=60 downsample:factor=2+mri:acceleration=2 gaussian:sigma=0.01

row 5 tv identity poisson:peak=30
row 5 tv identity poisson-gaussian:peak=60,sigma=0.05
row 5 tv identity speckle:sigma=0.25
row 5 tv identity uniform:amplitude=0.2
row 20 tv identity salt-pepper:p=0.2
row 1 tv blur:sigma=1.5 poisson:peak=200
row 1 tv inpaint:random=0.5 salt-pepper:p=0.1

photo=$root/tests/golden/cat128.png
row 3 latino:steps=2 tomography:angles=30 gaussian:sigma=0.005 64

# Measurements that are no pictures.
"$latino" degrade "$photo" -o y.npy --degradation mri --noise gaussian:sigma=0.01 > /dev/null
claim "a spectrum has real and imaginary parts" size y.npy 128 128 6
refuses "a spectrum is no PNG" 1 'y.png: "mri" makes no picture: its measurement goes to a .npy file' "$latino" degrade "$photo" -o y.png --degradation mri
claim "and nothing is written" absent y.png
refuses "its noise is not estimated" 2 "measures no picture, so its noise cannot be estimated: give sigma" \
    "$latino" restore y.npy -o x.png --degradation mri --solver tv
refuses "other noise is one of pictures" 2 "poisson noise is one of pictures" \
    "$latino" restore y.npy -o x.png --degradation mri --solver tv --noise poisson:peak=30
refuses "a picture is no spectrum" 1 "real and imaginary" "$latino" restore "$photo" -o x.png --degradation mri --sigma 0 --solver tv
"$latino" degrade "$photo" -o y.npy --degradation phase:oversample=1.5 > /dev/null
claim "a spectrum amid zeros is larger" size y.npy 192 192 3
refuses "and no other oversampling's" 1 "phase: the measurement is 192 x 192, which no picture gives with oversample=2.3" \
    "$latino" restore y.npy -o x.png --degradation phase:oversample=2.3 --sigma 0 --solver tv
refuses "projections of a square" 1 "expected a square" "$latino" degrade "$root/examples/photos/chelsea.png" -o t.npy --degradation tomography
refuses "who needs a linear one" 2 'wiener needs a linear degradation, and "clip" is none' \
    "$latino" restore "$photo" -o x.png --degradation clip --sigma 0.01 --solver wiener
