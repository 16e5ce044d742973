/* What all objects of a context share: its allocator, its log, its devices, and the text of the last failure.
 *
 * Each object holds a reference on its context, so a host may release everything in any order, as the
 * finalizers of a garbage collector do. A sentence is kept before it is logged: a log callback that asks for the
 * text of the failure must find it. */
#include "context.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "numeric.h"
#include "options.h"

static const char *const level_names[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", NULL};

static const struct option context_rows[] = {
    {FIELD(relora_context_options, flags), OPTION_FLAGS},
    {FIELD(relora_context_options, threads), OPTION_I32, .value = 1, .low = 1, .high = 1024},
    {FIELD(relora_context_options, log_level), OPTION_ENUM, .value = RELORA_LOG_OFF, .names = level_names},
    {FIELD(relora_context_options, host_alloc), OPTION_POINTER},
    {FIELD(relora_context_options, host_free), OPTION_POINTER},
    {FIELD(relora_context_options, host_user), OPTION_POINTER},
    {FIELD(relora_context_options, log), OPTION_POINTER},
    {FIELD(relora_context_options, log_user), OPTION_POINTER},
    {FIELD(relora_context_options, module_dir), OPTION_POINTER, .since = 4},
    {FIELD(relora_context_options, on_destroy), OPTION_POINTER, .since = 5},
    {FIELD(relora_context_options, destroy_user), OPTION_POINTER, .since = 5},
};
const struct options context_table = {
    ROWS(context_rows),
    .size = sizeof(relora_context_options),
    .first_size = END_OF(relora_context_options, log_user), /* 0.1 */
};

relora_status relora_context_options_init(relora_context_options *options, size_t size)
{
    return options_write(&context_table, options, size);
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

/* Where a refusal can be heard before there is a context: no error text, but the caller's log. */
static void hear(relora_context *early, const relora_context_options *options)
{
    if (!options || options->struct_size < context_table.first_size || options->struct_size > OPTIONS_MAX) return;
    early->log_level = options->log_level;
    early->log = options->log;
    early->log_user = options->log_user;
}

static relora_status fill(relora_context *ctx, const relora_context_options *o)
{
    atomic_init(&ctx->refs, 1);
    ctx->threads = o->threads;
    ctx->log_level = o->log_level;
    ctx->log = o->log;
    ctx->log_user = o->log_user;
    ctx->error = memory_alloc_zero(&ctx->memory, sizeof *ctx->error);
    if (!ctx->error) return RELORA_E_NO_MEMORY;
    pthread_mutex_init(&ctx->error->lock, NULL);
    TRY(open_cpu(ctx));
    return module_new(&ctx->module, &ctx->memory, o->module_dir);
}

relora_status relora_context_create(relora_context **out, const relora_context_options *options)
{
    const char *fn = "relora_context_create";
    relora_context early = {0};
    relora_context_options o;
    hear(&early, options);
    if (!out) FAIL(&early, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    TRY(context_read_options(&early, fn, "options", &context_table, &o, options));
    if (!o.host_alloc != !o.host_free)
        FAIL(&early, RELORA_E_ARGUMENT, "%s: options.%s is set without options.%s", fn,
             o.host_alloc ? "host_alloc" : "host_free", o.host_alloc ? "host_free" : "host_alloc");

    struct memory memory = memory_system;
    if (o.host_alloc) memory = (struct memory){o.host_alloc, o.host_free, o.host_user};
    relora_context *ctx = memory_alloc_zero(&memory, sizeof *ctx);
    if (!ctx) return context_fail_memory(&early, fn, sizeof *ctx);
    ctx->memory = memory;
    relora_status status = fill(ctx, &o);
    if (status < 0) {
        destroy(ctx);
        return context_fail_memory(&early, fn, 0); /* the CPU can fail in no other way */
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
    int length = numeric_print(line, sizeof line, format, arguments);
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
    int length = numeric_print(line, sizeof line, format, arguments);
    va_end(arguments);
    tidy_line(line, length);
    if (ctx->error) { /* a context that is only about to be made has none */
        pthread_mutex_lock(&ctx->error->lock);
        memcpy(ctx->error->text, line, sizeof line);
        for (struct stream_error *s = ctx->error->streams; s; s = s->next)
            if (atomic_load_explicit(&s->inside, memory_order_relaxed) == (uintptr_t)pthread_self())
                memcpy(s->text, line, sizeof line);
        pthread_mutex_unlock(&ctx->error->lock);
    }
    if (ctx->log && ctx->log_level >= RELORA_LOG_ERROR) ctx->log(ctx->log_user, RELORA_LOG_ERROR, line);
    return status;
}

int context_is_news(const relora_context *ctx, enum precaution precaution, int error)
{
    pthread_mutex_lock(&ctx->error->lock);
    int news = ctx->error->warned[precaution] != error;
    ctx->error->warned[precaution] = error;
    pthread_mutex_unlock(&ctx->error->lock);
    return news;
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

relora_status context_take_options(const relora_context *ctx, const char *function, const char *name,
                                   const struct options *table, void *to, const void *from)
{
    relora_status status = options_take(table, to, from);
    if (status >= 0) return RELORA_OK;
    return context_fail(ctx, status,
                        "%s: %s.struct_size is not that of any release, or a field is set that this "
                        "release does not know; call relora_..._options_init first",
                        function, name);
}

relora_status context_check_options(const relora_context *ctx, const char *function, const char *name,
                                    const struct options *table, const void *options)
{
    char why[OPTIONS_WHY];
    relora_status status = options_check(table, options, name, why);
    return status < 0 ? context_fail(ctx, status, "%s: %s", function, why) : RELORA_OK;
}

relora_status context_read_options(const relora_context *ctx, const char *function, const char *name,
                                   const struct options *table, void *to, const void *from)
{
    TRY(context_take_options(ctx, function, name, table, to, from));
    return context_check_options(ctx, function, name, table, to);
}

relora_status context_write_report(const relora_context *ctx, const char *function, const char *name,
                                   void *to, const void *report, size_t size)
{
    uint32_t n;
    relora_status status = report_write(to, report, size);
    if (status >= 0) return RELORA_OK;
    memcpy(&n, to, sizeof n);
    return context_fail(ctx, status, "%s: %s.struct_size is %u, not that of any release: set it to sizeof *%s, which is %zu",
                        function, name, n, name, size);
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
