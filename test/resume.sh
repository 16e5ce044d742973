#!/usr/bin/env bash
# resume.sh PROGRAM [OPTION]...: for every method and type, keep the checkpoint of each step, go on from several of
# them (in the warm start, at its end, before, at and after a restart, at the end), and ask for the same losses and
# the same weights as those of the run that was never stopped. With SHORT=1 one method, from a restart.
set -euo pipefail
program=$1
shift
options=("$@") methods='full lora lowrank relora frozen' steps='3 6 7 12 13 14 24'
if [ "${SHORT-}" ]; then methods=relora steps=13; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fault() { echo "resume.sh: $*" >&2; exit 1; }

seq 1 20000 > "$work/text"
train() { # METHOD DTYPE OPTION...
    case $1 in
        *lora) set -- "$@" --full-rank-every 3 ;;
        frozen) set -- relora "$2" --init-a gradient --factors b --reset project "${@:3}" ;; # A by the gradient before a restart
    esac
    "$program" --data "$work/text" --method "$1" --dtype "$2" --steps 24 --warm-start 6 --restarts 2 --seq 32 \
        --batch 2 --accumulate 2 --rank 8 --dropout 0.1 --weight-decay 0.01 --eval-every 5 --eval-batches 1 \
        --sample 0 --threads 1 "${options[@]}" "${@:3}" > "$work/log" 2>&1 || fault "$1 $2: $(cat "$work/log")"
}
rows() { tail -n +2 "$1/train.csv" | cut -d, -f1-5,7,8; } # all but the speed

count=0
for method in $methods; do
    for dtype in f32 bf16; do
        whole=$work/$method-$dtype
        mkdir "$whole"
        train $method $dtype --out "$whole" --save "$whole/saved" --save-every 1 --keep 0 --export "$whole/model"
        for step in $steps; do
            part=$work/part
            rm -rf "$part"
            mkdir "$part"
            train $method $dtype --out "$part" --export "$part/model" \
                --resume "$whole/saved/step-$(printf %08d $step).safetensors"
            cmp "$part/model/model.safetensors" "$whole/model/model.safetensors" ||
                fault "$method $dtype from step $step: other weights"
            diff <(rows "$whole" | tail -n +$((step + 1))) <(rows "$part") > /dev/null ||
                fault "$method $dtype from step $step: other losses"
            count=$((count + 1))
        done
    done
done
echo "$count runs resumed: same losses, same weights"
