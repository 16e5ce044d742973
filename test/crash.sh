#!/usr/bin/env bash
# crash.sh PROGRAM KILLS: train while being killed at random moments, KILLS times in all, saving included;
# go on each time from what is there; at the end the weights must be those of a run that nobody disturbed.
# Then the same with a limit on file sizes and, where mounting is allowed, with a disk that is full.
set -euo pipefail
program=$1 kills=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fault() { echo "crash.sh: $*" >&2; exit 1; }

# A text, and a run of a second or two over a warm start, two restarts and their merges, saving each step.
seq 1 20000 > "$work/text"
options=(--data "$work/text" --size demo --steps 40 --warm-start 10 --restarts 2 --seq 32 --batch 2
    --accumulate 2 --rank 8 --dropout 0.1 --eval-every 20 --eval-batches 1 --sample 0 --threads 1
    --save-every 1 --keep 2)
train() { # FOLDER OPTION...: in the place of this shell, so call it in one of its own
    mkdir -p "$1"
    exec "$program" "${options[@]}" --out "$1/out" --save "$1/saved" --resume auto "${@:2}"
}
complete() { # FOLDER: to the end, and with an export
    (train "$1" --export "$1/model") > "$work/log" 2>&1 || fault "$(cat "$work/log")"
}
rows() { cut -d, -f1-5,7,8 "$1/out/train.csv"; } # all but the speed

start=$(date +%s%N)
complete "$work/reference"
length=$((($(date +%s%N) - start) / 1000000))
same() { # FOLDER: the outcome of the run there is that of the reference
    cmp "$1/model/model.safetensors" "$work/reference/model/model.safetensors" ||
        fault "the weights of $1 differ from those of an undisturbed run"
    diff <(rows "$work/reference") <(rows "$1") > /dev/null || fault "the losses of $1 differ"
    diff "$work/reference/out/eval.csv" "$1/out/eval.csv" > /dev/null || fault "the evaluations of $1 differ"
}

done_kills=0 runs=0 while_saving=0
while ((done_kills < kills)); do
    ((runs <= 5 * kills)) || fault "only $done_kills kills in $runs runs: the program is too fast for this test"
    folder=$work/run$runs
    for ((;;)); do
        ((done_kills < kills)) || break
        train "$folder" --export "$folder/model" > "$work/log" 2>&1 &
        child=$!
        sleep "$(printf '%d.%03d' 0 $((RANDOM % (length < 900 ? length : 900))))"
        kill -KILL "$child" 2> /dev/null || true
        status=0
        wait "$child" 2> /dev/null || status=$?
        ((status)) || break # it was faster
        ((status == 137)) || fault "it ended with $status: $(cat "$work/log")"
        done_kills=$((done_kills + 1))
        ls "$folder"/saved/*.tmp > /dev/null 2>&1 && while_saving=$((while_saving + 1))
    done
    complete "$folder"
    same "$folder"
    rm -rf "$folder"
    runs=$((runs + 1))
done
echo "$done_kills kills in $runs runs, $while_saving of them while saving: same weights, losses, evaluations"

# A limit on file sizes: the checkpoints no longer fit, training goes on, the last good one stays.
folder=$work/limited
train "$folder" > /dev/null 2>&1 &
child=$!
until ls "$folder"/saved/step-*.safetensors > /dev/null 2>&1; do sleep 0.01; done
kill -KILL "$child" || true
wait "$child" 2> /dev/null || true
before=$(ls "$folder/saved" | grep 'safetensors$' | tail -n 1)
sum=$(cksum < "$folder/saved/$before")
if (ulimit -f 200; train "$folder") > "$work/log" 2>&1; then fault "a run without its last checkpoint ended with 0"; fi
grep -q 'write of .*: File too large' "$work/log" || fault "no sentence about the file size: $(cat "$work/log")"
grep -q 'validation loss' "$work/log" || fault "the run with a size limit did not go on to its end"
[ "$(cksum < "$folder/saved/$before")" = "$sum" ] || fault "a failed save damaged $before"
! ls "$folder"/saved/*.tmp > /dev/null 2>&1 || fault "a failed save left its temporary"
complete "$folder"
same "$folder"
echo "file-size limit: said so, went on, kept $before; resumed to the same weights"

# A full disk.
folder=$work/full
mkdir -p "$folder/saved"
if mount -t tmpfs -o size=40m tmpfs "$folder/saved" 2> /dev/null; then
    trap 'umount "$work/full/saved"; rm -rf "$work"' EXIT
    dd if=/dev/zero of="$folder/saved/ballast" bs=1M count=38 2> /dev/null
    if (train "$folder") > "$work/log" 2>&1; then fault "a run without its last checkpoint ended with 0"; fi
    grep -q 'No space left on device' "$work/log" || fault "no sentence about the full disk: $(cat "$work/log")"
    rm "$folder/saved/ballast"
    complete "$folder"
    same "$folder"
    echo "full disk: said so, went on; resumed to the same weights"
else
    echo "full disk: skipped, mounting a tmpfs is not allowed here"
fi
