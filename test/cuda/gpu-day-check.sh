#!/bin/bash
# gpu-day-check.sh: what gpu-day.sh makes of steps that pass, fail, hang, skip, and of programs with tests that do.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fault() { echo "gpu-day-check.sh: $*"; cat "$work/out/summary.txt"; exit 1; }

# A program that speaks as Check does: its second suite hangs, alone or with the others; the rest passes.
cat > "$work/hangs" <<'END'
#!/bin/bash
case ${CK_RUN_SUITE:-all} in
    all) printf 'Running suite(s): first\n second one\n third\n'; printf '\na test hangs: one of the case "c"\n'; exit 124 ;;
    'second one') sleep 60 ;;
    *) printf 'Running suite(s): x\n100%%: Checks: 5, Failures: 0, Errors: 0\n' ;;
esac
END
printf '#!/bin/sh\necho "Running suite(s): a"\necho "50%%: Checks: 4, Failures: 1, Errors: 1"\nexit 1\n' > "$work/fails"
printf '#!/bin/sh\necho "Running suite(s): a"\necho "100%%: Checks: 4, Failures: 0, Errors: 0"\necho "Skipped: 2, not for this device"\n' > "$work/passes"
printf '#!/bin/sh\necho "Skipped: 7, no CUDA device"\n' > "$work/skips"
chmod +x "$work"/*

cat > "$work/steps" <<END
unpack() { :; }
nvidia-smi() { echo "a GPU of this check"; }
clip() { limit=2; [ \$1 -lt 1000 ]; }
steps() {
    step fine 5 check.log true
    step broken 5 check.log false
    step slow 5 check.log sleep 60
    step late 1000 check.log true
    step empty 5 check.log "$work/skips"
    tests good 5 "$work/passes"
    tests bad 5 "$work/fails"
    tests none 5 "$work/skips"
    tests stuck 5 "$work/hangs"
    step last 5 check.log true
}
END
GPU_DAY_STEPS=$work/steps bash test/cuda/gpu-day.sh "$work/out" > /dev/null
[ $? = 1 ] || fault "the exit status is not 1"
${PYTHON:-python3} - "$work/out/summary.json" <<'END' || fault "summary.json is not what it should be"
import json, sys
summary = json.load(open(sys.argv[1]))
got = [(s['step'], s['status'], s['checks'], s['failures'], s['skipped']) for s in summary['steps']]
want = [('fine', 'passed', 0, 0, 0), ('broken', 'failed', 0, 0, 0), ('slow', 'too slow', 0, 0, 0), ('late', 'no time', 0, 0, 0),
        ('empty', 'skipped', 0, 0, 0), ('good', 'passed', 4, 0, 0), ('bad', 'failed', 4, 2, 0), ('none', 'skipped', 0, 0, 7),
        ('stuck, all at once', 'hangs', 0, 0, 0), ('stuck: first', 'passed', 5, 0, 0), ('stuck: second one', 'failed', 0, 0, 0),
        ('stuck: third', 'passed', 5, 0, 0), ('last', 'passed', 0, 0, 0)]
for g, w in zip(got, want):
    if g != w: print(g, 'is not', w)
sys.exit(got != want or summary['not_passed'] != 8 or summary['verdict'] != 1)
END
