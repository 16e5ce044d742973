#!/bin/sh
# wheel.sh BUILD LINK: make build/wheel/relora-*.whl, which carries librelora.so. LINK is what the Makefile links it
# with. The libraries it needs that a system need not have come along, with their licences, as auditwheel would do it.
set -eu
cd "$(dirname "$0")/../.."
stage=build/wheel/package
rm -rf build/wheel
mkdir -p "$stage"
cp -R examples/python/relora examples/python/pyproject.toml examples/python/setup.py examples/python/README.md "$stage"
abi=$(sed -n 's/^.define RELORA_ABI //p' include/relora/version.h)
so=$stage/relora/librelora.so.$abi
# shellcheck disable=SC2086
eval "${CC:-cc} -shared -s $2 -Wl,-rpath,'\$ORIGIN' -o '$so'"
cp LICENSE "$stage/relora/LICENSE.txt"

objdump=${OBJDUMP:-objdump}
ldd "$so" | sed -n 's/.*\(lib\(dnnl\|jansson\|gomp\|omp\)[^ ]*\) => \([^ ]*\).*/\1 \3/p' | while read -r name path; do
    cp "$path" "$stage/relora/$name"
    package=$(dpkg-query -S "$(readlink -f "$path")" 2> /dev/null | sed 's/:.*//' | head -n 1 || :)
    [ -z "$package" ] || cp "/usr/share/doc/$package/copyright" "$stage/relora/$name.txt"
done
case $($objdump -p "$so") in *'$ORIGIN'*) ;; *) echo "wheel.sh: no run path"; exit 1 ;; esac
${PYTHON:-python3} -m pip wheel -q --no-build-isolation --no-deps --no-index -w build/wheel "./$stage"
ls build/wheel/relora-*.whl
