# pictures.sh - every kind of file goes in and comes out: depth, grey, alpha, orientation, profiles, arrays, folders.
. "$(dirname "$0")/lib.sh"

keep() { "$latino" degrade "$1" -o "$2" --degradation identity; }
half() { "$latino" restore "$1" -o "$2" --degradation downsample:factor=2 --sigma 0.01 --solver latino:steps=2; }

claim "png" keep "$data/upright.png" same.png
claim "keeps every value" similar same.png "$data/upright.png" 1000
claim "webp" keep "$data/photo.webp" photo.png
claim "is the picture" similar photo.png "$data/upright.png" 28
"$latino" degrade "$data/upright.png" -o exact.webp --degradation identity --quality 100
claim "lossless webp" similar exact.webp "$data/upright.png" 1000
"$latino" degrade "$data/upright.png" -o rough.jpg --degradation identity --quality 30
"$latino" degrade "$data/upright.png" -o fine.jpg --degradation identity --quality 98
claim "jpeg" similar fine.jpg "$data/upright.png" 35
claim "quality matters" [ "$(wc -c < rough.jpg)" -lt "$(wc -c < fine.jpg)" ]

claim "a turned photo" keep "$data/oriented.jpg" turned.png
claim "is turned upright" similar turned.png "$data/upright.png" 27
keep "$data/oriented.jpg" turned.jpg
claim "stays upright" similar turned.jpg "$data/upright.png" 27
claim "with its EXIF" grep -aq 'Ada Lovelace' turned.jpg
claim "with its profile" grep -aq 'ICC_PROFILE' turned.jpg
half "$data/oriented.jpg" large.jpg > /dev/null
claim "a restored photo has its size" size large.jpg 192 128 3
claim "EXIF" grep -aq 'Ada Lovelace' large.jpg
claim "and profile" grep -aq 'ICC_PROFILE' large.jpg
keep turned.png back.jpg
claim "PNG carries them too" grep -aq 'Ada Lovelace' back.jpg

"$latino" degrade "$data/grey16.png" -o deep.png --degradation identity --bits 16
claim "16 bits" similar deep.png "$data/grey16.png" 1000
keep "$data/grey16.png" shallow.png
claim "8 bits are fewer" sh -c "p=\$($latino measure shallow.png $data/grey16.png --metric psnr) && [ \"\$p\" != 'psnr inf' ]"
claim "grey" half "$data/grey.png" grey.png
claim "stays grey" size grey.png 192 128 1
claim "alpha" half "$data/alpha.png" alpha.png
claim "is kept" size alpha.png 192 128 4
claim "alpha with a reference without" "$latino" restore "$data/alpha.png" -o x.png --degradation identity \
    --sigma 0.1 --solver latino:steps=1 --reference "$data/upright.png" --compare side.png
claim "is compared in colour" size side.png 296 64 3

"$latino" degrade "$data/upright.png" -o noisy.npy --degradation identity --noise gaussian:sigma=0.5
claim "an array is not clipped" sh -c 'tail -c +129 noisy.npy | od -An -v -tf4 -w4 | awk "\$1 > 1.2 { n++ } END { exit n < 100 }"'
"$latino" degrade "$data/upright.png" -o y.npy --degradation downsample:factor=2
claim "an array in" half y.npy fromnpy.png
claim "and out" half y.npy x.npy
claim "is the same picture" similar x.npy fromnpy.png 45
printf '\223NUMPY\001\000v\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4), }" > tiny.npy
printf '\000\377\000\377\377\000\377\000' >> tiny.npy
claim "a whole-number array" keep tiny.npy tiny.png
claim "is a grey picture" size tiny.png 4 2 1

mkdir in
cp "$data/upright.png" in/b.png
cp "$data/oriented.jpg" in/a.jpg
cp y.npy in/c.npy
echo 'this is text' > in/notes.txt
half in out > folder.txt
claim "a folder gives a folder" [ "$(ls out | tr '\n' ' ')" = 'a.jpg b.png c.png ' ]
claim "with a line for each" [ "$(wc -l < folder.txt)" -eq 3 ]
echo 'this is text' > in/bad.png
refuses "a bad file in a folder" 1 "in/bad.png" half in out2
claim "does not stop the others" [ "$(ls out2 | tr '\n' ' ')" = 'a.jpg b.png c.png ' ]
refuses "a folder onto itself" 2 "in: is the folder of the pictures themselves" half in in
mkdir empty
refuses "an empty folder" 1 "empty: no picture in this folder" half empty out3
"$latino" degrade out -o worse --truth before --fit 64 --degradation identity --noise gaussian:sigma=0.1
claim "degrade takes folders too" [ "$(ls worse before | tr '\n' ' ')" = 'before: a.jpg b.png c.png  worse: a.jpg b.png c.png ' ]
