#!/bin/sh
# coverage.sh FOLDER: what the programs built in FOLDER with CONFIG=cov have executed of src/, by gcov: lines and
# branches of each file, then the lines that no test reaches. Fails unless more than 95 % of the lines were
# executed, and unless test/uncovered.txt lists exactly the others. A header's inline functions count once,
# executed if they were in any file that includes it.
folder=$1
[ -d "$folder/src" ] || { echo "coverage.sh: nothing was built in $folder"; exit 1; }

for object in "$folder"/src/*.o "$folder"/src/cpu/*.o; do
    source=${object#"$folder"/}
    ${GCOV:-gcov} -t -b -c -o "$object" "${source%.o}.c" 2> /dev/null
done | LIST="$(grep -v -e '^#' -e '^$' test/uncovered.txt)" awk '
    BEGIN { list = ENVIRON["LIST"] } # awk -v would read backslashes
    function percent(part, whole) { return whole ? sprintf("%.1f %%", 100 * part / whole) : "-" }
    /^ *-: *0:Source:/ { file = $0; sub(/.*Source:/, "", file); ours = file ~ /^src\//; name = "" }
    !ours { next }
    /^function / { name = $2; sub(/\._omp_fn.*/, "", name); next }
    /^branch / {
        at = file SUBSEP line SUBSEP branch++
        if (!(at in taken)) taken[at] = 0
        if ($4 + 0 > 0) taken[at] = 1
        next
    }
    /^ *[-#=0-9]+\*?: *[0-9]+:/ {
        count = text = $0
        sub(/:.*/, "", count)
        sub(/^[^:]*: */, "", text)
        line = text + 0
        branch = 0
        if (line == 0 || count ~ /-/) next
        sub(/^[0-9]*: */, "", text)
        at = file SUBSEP line
        if (!(at in executed)) { executed[at] = 0; source[at] = file ": " name ": " text }
        if (count + 0 > 0) executed[at] = 1
        if (!(file in lines)) { lines[file] = 0; files[++n] = file }
        if (line > last[file]) last[file] = line
    }
    END {
        for (at in executed) { split(at, p, SUBSEP); lines[p[1]]++; hit[p[1]] += executed[at] }
        for (at in taken) { split(at, p, SUBSEP); ways[p[1]]++; went[p[1]] += taken[at] }
        printf "%-32s %14s %8s %17s %8s\n", "", "lines", "", "branches", ""
        for (i = 1; i <= n; i++) {
            f = files[i]
            printf "%-32s %6d of %5d %8s %8d of %5d %8s\n", f, hit[f], lines[f], percent(hit[f], lines[f]), \
                went[f], ways[f], percent(went[f], ways[f])
            all += lines[f]; all_hit += hit[f]; all_ways += ways[f]; all_went += went[f]
        }
        printf "%-32s %6d of %5d %8s %8d of %5d %8s\n", "all", all_hit, all, percent(all_hit, all), all_went, \
            all_ways, percent(all_went, all_ways)
        m = split(list, entry, "\n")
        for (i = 1; i <= m; i++) listed[entry[i]]++
        for (i = 1; i <= n; i++)
            for (j = 1; j <= last[files[i]]; j++) {
                at = files[i] SUBSEP j
                if (!(at in executed) || executed[at]) continue
                known = listed[source[at]]-- > 0
                printf "line %d%s: %s\n", j, known ? "" : ", not in test/uncovered.txt", source[at]
                bad += !known
            }
        for (e in listed)
            for (; listed[e] > 0; listed[e]--) { print "test/uncovered.txt lists what is executed, or gone: " e; bad++ }
        if (!all || all_hit / all <= 0.95) { print "not more than 95 % of the lines were executed"; bad++ }
        print "coverage: " percent(all_hit, all) " of lines, " percent(all_went, all_ways) " of branches" \
            (bad ? ", " bad " to mend" : "")
        exit bad != 0
    }'
