#include "support/headers.h"
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "support/fixture.h"

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) ck_abort_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    rewind(f);
    char *text = scratch(size + 1);
    ck_assert_uint_eq(fread(text, 1, size, f), size);
    fclose(f);
    return text;
}

char *test_source(const char *path)
{
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", RELORA_TEST_DATA, path);
    return read_text(full);
}

/* A copy of the text from `from` up to `to`. */
static char *piece(const char *from, const char *to)
{
    char *copy = scratch((size_t)(to - from) + 1);
    memcpy(copy, from, (size_t)(to - from));
    return copy;
}

static int each_in(const char *text, void (*visit)(const char *, const char *, const char *))
{
    int count = 0;
    const char *after = text; /* end of the declaration before */
    for (const char *p = text; (p = strstr(p, "\nRELORA_API ")) != NULL; after = p) {
        const char *declaration = p + 1, *end = strchr(p, ';'), *bracket = strchr(p, '(');
        ck_assert(end && bracket && bracket < end);
        const char *name = bracket;
        while (strspn(name - 1, "abcdefghijklmnopqrstuvwxyz0123456789_")) name--;
        visit(piece(name, bracket), piece(after, declaration), piece(declaration, end));
        count++;
        p = end;
    }
    return count;
}

int each_function(void (*visit)(const char *name, const char *comment, const char *declaration))
{
    int count = 0;
    glob_t headers;
    ck_assert_int_eq(glob(RELORA_TEST_DATA "/../include/relora/*.h", 0, NULL, &headers), 0);
    for (size_t i = 0; i < headers.gl_pathc; i++) count += each_in(read_text(headers.gl_pathv[i]), visit);
    globfree(&headers);
    return count;
}
