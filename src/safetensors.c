/* Reading the header of a safetensors file, trusting nothing in it. jansson reads the JSON; it keeps
 * 64-bit integers exact and refuses bad UTF-8, duplicate keys, NUL characters and trailing text. */
#include "safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which writers sort: the largest first. */
static const struct st_dtype dtypes[] = {
    {"C64", 64, 0, ST_OTHER},        {"F64", 64, 0, ST_F64},
    {"I64", 64, 0, ST_OTHER},        {"U64", 64, 0, ST_OTHER},
    {"F32", 32, RELORA_F32, ST_F32}, {"I32", 32, 0, ST_OTHER},
    {"U32", 32, 0, ST_OTHER},        {"BF16", 16, RELORA_BF16, ST_BF16},
    {"F16", 16, 0, ST_F16},          {"I16", 16, 0, ST_OTHER},
    {"U16", 16, 0, ST_OTHER},        {"F8_E4M3", 8, 0, ST_OTHER},
    {"F8_E5M2", 8, 0, ST_OTHER},     {"F8_E8M0", 8, 0, ST_OTHER},
    {"F8_E4M3FNUZ", 8, 0, ST_OTHER}, {"F8_E5M2FNUZ", 8, 0, ST_OTHER},
    {"I8", 8, 0, ST_OTHER},          {"U8", 8, 0, ST_OTHER},
    {"BOOL", 8, 0, ST_OTHER},        {"F6_E2M3", 6, 0, ST_OTHER},
    {"F6_E3M2", 6, 0, ST_OTHER},     {"F4", 4, 0, ST_OTHER},
};

const struct st_dtype *st_dtype_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strlen(dtypes[i].name) == length && !memcmp(dtypes[i].name, name, length)) return &dtypes[i];
    return NULL;
}

const struct st_dtype *st_dtype_of(relora_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype && dtype) return &dtypes[i];
    return NULL;
}

uint64_t st_tensor_bytes(const struct st_dtype *dtype, int32_t ndim, const int64_t *shape, int *fits)
{
    uint64_t bits = (uint64_t)dtype->bits;
    *fits = 1;
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] == 0) return 0; /* whatever the other sizes are */
    for (int32_t i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(bits, (uint64_t)shape[i], &bits)) *fits = 0;
    if (bits % 8 || bits > INT64_MAX) *fits = 0;
    return *fits ? bits / 8 : 0;
}

/* ---- pieces of the JSON ---- */

struct parse {
    struct st_header *header;
    const struct call *call;
    const char *what;
};

static char *copy_string(const struct parse *p, const char *text, size_t *bytes)
{
    *bytes = strlen(text) + 1;
    return memory_string(&p->call->ctx->memory, text);
}

static relora_status parse_pairs(const struct parse *p, json_t *object)
{
    const char *key;
    json_t *value;
    struct st_header *h = p->header;
    if (!json_is_object(object)) FAIL(p->call, RELORA_E_FORMAT, "%s: __metadata__ is not an object", p->what);
    h->pairs_bytes = json_object_size(object) * sizeof *h->pairs;
    h->pairs = memory_alloc_zero(&p->call->ctx->memory, h->pairs_bytes);
    if (!h->pairs) return call_fail_memory(p->call, h->pairs_bytes);
    json_object_foreach (object, key, value) {
        if (!json_is_string(value))
            FAIL(p->call, RELORA_E_FORMAT, "%s: __metadata__ \"%s\" is not a string", p->what, key);
        struct st_pair *pair = &h->pairs[h->pair_count++];
        pair->key = copy_string(p, key, &pair->key_bytes);
        pair->value = copy_string(p, json_string_value(value), &pair->value_bytes);
        if (!pair->key || !pair->value) return call_fail_memory(p->call, pair->value_bytes);
    }
    return RELORA_OK;
}

/* An integer of 0 or more. */
static int is_natural(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static relora_status parse_shape(const struct parse *p, struct st_tensor *t, const json_t *array)
{
    if (!json_is_array(array) || json_array_size(array) > INT32_MAX / 16)
        FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\" has no shape", p->what, t->name);
    size_t n = json_array_size(array);
    t->shape = memory_alloc(&p->call->ctx->memory, n * sizeof *t->shape);
    if (!t->shape) return call_fail_memory(p->call, n * sizeof *t->shape);
    t->ndim = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *size = json_array_get(array, i);
        if (!is_natural(size))
            FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\": shape[%zu] is not an integer of 0 or more",
                 p->what, t->name, i);
        t->shape[i] = json_integer_value(size);
    }
    return RELORA_OK;
}

