#!/bin/sh
# The binary interface of the headers, by libabigail.
#
#   abi.sh stubs INCLUDE MAP LIBRARY        build a library of empty functions from the headers
#   abi.sh store INCLUDE LIBRARY BASELINE   write its interface
#   abi.sh check INCLUDE LIBRARY BASELINE   compare with the one on record; any change fails but a new function
#
# The functions are empty because of what else is in the real library: types of its dependencies, and in each build
# other ones; and compilers leave constants that nothing uses out of the debugging information. One compiler, without
# optimisation, and no path of this machine: the same headers give the same file wherever it is made.
set -eu
here=$(dirname "$0")
LC_ALL=C
export LC_ALL

fault() { echo "abi.sh: $*" >&2; exit 1; }
need() { command -v "$1" > /dev/null || fault "$1 is missing: run 'make deps'"; }

stubs() { # INCLUDE MAP LIBRARY
    need gcc
    ${PYTHON:-python3} "$here/../headers.py" stubs "$1" > "$3.c"
    abi=$(sed -n 's/^#define RELORA_ABI //p' "$1/relora/version.h")
    gcc -std=c11 -O0 -g -gdwarf-5 -fPIC -ffile-prefix-map="$1"=include -ffile-prefix-map="$3.c"=stubs.c \
        -fdebug-prefix-map="$PWD"=. -I"$1" -shared -nostdlib -Wl,-soname,"librelora.so.$abi" \
        -Wl,--no-undefined-version -Wl,--version-script="$2" "$3.c" -o "$3"
}

store() { # INCLUDE LIBRARY BASELINE
    need abidw
    readelf -S --wide "$2" | grep -q ' \.debug_info ' ||
        fault "$2 has no debugging information, so that nothing could be seen to change in it"
    abidw --load-all-types --no-corpus-path --no-comp-dir-path --out-file "$3" "$2"
}

check() { # INCLUDE LIBRARY BASELINE
    need abidiff
    [ "$(uname -m)" = x86_64 ] || { echo "skipped: the interface on record is that of x86_64"; exit 0; }
    store "$1" "$2" "$2.abi"
    abidiff --headers-dir1 "$1/relora" --headers-dir2 "$1/relora" --non-reachable-types --no-added-syms \
        "$3" "$2.abi" > "$2.changes" || {
        cat "$2.changes"
        fault "the binary interface is not the one of $3. If the change above would break a program that is" \
            "already built, undo it and give the new thing a new name. If it only adds something, such as a field at" \
            "the end of a struct, run 'make abi-store' and commit the file together with the change."
    }
    echo "the interface is that of $3"
}

"$@"
