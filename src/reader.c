/* A safetensors file, checked whole when it is opened and read from where it lies. */
#include "reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "convert.h"
#include "file.h"
#include "writer.h"

/* ---- opening ---- */

/* Checksums are ours if their text has the right length; then its digits have to be digits. */
static relora_status find_checksums(relora_reader *reader, const char *fn, const char *what)
{
    const char *text = relora_reader_metadata(reader, writer_checksum_key);
    if (!text) return RELORA_OK;
    size_t digits = (size_t)reader->header.count * CHECKSUM_DIGITS;
    if (strlen(text) != digits || strspn(text, "0123456789abcdef") != digits)
        FAIL(reader->ctx, RELORA_E_FORMAT, "%s: %s: __metadata__ \"%s\" is not %zu hexadecimal digits", fn,
             what, writer_checksum_key, digits);
    if (!CHECKSUMS)
        context_log(reader->ctx, RELORA_LOG_WARN, "%s: %s: its checksums are not checked by this build", fn, what);
    reader->checksums = text;
    return RELORA_OK;
}

static relora_status open_bytes(relora_reader **out, relora_context *ctx, const char *fn,
                                const char *what, const unsigned char *bytes, uint64_t size, int mapped)
{
    relora_reader *reader = context_new(ctx, sizeof *reader);
    if (!reader) {
        if (mapped) file_unmap(bytes, size);
        return context_fail_memory(ctx, fn, sizeof *reader);
    }
    reader->ctx = ctx;
    reader->bytes = bytes;
    reader->size = size;
    reader->mapped = mapped;
    relora_status status = st_header_parse(&reader->header, ctx, fn, what, bytes, size);
    if (status >= 0) status = find_checksums(reader, fn, what);
    if (status < 0) {
        relora_reader_release(reader);
        return status;
    }
    *out = reader;
    return RELORA_OK;
}

relora_status relora_reader_open(relora_reader **out, relora_context *ctx, const char *path)
{
    const char *fn = "relora_reader_open";
    const unsigned char *bytes = NULL;
    uint64_t size = 0;
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!path) FAIL(ctx, RELORA_E_ARGUMENT, "%s: path is NULL", fn);
    int host = errno;
    relora_status status = file_map(ctx, fn, path, &bytes, &size);
    if (status >= 0) status = open_bytes(out, ctx, fn, path, bytes, size, 1);
    errno = host;
    return status;
}

relora_status relora_reader_open_memory(relora_reader **out, relora_context *ctx, const void *data,
                                        size_t size)
{
    const char *fn = "relora_reader_open_memory";
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!data) FAIL(ctx, RELORA_E_ARGUMENT, "%s: data is NULL", fn);
    int host = errno; /* jansson sets it */
    relora_status status = open_bytes(out, ctx, fn, "the memory given", data, size, 0);
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
    return reader && index >= 0 && index < reader->header.count ? reader->header.tensors[index].name
                                                                : NULL;
}

static relora_status find(const relora_reader *reader, const char *fn, const char *name, int32_t *index)
{
    if (!name) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: name is NULL", fn);
    *index = st_header_find(&reader->header, name);
    if (*index < 0)
        FAIL(reader->ctx, RELORA_E_NOT_FOUND, "%s: name is \"%s\", and the file has no such tensor", fn,
             name);
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
    const char *fn = "relora_reader_shape";
    int32_t index = -1;
    if (!reader) return RELORA_E_ARGUMENT;
    TRY(find(reader, fn, name, &index));
    if (!ndim) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: ndim is NULL", fn);
    if (capacity < 0) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: capacity is %d, less than 0", fn, capacity);
    if (capacity && !shape) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: shape is NULL", fn);
    const struct st_tensor *t = &reader->header.tensors[index];
    *ndim = t->ndim;
    for (int32_t i = 0; i < t->ndim && i < capacity; i++) shape[i] = t->shape[i];
    return RELORA_OK;
}

