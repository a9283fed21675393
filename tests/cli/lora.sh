# lora.sh - adapters from the command line: merged, scaled, several at once, kept in the settings, described.
. "$(dirname "$0")/lib.sh"

adapter=$data/adapter.safetensors
"$latino" degrade "$photo" -o y.png --fit 64 --degradation identity --noise gaussian:sigma=0.1 || exit 1
run="$latino restore y.png --degradation identity --sigma 0.1 --solver latino:steps=1"
$run -o plain.png > /dev/null
claim "an adapter" $run -o one.png --lora "$adapter"
claim "changes the picture" sh -c '! cmp -s plain.png one.png'
claim "of scale 0" $run -o none.png --lora "$adapter:0"
claim "does not" similar plain.png none.png 100
claim "two halves" $run -o halves.png --lora "$adapter:0.5" --lora "$adapter:0.5"
claim "are one" similar one.png halves.png 60
claim "settings keep all" "$latino" restore --from halves.png -o again.png
claim "of them" cmp halves.png again.png
claim "a description" sh -c "'$latino' model '$adapter' --json > model.json && grep -q '\"unet\": 1' model.json && grep -q '\"rank\": 2' model.json"
claim "in generate" "$latino" generate --prompt "a cat" --steps 1 --lora "$adapter" -o cat.png
claim "in bench" "$latino" bench --parts unet --rounds 1 --lora "$adapter"
refuses "a file that is not there" 1 "nowhere.safetensors: " $run -o x.png --lora nowhere.safetensors
refuses "a scale that is none" 1 "$adapter:big: " $run -o x.png --lora "$adapter:big"
refuses "a file that is no adapter" 1 ": no weight of a LoRA" $run -o x.png --lora "$LATINO_MODEL/vae/diffusion_pytorch_model.safetensors"
refuses "guidance for a model that takes none" 2 "guidance: this model does not take it as an input" $run -o x.png --guidance 3
