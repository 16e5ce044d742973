#!/bin/sh
# dist.sh NAME ARCHIVE: what git knows of this folder, or without git what is neither built nor hidden, as NAME/ in ARCHIVE.
# The same files give the same bytes.
set -eu
name=$1 archive=$2
mkdir -p "$(dirname "$archive")"
files=$(mktemp)
trap 'rm -f "$files"' EXIT
if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
    git ls-files -z > "$files"
    when=$(git log -1 --format=%ct)
else
    find . -path ./build -prune -o -path './lib/*.so*' -o -path './lib/*.a' -o -type f -printf '%P\0' > "$files"
    when=$(stat -c %Y CHANGELOG.md)
fi
LC_ALL=C sort -z -o "$files" "$files"
tar --null --files-from="$files" --transform="s,^,$name/,S" --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX \
    --mtime="@$when" --format=ustar -cf - | xz -T1 > "$archive"
echo "$archive"
