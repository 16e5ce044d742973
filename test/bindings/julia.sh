#!/bin/sh
# julia.sh: the tests of examples/julia, then once more with a broken library, which must fail. Where there is no julia,
# names, signatures and layouts in its files are compared with the headers instead.
set -eu
julia=${JULIA:-julia}
${PYTHON:-python3} examples/julia/check.py .
if ! command -v "$julia" > /dev/null; then
    echo "no $julia: its files were read, and not run"
    exit 0
fi
export JULIA_DEPOT_PATH="${TMPDIR:-/tmp}/relora-julia"
"$julia" --startup-file=no examples/julia/test/runtests.jl
! RELORA_LIBRARY=$RELORA_BROKEN "$julia" --startup-file=no examples/julia/train.jl | cmp -s - examples/train.txt ||
    { echo "julia.sh: the broken library was not noticed"; exit 1; }
