#!/bin/sh
# Every header compiles alone: <latino.h> as C99 and as C++, those of the library as C11.
why= flags=$(pkg-config --cflags kissfft-float 2>/dev/null)
for std in c99 c11; do
    printf '#include "include/latino.h"\n' | ${CC:-cc} -std=$std -x c -Wall -Wextra -Wpedantic -Werror -I. -fsyntax-only - || why="latino.h as $std"
done
if command -v "${CXX:-c++}" >/dev/null; then
    printf '#include "include/latino.h"\n' | ${CXX:-c++} -std=c++11 -x c++ -Wall -Wextra -Wpedantic -Werror -I. -fsyntax-only - || why="latino.h as C++"
fi
for h in src/*/*.h; do
    printf '#include "%s"\n' "$h" | ${CC:-cc} -std=c11 -x c -Wall -Wextra -Werror -Wno-unused-parameter -I. -Iinclude $flags -fsyntax-only - || why="$h"
done
[ -z "$why" ] && echo "ok headers_alone" || echo "not ok headers_alone: $why"
