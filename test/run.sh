#!/bin/sh
# run.sh TARGET...: make each target, whatever became of the others, and count what they say. A target
# that runs a Check program counts as many tests as it has, any other as one. The last line, alone, is
# "N passed, N failed". MAKE names the make to run.
passed=0 failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.status"' EXIT

for target; do
    echo "== $target"
    { ${MAKE:-make} --no-print-directory "$target" 2>&1; echo $? > "$log.status"; } | tee "$log"
    status=$(cat "$log.status")

    checks=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$log" |
        awk '{ n += $1; bad += $2 + $3 } END { if (n) print n - bad, bad }')
    if [ "$checks" ]; then
        good=${checks% *} bad=${checks#* }
    else
        good=1 bad=0
        if [ -e "test/${target#check-}/main.c" ]; then # a Check program that says nothing
            good=0 bad=1
            echo "$target: no test was run"
        fi
    fi
    if [ "$status" != 0 ] && [ "$bad" = 0 ]; then # it broke down before or after its tests
        bad=1
        [ "$checks" ] || good=0
    fi
    passed=$((passed + good)) failed=$((failed + bad))
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
