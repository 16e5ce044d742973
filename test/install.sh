#!/bin/sh
# Install into a new folder, use the library from there as any program would, with nothing but
# pkg-config, and uninstall. Run by `make check-install`, which sets MAKE, CC, CXX and PKG_CONFIG.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
stage=$root/stage work=$root/work
mkdir "$work"

make_here() { ${MAKE:-make} -s --no-print-directory DESTDIR="$stage" prefix=/opt/relora \
    libdir=/opt/relora/lib includedir=/opt/relora/include "$@"; }
query() { # pkg-config as in a system whose root is the stage; answers with paths inside the stage
    PKG_CONFIG_PATH=$stage/opt/relora/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage \
        ${PKG_CONFIG:-pkg-config} "$@" relora
}

make_here install
for name in minimal own_adam; do
    ${CC:-cc} "examples/$name.c" -o "$work/$name" $(query --cflags --libs) -lm
    LD_LIBRARY_PATH=$stage/opt/relora/lib "$work/$name" > "$work/$name.out"

    ${CC:-cc} "examples/$name.c" -o "$work/$name-static" \
        $(query --static --cflags --libs | sed 's/-lrelora/-l:librelora.a/')
    "$work/$name-static" > "$work/$name-static.out" # no LD_LIBRARY_PATH: it must not need the shared one
    cmp "$work/$name.out" "$work/$name-static.out"
done

cat > "$work/use.cpp" << 'END'
#include <stdio.h>
#include <relora/relora.h>
int main()
{
    relora_context *context = nullptr;
    if (relora_context_create(&context, nullptr) != RELORA_OK) return 1;
    relora_context_release(context);
    puts(relora_version_string());
}
END
${CXX:-c++} -std=c++11 "$work/use.cpp" -o "$work/use" $(query --cflags --libs)
[ "$(LD_LIBRARY_PATH=$stage/opt/relora/lib "$work/use")" = "$(query --modversion)" ]

make_here uninstall
left=$(find "$stage" ! -type d; find "$stage/opt/relora/include" -mindepth 1)
[ -z "$left" ] || { echo "left after uninstall:" $left; exit 1; }
echo "installed, used shared, static and from C++, uninstalled"