static relora_status parse_range(const struct parse *p, struct st_tensor *t, const json_t *offsets)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    int fits;
    if (json_array_size(offsets) != 2 || !is_natural(begin) || !is_natural(end))
        FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\" has no data_offsets", p->what, t->name);
    t->begin = (uint64_t)json_integer_value(begin);
    t->end = (uint64_t)json_integer_value(end);
    uint64_t bytes = st_tensor_bytes(t->dtype, t->ndim, t->shape, &fits);
    if (!fits)
        FAIL(p->call, RELORA_E_FORMAT,
             "%s: tensor \"%s\": its shape is too large, or not a whole number of bytes", p->what, t->name);
    if (t->end < t->begin || t->end - t->begin != bytes)
        FAIL(p->call, RELORA_E_FORMAT,
             "%s: tensor \"%s\": data_offsets %llu to %llu, but its shape needs %llu bytes", p->what, t->name,
             (unsigned long long)t->begin, (unsigned long long)t->end, (unsigned long long)bytes);
    return RELORA_OK;
}

static relora_status parse_tensor(const struct parse *p, const char *name, const json_t *object)
{
    struct st_tensor *t = &p->header->tensors[p->header->count++];
    t->name = copy_string(p, name, &t->name_bytes);
    if (!t->name) return call_fail_memory(p->call, t->name_bytes);
    const json_t *dtype = json_object_get(object, "dtype");
    if (json_object_size(object) != 3)
        FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\" must have only dtype, shape and data_offsets",
             p->what, name);
    if (json_is_string(dtype)) t->dtype = st_dtype_find(json_string_value(dtype), json_string_length(dtype));
    if (!t->dtype)
        FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\" has the unknown dtype \"%s\"", p->what, name,
             json_is_string(dtype) ? json_string_value(dtype) : "");
    TRY(parse_shape(p, t, json_object_get(object, "shape")));
    return parse_range(p, t, json_object_get(object, "data_offsets"));
}

static relora_status parse_object(const struct parse *p, json_t *root)
{
    const char *key;
    json_t *value;
    struct st_header *h = p->header;
    size_t n = json_object_size(root);
    if (n > INT32_MAX / 2) FAIL(p->call, RELORA_E_FORMAT, "%s: too many tensors", p->what);
    h->tensors_bytes = n * sizeof *h->tensors;
    h->tensors = memory_alloc_zero(&p->call->ctx->memory, h->tensors_bytes);
    if (!h->tensors) return call_fail_memory(p->call, h->tensors_bytes);
    json_object_foreach (root, key, value)
        TRY(strcmp(key, "__metadata__") ? parse_tensor(p, key, value) : parse_pairs(p, value));
    return RELORA_OK;
}

/* ---- the whole ---- */

static int compare_places(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end; /* empty ones first */
}

/* Tensors must follow one another from 0 to the end of the file. */
static relora_status check_ranges(const struct parse *p, uint64_t data_size)
{
    struct st_header *h = p->header;
    uint64_t next = 0;
    qsort(h->tensors, (size_t)h->count, sizeof *h->tensors, compare_places);
    for (int32_t i = 0; i < h->count; i++) {
        const struct st_tensor *t = &h->tensors[i];
        if (t->begin != next)
            FAIL(p->call, RELORA_E_FORMAT, "%s: tensor \"%s\" begins at %llu, but %llu is next (%s)", p->what,
                 t->name, (unsigned long long)t->begin, (unsigned long long)next,
                 t->begin < next ? "an overlap" : "a gap");
        next = t->end;
    }
    if (next != data_size)
        FAIL(p->call, RELORA_E_FORMAT, "%s: the tensors end at %llu, but %llu bytes follow the header%s",
             p->what, (unsigned long long)next, (unsigned long long)data_size,
             next > data_size ? ": the file is cut short" : "");
    return RELORA_OK;
}

static relora_status index_names(const struct parse *p);