static const unsigned char *bytes_of(const relora_reader *reader, const struct st_tensor *t)
{
    return reader->bytes + reader->header.data + t->begin;
}

relora_status relora_reader_bytes(const relora_reader *reader, const char *name, const void **data,
                                  size_t *bytes)
{
    const char *fn = "relora_reader_bytes";
    int32_t index = -1;
    if (!reader) return RELORA_E_ARGUMENT;
    TRY(find(reader, fn, name, &index));
    if (!data) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: data is NULL", fn);
    if (!bytes) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: bytes is NULL", fn);
    const struct st_tensor *t = &reader->header.tensors[index];
    *data = bytes_of(reader, t);
    *bytes = (size_t)(t->end - t->begin);
    return RELORA_OK;
}

int32_t relora_reader_metadata_count(const relora_reader *reader)
{
    return reader ? reader->header.pair_count : -1;
}

const char *relora_reader_metadata_key(const relora_reader *reader, int32_t index)
{
    return reader && index >= 0 && index < reader->header.pair_count ? reader->header.pairs[index].key
                                                                     : NULL;
}

const char *relora_reader_metadata(const relora_reader *reader, const char *key)
{
    if (!reader || !key) return NULL;
    for (int32_t i = 0; i < reader->header.pair_count; i++)
        if (!strcmp(reader->header.pairs[i].key, key)) return reader->header.pairs[i].value;
    return NULL;
}

/* ---- checksums ---- */

relora_status reader_check_sum(const relora_reader *reader, const char *fn, int32_t index)
{
    char digits[CHECKSUM_DIGITS];
    const struct st_tensor *t = &reader->header.tensors[index];
    if (!reader->checksums || !CHECKSUMS) return RELORA_OK;
    const char *stored = reader->checksums + (size_t)index * CHECKSUM_DIGITS;
    checksum_of(bytes_of(reader, t), (size_t)(t->end - t->begin), digits);
    if (memcmp(digits, stored, CHECKSUM_DIGITS))
        FAIL(reader->ctx, RELORA_E_FORMAT,
             "%s: tensor \"%s\" is damaged: its bytes have checksum %.16s, but %.16s was written", fn,
             t->name, digits, stored);
    return RELORA_OK;
}

relora_status relora_reader_verify(const relora_reader *reader)
{
    const char *fn = "relora_reader_verify";
    if (!reader) return RELORA_E_ARGUMENT;
    if (!reader->checksums) FAIL(reader->ctx, RELORA_E_NOT_FOUND, "%s: the file has no checksums", fn);
    if (!CHECKSUMS) FAIL(reader->ctx, RELORA_E_UNSUPPORTED, "%s: this library was built without xxHash", fn);
    for (int32_t i = 0; i < reader->header.count; i++) TRY(reader_check_sum(reader, fn, i));
    return RELORA_OK;
}

/* ---- copying out ---- */

static relora_status check_same_shape(const relora_reader *reader, const char *fn,
                                      const struct st_tensor *t, const relora_tensor *target)
{
    char text[SHAPE_TEXT], stored[SHAPE_TEXT];
    struct shape s = {.ndim = t->ndim < RELORA_MAX_DIMS ? t->ndim : RELORA_MAX_DIMS};
    for (int32_t i = 0; i < s.ndim; i++) s.dim[i] = t->shape[i];
    if (t->ndim > RELORA_MAX_DIMS || !shape_equal(&s, &target->shape))
        FAIL(reader->ctx, RELORA_E_SHAPE, "%s: target is %s, but \"%s\" is %s in the file", fn,
             shape_text(&target->shape, text), t->name, shape_text(&s, stored));
    return RELORA_OK;
}

