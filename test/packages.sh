#!/bin/sh
# Builds as distributions make them, each with the names of both libraries compared and an example run. Run by
# `make check-packages`, which sets MAKE and CC. What needs a tool that is not here is left out, and says so.
set -eu
work=build/packages
rm -rf $work
mkdir -p $work
fault() { echo "packages.sh: $*"; exit 1; }

build() { # NAME SETTING...: the symbols and the examples
    name=$1
    shift
    ${MAKE:-make} -s --no-print-directory CUDA=0 WERROR=0 B=$work/"$name" "$@" symbols check-examples > $work/"$name.log" 2>&1 ||
        { tail -n 30 $work/"$name.log"; fault "$name: make $*"; }
    echo "$name: builds, names agree, examples run"
}

quick="ONEDNN=0 CFLAGS=-O1"
# shellcheck disable=SC2086
{
    build serial $quick OPENMP=0
    case $(${NM:-nm} -D $work/serial/librelora.so.*.*) in *GOMP_*) fault "OPENMP=0 uses OpenMP" ;; esac
    build no-archive $quick STATIC=0
    ${MAKE:-make} -s --no-print-directory CUDA=0 B=$work/no-archive $quick STATIC=0 prefix=/usr DESTDIR="$PWD/$work/stage" install
    [ ! -e $work/stage/usr/lib/librelora.a ] && [ -e $work/stage/usr/lib/librelora.so ] || fault "STATIC=0 installs an archive"
}
# As Fedora has it, and without machine code beside that for the linker.
build lto-fat ONEDNN=0 CFLAGS='-O1 -flto=auto -ffat-lto-objects'
build lto-slim ONEDNN=0 CFLAGS='-O1 -flto=auto'

# A processor with 32 bits is refused in one line.
if said=$(${MAKE:-make} -s --no-print-directory CUDA=0 B=$work/small CFLAGS=-m32 $work/small/librelora.a 2>&1); then
    fault "a 32-bit library was built"
fi
case $said in *"64-bit processor"*) ;; *) fault "a 32-bit build says: $said" ;; esac
[ "$(echo "$said" | grep -vc '^make')" = 1 ] || fault "a 32-bit build says more than one line: $said"

# The compiler alone says for which processor: its objcopy, and no -march=native.
cross=aarch64-linux-gnu-gcc
if command -v $cross > /dev/null; then
    mkdir -p $work/headers # those of our dependencies are the same on both
    for header in jansson.h jansson_config.h xxhash.h; do
        find /usr/include -maxdepth 2 -name $header -exec cp {} $work/headers \; -quit
    done
    ${MAKE:-make} -s --no-print-directory CUDA=0 CC=$cross ONEDNN=0 B=$work/arm CPPFLAGS="-I$PWD/$work/headers" CFLAGS=-O1 \
        $work/arm/librelora.a $work/arm/examples/minimal.o > $work/arm.log 2>&1 || { cat $work/arm.log; fault "$cross"; }
    case $(aarch64-linux-gnu-objdump -f $work/arm/librelora.a) in *aarch64*) ;; *) fault "$cross made something else" ;; esac
    echo "$cross: builds the archive"
else
    echo "no $cross: not tried"
fi

# The release archive is the same twice, holds what it is made from, and Debian's packages come from it.
${MAKE:-make} -s --no-print-directory dist > /dev/null
archive=$(echo build/librelora-*.tar.xz)
sum=$(cksum < "$archive")
${MAKE:-make} -s --no-print-directory dist > /dev/null
[ "$sum" = "$(cksum < "$archive")" ] || fault "make dist gives another archive the second time"
tar -tf "$archive" | grep -q '/include/relora/relora.h$' || fault "no header in the archive"
if command -v dpkg-buildpackage > /dev/null && command -v dh > /dev/null; then
    ${MAKE:-make} -s --no-print-directory CUDA=0 deb > $work/deb.log 2>&1 || { tail -n 40 $work/deb.log; fault "make deb"; }
    tail -n 1 $work/deb.log
else
    echo "no debhelper: make deb was not tried"
fi
