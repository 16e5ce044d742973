/* What all objects of a context share: its allocator, its log, its devices, and the text of the last failure.
 *
 * Each object holds a reference on its context, so a host may release everything in any order, as the
 * finalizers of a garbage collector do. */
#include "context.h"

#include <stdarg.h>
#include <string.h>

#include "numeric.h"

static void destroy(relora_context *ctx)
{
    struct memory memory = ctx->memory;
    const relora_destroy_fn on_destroy = ctx->on_destroy;
    void *const user = ctx->destroy_user;
    module_delete(ctx->module, &memory);
    if (ctx->cpu.queue) ctx->cpu.backend->queue_close(ctx->cpu.queue);
    if (ctx->error) {
        pthread_mutex_destroy(&ctx->error->lock);
        memory_free(&memory, ctx->error, sizeof *ctx->error);
    }
    memory_free(&memory, ctx, sizeof *ctx);
    if (on_destroy) on_destroy(user);
}

void context_retain(relora_context *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
}

void context_drop(relora_context *ctx)
{
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1) destroy(ctx);
}

void relora_context_release(relora_context *ctx)
{
    if (!ctx) return;
    int others = atomic_load(&ctx->refs) - 1;
    if (others > 0)
        context_log(ctx, RELORA_LOG_DEBUG, "context released while %d of its objects live on", others);
    context_drop(ctx);
}

void *context_new(relora_context *ctx, size_t size)
{
    void *object = memory_alloc_zero(&ctx->memory, size);
    if (object) context_retain(ctx);
    return object;
}

void context_delete(relora_context *ctx, void *object, size_t size)
{
    memory_free(&ctx->memory, object, size);
    context_drop(ctx);
}

/* ---- text ---- */

void context_tidy_line(char line[ERROR_CAPACITY], int length)
{
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    if (length < ERROR_CAPACITY) return;
    size_t n = ERROR_CAPACITY - 1;
    while (n && ((unsigned char)line[n - 1] & 0xC0) == 0x80) n--;
    if (n && (unsigned char)line[n - 1] >= 0xC0) n--;
    line[n] = '\0';
}

int context_listens(const relora_context *ctx, int32_t level)
{
    return ctx->log && ctx->log_level >= level;
}

void context_say(const relora_context *ctx, int32_t level, const char *line)
{
    if (context_listens(ctx, level)) ctx->log(ctx->log_user, level, line);
}

void context_log(const relora_context *ctx, int32_t level, const char *format, ...)
{
    char line[ERROR_CAPACITY];
    if (!context_listens(ctx, level)) return;
    va_list arguments;
    va_start(arguments, format);
    int length = numeric_print(line, sizeof line, format, arguments);
    va_end(arguments);
    context_tidy_line(line, length);
    context_say(ctx, level, line);
}

int context_is_news(const relora_context *ctx, enum precaution precaution, int error)
{
    pthread_mutex_lock(&ctx->error->lock);
    int news = ctx->error->warned[precaution] != error;
    ctx->error->warned[precaution] = error;
    pthread_mutex_unlock(&ctx->error->lock);
    return news;
}

/* ---- asking for it ---- */

relora_status context_copy_text(const relora_context *ctx, const char *text, char *buffer, size_t capacity,
                                size_t *length)
{
    pthread_mutex_lock(&ctx->error->lock);
    size_t full = strlen(text);
    if (buffer && capacity) {
        size_t n = full < capacity - 1 ? full : capacity - 1;
        memcpy(buffer, text, n);
        buffer[n] = '\0';
    }
    pthread_mutex_unlock(&ctx->error->lock);
    if (length) *length = full;
    return RELORA_OK;
}

relora_status relora_context_error(const relora_context *ctx, char *buffer, size_t capacity, size_t *length)
{
    if (!ctx) return RELORA_E_ARGUMENT;
    return context_copy_text(ctx, ctx->error->text, buffer, capacity, length);
}
