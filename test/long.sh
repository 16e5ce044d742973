#!/bin/sh
# long.sh: the parts of `make check-long`, each to its end, and a line for each at last. MAKE names the make to run.
make=${MAKE:-make}
log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.sum"' EXIT
bad=0

part() { # NAME MAKE-ARGUMENT...: its last line of the form "N passed, N failed" is the count
    name=$1
    shift
    echo "=== $name: make $*"
    start=$(date +%s)
    { $make --no-print-directory "$@" 2>&1; echo "status $?"; } | tee "$log"
    count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    ended="$(tail -n 1 "$log")"
    [ "$ended" = "status 0" ] || bad=1
    printf '%-9s %s, %s s, %s\n' "$name" "${count:-nothing counted}" $(($(date +%s) - start)) "$ended" >> "$log.sum"
}

part release check
part portable check ONEDNN=0
CK_FORK=no
export CK_FORK # a sanitizer that finds something in a child would be read as a failed test; leaks, not at all
part asan check CONFIG=asan
part tsan check CONFIG=tsan
part valgrind check-valgrind ONEDNN=0
echo "=== check-long"
cat "$log.sum"
[ "$bad" = 0 ] && echo "check-long passed" || echo "check-long failed"
exit $bad
