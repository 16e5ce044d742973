#!/bin/sh
# lint.sh PART OBJECTS...: one part of `make lint`. OBJECTS are those of the library, for the part `calls`.
#   tidy      clang-tidy with .clang-tidy, test/.clang-tidy and examples/.clang-tidy, less test/lint/tidy.txt
#   cppcheck  cppcheck with test/lint/cppcheck.txt
#   includes  src/cpu and cuda know the backend table and nothing above it
#   format    clang-format with .clang-format
#   calls     the library neither ends, prints to, nor asks its process, and has no writable data
#   size      functions and files that are over their budget: a list, not a failure
# FLAGS holds what the compiler gets, and MPI_FLAGS where the header of an MPI is; JOBS is how many files clang-tidy
# reads at once.
part=$1
shift
# examples/go/bridge.c includes a header that cgo writes.
sources=$(ls src/*.c src/cpu/*.c examples/*.c examples/*/*.c test/*/*.c | grep -v '^examples/go/')
found=$(mktemp) || exit 1
trap 'rm -f "$found" "$found.keys"' EXIT

# One line for each finding, "file: check: text of the line", so that line numbers may change.
tidy() {
    for f in $sources; do echo "$f"; done |
        xargs -P "${JOBS:-2}" -I{} sh -c 'clang-tidy --quiet {} -- -std=c11 $FLAGS $MPI_FLAGS -fopenmp 2>&1 || :' |
        grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error): ' | sed "s|^$PWD/||" | sort -u > "$found"
    while IFS= read -r finding; do
        file=${finding%%:*} line=${finding#*:}
        check=$(printf '%s\n' "$finding" | sed 's/.*\[\(.*\)\]$/\1/')
        printf '%s\n' "$file: $check: $(sed -n "${line%%:*}{s/^ *//;p}" "$file")"
    done < "$found" > "$found.keys"
    wrong=$(grep -v -e '^#' -e '^$' test/lint/tidy.txt)
    paste -d '\n' "$found.keys" "$found" | wrong=$wrong awk '
        BEGIN { n = split(ENVIRON["wrong"], entry, "\n"); for (i = 1; i <= n; i++) known[entry[i]] = 1 }
        NR % 2 { key = $0; next }
        key in known { seen[key] = 1; next }
        { print; print "    " key; bad++ }
        END {
            for (i = 1; i <= n; i++)
                if (!(entry[i] in seen)) { print "test/lint/tidy.txt: no such finding: " entry[i]; bad++ }
            exit bad != 0
        }'
}

# The emulator is C++, with contexts and memory that cppcheck has no notion of.
check_c() {
    # shellcheck disable=SC2086
    cppcheck -q -j "${JOBS:-2}" --std=c11 --library=posix,test/lint/check.cfg $FLAGS -D__GNUC__=12 \
        --enable=warning,style,performance,portability,information --suppressions-list=test/lint/cppcheck.txt \
        --template='{file}:{line}: {severity}: {message} [{id}]' --error-exitcode=1 -i test/cuda/emulator \
        -i examples/go src examples test
}

format() {
    # shellcheck disable=SC2046
    clang-format --dry-run --Werror $(git ls-files 'src/*.[ch]' 'include/*.h' 'examples/*.[ch]' 'test/*.[ch]' |
        grep -v '^test/abi/old/') 2> "$found" && return 0
    cat "$found"
    return 1
}

# What backend.h includes is allowed too, and the header of the library that a file wraps.
includes() {
    allowed='backend\.h float_mode\.h memory\.h rng\.h convert\.h [a-z]*_math\.h relora/[a-z]*\.h cpu\.h cpu_[a-z_]*\.h cuda_[a-z]*\.h cuda_[a-z]*\.cuh'
    pattern=$(echo "$allowed" | sed 's/ /|/g')
    grep -Hn '#include "' src/cpu/*.[ch] $(find cuda -name '*.cu*') | grep -vE "\"($pattern)\"" && return 1
    grep -Hn '#include "cpu' src/*.[ch] && return 1
    return 0
}

# By the objects and not by the text: a compiler makes puts() of printf(), and a comment may name anything.
calls() {
    banned='exit _exit _Exit quick_exit abort __assert_fail atexit at_quick_exit on_exit __cxa_atexit'
    banned="$banned printf vprintf puts putchar fprintf vfprintf fputs fputc fwrite perror stdout stderr"
    banned="$banned __printf_chk __fprintf_chk __vfprintf_chk getenv secure_getenv setenv putenv environ"
    banned="$banned signal sigaction sigprocmask pthread_sigmask raise kill fork system setlocale srand rand"
    banned="$banned json_set_alloc_funcs malloc calloc realloc"
    ${NM:-nm} -A -u "$@" | awk -v banned="$banned" '
        BEGIN { n = split(banned, name, " "); for (i = 1; i <= n; i++) bad[name[i]] = 1 }
        $NF in bad { print $1 " calls " $NF; found++ }
        END { if (!NR) print "no object was read"; exit found != 0 || !NR }' || return 1
    ${OBJDUMP:-objdump} -t "$@" | awk '
        / file format / { file = $1; files++ }
        $4 ~ /^\.(data|bss|tdata|tbss)/ && $4 !~ /^\.data\.rel\.ro/ && $5 != "0000000000000000" ||
        $3 ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $3 !~ /^\.data\.rel\.ro/ && $4 !~ /^0*$/ {
            print file " can write to " $NF; found++ }
        END { exit found != 0 || !files }'
}

# A function begins with { in the first column and ends with } there.
size() {
    awk 'FNR == 1 { start = 0 }
         /^{/ { start = FNR; name = before }
         /^}/ { if (start && FNR - start - 1 > 100) print FILENAME ":" start ": " FNR - start - 1 " lines: " name; start = 0 }
         { before = $0 }' $sources src/*.h src/cpu/*.h examples/*/*.h
    for f in $sources; do awk -v f="$f" 'END { if (NR > 600) print f ": " NR " lines, over 600" }' "$f"; done
    for f in include/relora/*.h; do awk -v f="$f" 'END { if (NR > 120) print f ": " NR " lines, over 120" }' "$f"; done
    cat include/relora/*.h | awk 'END { if (NR > 1000) print "include/relora: " NR " lines, over 1000" }'
}

case $part in
    tidy) tidy ;;
    cppcheck) check_c ;;
    includes) includes ;;
    format) format ;;
    calls) calls "$@" ;;
    size) size ;;
    *) echo "lint.sh: no part $part"; exit 1 ;;
esac
