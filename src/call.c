/* What every call of a public function does alike: its prologue, and how it fails.
 *
 * A sentence is kept before it is logged: a log callback that asks for the text of the failure must find
 * it. */
#include "call.h"

#include <stdarg.h>
#include <string.h>

#include "numeric.h"
#include "shape.h"

/* ---- sentences ---- */

/* "relora_x: ...", in one line. */
static void make_line(char line[ERROR_CAPACITY], const char *fn, const char *format, va_list arguments)
{
    int used = numeric_text(line, ERROR_CAPACITY, "%s: ", fn);
    int length = numeric_print(line + used, (size_t)(ERROR_CAPACITY - used), format, arguments);
    context_tidy_line(line, used + length);
}

static void put(const relora_context *ctx, char text[ERROR_CAPACITY], const char line[ERROR_CAPACITY])
{
    pthread_mutex_lock(&ctx->error->lock);
    memcpy(text, line, ERROR_CAPACITY);
    pthread_mutex_unlock(&ctx->error->lock);
}

/* A stream of another context has it, too: whoever asks the stream is not to read of an earlier call. */
static void keep(const struct call *call, const char line[ERROR_CAPACITY])
{
    relora_stream *streams[] = {call->stream, call->other};
    if (!call->ctx->error) return; /* a context that is only about to be made has none */
    put(call->ctx, call->ctx->error->text, line);
    for (int i = 0; i < 2; i++)
        if (streams[i]) put(streams[i]->ctx, streams[i]->error, line);
}

relora_status call_fail(const struct call *call, relora_status status, const char *format, ...)
{
    char line[ERROR_CAPACITY];
    va_list arguments;
    if (!call->ctx) return status;
    va_start(arguments, format);
    make_line(line, call->fn, format, arguments);
    va_end(arguments);
    keep(call, line);
    context_say(call->ctx, RELORA_LOG_ERROR, line);
    return status;
}

void call_log(const struct call *call, int32_t level, const char *format, ...)
{
    char line[ERROR_CAPACITY];
    va_list arguments;
    if (!context_listens(call->ctx, level)) return;
    va_start(arguments, format);
    make_line(line, call->fn, format, arguments);
    va_end(arguments);
    context_say(call->ctx, level, line);
}

relora_status call_fail_memory(const struct call *call, size_t bytes)
{
    if (bytes == SIZE_MAX) FAIL(call, RELORA_E_OVERFLOW, "it needs more memory than 64 bits can count");
    if (!bytes) FAIL(call, RELORA_E_NO_MEMORY, "out of memory"); /* somebody else asked */
    FAIL(call, RELORA_E_NO_MEMORY, "out of memory, asking for %zu bytes", bytes);
}

/* ---- the prologue ---- */

relora_status call_check_device(const struct call *call, const char *name, const relora_device *device)
{
    if (call->stream->device != device)
        FAIL(call, RELORA_E_DEVICE, "stream is on %s, %s on %s", call->stream->device->name, name,
             device->name);
    return RELORA_OK;
}

relora_status call_open(struct call *call, relora_stream *stream, const char *name, relora_context *ctx,
                        const relora_device *device)
{
    call->stream = stream;
    if (ctx || stream) call->ctx = ctx ? ctx : stream->ctx;
    if (!ctx) FAIL(call, RELORA_E_ARGUMENT, "%s is NULL", name);
    if (!stream) FAIL(call, RELORA_E_ARGUMENT, "stream is NULL");
    if (stream->ctx != ctx) FAIL(call, RELORA_E_CONTEXT, "stream belongs to another context than %s", name);
    call->backend = stream->device->backend;
    call->queue = stream->queue;
    if (device) TRY(call_check_device(call, name, device));
    if (stream->failed < 0)
        FAIL(call, stream->failed, "the stream is finished: %s failed before",
             stream->failed == RELORA_E_COMM ? "an exchange with other ranks" : "its device");
    return RELORA_OK;
}

/* ---- work of a device ---- */

/* After a failure of the device nobody can know which work was done, whichever queue it was on. */
relora_status call_note(const struct call *call, relora_status status)
{
    if ((status != RELORA_E_BACKEND && status != RELORA_E_COMM) || !call->stream) return status;
    call->stream->failed = status;
    if (status == RELORA_E_BACKEND) atomic_fetch_add(&call->stream->device->failures, 1);
    return status;
}

relora_status call_backend(const struct call *call, relora_status status, const struct backend *backend,
                           const struct queue *queue)
{
    if (status >= 0) return RELORA_OK;
    call_note(call, status);
    return call_fail(call, status, "the %s backend failed: %s", backend->name, backend->queue_error(queue));
}

relora_status call_queue(const struct call *call, relora_status status)
{
    return call_backend(call, status, call->backend, call->queue);
}

relora_status call_convert(const struct call *call, struct view y, struct view x, struct scale s)
{
    const struct conversion conversion = {.y = y, .x = x, .scale = s};
    return call_queue(call, call->backend->convert(call->queue, &conversion, 1));
}

relora_status call_copy(const struct call *call, struct view to, struct view from)
{
    const struct copy copy = {.to = to.data,
                              .from = from.data,
                              .rows = to.rows,
                              .bytes = (size_t)to.cols * dtype_size(to.dtype),
                              .to_pitch = (size_t)to.ld * dtype_size(to.dtype),
                              .from_pitch = (size_t)from.ld * dtype_size(from.dtype),
                              .direction = COPY_ON_DEVICE};
    return call_queue(call, call->backend->copy(call->queue, &copy));
}

/* ---- structs of the host ---- */

relora_status call_take_options(const struct call *call, const char *name, const struct options *table,
                                void *to, const void *from)
{
    relora_status status = options_take(table, to, from);
    if (status >= 0) return RELORA_OK;
    return call_fail(call, status,
                     "%s.struct_size is not that of any release, or a field is set that this "
                     "release does not know; call its relora_..._init first",
                     name);
}

relora_status call_check_options(const struct call *call, const char *name, const struct options *table,
                                 const void *options)
{
    char why[OPTIONS_WHY];
    relora_status status = options_check(table, options, name, why);
    return status < 0 ? call_fail(call, status, "%s", why) : RELORA_OK;
}

relora_status call_read_options(const struct call *call, const char *name, const struct options *table,
                                void *to, const void *from)
{
    TRY(call_take_options(call, name, table, to, from));
    return call_check_options(call, name, table, to);
}

relora_status call_write_report(const struct call *call, const char *name, void *to, const void *report,
                                size_t size)
{
    uint32_t n;
    relora_status status = report_write(to, report, size);
    if (status >= 0) return RELORA_OK;
    memcpy(&n, to, sizeof n);
    return call_fail(call, status,
                     "%s.struct_size is %u, not that of any release: set it to sizeof *%s, which is %zu",
                     name, n, name, size);
}
