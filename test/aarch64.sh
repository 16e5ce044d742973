#!/bin/sh
# aarch64.sh deps|check: the library for 64-bit ARM, built by Debian's cross compiler and run in qemu's emulation of a
# program. `deps` unpacks what the tests link with into build/aarch64/root, and installs nothing. `check` runs SUITES. MAKE
# names the make to run.
set -eu
root=$PWD/build/aarch64/root
suites=${SUITES:-unit golden conformance train}

deps() { # what Debian has for arm64, through apt's own directories in build/
    state=$PWD/build/aarch64/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$root"
    : > "$state/status"
    set -- -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$state" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root
    apt-get "$@" update
    (cd "$state" && apt-get "$@" download libjansson-dev check libsubunit-dev libxxhash-dev)
    for package in "$state"/*.deb; do dpkg-deb -x "$package" "$root"; done
}

check() {
    command -v aarch64-linux-gnu-gcc > /dev/null && command -v qemu-aarch64 > /dev/null && [ -d "$root/usr" ] ||
        { echo "check-aarch64 needs 'make deps-aarch64'"; exit 1; }
    export CC=aarch64-linux-gnu-gcc ONEDNN=0 CUDA=0 PKG_CONFIG=false WRAPPER=qemu-aarch64 QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
    export CK_TIMEOUT_MULTIPLIER=20 CK_FORK=no # in one process, so that each piece of code is translated once
    export CPPFLAGS="-I$root/usr/include" LDFLAGS="-L$root/usr/lib/aarch64-linux-gnu"
    # shellcheck disable=SC2046,SC2086
    exec sh test/run.sh check-neon $(printf 'check-%s ' $suites)
}

case ${1:-} in
deps) deps ;;
check) check ;;
*) echo "usage: aarch64.sh deps|check"; exit 2 ;;
esac
