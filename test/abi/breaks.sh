#!/bin/sh
# The check of the binary interface, checked: break a copy of the headers in every way that once passed one of the
# usual recipes, and see each break reported; then change what no program can notice, and see it let through.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
abi() { sh "$root/test/abi/abi.sh" "$@"; }
fault() { echo "breaks.sh: $*" >&2; exit 1; }
reported=0 passed=0

fresh() { # a copy to change
    rm -rf "$work/include" "$work/map"
    cp -R "$root/include" "$work/include"
    cp "$root/lib/librelora.map" "$work/map"
}

change() { # FILE SED-COMMAND: FILE is a header, or the map
    case $1 in map) file=$work/map ;; *) file=$work/include/relora/$1 ;; esac
    sed "$2" "$file" > "$work/changed"
    ! cmp -s "$work/changed" "$file" || fault "$2 changes nothing in $1: this test is out of date"
    mv "$work/changed" "$file"
}

compare() { # the changed copy with the original
    abi stubs "$work/include" "$work/map" "$work/lib.so" > "$work/report" 2>&1 ||
        fault "$1: the copy does not compile: $(cat "$work/report")"
    $strip "$work/lib.so"
    abi check "$work/include" "$work/lib.so" "$work/baseline" > "$work/report" 2>&1
}
strip=:

must_fail() { # WHAT WORD: the report must name it
    if compare "$1"; then fault "not reported: $1"; fi
    grep -q -e "$2" "$work/report" || fault "$1: the report does not say $2: $(cat "$work/report")"
    reported=$((reported + 1))
    fresh
}

must_pass() { # WHAT
    compare "$1" || fault "$1 was reported: $(cat "$work/report")"
    passed=$((passed + 1))
    fresh
}

fresh
abi stubs "$work/include" "$work/map" "$work/lib.so" || exit 1
abi store "$work/include" "$work/lib.so" "$work/baseline" || exit 1
! grep -e "$work" "$work/baseline" || fault "the record depends on where it was made"

# ---- what would break a program that is already built ----
change adam.h '/double beta1;/{h;d;};/double beta2;/G'
must_fail 'two fields change places' beta2

change types.h 's/RELORA_BF16 = 2/RELORA_BF16 = 3/'
must_fail 'a constant gets another value' RELORA_BF16

change schedule.h '/RELORA_SCHEDULE_LINEAR = 2/d'
must_fail 'a constant goes' RELORA_SCHEDULE_LINEAR

change stream.h '/relora_stream_wait(/d'
change map '/relora_stream_wait;/d'
must_fail 'a function goes' relora_stream_wait

change stream.h 's/relora_stream_wait(/relora_stream_await(/'
change map 's/relora_stream_wait;/relora_stream_await;/'
must_fail 'a function gets another name' relora_stream_wait

change status.h 's/relora_status_text(relora_status status)/relora_status_text(int64_t status)/'
must_fail 'a parameter gets another type' relora_status_text

change linear.h 's/uint64_t cycle);/uint64_t cycle, uint32_t flags);/'
must_fail 'a function gets one more parameter' relora_linear_reset

change adam.h 's/int32_t relora_adam_count(/int64_t relora_adam_count(/'
must_fail 'a result gets another type' relora_adam_count

change linear.h 's/double dropout; /int64_t dropout;/'
must_fail 'a field gets another type of the same size' dropout

change context.h 's/int32_t threads; /uint64_t threads;/'
must_fail 'a field gets another size' threads

change cycle.h 's/int64_t merge_every;/int64_t new_field; int64_t merge_every;/'
must_fail 'a field is put in the middle' new_field

change schedule.h 's/^} relora_schedule_options;/double new_field; &/'
must_fail 'a field is put at the end, which is allowed once it is on record' new_field

change context.h 's/(\*relora_log_fn)(void \*user, int32_t level,/(*relora_log_fn)(void *user, int64_t level,/'
must_fail 'a callback gets another parameter' relora_log_fn

change map '/relora_stream_wait;/d'
change map 's/relora_reader_bytes;/& relora_stream_wait;/'
must_fail 'a function moves to another release' relora_stream_wait

change map '/relora_stream_wait;/d'
must_fail 'a function is no longer exported' relora_stream_wait

change version.h 's/RELORA_ABI .*/RELORA_ABI 99/'
must_fail 'the library gets another SONAME' librelora.so.99

strip='strip --strip-debug'
must_fail 'the library has no debugging information' 'no debugging information'
strip=:

# ---- what nobody can notice ----
must_pass 'nothing at all'

change stream.h 's/^RELORA_END/RELORA_API relora_status relora_stream_new(relora_stream *stream);\n&/'
printf '\nRELORA_9.9 {\nglobal:\n    relora_stream_new;\n} RELORA_0.2;\n' >> "$work/map"
must_pass 'a new function'

change types.h 's/RELORA_BF16 = 2/&, RELORA_NEW = 3/'
must_pass 'a new constant, which pins.c asks for'

change adam.h '1s/^/\/* a new line *\/\n\n/'
change adam.h 's/default 0\.9 /the default is 0.9 /'
must_pass 'a comment'

change linear.h 's/relora_tensor \*dx,/relora_tensor *gradient_of_x,/'
must_pass 'the name of a parameter'

change relora.h 's/#include "relora\/version.h"//; s/#include "relora\/stream.h"/&\n#include "relora\/version.h"/'
must_pass 'the order of the headers'

echo "$reported breaks reported, $passed harmless changes let through"
