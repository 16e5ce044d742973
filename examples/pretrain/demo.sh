#!/bin/sh
# demo.sh PROGRAM PNG [OPTION]...: train the demo size, draw the run, end with one line of results.
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

"$program" --size demo "$@" --out "$out"
gnuplot -c "$(dirname "$0")/demo.gp" "$out" "$png"
echo "demo: $(cat "$out/summary.txt") png=$png"
