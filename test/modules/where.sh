#!/bin/sh
# where.sh BUILD: where librelora_cuda.so.0 is looked for, by programs linked with librelora.a and with librelora.so.
# BUILD has both programs, ask and ask-shared, and the modules of this folder.
set -eu
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/lib" "$work/other" "$work/module"
cp "$build/ask" "$build/ask-shared" "$work/bin"
cp -P "$build"/librelora.so* "$work/lib"
good=$build/modules/fake/librelora_cuda.so.0 bad=$build/modules/unresolved/librelora_cuda.so.0
cp "$good" "$work/module"
unset LD_LIBRARY_PATH || :
count=0

says() { # BEGINNING PROGRAM ARGUMENT...
    want=$1
    shift
    said=$("$@")
    case $said in
    "$want"*) count=$((count + 1)) ;;
    *) echo "where.sh: $* says \"$said\", not \"$want...\"" >&2; exit 1 ;;
    esac
}

none="0 relora_device_get: no CUDA: "
says "${none}librelora_cuda.so.0: " "$work/bin/ask"
says "${none}librelora_cuda.so.0: " "$work/bin/ask-shared"
says "2 fake 0" env LD_LIBRARY_PATH="$work/module" "$work/bin/ask"
says "2 fake 0" env LD_LIBRARY_PATH="$work/module" "$work/bin/ask-shared"
says "2 fake 0" "$work/bin/ask" "$work/module"
says "2 fake 0" "$work/bin/ask-shared" "$work/module"

cp "$good" "$work/bin" # beside the program
says "2 fake 0" "$work/bin/ask"
says "2 fake 0" env PATH="$work/bin" ask
cd "$work/bin"
says "2 fake 0" ./ask
says "${none}librelora_cuda.so.0: " "$work/bin/ask-shared" # not beside its library
says "$none$work/other/librelora_cuda.so.0: " "$work/bin/ask" "$work/other" # only there

mv "$work/bin/librelora_cuda.so.0" "$work/lib"
says "2 fake 0" "$work/bin/ask-shared"

cp "$bad" "$work/lib" # one that is there is not passed over
says "$none$work/bin/../lib/librelora_cuda.so.0: " env LD_LIBRARY_PATH="$work/module" "$work/bin/ask-shared"
echo "$count places looked into"
