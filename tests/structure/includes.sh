#!/bin/sh
# Each folder includes only what stands before it; programs see <latino.h> alone; oneDNN stays in its folder.
root=$(pwd) bad=
check() { # folder, what it may include
    for f in $(find "src/$1" -name '*.[ch]'); do
        for h in $(sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$f"); do
            to=$(cd "$(dirname "$f")" && cd "$(dirname "$h")" 2>/dev/null && pwd) to=${to#"$root"/src/} to=${to%%/*}
            case " $1 $2 " in *" $to "*) ;; *) bad="$bad $f:$h" ;; esac
        done
    done
}
check base; check graph base; check file 'base graph'; check model 'base graph file'
check degrade base; check solve 'base degrade'; check metric 'base graph file'
check run 'base graph file model degrade solve'
bad="$bad $(grep -lE '^ *# *include *"(\.\./)' cmd/*.[ch] examples/*.c 2>/dev/null | tr '\n' ' ')"
bad="$bad $(grep -rlE '^ *# *include.*dnnl' src cmd examples tests | grep -v '^src/graph/onednn/' | tr '\n' ' ')"
[ -z "$(echo $bad)" ] && echo "ok include_order" || echo "not ok include_order:$bad"
