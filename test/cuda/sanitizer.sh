#!/bin/sh
# sanitizer.sh PROGRAM: the cases of test-cuda with the tag "sanitize" under memcheck and racecheck of
# compute-sanitizer, which SANITIZER names. Skipped without it, without a device, or where it refuses the device;
# what SANITIZER_TIME seconds are not enough for is skipped as well, for that says nothing about the kernels.
[ "${SANITIZER:-}" ] || { echo "Skipped: 2, no compute-sanitizer"; exit 0; }
export CK_INCLUDE_TAGS=sanitize
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
time=${SANITIZER_TIME:-75}
timeout 60 "$1" > "$log" 2>&1 || { cat "$log"; exit 1; }
grep -q 'Checks:' "$log" || { echo "Skipped: 2, no device"; exit 0; }
for tool in memcheck racecheck; do
    timeout -k 5 "$time" "$SANITIZER" --tool $tool --error-exitcode 9 "$1" > "$log" 2>&1
    status=$?
    if [ $status = 0 ]; then
        echo "$tool: $(grep 'SUMMARY' "$log")"
    elif [ $status = 124 ] || [ $status = 137 ]; then
        echo "Skipped: 1, $tool was not done within $time s"
    elif grep -q 'Device not supported' "$log"; then
        echo "Skipped: 1, $tool does not support this device"
    else
        tail -n 60 "$log"
        exit 1
    fi
done
