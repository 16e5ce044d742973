/* An ordered queue of work, and the temporary memory of the calls on it.
 *
 * Calls on one stream cannot overlap, so all of them share one workspace, which grows to what the largest needs. A
 * failure of the device finishes a stream for good: after it nobody can know which work was done. */
#include "stream.h"

#include "device.h"
#include "shape.h"

static relora_status stream_new(const struct call *c, relora_stream **out, relora_device *device,
                                int32_t wrap, void *native)
{
    if (!out) FAIL(c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    if (wrap && device->backend->kind == RELORA_DEVICE_CPU)
        FAIL(c, RELORA_E_UNSUPPORTED, "device is %s, which has no native streams", device->name);
    relora_stream *stream = context_new(c->ctx, sizeof *stream);
    if (!stream) return call_fail_memory(c, sizeof *stream);
    stream->ctx = c->ctx;
    stream->device = device;
    struct queue_options options = {.memory = &c->ctx->memory,
                                    .threads = c->ctx->threads,
                                    .parent = device->queue,
                                    .wrap = wrap,
                                    .native = native};
    relora_status status = device->backend->queue_open(device->index, &options, &stream->queue);
    if (status < 0) {
        context_delete(c->ctx, stream, sizeof *stream);
        FAIL(c, status, "cannot open a queue on %s: %s", device->name, relora_status_text(status));
    }
    *out = stream;
    return RELORA_OK;
}

relora_status relora_stream_create(relora_stream **out, relora_device *device)
{
    struct call c = {.fn = "relora_stream_create", .ctx = device ? device->ctx : NULL};
    return stream_new(&c, out, device, 0, NULL);
}

relora_status relora_stream_wrap(relora_stream **out, relora_device *device, void *native)
{
    struct call c = {.fn = "relora_stream_wrap", .ctx = device ? device->ctx : NULL};
    return stream_new(&c, out, device, 1, native);
}

void *relora_stream_native(const relora_stream *stream)
{
    return stream ? stream->device->backend->queue_native(stream->queue) : NULL;
}

void relora_stream_release(relora_stream *stream)
{
    if (!stream) return;
    const struct backend *backend = stream->device->backend;
    if (stream->workspace) backend->release(stream->queue, stream->workspace, stream->workspace_bytes);
    backend->queue_close(stream->queue);
    context_delete(stream->ctx, stream, sizeof *stream);
}

static relora_status wait(const struct call *c, const relora_stream *other)
{
    if (!other) FAIL(c, RELORA_E_ARGUMENT, "other is NULL");
    if (other->ctx != c->ctx) FAIL(c, RELORA_E_CONTEXT, "other belongs to another context");
    if (other->device != c->stream->device)
        FAIL(c, RELORA_E_DEVICE, "other is on %s, stream on %s", other->device->name,
             c->stream->device->name);
    if (other->failed < 0)
        FAIL(c, other->failed, "other is finished: %s failed before",
             other->failed == RELORA_E_COMM ? "an exchange with other ranks" : "its device");
    return call_queue(c, c->backend->queue_wait(c->queue, other->queue));
}

relora_status relora_stream_wait(relora_stream *stream, relora_stream *other)
{
    struct call c = {.fn = "relora_stream_wait", .ctx = other ? other->ctx : NULL, .other = other};
    TRY(call_open(&c, stream, "stream", stream ? stream->ctx : NULL, NULL));
    return wait(&c, other);
}

relora_status relora_stream_synchronize(relora_stream *stream)
{
    struct call c = {.fn = "relora_stream_synchronize"};
    TRY(call_open(&c, stream, "stream", stream ? stream->ctx : NULL, NULL));
    return call_queue(&c, c.backend->queue_sync(c.queue));
}

/* ---- temporaries ---- */

void *scratch_bytes(struct scratch *scratch, size_t bytes)
{
    void *ptr = scratch->base ? scratch->base + scratch->used : NULL;
    size_t rounded = size_add(bytes, MEMORY_ALIGNMENT - 1);
    if (rounded != SIZE_MAX) rounded = rounded / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
    scratch->used = size_add(scratch->used, rounded);
    return ptr;
}

struct view scratch_take(struct scratch *scratch, int64_t rows, int64_t cols, relora_dtype dtype)
{
    size_t bytes = size_mul(size_mul((size_t)rows, (size_t)cols), dtype_size(dtype));
    return (struct view){scratch_bytes(scratch, bytes), rows, cols, cols, dtype};
}

relora_status scratch_open(const struct call *c, struct scratch *scratch)
{
    relora_stream *stream = c->stream;
    size_t need = scratch->used;
    if (need > stream->workspace_bytes) {
        void *grown = NULL;
        TRY(device_alloc(c, stream->device, c->queue, need, &grown));
        if (stream->workspace) c->backend->release(c->queue, stream->workspace, stream->workspace_bytes);
        call_log(c, RELORA_LOG_DEBUG, "workspace grows from %zu to %zu bytes", stream->workspace_bytes, need);
        stream->workspace = grown;
        stream->workspace_bytes = need;
    }
    *scratch = (struct scratch){stream->workspace, 0};
    return RELORA_OK;
}

relora_status relora_stream_error(const relora_stream *stream, char *buffer, size_t capacity, size_t *length)
{
    if (!stream) return RELORA_E_ARGUMENT;
    return context_copy_text(stream->ctx, stream->error, buffer, capacity, length);
}
