#!/bin/sh
# generate.sh - `latino generate` from outside: sizes, samplers, pictures to begin with, bad options.
. "$(dirname "$0")/lib.sh" "$1"
draw() { "$latino" generate --prompt 'a photo of a cat' --seed 1 "$@" > /dev/null; }

draw -o own.png --steps 2
claim "the model's own size" size own.png 128 128 3
claim "generate repeats" "$latino" generate --from own.png -o again.png
claim "the same picture" same own.png again.png
draw -o one.png --steps 2 --threads 1
claim "however many threads" similar own.png one.png 60
draw -o odd.png --size 75x43 --steps 2
claim "a size that is no multiple of anything" size odd.png 75 43 3
draw -o guided.png --steps 2 --guidance 4 --negative 'a photo of a dog'
claim "guidance changes the picture" sh -c '! cmp -s own.png guided.png'
draw -o image.png --image "$photo" --size 96x64 --strength 0.3 --steps 4 --sampler tcd:eta=0.2
claim "from a picture" size image.png 96 64 3
claim "repeats it" "$latino" generate --from image.png -o image2.png
claim "the same" same image.png image2.png
draw -o sized.png --image image.png --steps 4 --strength 0.25
claim "as large as the picture" size sized.png 96 64 3
claim "and near it" similar sized.png image.png 14
for sampler in $("$latino" list samplers | sed -n 's/^  \([a-z][a-z_]*\) .*/\1/p'); do
    draw -o "$sampler.png" --steps 4 --sampler "$sampler" --size 64x64
    claim "sampler $sampler" size "$sampler.png" 64 64 3
done

"$latino" generate --model "$root/models/pixel" --steps 2 --seed 1 -o pixel.png > /dev/null
claim "a model without text needs no prompt" size pixel.png 64 64 3
refuses "and takes none" 2 "models/pixel: the model works in pixels and takes no text" \
    "$latino" generate --model "$root/models/pixel" --prompt a -o x.png
refuses "other models need one" 2 "generate needs --prompt TEXT: the model takes text" "$latino" generate -o x.png

refuse() { name=$1 code=$2 text=$3; shift 3; refuses "$name" "$code" "$text" "$latino" generate -o x.png --prompt a "$@"; }
refuse "a size in words" 2 "--size large: expected WIDTHxHEIGHT, each from 8 to 8192" --size large
refuse "half a size" 2 "--size 64x: expected WIDTHxHEIGHT" --size 64x
refuse "a size with more" 2 "--size 64x64x3: expected WIDTHxHEIGHT" --size 64x64x3
refuse "a tiny size" 2 "--size 4x64: expected WIDTHxHEIGHT" --size 4x64
refuse "a huge size" 2 "--size 64x9000: expected WIDTHxHEIGHT" --size 64x9000
refuse "an unknown sampler" 2 'unknown sampler "eulr"; did you mean "euler"?' --sampler eulr
refuse "an unknown option of it" 2 'ddim: unknown parameter "beta"' --sampler ddim:beta=1
refuse "a word that it does not know" 2 'euler: unknown timestep_spacing "trailling"; did you mean "trailing"?' \
    --sampler euler:timestep_spacing=trailling
refuse "an option that is not supported" 2 'dpm: unknown use_flow_sigmas "true"; known: false' --sampler dpm:use_flow_sigmas=true
refuse "more steps than there are" 2 "sampler lcm: 60 steps, at most original_inference_steps, 50" --steps 60
refuse "no steps" 2 "--steps 0: expected a whole number from 1 to 1000" --steps 0
refuse "a negative prompt alone" 2 "a negative prompt needs guidance above 1" --negative b
refuse "guidance below nothing" 2 "--guidance -1: expected a number from 0 to 100" --guidance -1
refuse "strength without a picture" 2 "--strength needs --image FILE" --strength 0.5
refuse "strength for no step" 2 "strength 0.1 leaves none of 8 steps" --strength 0.1 --image "$photo" --size 64x64
refuse "too much strength" 2 "--strength 2: expected a number from 0.001 to 1" --strength 2 --image "$photo"
refuse "no such picture" 1 "absent.png: " --image absent.png
claim "nothing is left of those" absent x.png
