#!/bin/sh
# The library has no mutable globals: nothing of its own stands in .data or .bss (constants with pointers: .data.rel.ro).
objects=$(find "$1/liblatino_core.a.p" -name '*.o')
hit=$(objdump -t $objects | awk '$NF !~ /san|^\./ && /[ \t]\.(t?data|t?bss)[ \t]/ {print $NF}' | sort -u | tr '\n' ' ')
[ -n "$objects" ] || hit="no objects"
[ -z "$hit" ] && echo "ok no_globals" || echo "not ok no_globals: $hit"
