#!/bin/sh
# blas.sh: the library with each BLAS that is here (`make deps-blas` installs them): unit gemm, golden, conformance. Run by
# `make check-blas`, which sets MAKE, CC and PKG_CONFIG.
set -eu
found= failed=0
export OPENBLAS_NUM_THREADS=1 # docs/threads.md

is_here() { # NAME HEADER: does a program with it link?
    flags=$(${PKG_CONFIG:-pkg-config} --cflags --libs "$1" 2> /dev/null || echo "-l$1")
    # shellcheck disable=SC2086
    printf '#include <%s>\nint main(void) { return 0; }\n' "$2" | ${CC:-cc} -x c - -o /dev/null $flags 2> /dev/null
}

try() { # NAME HEADER
    is_here "$1" "$2" || { echo "no $1: left out"; return 0; }
    found=1
    make="${MAKE:-make} -s CUDA=0 BLAS=$1"
    CK_RUN_SUITE=gemm MAKE=$make sh test/run.sh check-unit || failed=1
    MAKE=$make sh test/run.sh check-golden check-conformance || failed=1
}

try openblas cblas.h
try blis blis.h
[ "$found" ] || echo "Skipped: 1, neither OpenBLAS nor BLIS is installed: make deps-blas"
exit $failed
