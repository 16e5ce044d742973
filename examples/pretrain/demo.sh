#!/bin/sh
# demo.sh PROGRAM PNG [OPTION]...: train the demo size by the best recipe, draw the run beside recorded ones of other
# methods, end with one line of results.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: demo.sh PROGRAM PNG [OPTION]..." >&2
    exit 2
fi
program=$1
png=$2
shift 2
out=demo
if ! command -v gnuplot > /dev/null; then
    echo "demo.sh: gnuplot draws the picture and is not installed: apt install gnuplot-nox" >&2
    exit 1
fi

here=$(dirname "$0")
"$program" --size demo --steps 640 --recipe best "$@" --out "$out"
gnuplot -c "$here/demo.gp" "$out" "$png" "$here/demo-runs.csv"
echo "demo: $(cat "$out/summary.txt") png=$png"