relora_status reader_check(const relora_reader *reader, const char *fn, const char *name,
                           const relora_tensor *target, uint32_t flags)
{
    int32_t index = -1;
    TRY(find(reader, fn, name, &index));
    const struct st_tensor *t = &reader->header.tensors[index];
    TRY(check_same_shape(reader, fn, t, target));
    int convertible = (flags & RELORA_READ_CONVERT) && t->dtype->dtype;
    if (t->dtype->dtype != target->shape.dtype && !convertible)
        FAIL(reader->ctx, RELORA_E_DTYPE, "%s: target is %s, but \"%s\" is %s in the file", fn,
             dtype_name(target->shape.dtype), name, t->dtype->name);
    return reader_check_sum(reader, fn, index);
}

enum { CONVERT_ELEMENTS = 4096 };

/* One row into memory of the other dtype; the file's bytes have no alignment. */
union piece {
    float wide[CONVERT_ELEMENTS];
    bf16 narrow[CONVERT_ELEMENTS];
};

static void convert_piece(union piece *to, relora_dtype to_dtype, const unsigned char *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (to_dtype == RELORA_F32) {
            bf16 b;
            memcpy(&b, from + (size_t)i * sizeof b, sizeof b);
            to->wide[i] = bf16_to_float(b);
        } else {
            float f;
            memcpy(&f, from + (size_t)i * sizeof f, sizeof f);
            to->narrow[i] = bf16_nearest(f);
        }
    }
}

static relora_status copy_converted(relora_stream *stream, const char *fn, const struct st_tensor *t,
                                    const unsigned char *from, relora_tensor *target)
{
    const struct backend *backend = stream->device->backend;
    const struct shape *s = &target->shape;
    size_t from_item = (size_t)t->dtype->bits / 8, to_item = dtype_size(s->dtype);
    union piece piece;
    for (int64_t i = 0; i < s->rows && s->cols; i++)
        for (int64_t j = 0; j < s->cols; j += CONVERT_ELEMENTS) {
            int64_t n = s->cols - j < CONVERT_ELEMENTS ? s->cols - j : CONVERT_ELEMENTS;
            convert_piece(&piece, s->dtype, from + (size_t)(i * s->cols + j) * from_item, n);
            struct copy copy = {(unsigned char *)target->data + (size_t)(i * s->ld + j) * to_item, &piece, 1,
                                (size_t)n * to_item, 0, 0, COPY_TO_DEVICE};
            TRY_QUEUE(stream, fn, backend->copy(stream->queue, &copy));
        }
    return RELORA_OK;
}

relora_status reader_copy(const relora_reader *reader, relora_stream *stream, const char *fn,
                          int32_t index, relora_tensor *target)
{
    const struct st_tensor *t = &reader->header.tensors[index];
    const struct shape *s = &target->shape;
    const unsigned char *from = bytes_of(reader, t);
    if (t->dtype->dtype != s->dtype) return copy_converted(stream, fn, t, from, target);
    size_t item = dtype_size(s->dtype), row = (size_t)s->cols * item, pitch = (size_t)s->ld * item;
    struct copy copy = {target->data, from, s->rows, row, pitch, row, COPY_TO_DEVICE};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &copy));
    return RELORA_OK;
}

relora_status relora_reader_read(relora_reader *reader, relora_stream *stream, const char *name,
                                 relora_tensor *target, uint32_t flags)
{
    GIVEN(stream);
    const char *fn = "relora_reader_read";
    if (!reader)
        FAIL(stream ? stream->ctx : target ? target->ctx : NULL, RELORA_E_ARGUMENT, "%s: reader is NULL", fn);
    if (!stream) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != reader->ctx)
        FAIL(reader->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than reader", fn);
    TRY(tensor_check(target, stream, fn, "target"));
    if (flags & ~(uint32_t)RELORA_READ_CONVERT)
        FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: flags is 0x%x, and only 0x%x is known", fn, flags,
             RELORA_READ_CONVERT);
    TRY(stream_check(stream, fn));
    TRY(reader_check(reader, fn, name, target, flags));
    return reader_copy(reader, stream, fn, st_header_find(&reader->header, name), target);
}
