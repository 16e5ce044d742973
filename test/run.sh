#!/bin/sh
# run.sh TARGET...: make each target, whatever became of the others, and count what they say. A target
# that runs a Check program counts as many tests as it has, any other as one, less what "Skipped: N, why" says.
# The last line, alone, is "N passed, N failed". MAKE names the make to run.
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.status"' EXIT

for target; do
    echo "== $target"
    { ${MAKE:-make} --no-print-directory "$target" 2>&1; echo $? > "$log.status"; } | tee "$log"
    status=$(cat "$log.status")

    checks=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$log" |
        awk '{ n += $1; bad += $2 + $3 } END { if (n) print n - bad, bad }')
    without=$(sed -n 's/^Skipped: \([0-9]*\), .*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    if [ "$checks" ]; then
        good=$((${checks% *} - without)) bad=${checks#* }
    elif [ "$without" != 0 ]; then
        good=0 bad=0
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
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + without))
done

[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ $((passed + skipped)) != 0 ]
