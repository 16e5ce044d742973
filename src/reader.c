/* A safetensors file, checked whole when it is opened and read from where it lies. */
#include "reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "file.h"
#include "writer.h"

/* ---- opening ---- */

/* Checksums are ours if their text has the right length; then its digits have to be digits. */
static relora_status find_checksums(const struct call *c, relora_reader *reader, const char *what)
{
    const char *text = relora_reader_metadata(reader, writer_checksum_key);
    if (!text) return RELORA_OK;
    size_t digits = (size_t)reader->header.count * CHECKSUM_DIGITS;
    if (strlen(text) != digits || strspn(text, "0123456789abcdef") != digits)
        FAIL(c, RELORA_E_FORMAT, "%s: __metadata__ \"%s\" is not %zu hexadecimal digits", what,
             writer_checksum_key, digits);
    if (!CHECKSUMS) call_log(c, RELORA_LOG_WARN, "%s: this build cannot verify its checksums", what);
    reader->checksums = text;
    return RELORA_OK;
}

static relora_status open_bytes(const struct call *c, relora_reader **out, const char *what,
                                const unsigned char *bytes, uint64_t size, int mapped)
{
    relora_reader *reader = context_new(c->ctx, sizeof *reader);
    if (!reader) {
        if (mapped) file_unmap(bytes, size);
        return call_fail_memory(c, sizeof *reader);
    }
    reader->ctx = c->ctx;
    reader->bytes = bytes;
    reader->size = size;
    reader->mapped = mapped;
    relora_status status = st_header_parse(c, &reader->header, what, bytes, size);
    if (status >= 0) status = find_checksums(c, reader, what);
    if (status < 0) {
        relora_reader_release(reader);
        return status;
    }
    *out = reader;
    return RELORA_OK;
}

static relora_status open_path(const struct call *c, relora_reader **out, const char *path, int *absent)
{
    const unsigned char *bytes = NULL;
    uint64_t size = 0;
    if (!out) FAIL(c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!c->ctx) return RELORA_E_ARGUMENT;
    if (!path) FAIL(c, RELORA_E_ARGUMENT, "path is NULL");
    int host = errno;
    relora_status status = file_map(c, path, &bytes, &size, absent);
    if (status >= 0 && !(absent && *absent)) status = open_bytes(c, out, path, bytes, size, 1);
    errno = host;
    return status;
}

relora_status relora_reader_open(relora_reader **out, relora_context *ctx, const char *path)
{
    struct call c = {.fn = "relora_reader_open", .ctx = ctx};
    return open_path(&c, out, path, NULL);
}

relora_status relora_reader_open_if_there(relora_reader **out, relora_context *ctx, const char *path)
{
    int absent;
    struct call c = {.fn = "relora_reader_open_if_there", .ctx = ctx};
    return open_path(&c, out, path, &absent);
}

relora_status relora_reader_open_memory(relora_reader **out, relora_context *ctx, const void *data,
                                        size_t size)
{
    struct call c = {.fn = "relora_reader_open_memory", .ctx = ctx};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!data) FAIL(&c, RELORA_E_ARGUMENT, "data is NULL");
    int host = errno; /* jansson sets it */
    relora_status status = open_bytes(&c, out, "the memory given", data, size, 0);
    errno = host;
    return status;
}

void relora_reader_release(relora_reader *reader)
{
    if (!reader) return;
    st_header_free(&reader->header, reader->ctx);
    if (reader->mapped) file_unmap(reader->bytes, reader->size);
    context_delete(reader->ctx, reader, sizeof *reader);
}

/* ---- what is in it ---- */

int32_t relora_reader_count(const relora_reader *reader)
{
    return reader ? reader->header.count : -1;
}

const char *relora_reader_name(const relora_reader *reader, int32_t index)
{
    return reader && index >= 0 && index < reader->header.count ? reader->header.tensors[index].name : NULL;
}

relora_status reader_find(const struct call *c, const relora_reader *reader, const char *name, int32_t *index)
{
    if (!name) FAIL(c, RELORA_E_ARGUMENT, "name is NULL");
    *index = st_header_find(&reader->header, name);
    if (*index < 0) FAIL(c, RELORA_E_NOT_FOUND, "name is \"%s\", and the file has no such tensor", name);
    return RELORA_OK;
}

