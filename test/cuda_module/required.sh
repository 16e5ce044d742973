#!/bin/sh
# required.sh PROGRAM...: each is a test program of a device. Where there is none it counts its tests as skipped, and
# fails if RELORA_REQUIRE_DEVICE is set. So that there is none, the module is looked for where it is not.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
export RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR="$folder"
for program; do
    said=$(RELORA_REQUIRE_DEVICE=1 "$program" 2>&1) && { echo "$program: succeeds without a device: $said"; exit 1; }
    said=$(env -u RELORA_REQUIRE_DEVICE "$program" 2>&1) || { echo "$program: fails: $said"; exit 1; }
    case $said in *"Skipped: "*) ;; *) echo "$program: does not say what it skips: $said"; exit 1 ;; esac
done
