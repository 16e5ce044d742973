#!/bin/bash
# gpu-day.sh OUT: everything that a GPU machine can tell, in one go of at most GPU_DAY_SECONDS: environment, build, tests with
# the most valuable first, benchmarks beside PyTorch, sanitizers. Run in the root of the repository, by `make gpu-day`.
# Each step has a time limit and fails by itself; a test program that dies or hangs is run again suite by suite, so that
# a bad test costs its own suite and no more. A test that was skipped for want of a device is a failure. Into OUT go
# summary.txt and summary.json, which end with the verdict, a log for each kind of step, and the numbers as JSON. The exit
# status is 0 if all went well, 1 if something failed, 3 if there is no GPU. What the build needs and the machine
# lacks is taken from build/gpu-pack, which `make gpu-pack` fills where there is a network.
set -u
OUT=${1:?usage: gpu-day.sh OUT}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 2
root=$PWD B=$PWD/build/release-portable
total=${GPU_DAY_SECONDS:-525} cores=$(nproc)
reserve=0 failed=0 comma=''
rm -f "$OUT"/summary.txt "$OUT"/summary.json "$OUT"/{build,check,bench,sanitizer}.log
say() { echo "$*" | tee -a "$OUT/summary.txt"; }

# ---- running a step ----

left() { echo $((total - SECONDS - reserve)); } # seconds, less what later steps need

# record NAME STATUS RC SECONDS LOG [CHECKS FAILURES SKIPPED]
record() {
    [ "$2" = passed ] || failed=$((failed + 1))
    say "$(printf '%-9s %4s s  %s%s' "$2" "$4" "$1" "${6:+: $6 tests, $7 failed, $8 skipped}")"
    printf '%s\n    {"step": "%s", "status": "%s", "rc": %d, "seconds": %d, "checks": %d, "failures": %d, "skipped": %d, "log": "%s"}' \
        "$comma" "$1" "$2" "$3" "$4" "${6:-0}" "${7:-0}" "${8:-0}" "$5" >> "$OUT/steps"
    comma=,
}

# limited LIMIT LOG COMMAND...: its output goes to LOG and to $OUT/last; sets rc and spent
limited() {
    local limit=$1 log=$2 begin=$SECONDS
    shift 2
    printf '\n== %s\n' "$*" >> "$OUT/$log"
    timeout -k 5 "$limit" "$@" > "$OUT/last" 2>&1
    rc=$?
    spent=$((SECONDS - begin))
    cat "$OUT/last" >> "$OUT/$log"
}

# clip LIMIT: no more than there is; false if that is too little to begin
clip() {
    limit=$1
    [ "$limit" -le "$(left)" ] || limit=$(left)
    [ "$limit" -ge "${least:-5}" ]
}

step() { # NAME LIMIT LOG COMMAND...
    local name=$1 log=$3
    clip "$2" || { record "$name" 'no time' 0 0 "$log"; return; }
    shift 3
    limited "$limit" "$log" "$@"
    case $rc in
        0) if foreign_skips > /dev/null; then record "$name" skipped 0 $spent "$log"; else record "$name" passed 0 $spent "$log"; fi ;;
        124 | 137) record "$name" 'too slow' $rc $spent "$log" ;;
        *) record "$name" failed $rc $spent "$log" ;;
    esac
}

# Tests that were skipped although they are for this device: the number; false if there are none.
foreign_skips() {
    sed -n 's/^Skipped: \([0-9]*\), \(.*\)/\1 \2/p' "$OUT/last" | grep -v 'not for this device' |
        awk '{ n += $1 } END { print n + 0; exit !n }'
}

