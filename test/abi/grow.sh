#!/bin/sh
# grow.sh BUILD OBJECT...: what happens when options grow. In a copy of the tree each struct of options gets one more field,
# `later`, in its header and as a row of its table; nothing else, as docs/contributing.md promises. Then
#   - the programs of every earlier release run with that library, and load the state files of every release;
#   - a program of the new headers uses the field, and files in which it is not used go both ways between the
#     two libraries, while one in which it is used is refused by the older one, which names it.
# COMPILE, LINK, LIBS, CC and CALLER_FLAGS are those of the build.
set -eu
build=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$build/grown
fault() { echo "grow.sh: $*" >&2; exit 1; }

rm -rf "$work"
mkdir -p "$work"
cp -R "$root/include" "$root/src" "$root/lib" "$work"

grow() { # STRUCT HEADER SOURCE
    header=$work/include/relora/$2 source=$work/src/$3
    sed "s/^} relora_$1_options;/    int64_t later; \\/**< default 0 *\\/\n&/" "$header" > "$work/changed"
    ! cmp -s "$work/changed" "$header" || fault "relora_$1_options is not in $2: this test is out of date"
    mv "$work/changed" "$header"
    row="    {FIELD(relora_$1_options, later), OPTION_I64, .high = 9, .since = 99},"
    sed "/^static const struct option $1_rows/,/^};/s/^};/$row\n};/" "$source" > "$work/changed"
    ! cmp -s "$work/changed" "$source" || fault "$1_rows is not in $3: this test is out of date"
    mv "$work/changed" "$source"
}
grow context context.h context_create.c
grow linear linear.h linear.c
grow adam adam.h adam.c
grow reset reset.h adam_reset.c
grow schedule schedule.h schedule.c
grow cycle cycle.h cycle_options.c
grow merge restart.h restart.c

# Kernels know nothing of options (src/cpu): they are linked as they were built.
cd "$work"
objects= started=0
for object in "$@"; do
    source=${object#"$build"/} source=${source%.o}.c
    case $source in
    src/cpu/*) ;;
    *)
        object=$work/${source%.c}.o started=$((started + 1))
        $COMPILE -O0 -c "$source" -o "$object" &
        [ $((started % 2)) = 1 ] || wait
        ;;
    esac
    objects="$objects $object"
done
wait
$LINK $objects $LIBS -o "$work/librelora.so.0" || fault "the grown library is not complete"
ln -sf librelora.so.0 "$work/librelora.so"

for which in grown plain; do
    case $which in
    grown) flags="-DGROWN -I$work/include" folder=$work ;;
    plain) flags="-I$root/include" folder=$build ;;
    esac
    $CC $CALLER_FLAGS -std=c11 -D_POSIX_C_SOURCE=200809L $flags -I"$root/test" "$root/test/abi/grown.c" -L"$folder" \
        -lrelora -Wl,-rpath,"$folder" -lm -o "$work/$which"
done
"$work/grown" save "$work"
"$work/plain" save "$work"
"$work/grown" load "$work"
"$work/plain" load "$work"
sh "$root/test/abi/callers.sh" "$work/librelora.so" $CC $CALLER_FLAGS
