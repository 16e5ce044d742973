#!/bin/sh
# callers.sh LIBRARY CC FLAG...: programs of earlier releases, run with LIBRARY. Each release has one for what was new
# in it. Each is compiled with the headers of its release and of every later one, as a host that grew with the library
# was. The programs of a release have to use every function it exported, and to find it under the same version.
# The one of 0.2.0 loads the recorded state files of all releases as well.
set -eu
library=$1
shift
folder=$(cd "$(dirname "$library")" && pwd)
test=$(cd "$(dirname "$0")/.." && pwd)
releases=$(cd "$test/abi/old" && ls | sort -t . -k 1n -k 2n -k 3n)
fault() { echo "callers.sh: $*" >&2; exit 1; }
[ -n "$releases" ] || fault "no earlier release in $test/abi/old"

files=$folder/callers # what they write
rm -rf "$files"
mkdir -p "$files"
so_far= last=
for release in $releases; do
    so_far="$so_far $release"
    headers=$test/abi/old/$release
    programs=
    for of in $so_far; do
        program=$folder/caller-$of-as-$release
        "$@" -std=c11 -D_POSIX_C_SOURCE=200809L -I"$headers/include" -I"$test" "$test/abi/old/$of/caller.c" \
            "$library" -Wl,-rpath,"$folder" -lm -o "$program"
        programs="$programs $program"
    done
    awk '/^RELORA_/ { node = $1 }  /^ *relora_/ { sub(";", ""); print $1 "@" node }' "$headers/librelora.map" |
        LC_ALL=C sort > "$files/wanted"
    nm -D --undefined-only $programs | sed -n 's/.* \(relora_\)/\1/p' | LC_ALL=C sort -u > "$files/used"
    diff "$files/wanted" "$files/used" ||
        fault "< is what $release exported, > is what its programs find and call today"
    for program in $programs; do
        case $program in
        */caller-0.2.0-*) "$program" "$files" "$test"/checkpoint/files/state-*.safetensors ;;
        *) "$program" ;;
        esac
    done
done
