#!/bin/sh
# deb.sh VERSION ARCHIVE: Debian packages from the release archive, in build/deb. debian/ is pkgconfig/debian, with what
# follows from the release: the changelog, the copyright and the symbols of the library. `make deb` sets CUDA and NVCC.
set -eu
version=$1 archive=$2
for tool in dpkg-buildpackage dh; do
    command -v $tool > /dev/null || { echo "deb.sh: no $tool: 'make deps-bindings' installs it"; exit 1; }
done
rm -rf build/deb
mkdir -p build/deb
cp "$archive" "build/deb/librelora_$version.orig.tar.xz"
tar -C build/deb -xf "$archive"
cd "build/deb/librelora-$version"
cp -R pkgconfig/debian debian
abi=$(sed -n 's/^.define RELORA_ABI //p' include/relora/version.h)

cat > debian/changelog << END
librelora ($version-1) unstable; urgency=medium

  * Release $version: what has changed is in CHANGELOG.md.

 -- librelora developers <librelora@packages.invalid>  $(date -R -u -d "@$(stat -c %Y CHANGELOG.md)")
END
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: librelora\n\n'
    printf 'Files: *\n%s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) /Copyright: /p' LICENSE)"
    sed -e '1,/^Copyright/d' -e '/./!d' LICENSE | sed 's/^/ /'
} > debian/copyright
{
    echo "librelora.so.$abi librelora$abi #MINVER#"
    sed -n 's/^RELORA_\([0-9.]*\) {/\1/p' lib/librelora.map | while read -r node; do
        # a release that is not made yet has no later version than this package
        since=$(printf '%s\n' "$node" "$version" | sort -V | head -n 1)
        echo " (symver)RELORA_$node $since"
    done
} > "debian/librelora$abi.symbols"
for package in $(sed -n 's/^Package: //p' debian/control); do
    # made by `make deb`, not uploaded to Debian: there is no bug in which it was asked for
    echo "$package: initial-upload-closes-no-bugs" > "debian/$package.lintian-overrides"
done

profiles=
[ "${CUDA:-0}" != 1 ] || profiles=-Ppkg.librelora.cuda
unset MAKEFLAGS MAKEOVERRIDES MFLAGS MAKELEVEL # settings of this make are not those of the package
dpkg-buildpackage -us -uc -b $profiles > ../build.log 2>&1 || { tail -n 40 ../build.log; exit 1; }
cd ..
ls ./*.deb
if command -v lintian > /dev/null; then
    # shellcheck disable=SC2035
    lintian --fail-on error,warning --suppress-tags bad-distribution-in-changes-file *.changes
    echo "lintian has nothing to say"
else
    echo "no lintian: nobody has looked at them"
fi
