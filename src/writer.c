/* Collecting what a safetensors file will hold, and writing its header. */
#include "writer.h"

#include <jansson.h>
#include <string.h>

#include "list.h"

const char writer_checksum_key[] = "relora.xxh3";

relora_status writer_create(const struct call *c, relora_writer **out)
{
    relora_writer *writer = context_new(c->ctx, sizeof *writer);
    if (!writer) return call_fail_memory(c, sizeof *writer);
    writer->ctx = c->ctx;
    *out = writer;
    return RELORA_OK;
}

relora_status relora_writer_create(relora_writer **out, relora_context *ctx)
{
    struct call c = {.fn = "relora_writer_create", .ctx = ctx};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    return writer_create(&c, out);
}

static void entry_free(const struct memory *memory, struct writer_entry *e)
{
    if (e->name) memory_free(memory, e->name, strlen(e->name) + 1);
    memory_free(memory, e->shape, (size_t)e->ndim * sizeof *e->shape);
    relora_tensor_release(e->tensor);
}

static void pair_free(const struct memory *memory, struct st_pair *pair)
{
    memory_free(memory, pair->key, pair->key_bytes);
    memory_free(memory, pair->value, pair->value_bytes);
}

void relora_writer_release(relora_writer *writer)
{
    if (!writer) return;
    const struct memory *memory = &writer->ctx->memory;
    for (int32_t i = 0; i < writer->count; i++) entry_free(memory, &writer->entries[i]);
    for (int32_t i = 0; i < writer->pair_count; i++) pair_free(memory, &writer->pairs[i]);
    memory_free(memory, writer->entries, (size_t)writer->capacity * sizeof *writer->entries);
    memory_free(memory, writer->pairs, (size_t)writer->pair_capacity * sizeof *writer->pairs);
    context_delete(writer->ctx, writer, sizeof *writer);
}

/* ---- adding ---- */

/* jansson is asked whether a string is UTF-8, since it will have to write it. Only json_pack_ex says whether
 * it was that or memory. */
static relora_status check_text(const struct call *c, const char *what, const char *text)
{
    if (!text) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", what);
    json_error_t error = {0};
    json_t *string = json_pack_ex(&error, 0, "s", text);
    if (!string && json_error_code(&error) != json_error_invalid_utf8) return call_fail_memory(c, 0);
    if (!string) FAIL(c, RELORA_E_ARGUMENT, "%s is not UTF-8", what);
    json_decref(string);
    return RELORA_OK;
}

static relora_status check_name(const struct call *c, const relora_writer *writer, const char *name)
{
    TRY(check_text(c, "name", name));
    if (!name[0]) FAIL(c, RELORA_E_ARGUMENT, "name is empty");
    if (!strcmp(name, "__metadata__"))
        FAIL(c, RELORA_E_ARGUMENT, "name is __metadata__, which the format reserves");
    for (int32_t i = 0; i < writer->count; i++)
        if (!strcmp(writer->entries[i].name, name))
            FAIL(c, RELORA_E_EXISTS, "name \"%s\" is in the file already", name);
    return RELORA_OK;
}

/* Add `e`, which still lacks its name and shape; both are copied. */
static relora_status add(const struct call *c, relora_writer *writer, const char *name, const int64_t *shape,
                         struct writer_entry e)
{
    const struct memory *memory = &writer->ctx->memory;
    void *entries = writer->entries;
    TRY(list_grow(c, &entries, writer->count, &writer->capacity, sizeof *writer->entries));
    writer->entries = entries;
    size_t bytes = (size_t)e.ndim * sizeof *e.shape;
    e.name = memory_string(memory, name);
    e.shape = memory_alloc(memory, bytes);
    if (!e.name || !e.shape) {
        e.tensor = NULL;
        entry_free(memory, &e);
        return call_fail_memory(c, bytes);
    }
    if (bytes) memcpy(e.shape, shape, bytes);
    relora_tensor_retain(e.tensor);
    writer->entries[writer->count++] = e;
    return RELORA_OK;
}

