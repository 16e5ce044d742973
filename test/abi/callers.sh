#!/bin/sh
# callers.sh LIBRARY CC FLAG...: compile the program of each earlier release with the headers of that release, link
# and run it with LIBRARY. It has to use every function of its release, and to find it under the same version.
set -eu
library=$1
shift
folder=$(cd "$(dirname "$library")" && pwd)
old=$(dirname "$0")/old
count=0

for release in "$old"/*; do
    name=$(basename "$release")
    program=$folder/caller-$name
    "$@" -std=c11 -D_POSIX_C_SOURCE=200809L -I"$release/include" "$release/caller.c" \
        "$library" -Wl,-rpath,"$folder" -lm -o "$program"
    awk '/^RELORA_/ { node = $1 }  /^ *relora_/ { sub(";", ""); print $1 "@" node }' "$release/librelora.map" |
        LC_ALL=C sort > "$program.wanted"
    nm -D --undefined-only "$program" | sed -n 's/.* \(relora_\)/\1/p' | LC_ALL=C sort > "$program.used"
    if ! diff "$program.wanted" "$program.used"; then
        echo "callers.sh: < is what $name exported, > is what its program finds and calls today" >&2
        exit 1
    fi
    "$program"
    count=$((count + 1))
done
[ "$count" -gt 0 ]
