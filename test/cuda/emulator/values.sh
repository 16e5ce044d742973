#!/bin/sh
# values.sh INCLUDE: the enumerators of the emulator's headers have the values of those in INCLUDE, of NVIDIA's toolkit.
here=$(dirname "$0")
test -e "$1/cublasLt.h" || { echo "left out: there is no toolkit in $1"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
{
    printf '#include <cublasLt.h>\n#include <cuda_runtime_api.h>\n#include <stdio.h>\nint main(void)\n{\n'
    cat "$here/cuda_runtime_api.h" "$here/cublasLt.h" | tr ',{}' '\n\n\n' |
        sed -n 's/^ *\([A-Za-z][A-Za-z0-9_]*\) = [0-9]* *$/    printf("\1 %d\\n", (int)\1);/p'
    printf '}\n'
} > "$work/values.c"
cc -I"$here" "$work/values.c" -o "$work/ours" && cc -I"$1" "$work/values.c" -o "$work/theirs" || exit 1
"$work/ours" > "$work/ours.txt"
"$work/theirs" > "$work/theirs.txt"
diff "$work/ours.txt" "$work/theirs.txt" && echo "$(wc -l < "$work/ours.txt") values agree"
