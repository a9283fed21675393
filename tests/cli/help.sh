# help.sh - help, manual page and completion tell the same, for they come from the same tables.
. "$(dirname "$0")/lib.sh"

# Words on one line, roff undone.
plain() { sed 's/\\f[BIR]//g; s/\\-/-/g; s/\\&//g; s/^\.SS //; /^\./d' "$1" | tr -s ' \n' ' '; }
"$latino" --manual > manual.txt
plain manual.txt > manual.words
in_manual()
{
    "$latino" "$1" --help | sed '1d; /^options:$/d' | tr -s ' \n' ' ' > help.words
    # every option with its text, as the manual has it
    "$latino" "$1" --help | sed -n '/^options:/,$p' | sed 1d | tr -s ' ' | sed 's/^ \(--*[a-z]\)/\n\1/' |
        awk 'BEGIN { RS = ""; FS = "\n" } { $1 = $1; gsub(/ +/, " "); print }' > options.txt
    while read -r line; do
        grep -qF -- "$line" manual.words || { echo "not in the manual: $line"; return 1; }
    done < options.txt
}
for verb in restore degrade measure eval generate list model bench; do
    claim "help of $verb equals the manual" in_manual "$verb"
    claim "$verb stands in the help" sh -c "'$latino' --help | grep -q '^  latino $verb '"
    claim "$verb is completed" sh -c "'$latino' --completion | grep -q '$verb) words='"
done
claim "the help has all options of restore" sh -c "[ \$('$latino' restore --help | grep -c '^  --*[a-z]') -ge 14 ]"
claim "the installed manual is this one" same manual.txt "$build/cmd/latino.1"
if command -v groff > /dev/null; then
    groff -man -Tascii -ww -z manual.txt 2> groff.txt
    claim "the manual is good roff" [ ! -s groff.txt ]
else
    echo "skip the manual is good roff: no groff here"
fi
claim "the manual lists degradations" grep -q 'downsample' manual.txt

if command -v bash > /dev/null; then
    "$latino" --completion > completion.bash
    complete_with() { bash -c ". ./completion.bash; COMP_WORDS=($1 '$2'); COMP_CWORD=$3; _latino; echo \${COMPREPLY[@]}"; }
    claim "completes a verb" [ "$(complete_with latino res 1)" = restore ]
    claim "completes an option" [ "$(complete_with 'latino restore a.png' --ref 3)" = --reference ]
    claim "completes a degradation" [ "$(complete_with 'latino degrade a.png --degradation' downs 4)" = downsample ]
else
    echo "skip completion: no bash here"
fi

claim "version" sh -c "'$latino' --version | grep -qx 'latino [0-9]*\.[0-9]*\.[0-9]*'"
refuses "no command" 2 "" sh -c "'$latino' 2>&1 > /dev/null | sed -n 's/^latino restores.*/latino: restores/p' >&2; exit 2"
claim "list has every table" sh -c "[ \$('$latino' list | grep -c '^[a-z]*\$') -eq 8 ]"
claim "list of one" sh -c "'$latino' list metrics | grep -q '^  psnr '"
claim "list as JSON" sh -c "'$latino' list degradations --json | grep -q '\"name\": \"downsample\"'"
claim "model" sh -c "'$latino' model '$LATINO_MODEL' | grep -qi 'unet'"
claim "model as JSON" sh -c "'$latino' model '$LATINO_MODEL' --json | grep -q '^{'"
