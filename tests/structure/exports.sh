#!/bin/sh
# The shared library exports exactly what latino.h declares.
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
nm -D --defined-only "$1/liblatino.so" | awk '{print $3}' | grep -v '^_' | sort -u > "$tmp/exported"
grep '^LTN_API' include/latino.h | sed 's/(.*//; s/.*[ *]//' | sort -u > "$tmp/declared"
more=$(comm -23 "$tmp/exported" "$tmp/declared" | tr '\n' ' ')
less=$(comm -13 "$tmp/exported" "$tmp/declared" | tr '\n' ' ')
[ -s "$tmp/declared" ] && [ -z "$more$less" ] && echo "ok exports" ||
    echo "not ok exports: exported but not declared: ${more:-none}; declared but not exported: ${less:-none}"