const char *relora_reader_dtype(const relora_reader *reader, const char *name)
{
    int32_t index = reader && name ? st_header_find(&reader->header, name) : -1;
    return index < 0 ? NULL : reader->header.tensors[index].dtype->name;
}

relora_status relora_reader_shape(const relora_reader *reader, const char *name, int32_t *ndim,
                                  int64_t *shape, int32_t capacity)
{
    int32_t index = -1;
    if (!reader) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_reader_shape", .ctx = reader->ctx};
    TRY(reader_find(&c, reader, name, &index));
    if (!ndim) FAIL(&c, RELORA_E_ARGUMENT, "ndim is NULL");
    if (capacity < 0) FAIL(&c, RELORA_E_ARGUMENT, "capacity is %d, less than 0", capacity);
    if (capacity && !shape) FAIL(&c, RELORA_E_ARGUMENT, "shape is NULL");
    const struct st_tensor *t = &reader->header.tensors[index];
    *ndim = t->ndim;
    for (int32_t i = 0; i < t->ndim && i < capacity; i++) shape[i] = t->shape[i];
    return RELORA_OK;
}

const unsigned char *reader_bytes_of(const relora_reader *reader, const struct st_tensor *t)
{
    return reader->bytes + reader->header.data + t->begin;
}

relora_status relora_reader_bytes(const relora_reader *reader, const char *name, const void **data,
                                  size_t *bytes)
{
    int32_t index = -1;
    if (!reader) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_reader_bytes", .ctx = reader->ctx};
    TRY(reader_find(&c, reader, name, &index));
    if (!data) FAIL(&c, RELORA_E_ARGUMENT, "data is NULL");
    if (!bytes) FAIL(&c, RELORA_E_ARGUMENT, "bytes is NULL");
    const struct st_tensor *t = &reader->header.tensors[index];
    *data = reader_bytes_of(reader, t);
    *bytes = (size_t)(t->end - t->begin);
    return RELORA_OK;
}

int32_t relora_reader_metadata_count(const relora_reader *reader)
{
    return reader ? reader->header.pair_count : -1;
}

const char *relora_reader_metadata_key(const relora_reader *reader, int32_t index)
{
    return reader && index >= 0 && index < reader->header.pair_count ? reader->header.pairs[index].key : NULL;
}

const char *relora_reader_metadata(const relora_reader *reader, const char *key)
{
    if (!reader || !key) return NULL;
    for (int32_t i = 0; i < reader->header.pair_count; i++)
        if (!strcmp(reader->header.pairs[i].key, key)) return reader->header.pairs[i].value;
    return NULL;
}

/* ---- checksums ---- */

relora_status reader_check_sum(const struct call *c, const relora_reader *reader, int32_t index)
{
    char digits[CHECKSUM_DIGITS];
    const struct st_tensor *t = &reader->header.tensors[index];
    if (!reader->checksums || !CHECKSUMS) return RELORA_OK;
    const char *stored = reader->checksums + (size_t)index * CHECKSUM_DIGITS;
    checksum_of(reader_bytes_of(reader, t), (size_t)(t->end - t->begin), digits);
    if (memcmp(digits, stored, CHECKSUM_DIGITS))
        FAIL(c, RELORA_E_FORMAT,
             "tensor \"%s\" is damaged: its bytes have checksum %.16s, but %.16s was written", t->name,
             digits, stored);
    return RELORA_OK;
}

relora_status relora_reader_verify(const relora_reader *reader)
{
    if (!reader) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_reader_verify", .ctx = reader->ctx};
    if (!reader->checksums) FAIL(&c, RELORA_E_NOT_FOUND, "the file has no checksums");
    if (!CHECKSUMS) FAIL(&c, RELORA_E_UNSUPPORTED, "this library was built without xxHash");
    for (int32_t i = 0; i < reader->header.count; i++) TRY(reader_check_sum(&c, reader, i));
    return RELORA_OK;
}
