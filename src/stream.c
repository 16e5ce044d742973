/* An ordered queue of work, and the temporary memory of the calls on it.
 *
 * Calls on one stream cannot overlap, so all of them share one workspace, which grows to what the largest needs. A
 * failure of the device finishes a stream for good: after it nobody can know which work was done. */
#include "stream.h"

#include "device.h"
#include "shape.h"

relora_stream *stream_entered(relora_stream *stream)
{
    if (stream && !stream->error.depth++) atomic_store(&stream->error.inside, (uintptr_t)pthread_self());
    return stream;
}

void stream_left(relora_stream **stream)
{
    if (*stream && !--(*stream)->error.depth) atomic_store(&(*stream)->error.inside, 0);
}

static void join_errors(relora_stream *stream)
{
    struct error_slot *slot = stream->ctx->error;
    pthread_mutex_lock(&slot->lock);
    stream->error.next = slot->streams;
    slot->streams = &stream->error;
    pthread_mutex_unlock(&slot->lock);
}

static void leave_errors(const relora_stream *stream)
{
    struct error_slot *slot = stream->ctx->error;
    pthread_mutex_lock(&slot->lock);
    struct stream_error **at = &slot->streams;
    while (*at != &stream->error) at = &(*at)->next;
    *at = stream->error.next;
    pthread_mutex_unlock(&slot->lock);
}

static relora_status stream_new(relora_stream **out, relora_device *device, const char *fn, int32_t wrap,
                                void *native)
{
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_context *ctx = device->ctx;
    if (wrap && device->backend->kind == RELORA_DEVICE_CPU)
        FAIL(ctx, RELORA_E_UNSUPPORTED, "%s: device is %s, which has no streams of the host", fn, device->name);
    relora_stream *stream = context_new(ctx, sizeof *stream);
    if (!stream) return context_fail_memory(ctx, fn, sizeof *stream);
    stream->ctx = ctx;
    stream->device = device;
    struct queue_options options = {.memory = &ctx->memory,
                                    .threads = ctx->threads,
                                    .parent = device->queue,
                                    .wrap = wrap,
                                    .native = native};
    relora_status status = device->backend->queue_open(device->index, &options, &stream->queue);
    if (status < 0) {
        context_fail(ctx, status, "%s: cannot open a queue on %s: %s", fn, device->name,
                     relora_status_text(status));
        context_delete(ctx, stream, sizeof *stream);
        return status;
    }
    join_errors(stream);
    *out = stream;
    return RELORA_OK;
}

relora_status relora_stream_create(relora_stream **out, relora_device *device)
{
    return stream_new(out, device, "relora_stream_create", 0, NULL);
}

relora_status relora_stream_wrap(relora_stream **out, relora_device *device, void *native)
{
    return stream_new(out, device, "relora_stream_wrap", 1, native);
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
    leave_errors(stream);
    context_delete(stream->ctx, stream, sizeof *stream);
}

relora_status stream_check(const relora_stream *stream, const char *function)
{
    if (stream->failed < 0)
        FAIL(stream->ctx, stream->failed, "%s: the stream is finished: its device failed before",
             function);
    return RELORA_OK;
}

relora_status stream_note(relora_stream *stream, relora_status status)
{
    if (status != RELORA_E_BACKEND) return status;
    stream->failed = status;
    atomic_fetch_add(&stream->device->failures, 1);
    return status;
}

relora_status stream_result(relora_stream *stream, relora_status status, const char *function)
{
    if (status >= 0) return RELORA_OK;
    return context_fail_backend(stream->ctx, stream_note(stream, status), function, stream->device->backend,
                                stream->queue);
}

relora_status relora_stream_wait(relora_stream *stream, relora_stream *other)
{
    GIVEN(stream);
    GIVEN(other);
    const char *fn = "relora_stream_wait";
    relora_context *ctx = stream ? stream->ctx : other ? other->ctx : NULL;
    if (!stream) FAIL(ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (!other) FAIL(ctx, RELORA_E_ARGUMENT, "%s: other is NULL", fn);
    if (other->ctx != ctx) FAIL(ctx, RELORA_E_CONTEXT, "%s: other belongs to another context", fn);
    if (other->device != stream->device)
        FAIL(ctx, RELORA_E_DEVICE, "%s: other is on %s, stream on %s", fn, other->device->name,
             stream->device->name);
    TRY(stream_check(stream, fn));
    if (other->failed < 0)
        FAIL(ctx, other->failed, "%s: other is finished: its device failed before", fn);
    TRY_QUEUE(stream, fn, stream->device->backend->queue_wait(stream->queue, other->queue));
    return RELORA_OK;
}

relora_status relora_stream_synchronize(relora_stream *stream)
{
    GIVEN(stream);
    const char *fn = "relora_stream_synchronize";
    if (!stream) return RELORA_E_ARGUMENT;
    TRY(stream_check(stream, fn));
    TRY_QUEUE(stream, fn, stream->device->backend->queue_sync(stream->queue));
    return RELORA_OK;
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

relora_status scratch_open(struct scratch *scratch, relora_stream *stream, const char *function)
{
    const struct backend *backend = stream->device->backend;
    size_t need = scratch->used;
    if (need > stream->workspace_bytes) {
        void *grown = NULL;
        TRY(stream_note(stream, device_alloc(stream->device, stream->queue, function, need, &grown)));
        if (stream->workspace)
            backend->release(stream->queue, stream->workspace, stream->workspace_bytes);
        context_log(stream->ctx, RELORA_LOG_DEBUG, "%s: workspace grows from %zu to %zu bytes",
                    function, stream->workspace_bytes, need);
        stream->workspace = grown;
        stream->workspace_bytes = need;
    }
    *scratch = (struct scratch){stream->workspace, 0};
    return RELORA_OK;
}

relora_status relora_stream_error(const relora_stream *stream, char *buffer, size_t capacity,
                                  size_t *length)
{
    if (!stream) return RELORA_E_ARGUMENT;
    return context_copy_text(stream->ctx, stream->error.text, buffer, capacity, length);
}
