/* Streaming a file out. Values go through a small buffer, so memory does not grow with the tensors;
 * the checksums, which stand in the header, are known at the end and put there afterwards. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "file.h"
#include "writer.h"

enum { BUFFER_BYTES = 1 << 20 };

struct save {
    const relora_writer *writer;
    const struct call *call;
    struct new_file file;
    int32_t *order; /* of the entries in the file */
    unsigned char *buffer;
    char *checksums; /* CHECKSUM_DIGITS for each tensor and a NUL, or NULL */
    checksum *sum;
};

/* ---- order: the widest types first, so that every tensor is aligned; then by name ---- */

static int precedes(const struct writer_entry *a, const struct writer_entry *b)
{
    if (a->dtype != b->dtype) return a->dtype < b->dtype; /* the table of types is in that order */
    return strcmp(a->name, b->name) < 0;
}

/* Merge sort of indices: qsort has no argument for the entries. */
static void sort_entries(const struct writer_entry *entries, int32_t *order, int32_t *spare, int32_t n)
{
    if (n < 2) return;
    int32_t half = n / 2, i = 0, j = half, k = 0;
    sort_entries(entries, order, spare, half);
    sort_entries(entries, order + half, spare, n - half);
    while (i < half && j < n)
        spare[k++] = precedes(&entries[order[j]], &entries[order[i]]) ? order[j++] : order[i++];
    while (i < half) spare[k++] = order[i++];
    memcpy(order, spare, (size_t)k * sizeof *order);
}

static relora_status make_order(struct save *s)
{
    const struct memory *memory = &s->writer->ctx->memory;
    size_t n = (size_t)s->writer->count, bytes = n * sizeof *s->order;
    s->order = memory_alloc(memory, bytes);
    int32_t *spare = memory_alloc(memory, bytes);
    if (!s->order || !spare) {
        memory_free(memory, spare, bytes);
        return call_fail_memory(s->call, bytes);
    }
    for (int32_t i = 0; i < s->writer->count; i++) s->order[i] = i;
    sort_entries(s->writer->entries, s->order, spare, s->writer->count);
    memory_free(memory, spare, bytes);
    return RELORA_OK;
}

/* ---- values ---- */

static relora_status put(struct save *s, const void *data, size_t bytes)
{
    if (s->sum) checksum_add(s->sum, data, bytes);
    return file_write(&s->file, data, bytes);
}

/* Row after row, in pieces that fit the buffer; without gaps it is all one row. */
static relora_status put_view(struct save *s, struct view v)
{
    size_t item = dtype_size(v.dtype), rows = (size_t)v.rows;
    size_t row = (size_t)v.cols * item, pitch = (size_t)v.ld * item;
    if (v.ld == v.cols) row *= rows, rows = 1;
    for (size_t i = 0; i < rows; i++)
        for (size_t done = 0; done < row;) {
            size_t n = row - done < BUFFER_BYTES ? row - done : BUFFER_BYTES;
            struct copy copy = {s->buffer,   (const unsigned char *)v.data + i * pitch + done, 1, n, 0, 0,
                                COPY_TO_HOST};
            TRY(call_queue(s->call, s->call->backend->copy(s->call->queue, &copy)));
            TRY(call_queue(s->call, s->call->backend->queue_sync(s->call->queue)));
            TRY(put(s, s->buffer, n));
            done += n;
        }
    return RELORA_OK;
}

static void turn(void *to, const void *from, int64_t rows, int64_t cols, size_t item)
{
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++) {
            if (item == sizeof(uint32_t))
                ((uint32_t *)to)[j * rows + i] = ((const uint32_t *)from)[i * cols + j];
            else ((uint16_t *)to)[j * rows + i] = ((const uint16_t *)from)[i * cols + j];
        }
}

