#!/bin/sh
# cpp.sh BUILD: the trainer in C++ by each compiler that is here, with and without a broken library.
set -eu
out=$1/cpp
mkdir -p "$out"
for cxx in "${CXX:-c++}" clang++; do
    command -v "${cxx##* }" > /dev/null || continue
    # the header alone, with more warnings than anyone has
    # shellcheck disable=SC2086
    printf '#include <relora/relora.hpp>\nint x;\n' | $cxx -std=c++17 -x c++ -pedantic-errors -Wall -Wextra \
        -Wconversion -Wsign-conversion -Wold-style-cast -Werror -Iinclude -fsyntax-only -
    # shellcheck disable=SC2086
    $cxx -std=c++17 -O1 -g -Wall -Wextra -Wpedantic -Wshadow -Wcast-qual -Werror -Iinclude examples/cpp/train.cpp \
        -o "$out/train" -L"$1" -lrelora
    for sanitizer in '' -fsanitize=address,undefined; do
        # shellcheck disable=SC2086
        $cxx -std=c++17 -O1 -g $sanitizer -Wall -Wextra -Wpedantic -Wshadow -Werror -Iinclude test/bindings/ownership.cpp \
            -o "$out/ownership" -L"$1" -lrelora 2> "$out/log" || { [ "$sanitizer" ] && continue; cat "$out/log"; exit 1; }
        "$out/ownership" "$out/file" > "$out/log" 2>&1 || { cat "$out/log"; exit 1; }
    done
    "$out/train" > "$out/train.txt"
    diff examples/train.txt "$out/train.txt"
    ! LD_LIBRARY_PATH=$(dirname "$RELORA_BROKEN") "$out/train" | cmp -s - examples/train.txt ||
        { echo "cpp.sh: the broken library was not noticed"; exit 1; }
    echo "$cxx: the trainer agrees; a broken library does not"
done
