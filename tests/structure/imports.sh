#!/bin/sh
# The library never ends the program, prints, reads the environment, or uses global random numbers or locales.
bad='(_?exit|_Exit|quick_exit|abort|__assert_fail|(v|__|__v)?f?printf(_chk)?|puts|putchar|fputs|perror|stdout|stderr|gets|scanf'
bad="$bad|(secure_)?getenv|setenv|putenv|s?rand|s?random|[dels]rand48|setlocale|strtok|tmpnam|system|popen|signal|sigaction)"
hit=$(nm -D --undefined-only "$1/liblatino.so" | awk '{print $NF}' | sed 's/@.*//' | grep -xE "$bad" | tr '\n' ' ')
nm -D "$1/liblatino.so" | grep -q ltn_open || hit="no library"
[ -z "$hit" ] && echo "ok imports" || echo "not ok imports: $hit"