/* A part of a matrix that fits half of the buffer; its transpose is made in the other. */
static relora_status put_turned_part(struct save *s, struct view v)
{
    size_t item = dtype_size(v.dtype), row = (size_t)v.cols * item, bytes = row * (size_t)v.rows;
    struct copy copy = {s->buffer, v.data, v.rows, row, row, (size_t)v.ld * item, COPY_TO_HOST};
    TRY(call_queue(s->call, s->call->backend->copy(s->call->queue, &copy)));
    TRY(call_queue(s->call, s->call->backend->queue_sync(s->call->queue)));
    turn(s->buffer + BUFFER_BYTES / 2, s->buffer, v.rows, v.cols, item);
    return put(s, s->buffer + BUFFER_BYTES / 2, bytes);
}

/* The transpose: as many whole columns at a time as fit, or pieces of one. */
static relora_status put_turned(struct save *s, struct view v)
{
    int64_t most = BUFFER_BYTES / 2 / (int64_t)dtype_size(v.dtype);
    int64_t rows = v.rows < most ? v.rows : most, cols = most / rows;
    for (int64_t j = 0; j < v.cols; j += cols)
        for (int64_t i = 0; i < v.rows; i += rows) {
            struct view part = view_cols(v, j, v.cols - j < cols ? v.cols - j : cols);
            TRY(put_turned_part(s, view_rows(part, i, v.rows - i < rows ? v.rows - i : rows)));
        }
    return RELORA_OK;
}

/* All of it at once: its rows are made in slices, but written by columns. */
static relora_status put_merged_turned(struct save *s, relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    int64_t shape[2] = {linear_weight_rows(o), linear_weight_cols(o)};
    relora_tensor *whole = NULL;
    if (o->mode == RELORA_MODE_FULL) return put_turned(s, tensor_view(linear->param[RELORA_PARAM_WEIGHT]));
    TRY(tensor_new(s->call, &whole, linear->device, o->dtype, 2, shape));
    relora_status status = RELORA_OK;
    for (int64_t first = 0, rows; first < shape[0] && status >= 0; first += rows) {
        rows = linear_slice_rows(linear, first);
        status = linear_merged_rows(s->call, linear, first, view_rows(tensor_view(whole), first, rows));
    }
    if (status >= 0) status = put_turned(s, tensor_view(whole));
    relora_tensor_release(whole);
    return status;
}

/* A slice of rows at a time, on the device, through a tensor of its own. */
static relora_status put_merged(struct save *s, relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    int64_t shape[2] = {linear_slice_rows(linear, 0), linear_weight_cols(o)};
    relora_tensor *slice = NULL;
    TRY(tensor_new(s->call, &slice, linear->device, o->dtype, 2, shape));
    relora_status status = RELORA_OK;
    for (int64_t first = 0; first < linear_weight_rows(o) && status >= 0;) {
        struct view part = tensor_view(slice);
        part.rows = linear_slice_rows(linear, first);
        status = linear_merged_rows(s->call, linear, first, part);
        if (status >= 0) status = put_view(s, part);
        first += part.rows;
    }
    relora_tensor_release(slice);
    return status;
}

/* Values come through the stream, so all of them are on its device; and there. */
static relora_status check_sources(const struct save *s)
{
    for (int32_t i = 0; i < s->writer->count; i++) {
        const struct writer_entry *e = &s->writer->entries[i];
        const relora_device *device = e->tensor ? e->tensor->device : e->merged ? e->merged->device : NULL;
        if (device && device != s->call->stream->device)
            FAIL(s->call, RELORA_E_DEVICE, "\"%s\" is on %s, stream on %s", e->name, device->name,
                 s->call->stream->device->name);
        if (e->tensor && tensor_lacks_memory(e->tensor))
            FAIL(s->call, RELORA_E_STATE, "\"%s\" " NO_MEMORY_YET, e->name);
        if (e->merged) TRY(linear_check_memory(s->call, e->merged, RELORA_PARAM_WEIGHT));
    }
    return RELORA_OK;
}

static relora_status put_entry(struct save *s, const struct writer_entry *e)
{
    if (e->merged) return e->turned ? put_merged_turned(s, e->merged) : put_merged(s, e->merged);
    if (e->turned) return put_turned(s, tensor_view(e->tensor));
    return e->tensor ? put_view(s, tensor_view(e->tensor)) : put(s, e->data, (size_t)e->bytes);
}