static relora_status add_tensor(const struct call *c, relora_writer *writer, const char *name,
                                relora_tensor *tensor, const int64_t *shape, int32_t turned)
{
    TRY(check_name(c, writer, name));
    if (!tensor) FAIL(c, RELORA_E_ARGUMENT, "tensor is NULL");
    if (tensor->ctx != writer->ctx)
        FAIL(c, RELORA_E_CONTEXT, "tensor belongs to another context than writer");
    return add(c, writer, name, shape,
               (struct writer_entry){.dtype = st_dtype_of(tensor->shape.dtype),
                                     .ndim = tensor->shape.ndim,
                                     .bytes = shape_bytes(&tensor->shape),
                                     .tensor = tensor,
                                     .turned = turned});
}

relora_status writer_add(const struct call *c, relora_writer *writer, const char *name, relora_tensor *tensor)
{
    return add_tensor(c, writer, name, tensor, tensor ? tensor->shape.dim : NULL, 0);
}

relora_status writer_add_turned(const struct call *c, relora_writer *writer, const char *name,
                                relora_tensor *matrix)
{
    const int64_t shape[2] = {matrix->shape.dim[1], matrix->shape.dim[0]};
    return add_tensor(c, writer, name, matrix, shape, 1);
}

relora_status relora_writer_add(relora_writer *writer, const char *name, relora_tensor *tensor)
{
    struct call c = {.fn = "relora_writer_add", .ctx = writer ? writer->ctx : tensor ? tensor->ctx : NULL};
    if (!writer) FAIL(&c, RELORA_E_ARGUMENT, "writer is NULL");
    return writer_add(&c, writer, name, tensor);
}

relora_status writer_add_bytes(const struct call *c, relora_writer *writer, const char *name,
                               const char *dtype, int32_t ndim, const int64_t *shape, const void *data,
                               size_t bytes)
{
    int fits = 0;
    TRY(check_name(c, writer, name));
    if (!dtype) FAIL(c, RELORA_E_ARGUMENT, "dtype is NULL");
    const struct st_dtype *type = st_dtype_find(dtype, strlen(dtype));
    if (!type) FAIL(c, RELORA_E_ARGUMENT, "dtype is \"%s\", not one of the format", dtype);
    if (ndim < 0) FAIL(c, RELORA_E_ARGUMENT, "ndim is %d, less than 0", ndim);
    if (ndim && !shape) FAIL(c, RELORA_E_ARGUMENT, "shape is NULL");
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] < 0)
            FAIL(c, RELORA_E_ARGUMENT, "shape[%d] is %lld, less than 0", i, (long long)shape[i]);
    uint64_t needed = st_tensor_bytes(type, ndim, shape, &fits);
    if (!fits) FAIL(c, RELORA_E_OVERFLOW, "shape is too large, or not a whole number of bytes");
    if (needed != bytes)
        FAIL(c, RELORA_E_SHAPE, "bytes is %zu, but dtype and shape say %llu", bytes,
             (unsigned long long)needed);
    if (!data && bytes) FAIL(c, RELORA_E_ARGUMENT, "data is NULL");
    return add(c, writer, name, shape,
               (struct writer_entry){.dtype = type, .ndim = ndim, .bytes = bytes, .data = data});
}

relora_status relora_writer_add_bytes(relora_writer *writer, const char *name, const char *dtype,
                                      int32_t ndim, const int64_t *shape, const void *data, size_t bytes)
{
    if (!writer) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_writer_add_bytes", .ctx = writer->ctx};
    return writer_add_bytes(&c, writer, name, dtype, ndim, shape, data, bytes);
}

relora_status writer_add_merged(const struct call *c, relora_writer *writer, const char *name,
                                relora_linear *linear, int32_t turned)
{
    const relora_linear_options *o = &linear->options;
    int64_t rows = linear_weight_rows(o), cols = linear_weight_cols(o);
    int64_t shape[2] = {turned ? cols : rows, turned ? rows : cols};
    TRY(check_name(c, writer, name));
    size_t bytes = size_mul(size_mul((size_t)shape[0], (size_t)shape[1]), dtype_size(o->dtype));
    return add(
        c, writer, name, shape,
        (struct writer_entry){
            .dtype = st_dtype_of(o->dtype), .ndim = 2, .bytes = bytes, .merged = linear, .turned = turned});
}

/* Where the pair of that key is, or the place after the last. */
static int32_t find_pair(const relora_writer *writer, const char *key)
{
    int32_t place = 0;
    while (place < writer->pair_count && strcmp(writer->pairs[place].key, key)) place++;
    return place;
}

