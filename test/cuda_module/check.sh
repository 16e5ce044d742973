#!/bin/sh
# check.sh MODULE LOADER INSTALLED: librelora_cuda.so.0 as a file, and as it is installed. LOADER is the program of
# load.c; NM and NVCC name tools.
set -u
module=$1 loader=$2 installed=$3
fail() { echo "$module: $*" >&2; exit 1; }

exported=$(${NM:-nm} -D --defined-only "$module" | sed 's/.* //; s/@.*//')
[ "$exported" = relora_cuda_backend ] || fail "exports" $exported

needed=$(readelf -d "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
case $needed in *libcublasLt.so*) ;; *) fail "does not need cuBLASLt, only" $needed ;; esac
for library in $needed; do
    case $library in
        libcublasLt.so* | libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | ld-linux*) ;;
        *) fail "needs $library" ;;
    esac
done

# In the tree it finds the toolkit's cuBLASLt wherever that is; what is installed names no folder of this machine.
path=$(readelf -d "$module" | sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p')
found=$(for folder in $(echo "$path" | tr ':' ' '); do ls "$folder"/libcublasLt.so* 2> /dev/null; done)
[ "$found" ] || fail "no cuBLASLt in its path, '$path'"
if readelf -d "$installed" | grep -Eq 'RUNPATH|RPATH'; then fail "$installed has a path of this machine in it"; fi

tool=$(command -v cuobjdump || echo "$(dirname "${NVCC:-nvcc}")/cuobjdump")
if [ -x "$tool" ]; then
    code=$("$tool" --list-elf "$module") ptx=$("$tool" --list-ptx "$module")
    for wanted in sm_80 sm_90; do
        case $code in *"$wanted"*) ;; *) fail "has no code for $wanted" ;; esac
    done
    case $ptx in *sm_90*) ;; *) fail "has no PTX for what comes after sm_90" ;; esac
else
    echo "no cuobjdump: not looked at what it has code for"
fi

devices=$("$loader" "$module") || fail "does not load as it should"
echo "$devices"

# A machine without cuBLASLt, by the name of a library that is nowhere: the loader says what it misses.
copy=$(mktemp) || exit 1
LC_ALL=C sed 's/libcublasLt\.so\./libcublasLt.no./g' "$module" > "$copy"
said=$("$loader" "$copy" 2>&1)
status=$?
rm -f "$copy"
[ $status = 3 ] || fail "loads without cuBLASLt"
case $said in *libcublasLt.no*) ;; *) fail "without cuBLASLt the loader says only: $said" ;; esac
echo "exports one symbol, needs" $needed
