#include "context.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "options.h"

enum {
    THREADS_MAX = 1024,
    OPTIONS_LEAST = offsetof(relora_context_options, module_dir) /* the struct of 0.1 */
};

static const relora_context_options context_defaults = {
    .struct_size = sizeof(relora_context_options),
    .threads = 1,
    .log_level = RELORA_LOG_OFF,
};

relora_status relora_context_options_init(relora_context_options *options, size_t size)
{
    return options_write(options, size, &context_defaults, sizeof context_defaults);
}

static relora_status check_options(const relora_context_options *o)
{
    if (o->flags) return RELORA_E_ARGUMENT;
    if (o->threads < 1 || o->threads > THREADS_MAX) return RELORA_E_ARGUMENT;
    if (o->log_level < RELORA_LOG_OFF || o->log_level > RELORA_LOG_DEBUG) return RELORA_E_ARGUMENT;
    if (!o->host_alloc != !o->host_free) return RELORA_E_ARGUMENT;
    return RELORA_OK;
}

static relora_status open_cpu(relora_context *ctx)
{
    struct relora_device *cpu = &ctx->cpu;
    cpu->ctx = ctx;
    cpu->backend = &backend_cpu;
    TRY(cpu->backend->describe(0, cpu->name, sizeof cpu->name, NULL, NULL));
    struct queue_options options = {.memory = &ctx->memory, .threads = ctx->threads};
    return cpu->backend->queue_open(0, &options, &cpu->queue);
}

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

relora_status relora_context_create(relora_context **out, const relora_context_options *options)
{
    relora_context_options o = context_defaults;
    if (!out) return RELORA_E_ARGUMENT;
    *out = NULL;
    TRY(options_read(&o, sizeof o, OPTIONS_LEAST, options));
    TRY(check_options(&o));

    struct memory memory = memory_system;
    if (o.host_alloc) memory = (struct memory){o.host_alloc, o.host_free, o.host_user};
    relora_context *ctx = memory_alloc_zero(&memory, sizeof *ctx);
    if (!ctx) return RELORA_E_NO_MEMORY;
    atomic_init(&ctx->refs, 1);
    ctx->memory = memory;
    ctx->threads = o.threads;
    ctx->log_level = o.log_level;
    ctx->log = o.log;
    ctx->log_user = o.log_user;
    ctx->error = memory_alloc_zero(&memory, sizeof *ctx->error);
    if (ctx->error) pthread_mutex_init(&ctx->error->lock, NULL);
    relora_status status = ctx->error ? open_cpu(ctx) : RELORA_E_NO_MEMORY;
    if (status >= 0) status = module_new(&ctx->module, &memory, o.module_dir);
    if (status < 0) {
        destroy(ctx);
        return status;
    }
    ctx->on_destroy = o.on_destroy; /* not before: a failure calls nothing */
    ctx->destroy_user = o.destroy_user;
    *out = ctx;
    return RELORA_OK;
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

/* Names come from files and from hosts: a line stays one line, and one cut short stays UTF-8. */
static void tidy_line(char line[ERROR_CAPACITY], int length)
{
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    if (length < ERROR_CAPACITY) return;
    size_t n = ERROR_CAPACITY - 1;
    while (n && ((unsigned char)line[n - 1] & 0xC0) == 0x80) n--;
    if (n && (unsigned char)line[n - 1] >= 0xC0) n--;
    line[n] = '\0';
}

void context_log(const relora_context *ctx, int32_t level, const char *format, ...)
{
    char line[ERROR_CAPACITY];
    if (!ctx->log || level > ctx->log_level) return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tidy_line(line, length);
    ctx->log(ctx->log_user, level, line);
}

relora_status context_fail(const relora_context *ctx, relora_status status, const char *format, ...)
{
    char line[ERROR_CAPACITY];
    if (!ctx) return status;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tidy_line(line, length);
    pthread_mutex_lock(&ctx->error->lock);
    memcpy(ctx->error->text, line, sizeof line);
    for (struct stream_error *s = ctx->error->streams; s; s = s->next)
        if (atomic_load_explicit(&s->inside, memory_order_relaxed) == (uintptr_t)pthread_self())
            memcpy(s->text, line, sizeof line);
    pthread_mutex_unlock(&ctx->error->lock);
    if (ctx->log && ctx->log_level >= RELORA_LOG_ERROR) ctx->log(ctx->log_user, RELORA_LOG_ERROR, line);
    return status;
}

relora_status context_fail_backend(const relora_context *ctx, relora_status status,
                                   const char *function, const struct backend *backend,
                                   const struct queue *queue)
{
    return context_fail(ctx, status, "%s: the %s backend failed: %s", function, backend->name,
                        backend->queue_error(queue));
}

relora_status context_fail_memory(const relora_context *ctx, const char *function, size_t bytes)
{
    if (bytes == SIZE_MAX)
        FAIL(ctx, RELORA_E_OVERFLOW, "%s: the memory it needs cannot be counted in 64 bits", function);
    if (!bytes) FAIL(ctx, RELORA_E_NO_MEMORY, "%s: out of memory", function); /* somebody else asked */
    FAIL(ctx, RELORA_E_NO_MEMORY, "%s: out of memory, asking for %zu bytes", function, bytes);
}

relora_status context_fail_options(const relora_context *ctx, relora_status status,
                                   const char *function, const char *name)
{
    return context_fail(ctx, status,
                        "%s: %s.struct_size is not that of any release, or a field is set that this "
                        "release does not know; call relora_..._init first",
                        function, name);
}

relora_status context_fail_report(const relora_context *ctx, relora_status status,
                                  const char *function, const char *name)
{
    return context_fail(ctx, status, "%s: %s.struct_size is not that of any release: set it to sizeof *%s",
                        function, name, name);
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

relora_status relora_context_error(const relora_context *ctx, char *buffer, size_t capacity,
                                   size_t *length)
{
    if (!ctx) return RELORA_E_ARGUMENT;
    return context_copy_text(ctx, ctx->error->text, buffer, capacity, length);
}