int writer_has_metadata(const relora_writer *writer, const char *key)
{
    return find_pair(writer, key) < writer->pair_count;
}

relora_status writer_set_metadata(const struct call *c, relora_writer *writer, const char *key,
                                  const char *value)
{
    TRY(check_text(c, "key", key));
    TRY(check_text(c, "value", value));
    if (!strcmp(key, writer_checksum_key))
        FAIL(c, RELORA_E_ARGUMENT, "key is \"%s\", which relora_writer_save sets", key);
    const struct memory *memory = &writer->ctx->memory;
    int32_t place = find_pair(writer, key);
    void *pairs = writer->pairs;
    TRY(list_grow(c, &pairs, place, &writer->pair_capacity, sizeof *writer->pairs));
    writer->pairs = pairs;
    struct st_pair pair = {memory_string(memory, key), memory_string(memory, value), strlen(key) + 1,
                           strlen(value) + 1};
    if (!pair.key || !pair.value) {
        pair_free(memory, &pair);
        return call_fail_memory(c, pair.value_bytes);
    }
    if (place < writer->pair_count) pair_free(memory, &writer->pairs[place]);
    else writer->pair_count++;
    writer->pairs[place] = pair;
    return RELORA_OK;
}

relora_status relora_writer_set_metadata(relora_writer *writer, const char *key, const char *value)
{
    if (!writer) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_writer_set_metadata", .ctx = writer->ctx};
    return writer_set_metadata(&c, writer, key, value);
}

/* ---- the header ---- */

static json_t *tensor_object(const struct writer_entry *e, uint64_t begin)
{
    json_t *shape = json_array();
    int failed = !shape;
    for (int32_t i = 0; i < e->ndim && !failed; i++)
        failed = json_array_append_new(shape, json_integer(e->shape[i])) != 0;
    if (failed) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", e->dtype->name, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + e->bytes));
}

static json_t *metadata_object(const relora_writer *writer, const char *checksums)
{
    json_t *object = json_object();
    int failed = !object;
    for (int32_t i = 0; i < writer->pair_count && !failed; i++)
        failed = json_object_set_new(object, writer->pairs[i].key, json_string(writer->pairs[i].value)) != 0;
    if (checksums && !failed)
        failed = json_object_set_new(object, writer_checksum_key, json_string(checksums)) != 0;
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static json_t *root_object(const relora_writer *writer, const int32_t *order, const char *checksums)
{
    json_t *root = json_object();
    int failed = !root;
    if (!failed && (writer->pair_count || checksums))
        failed = json_object_set_new(root, "__metadata__", metadata_object(writer, checksums)) != 0;
    uint64_t begin = 0;
    for (int32_t i = 0; i < writer->count && !failed; i++) {
        const struct writer_entry *e = &writer->entries[order[i]];
        failed = json_object_set_new(root, e->name, tensor_object(e, begin)) != 0;
        begin += e->bytes;
    }
    if (!failed) return root;
    json_decref(root);
    return NULL;
}

relora_status writer_header(const struct call *c, const relora_writer *writer, const int32_t *order,
                            const char *checksums, char **text, size_t *bytes)
{
    *text = NULL;
    json_t *root = root_object(writer, order, checksums);
    size_t length = root ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
    *bytes = (length + ST_ALIGN - 1) / ST_ALIGN * ST_ALIGN;
    relora_status status = RELORA_OK;
    if (!length) {
        status = call_fail_memory(c, 0);
    } else if (*bytes > ST_HEADER_MAX) {
        status = call_fail(c, RELORA_E_OVERFLOW, "the header of %zu bytes exceeds the %d of the format",
                           *bytes, ST_HEADER_MAX);
    } else if (!(*text = memory_alloc(&writer->ctx->memory, *bytes))) {
        status = call_fail_memory(c, *bytes);
    } else {
        memset(*text, ' ', *bytes);
        if (json_dumpb(root, *text, length, JSON_COMPACT) != length) { /* it needs memory each time */
            memory_free(&writer->ctx->memory, *text, *bytes);
            status = call_fail_memory(c, length);
        }
    }
    json_decref(root);
    return status;
}
