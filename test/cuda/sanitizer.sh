#!/bin/sh
# sanitizer.sh PROGRAM: the cases of test-cuda with the tag "sanitize" under memcheck and racecheck of
# compute-sanitizer, which SANITIZER names; without it, and without a device, both are skipped.
[ "${SANITIZER:-}" ] || { echo "Skipped: 2, no compute-sanitizer"; exit 0; }
export CK_INCLUDE_TAGS=sanitize
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
"$1" > "$log" 2>&1 || { cat "$log"; exit 1; }
grep -q 'Checks:' "$log" || { echo "Skipped: 2, no device"; exit 0; }
for tool in memcheck racecheck; do
    echo "$SANITIZER --tool $tool"
    timeout 60 "$SANITIZER" --tool $tool --error-exitcode 9 "$1" > "$log" 2>&1 || { tail -n 60 "$log"; exit 1; }
    grep 'ERROR SUMMARY\|RACECHECK SUMMARY\|Checks:' "$log"
done
