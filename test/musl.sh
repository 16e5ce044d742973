#!/bin/sh
# musl.sh deps|check: the library with musl in the place of glibc, by Debian's musl-gcc. `deps` builds what the library and
# its tests link with from Debian's sources into build/musl/root, and installs nothing. `check` runs SUITES. MAKE names
# the make to run.
set -eu
root=$PWD/build/musl/root
suites=${SUITES:-unit arguments golden conformance train threads}

fetch() { # sources of Debian, through apt's own directories in build/
    state=$PWD/build/musl/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/sources"
    : > "$state/status"
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
        [ ! -e $list ] || sed 's/^deb /deb-src /; s/^Types:.*/Types: deb-src/' $list > "$state/sources/${list##*/}"
    done
    touch "$state/sources/sources.list"
    set -- -qq -o Dir::Etc::sourcelist="$state/sources/sources.list" -o Dir::Etc::sourceparts="$state/sources" \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root
    apt-get "$@" update
    (cd "$state" && apt-get "$@" source --download-only check jansson)
}

build() { # NAME OPTION...: from the archive of its authors
    name=$1 from=$PWD/build/musl/$1
    shift
    rm -rf "$from" && mkdir -p "$from"
    tar -xf build/musl/apt/"$name"_*.orig.tar.* -C "$from" --strip-components=1
    cmake -S "$from" -B "$from/build" -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_INSTALL_PREFIX="$root" -DCMAKE_INSTALL_LIBDIR=lib \
        -DCMAKE_BUILD_TYPE=Release "$@" > "$from.log" 2>&1 &&
        cmake --build "$from/build" --target install >> "$from.log" 2>&1 || { tail "$from.log"; exit 1; }
}

deps() {
    fetch
    build jansson -DJANSSON_BUILD_DOCS=OFF -DJANSSON_WITHOUT_TESTS=ON -DJANSSON_EXAMPLES=OFF
    build check -DBUILD_TESTING=OFF -DCHECK_ENABLE_SUBUNIT=OFF -DCHECK_ENABLE_TESTS=OFF
    rm -f "$root"/lib/*.so* # programs are linked with the archives, and need no path
    cp /usr/include/xxhash.h "$root/include" # it is a header alone
}

check() {
    command -v musl-gcc > /dev/null && [ -e "$root/include/check.h" ] || { echo "check-musl needs 'make deps-musl'"; exit 1; }
    export CC=musl-gcc OPENMP=0 CUDA=0 PKG_CONFIG_LIBDIR="$root/lib/pkgconfig" CPPFLAGS="-I$root/include" LDFLAGS="-L$root/lib"
    # shellcheck disable=SC2046,SC2086
    exec sh test/run.sh $(printf 'check-%s ' $suites)
}

case ${1:-} in
deps) deps ;;
check) check ;;
*) echo "usage: musl.sh deps|check"; exit 2 ;;
esac