static relora_status put_values(struct save *s)
{
    for (int32_t i = 0; i < s->writer->count; i++) {
        const struct writer_entry *e = &s->writer->entries[s->order[i]];
        if (s->sum) checksum_begin(s->sum);
        TRY(put_entry(s, e));
        if (s->sum) checksum_end(s->sum, s->checksums + (size_t)i * CHECKSUM_DIGITS);
    }
    return RELORA_OK;
}

/* ---- the file ---- */

static relora_status put_header(struct save *s, int again)
{
    char *text;
    size_t bytes;
    TRY(writer_header(s->call, s->writer, s->order, s->checksums, &text, &bytes));
    unsigned char length[ST_LENGTH_BYTES];
    for (int i = 0; i < ST_LENGTH_BYTES; i++) length[i] = (unsigned char)(bytes >> (8 * i));
    relora_status status;
    if (again) {
        status = file_write_at(&s->file, text, bytes, ST_LENGTH_BYTES);
    } else {
        status = file_write(&s->file, length, sizeof length);
        if (status >= 0) status = file_write(&s->file, text, bytes);
    }
    memory_free(&s->writer->ctx->memory, text, bytes);
    return status;
}

static relora_status open_checksums(struct save *s)
{
    size_t bytes = size_add(size_mul((size_t)s->writer->count, CHECKSUM_DIGITS), 1);
    s->checksums = memory_alloc(&s->writer->ctx->memory, bytes);
    s->sum = memory_alloc(&s->writer->ctx->memory, sizeof *s->sum);
    if (!s->checksums || !s->sum) return call_fail_memory(s->call, bytes);
    memset(s->checksums, '0', bytes - 1);
    s->checksums[bytes - 1] = '\0';
    return RELORA_OK;
}

static relora_status save(struct save *s, const char *path, uint32_t flags)
{
    const relora_context *ctx = s->writer->ctx;
    TRY(check_sources(s));
    TRY(make_order(s));
    if (flags & RELORA_SAVE_CHECKSUM) TRY(open_checksums(s));
    s->buffer = memory_alloc(&ctx->memory, BUFFER_BYTES);
    if (!s->buffer) return call_fail_memory(s->call, BUFFER_BYTES);
    TRY(file_open_new(s->call, &s->file, path));
    TRY(put_header(s, 0));
    TRY(put_values(s));
    if (s->checksums) TRY(put_header(s, 1));
    return file_commit(&s->file);
}

static void close_save(struct save *s)
{
    const struct memory *memory = &s->writer->ctx->memory;
    size_t n = (size_t)s->writer->count;
    if (s->file.call) file_close_new(&s->file);
    memory_free(memory, s->order, n * sizeof *s->order);
    memory_free(memory, s->buffer, BUFFER_BYTES);
    memory_free(memory, s->checksums, n * CHECKSUM_DIGITS + 1);
    memory_free(memory, s->sum, sizeof *s->sum);
}

relora_status writer_save(const struct call *c, const relora_writer *writer, const char *path, uint32_t flags)
{
    if (!path) FAIL(c, RELORA_E_ARGUMENT, "path is NULL");
    if (!path[0]) FAIL(c, RELORA_E_ARGUMENT, "path is empty");
    if (flags & ~(uint32_t)RELORA_SAVE_CHECKSUM)
        FAIL(c, RELORA_E_ARGUMENT, "flags is 0x%x, and only 0x%x is known", flags, RELORA_SAVE_CHECKSUM);
    if (flags & RELORA_SAVE_CHECKSUM && !CHECKSUMS)
        FAIL(c, RELORA_E_UNSUPPORTED, "this library was built without xxHash, so it has no checksums");
    struct save s = {.writer = writer, .call = c};
    int host = errno;
    relora_status status = save(&s, path, flags);
    close_save(&s);
    errno = host;
    return status;
}

relora_status relora_writer_save(relora_writer *writer, relora_stream *stream, const char *path,
                                 uint32_t flags)
{
    struct call c = {.fn = "relora_writer_save"};
    TRY(call_open(&c, stream, "writer", writer ? writer->ctx : NULL, NULL));
    return writer_save(&c, writer, path, flags);
}
