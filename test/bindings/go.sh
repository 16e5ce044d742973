#!/bin/sh
# go.sh BUILD: go vet and go test with every check of cgo; then once more with a broken library, which must fail.
set -eu
go=${GO:-go}
command -v "$go" > /dev/null || { echo "Skipped: 1, no $go"; exit 0; }
export GOCACHE="$1/go" GOFLAGS=-mod=mod GOPROXY=off GODEBUG=cgocheck=2 CGO_ENABLED=1
cd examples/go
badly=$(gofmt -l . 2> /dev/null || :)
[ -z "$badly" ] || { echo "go.sh: not as gofmt sets it: $badly"; exit 1; }
"$go" vet ./...
"$go" test -count=1 ./...
# -count=1: Go does not know that the library is another
! LD_LIBRARY_PATH=$(dirname "$RELORA_BROKEN") "$go" test -count=1 ./train > "$1/go.log" 2>&1 ||
    { echo "go.sh: the broken library was not noticed"; exit 1; }
grep -q 'TestSameInEveryLanguage' "$1/go.log" || { cat "$1/go.log"; exit 1; }
echo "$("$go" version): tests pass; those of a broken library do not"
