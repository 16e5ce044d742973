#!/bin/sh
# rust.sh BUILD: cargo test, without a network; then once more with a broken library, which must fail.
set -eu
cargo=${CARGO:-cargo}
command -v "$cargo" > /dev/null || { echo "Skipped: 1, no $cargo"; exit 0; }
# a folder for each compiler: what one has written the other cannot read
CARGO_TARGET_DIR=$1/rust-$("$cargo" --version | tr -c 'a-z0-9.\n' '-' | cut -c1-20)
export CARGO_TARGET_DIR
cd examples/rust
"$cargo" test --offline --quiet > "$1/rust.log" 2>&1 || { cat "$1/rust.log"; exit 1; }
! LD_LIBRARY_PATH=$(dirname "$RELORA_BROKEN") "$cargo" test --offline --quiet --test train > "$1/rust.log" 2>&1 ||
    { echo "rust.sh: the broken library was not noticed"; exit 1; }
grep -q 'same_in_every_language' "$1/rust.log" || { cat "$1/rust.log"; exit 1; }
echo "$("$cargo" --version): tests pass; those of a broken library do not"
