#!/bin/sh
# The C of README.md, as it is printed: the first piece is compiled, linked and run under the address sanitizer, which
# reports a leak too; every line of the second one stands in examples/mlp.c.
# readme.sh COMPILER WORK ARCHIVE LIBRARIES...; run by `make check-readme-c`.
set -eu
compiler=$1 work=$2 archive=$3
shift 3
piece() { awk -v n="$1" '/^```c$/ { p++; on = p == n; next } /^```$/ { on = 0 } on' README.md; }

mkdir -p "$work"
{
    piece 1
    cat << 'END'
#include <stdio.h>
#include <stdlib.h>

static relora_context *context;

void ok(relora_status status)
{
    char why[512];
    if (status == RELORA_OK) return;
    relora_context_error(context, why, sizeof why, NULL);
    exit(fprintf(stderr, "%s\n", why));
}

int main(void)
{
    static float w[64 * 64], x[8 * 64], y[8 * 64], dy[8 * 64];
    for (int i = 0; i < 8 * 64; i++) x[i] = (float)(i % 7) - 3, dy[i] = (float)(i % 5) - 2;
    ok(relora_context_create(&context, NULL));
    train(context, w, x, y, dy);
    relora_context_release(context);
    for (int i = 0; i < 64 * 64; i++)
        if (w[i] > 0 || w[i] < 0) return 0;
    return 1; /* the merge writes into the memory of the host */
}
END
} > "$work/readme.c"
# shellcheck disable=SC2086 # a compiler may come with flags
$compiler -std=c99 -Wall -Wextra -Werror -g -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude \
    "$work/readme.c" "$archive" "$@" -o "$work/readme"
ASAN_OPTIONS=detect_leaks=1 "$work/readme" || { echo "readme.sh: the first piece of README.md fails"; exit 1; }
lines=$(piece 2 | wc -l)
[ "$lines" -gt 5 ] || { echo "readme.sh: README.md has no second piece of C"; exit 1; }
piece 2 | while IFS= read -r line; do
    grep -qxF -- "$line" examples/mlp.c || { echo "readme.sh: not in examples/mlp.c: $line"; exit 1; }
done
echo "README.md: the first piece runs without a leak, $lines lines of the second are those of examples/mlp.c"