/* What is wrong with where the header should be; NULL if nothing is. */
static const char *wrong_length(const unsigned char *bytes, uint64_t size, uint64_t length,
                                char text[ST_GUESS_TEXT])
{
    const unsigned char *begin = bytes + ST_LENGTH_BYTES;
    int past = length > size - ST_LENGTH_BYTES;
    if (length > ST_HEADER_MAX)
        snprintf(text, ST_GUESS_TEXT, "its header of %llu bytes exceeds the %d allowed",
                 (unsigned long long)length, ST_HEADER_MAX);
    else if (past)
        snprintf(text, ST_GUESS_TEXT, "its header of %llu bytes goes past the end of %llu%s",
                 (unsigned long long)length, (unsigned long long)size,
                 size > ST_LENGTH_BYTES && *begin == '{' ? ": it is cut short" : "");
    else if (!length || *begin != '{') snprintf(text, ST_GUESS_TEXT, "its header does not begin with {");
    else return NULL;
    return text;
}

static relora_status check_length(const struct parse *p, const unsigned char *bytes, uint64_t size,
                                  uint64_t *length)
{
    char reason[ST_GUESS_TEXT], text[ST_GUESS_TEXT];
    const char *wrong = reason;
    *length = 0;
    if (size < ST_LENGTH_BYTES)
        snprintf(reason, sizeof reason, "%llu bytes are fewer than the 8 of a header length",
                 (unsigned long long)size);
    else {
        for (int i = 0; i < ST_LENGTH_BYTES; i++) *length |= (uint64_t)bytes[i] << (8 * i);
        wrong = wrong_length(bytes, size, *length, reason);
    }
    if (!wrong) return RELORA_OK;
    const char *guess = st_guess(bytes, size, text);
    if (!guess) FAIL(p->call, RELORA_E_FORMAT, "%s: %s", p->what, wrong);
    FAIL(p->call, RELORA_E_FORMAT, "%s is not a safetensors file; it looks like %s (%s)", p->what, guess,
         wrong);
}

static relora_status parse(const struct parse *p, const unsigned char *bytes, uint64_t size)
{
    uint64_t length = 0;
    json_t *root = NULL;
    TRY(check_length(p, bytes, size, &length));
    TRY(st_text_load(p->call, &root, p->what, bytes + ST_LENGTH_BYTES, (size_t)length));
    relora_status status = parse_object(p, root);
    json_decref(root);
    if (status < 0) return status;
    p->header->data = ST_LENGTH_BYTES + length;
    TRY(check_ranges(p, size - p->header->data));
    return index_names(p);
}

relora_status st_header_parse(const struct call *c, struct st_header *header, const char *what,
                              const unsigned char *bytes, uint64_t size)
{
    struct parse p = {header, c, what};
    *header = (struct st_header){0};
    relora_status status = parse(&p, bytes, size);
    if (status < 0) st_header_free(header, c->ctx);
    return status;
}

void st_header_free(struct st_header *header, const relora_context *ctx)
{
    const struct memory *memory = &ctx->memory;
    for (int32_t i = 0; i < header->count; i++) {
        struct st_tensor *t = &header->tensors[i];
        memory_free(memory, t->name, t->name_bytes);
        memory_free(memory, t->shape, (size_t)t->ndim * sizeof *t->shape);
    }
    for (int32_t i = 0; i < header->pair_count; i++) {
        memory_free(memory, header->pairs[i].key, header->pairs[i].key_bytes);
        memory_free(memory, header->pairs[i].value, header->pairs[i].value_bytes);
    }
    memory_free(memory, header->tensors, header->tensors_bytes);
    memory_free(memory, header->pairs, header->pairs_bytes);
    memory_free(memory, header->by_name, (size_t)header->count * sizeof *header->by_name);
    *header = (struct st_header){0};
}

/* ---- finding a name ---- */

struct named {
    const char *name;
    int32_t index;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static relora_status index_names(const struct parse *p)
{
    struct st_header *h = p->header;
    const struct memory *memory = &p->call->ctx->memory;
    size_t n = (size_t)h->count;
    struct named *named = memory_alloc(memory, n * sizeof *named);
    h->by_name = memory_alloc(memory, n * sizeof *h->by_name);
    if (!named || !h->by_name) {
        memory_free(memory, named, n * sizeof *named);
        return call_fail_memory(p->call, n * sizeof *named);
    }
    for (int32_t i = 0; i < h->count; i++) named[i] = (struct named){h->tensors[i].name, i};
    qsort(named, n, sizeof *named, compare_names);
    for (int32_t i = 0; i < h->count; i++) h->by_name[i] = named[i].index;
    memory_free(memory, named, n * sizeof *named);
    return RELORA_OK;
}

int32_t st_header_find(const struct st_header *header, const char *name)
{
    int32_t low = 0, high = header->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = strcmp(name, header->tensors[header->by_name[middle]].name);
        if (!order) return header->by_name[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return -1;
}