# count: what a Check program said in $OUT/last: checks, failures, skipped for want of a device
count() {
    set -- $(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$OUT/last" | tail -n 1)
    checks=${1:-0} failures=$((${2:-0} + ${3:-0})) skips=$(foreign_skips)
}

tests() { # NAME LIMIT PROGRAM: a Check program
    local name=$1 program=$3 suite suites
    clip "$2" || { record "$name" 'no time' 0 0 check.log; return; }
    limited "$limit" check.log "$program"
    count
    if [ "$checks" != 0 ] && [ $rc -lt 2 ]; then
        if [ $rc = 0 ] && [ "$skips" = 0 ]; then record "$name" passed 0 $spent check.log "$checks" 0 0
        else record "$name" failed $rc $spent check.log "$checks" "$failures" "$skips"; fi
        return
    fi
    if [ $rc -lt 2 ]; then # there was nothing that it could run
        record "$name" skipped $rc $spent check.log 0 0 "$skips"
        return
    fi
    record "$name, all at once" "$([ $rc = 124 ] && echo hangs || echo dies)" $rc $spent check.log
    grep -a 'hangs:' "$OUT/last"
    mapfile -t suites < <(awk '/^Running suite\(s\):/ { sub(/^Running suite\(s\): /, ""); print; on = 1; next }
        on && /^ / { sub(/^ /, ""); print; next } { on = 0 }' "$OUT/last")
    for suite in "${suites[@]}"; do
        clip 30 || { record "$name: $suite" 'no time' 0 0 check.log; continue; }
        CK_RUN_SUITE=$suite limited "$limit" check.log "$program"
        count
        if [ $rc = 0 ]; then record "$name: $suite" passed 0 $spent check.log "$checks" 0 "$skips"
        else record "$name: $suite" failed $rc $spent check.log "$checks" "$failures" "$skips"; fi
    done
}

# ---- the steps ----

unpack() { # Debian packages into a folder of their own: nothing of the machine is touched
    local to=$root/build/gpu-pack/root deb triple
    for deb in build/gpu-pack/*.deb; do
        [ -e "$deb" ] || return 0
        mkdir -p "$to" && dpkg-deb -x "$deb" "$to" || echo "cannot unpack $deb"
    done
    triple=$(gcc -print-multiarch 2> /dev/null)
    export CPATH=$to/usr/include${CPATH:+:$CPATH}
    export LIBRARY_PATH=$to/usr/lib/$triple:$to/usr/lib${LIBRARY_PATH:+:$LIBRARY_PATH}
    export LD_LIBRARY_PATH=$to/usr/lib/$triple:$to/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export PKG_CONFIG=false # what it knows is the machine's
}

environment() {
    date; uname -a; nproc; free -g | sed -n 2p
    nvidia-smi; nvidia-smi -q | grep -i -E 'addressing|product name|driver version|clocks|graphics|sm  |memory  ' | head -n 30
    "${NVCC:-nvcc}" --version | tail -n 2; gcc --version | head -n 1; make --version | head -n 1
    ldconfig -p | grep -E 'cublasLt|libcheck|libjansson'; python3 -c 'import torch; print("torch", torch.__version__)'
    git log -1 --format='%H %cd'; ls build/gpu-pack
    return 0
}

steps() {
    local kind sanitize="compute-sanitizer --error-exitcode 9 --tool"
    export PYTHONUNBUFFERED=1 RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR=$B RELORA_REQUIRE_DEVICE=1 RELORA_TEST_SECONDS=30
    reserve=$((total * 45 / 100)) # for benchmarks and sanitizers
    step build 170 build.log ${MAKE:-make} -k -j"$cores" ONEDNN=0 CUDA=1 WERROR=0 cuda-everything
    step example 20 check.log "$B/cuda_stream"
    tests kernels 75 "$B/test-cuda_kernels"
    tests device 75 "$B/test-cuda"
    tests pretrain 75 "$B/test-pretrain"
    for kind in conformance golden arguments train; do tests $kind 75 "$B/test-$kind"; done
    CK_RUN_SUITE='kernels of examples/pretrain' step 'racecheck of attention' 40 sanitizer.log $sanitize racecheck "$B/test-pretrain"
    reserve=$((total * 13 / 100))
    step bench 115 bench.log "$B/bench-cuda" --budget 95 --json "$OUT/bench-cuda.json" --pretrain "$B/pretrain"
    least=40
    step 'bench of PyTorch' 400 bench.log python3 test/bench/torch_cuda.py . "$B/librelora.so" "$OUT/bench-cuda.json" \
        "$OUT/bench-torch-cuda.json" --budget $(($(left) - 12))
    least=5 reserve=0
    CK_INCLUDE_TAGS=sanitize step 'memcheck of the device' 60 sanitizer.log $sanitize memcheck "$B/test-cuda"
    SHORT=1 step resume 60 check.log bash test/resume.sh "$B/pretrain" --device cuda
}

# ---- from here to the end ----

: > "$OUT/steps"
[ ! "${GPU_DAY_STEPS:-}" ] || . "$GPU_DAY_STEPS"
unpack > "$OUT/build.log" 2>&1
environment >> "$OUT/build.log" 2>&1
device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1)
say "$(date -u +%FT%TZ), ${device:-no GPU}, $cores cores"
steps
verdict=0
[ $failed = 0 ] || verdict=1
[ "${device:-}" ] || verdict=3
say "$failed steps not passed, $SECONDS s; $(case $verdict in 0) echo 'all well' ;; 1) echo 'see the logs' ;; 3) echo 'there is no GPU here' ;; esac)"
printf '{\n  "device": "%s", "cores": %d, "seconds": %d, "not_passed": %d, "verdict": %d,\n  "steps": [%s\n  ]\n}\n' \
    "${device:-none}" "$cores" $SECONDS $failed $verdict "$(cat "$OUT/steps")" > "$OUT/summary.json"
rm -f "$OUT/steps" "$OUT/last"
exit $verdict
