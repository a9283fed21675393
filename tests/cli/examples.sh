# examples.sh - the example programs run, and agree with the program.
. "$(dirname "$0")/lib.sh"
blocks() { "$build/examples/example_blocks" "$LATINO_MODEL" "$@"; }
# shape FILE DIMS: the .npy file has these dimensions.
shape() { head -c 128 "$1" | tr -d '\0' | grep -aqF "($2)"; }

"$latino" degrade "$photo" -o y.png --fit 128 --degradation downsample:factor=4 --noise gaussian:sigma=0.02 > /dev/null
claim "examples/restore restores" "$build/examples/example_restore" "$LATINO_MODEL" downsample:factor=4 y.png x.png
"$latino" restore y.png -o z.png --degradation downsample:factor=4 > /dev/null
claim "as the program does" similar x.png z.png 60

# A grey picture, (1, 3, 128, 128) zeros: a version 1.0 header of 128 bytes, then the values.
{
    printf '\223NUMPY\001\000v\000'
    printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 128, 128), }"
    head -c 196608 /dev/zero
} > grey.npy
claim "examples/blocks reads a prompt" blocks text "a photo of a cat" text.npy
claim "of 77 tokens" shape text.npy "1, 77, 128"
claim "encodes" blocks encode grey.npy latent.npy
claim "runs the UNet" blocks unet latent.npy 499 text.npy net.npy
claim "on latents" shape net.npy "1, 32, 16, 16"
claim "decodes" blocks decode latent.npy picture.npy
claim "to a picture" shape picture.npy "1, 3, 128, 128"
claim "refuses what is no latent" sh -c '! "$0" "$1" decode text.npy out.npy' "$build/examples/example_blocks" "$LATINO_MODEL"
