#!/bin/sh
# Install into a new folder, use the library from there as any program would, by pkg-config and by CMake, move the tree
# and use it once more, and uninstall; then the same in a folder whose name has a blank and what sed and a shell would
# take for theirs. Run by `make check-install`, which sets MAKE, CC, CXX, PKG_CONFIG and STATIC.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fault() { echo "install.sh: $*"; exit 1; }

# make_in STAGE PREFIX LIB TARGET
make_in() { ${MAKE:-make} -s --no-print-directory DESTDIR="$1" prefix="$2" libdir="$2/$3" includedir="$2/include" "$4"; }

query() { PKG_CONFIG_PATH=$tree/$lib/pkgconfig ${PKG_CONFIG:-pkg-config} "$@" relora; }

# Flags may hold quoted blanks: the shell that runs the compiler takes them apart.
compile() { eval "$1 $2"; }

by_pkg_config() {
    mkdir -p "$work"
    for name in minimal mlp own_adam own_everything; do
        told=$(sed -n "s|^    cc \(examples/$name.c .*\)|\1|p" examples/README.md)
        [ "$told" ] || fault "examples/README.md does not tell how to build $name"
        flags=$(query --cflags --libs)
        compile "${CC:-cc}" "${told%%\$(*} $flags ${told#*)} -o '$work/$name'" # the last -o counts
        LD_LIBRARY_PATH=$tree/$lib "$work/$name" > "$work/$name.out"
        [ "${STATIC:-1}" != 0 ] || continue
        compile "${CC:-cc}" "examples/$name.c -o '$work/$name-static' \
            $(query --static --cflags --libs | sed 's/-lrelora/-l:librelora.a/')"
        "$work/$name-static" > "$work/$name-static.out" # no LD_LIBRARY_PATH: it must not need the shared one
        cmp "$work/$name.out" "$work/$name-static.out"
    done
    case $(query --static --cflags --libs) in *fopenmp*) fault "-fopenmp in somebody else's flags" ;; esac

    cat > "$work/use.cpp" << 'END'
#include <cstdio>
#include <relora/relora.h>
int main()
{
    relora_context *context = nullptr;
    if (relora_context_create(&context, nullptr) != RELORA_OK) return 1;
    relora_context_release(context);
    puts(relora_version_string());
}
END
    compile "${CXX:-c++}" "-std=c++11 '$work/use.cpp' -o '$work/use' $(query --cflags --libs)"
    [ "$(LD_LIBRARY_PATH=$tree/$lib "$work/use")" = "$(query --modversion)" ] || fault "another version in relora.pc"
    compile "${CXX:-c++}" "-std=c++17 examples/cpp/train.cpp -o '$work/train' $(query --cflags --libs)"
    LD_LIBRARY_PATH=$tree/$lib "$work/train" | cmp - examples/train.txt
}

by_cmake() {
    command -v cmake > /dev/null || { echo "no cmake: its package was installed, and not used"; return 0; }
    mkdir -p "$work/source"
    cp examples/minimal.c "$work/source"
    cat > "$work/source/CMakeLists.txt" << END
cmake_minimum_required(VERSION 3.13)
project(use C)
find_package(relora ${1} REQUIRED)
add_executable(shared minimal.c)
target_link_libraries(shared relora::relora)
if(TARGET relora::relora_static)
  add_executable(static minimal.c)
  target_link_libraries(static relora::relora_static)
endif()
END
    cmake -S "$work/source" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$tree" > "$work/cmake.log" 2>&1 &&
        cmake --build "$work/cmake" >> "$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
    "$work/cmake/shared" | cmp - "$work/minimal.out" # found by the run path that CMake gives
    [ "${STATIC:-1}" = 0 ] || "$work/cmake/static" | cmp - "$work/minimal.out"
    sed -i 's/find_package(relora/find_package(relora 99/' "$work/source/CMakeLists.txt"
    ! cmake -S "$work/source" -B "$work/cmake99" -DCMAKE_PREFIX_PATH="$tree" > /dev/null 2>&1 || fault "version 99 was found"
}

use() { # TREE LIB: everything, from this tree
    tree=$1 lib=$2 work=$root/work
    rm -rf "$work"
    by_pkg_config
    by_cmake ''
}

check_gone() { # STAGE
    left=$(find "$1" ! -type d; find "$1" -path '*/include/relora' -o -name cmake)
    [ -z "$left" ] || fault "left after uninstall: $left"
}

arch=$(${CC:-cc} -print-multiarch 2> /dev/null || :)
lib=lib/${arch:-here}
[ "$arch" ] || lib=lib64

# A stage, as packagers have it; then as if it were somewhere else.
make_in "$root/stage" /opt/relora "$lib" install
mv "$root/stage/opt/relora" "$root/moved"
use "$root/moved" "$lib"
mkdir -p "$root/stage/opt"
mv "$root/moved" "$root/stage/opt/relora"
make_in "$root/stage" /opt/relora "$lib" uninstall
check_gone "$root/stage"

# Without DESTDIR, and with characters that make nothing easier.
odd="$root/a b&c"
case $(make_in '' "$odd" lib install) in *ldconfig*) ;; *) fault "ldconfig is not mentioned" ;; esac
use "$odd" lib
make_in '' "$odd" lib uninstall
check_gone "$odd"

# Headers that do not lie below the prefix of the library, both with a blank.
far="$root/far away"
${MAKE:-make} -s --no-print-directory prefix="$far/x" libdir="$far/lib" includedir="$far/include" install > /dev/null
tree=$far lib=lib
compile "${CC:-cc}" "examples/minimal.c -o '$work/minimal' $(query --cflags --libs)"

# PREFIX, as many have it.
${MAKE:-make} -s --no-print-directory PREFIX="$root/upper" install > /dev/null
[ -e "$root/upper/lib/librelora.so" ] || fault "PREFIX was not taken"
echo "installed, moved, used shared, static, from C++ and by CMake, uninstalled"
