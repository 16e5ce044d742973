#!/bin/sh
# demo.sh PROGRAM PNG [OPTION]...: train the demo size, draw the run, and end with one line of results.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: demo.sh PROGRAM PNG [OPTION]..." >&2
    exit 2
fi
program=$1
png=$2
shift 2
here=$(dirname "$0")
out=demo # a later --out in the options would win; summary and picture come from here

command -v gnuplot > /dev/null || { echo "demo.sh: gnuplot is not installed: apt install gnuplot-nox" >&2; exit 1; }
"$program" --size demo "$@" --out "$out"
gnuplot -e "run='$out'; png='$png'" "$here/demo.gp"
echo "demo: $(cat "$out/summary.txt") png=$png"
