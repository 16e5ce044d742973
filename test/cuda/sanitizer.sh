#!/bin/sh
# sanitizer.sh PROGRAM: the cases of test-cuda with the tag "sanitize" under memcheck and racecheck of
# compute-sanitizer, which SANITIZER names. Skipped without it, without a device, or where it refuses the device.
[ "${SANITIZER:-}" ] || { echo "Skipped: 2, no compute-sanitizer"; exit 0; }
export CK_INCLUDE_TAGS=sanitize
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
timeout 60 "$1" > "$log" 2>&1 || { cat "$log"; exit 1; }
grep -q 'Checks:' "$log" || { echo "Skipped: 2, no device"; exit 0; }
for tool in memcheck racecheck; do
    if timeout 75 "$SANITIZER" --tool $tool --error-exitcode 9 "$1" > "$log" 2>&1; then
        echo "$tool: $(grep 'SUMMARY' "$log")"
    elif grep -q 'Device not supported' "$log"; then
        echo "Skipped: 1, $tool does not support this device"
    else
        tail -n 60 "$log"
        exit 1
    fi
done
