#include "support/golden.h"
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RELORA_TEST_DATA
#define RELORA_TEST_DATA "test"
#endif

struct array {
    char *name;
    double *values;
    struct array *next;
};

struct golden {
    json_t *header;
    unsigned char *data;
    size_t size;
    struct array *arrays;
    char file[256];
};

static unsigned char *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f) ck_abort_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size + 1);
    size_t got = fread(bytes, 1, *size, f);
    fclose(f);
    ck_assert_uint_eq(got, *size);
    return bytes;
}

struct golden *golden_open(const char *name)
{
    struct golden *g = calloc(1, sizeof *g);
    size_t size;
    uint64_t head;
    snprintf(g->file, sizeof g->file, "%s/golden/%s", RELORA_TEST_DATA, name);
    unsigned char *bytes = slurp(g->file, &size);
    memcpy(&head, bytes, sizeof head);
    ck_assert_uint_le(8 + head, size);
    g->header = json_loadb((char *)bytes + 8, head, 0, NULL);
    ck_assert_ptr_nonnull(g->header);
    g->size = size - 8 - head;
    g->data = malloc(g->size + 1);
    memcpy(g->data, bytes + 8 + head, g->size);
    free(bytes);
    return g;
}

void golden_close(struct golden *g)
{
    while (g->arrays) {
        struct array *next = g->arrays->next;
        free(g->arrays->name);
        free(g->arrays->values);
        free(g->arrays);
        g->arrays = next;
    }
    json_decref(g->header);
    free(g->data);
    free(g);
}

int golden_has(struct golden *g, const char *name) { return json_object_get(g->header, name) != NULL; }

int64_t golden_dim(struct golden *g, const char *name, int axis)
{
    json_t *d = json_array_get(json_object_get(json_object_get(g->header, name), "shape"), (size_t)axis);
    return d ? json_integer_value(d) : -1;
}

static struct array *widen(struct golden *g, const char *name, json_t *entry, int64_t n)
{
    struct array *a = calloc(1, sizeof *a);
    size_t at = (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    int wide = strcmp(json_string_value(json_object_get(entry, "dtype")), "F64") == 0;
    ck_assert_uint_le(at + (size_t)n * (wide ? 8 : 4), g->size);
    a->name = malloc(strlen(name) + 1);
    strcpy(a->name, name);
    a->values = malloc(((size_t)n + 1) * sizeof *a->values);
    for (int64_t i = 0; i < n; i++) {
        float f = 0;
        if (wide) memcpy(&a->values[i], g->data + at + 8 * (size_t)i, 8);
        else memcpy(&f, g->data + at + 4 * (size_t)i, 4);
        if (!wide) a->values[i] = (double)f;
    }
    a->next = g->arrays;
    g->arrays = a;
    return a;
}

const double *golden_values(struct golden *g, const char *name, int64_t *count)
{
    json_t *entry = json_object_get(g->header, name);
    if (!entry) ck_abort_msg("%s has no array %s", g->file, name);
    int64_t n = 1;
    for (int i = 0; golden_dim(g, name, i) >= 0; i++) n *= golden_dim(g, name, i);
    if (count) *count = n;
    for (struct array *a = g->arrays; a; a = a->next)
        if (strcmp(a->name, name) == 0) return a->values;
    return widen(g, name, entry, n)->values;
}

const char *golden_text(struct golden *g, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(g->header, "__metadata__"), key));
    if (!text) ck_abort_msg("%s has no metadata %s", g->file, key);
    return text;
}

double golden_number(struct golden *g, const char *key) { return strtod(golden_text(g, key), NULL); }
