#!/bin/sh
# fill.sh TEMPLATE: print it with its @NAMES@ filled in from the environment. What lies below the prefix is named
# relative to the file, so that an installed tree may be moved. Any character may stand in a path.
set -eu
below() { case $1 in "$prefix"/*) printf '%s' "${1#"$prefix"/}" ;; *) return 1 ;; esac; }
escape() { printf '%s' "$1" | sed 's/ /\\ /g'; } # as pkg-config itself escapes ${pcfiledir}
up() { printf '%s' "$1" | sed 's|[^/][^/]*|..|g'; } # lib/x is ../..

if lib=$(below "$libdir"); then
    pc_prefix="\${pcfiledir}/../$(up "$lib")" pc_lib="\${prefix}/$lib"
    cmake_prefix="\${CMAKE_CURRENT_LIST_DIR}/../../$(up "$lib")"
else
    pc_prefix=$(escape "$prefix") pc_lib=$(escape "$libdir") cmake_prefix=$prefix
fi
if include=$(below "$includedir"); then
    pc_include="\${prefix}/$include" cmake_include="$cmake_prefix/$include"
else
    pc_include=$(escape "$includedir") cmake_include=$includedir
fi
# CMake wants a list, and finds a library by its name without -l.
cmake_libs=$(printf '%s -ljansson' "$PRIVATE_LIBS" | sed 's/ *-l/;/g; s/^;//')

export pc_prefix pc_lib pc_include cmake_include cmake_libs
awk '
    function put(name, value,   at) {
        while ((at = index($0, "@" name "@")))
            $0 = substr($0, 1, at - 1) value substr($0, at + length(name) + 2)
    }
    {
        put("PREFIX", ENVIRON["pc_prefix"]); put("LIBDIR", ENVIRON["pc_lib"]); put("INCLUDEDIR", ENVIRON["pc_include"])
        put("CMAKE_INCLUDE", ENVIRON["cmake_include"]); put("CMAKE_LIBS", ENVIRON["cmake_libs"])
        put("PRIVATE_LIBS", ENVIRON["PRIVATE_LIBS"]); put("VERSION", ENVIRON["VERSION"]); put("ABI", ENVIRON["ABI"])
        print
    }' "$1"
