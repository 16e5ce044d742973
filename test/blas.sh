#!/bin/sh
# blas.sh: the library with each BLAS that is here (`make deps-blas` installs them): unit gemm, conformance, golden. Run by
# `make check-blas`, which sets MAKE, CC and PKG_CONFIG.
set -eu
make="${MAKE:-make} -s --no-print-directory CUDA=0"

is_here() { # NAME HEADER: does a program with it link?
    flags=$(${PKG_CONFIG:-pkg-config} --cflags --libs "$1" 2> /dev/null || echo "-l$1")
    # shellcheck disable=SC2086
    printf '#include <%s>\nint main(void) { return 0; }\n' "$2" | ${CC:-cc} -x c - -o /dev/null $flags 2> /dev/null
}

try() { # NAME HEADER
    is_here "$1" "$2" || { echo "no $1: left out"; return 0; }
    tests="build/release-$1/test-unit build/release-$1/test-conformance build/release-$1/test-golden"
    # shellcheck disable=SC2086
    $make BLAS="$1" $tests > /dev/null
    CK_RUN_SUITE=gemm "build/release-$1/test-unit"
    "build/release-$1/test-conformance"
    "build/release-$1/test-golden"
    echo "$1: agrees"
}

try openblas cblas.h
try blis blis.h
