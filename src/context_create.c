/* Making a context: its options, the memory hooks, and the CPU. */
#include "call.h"
#include "path.h"

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
    ROWS(context_rows), .size = sizeof(relora_context_options),
    .first_size = END_OF(relora_context_options, log_user), /* 0.1 */
};

relora_status relora_context_options_init(relora_context_options *options, size_t size)
{
    return options_write(&context_table, options, size);
}

/* ---- life ---- */

static relora_status open_cpu(relora_context *ctx)
{
    struct relora_device *cpu = &ctx->cpu;
    cpu->ctx = ctx;
    cpu->backend = &backend_cpu;
    TRY(cpu->backend->describe(0, cpu->name, sizeof cpu->name, NULL, NULL));
    struct queue_options options = {.memory = &ctx->memory, .threads = ctx->threads};
    TRY(cpu->backend->queue_open(0, &options, &cpu->queue));
    return path_open(cpu);
}

/* Where a refusal can be heard before there is a context: no error text, but the caller's log. */
static void hear(relora_context *early, const relora_context_options *options)
{
    if (!options) return;
    if (options->struct_size < context_table.first_size || options->struct_size > OPTIONS_MAX) return;
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
    relora_context early = {0};
    struct call c = {.fn = "relora_context_create", .ctx = &early};
    relora_context_options o;
    hear(&early, options);
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    TRY(call_read_options(&c, "options", &context_table, &o, options));
    if (!o.host_alloc != !o.host_free)
        FAIL(&c, RELORA_E_ARGUMENT, "options.%s is set without options.%s",
             o.host_alloc ? "host_alloc" : "host_free", o.host_alloc ? "host_free" : "host_alloc");

    struct memory memory = memory_system;
    if (o.host_alloc) memory = (struct memory){o.host_alloc, o.host_free, o.host_user};
    relora_context *ctx = memory_alloc_zero(&memory, sizeof *ctx);
    if (!ctx) return call_fail_memory(&c, sizeof *ctx);
    ctx->memory = memory;
    relora_status status = fill(ctx, &o);
    if (status < 0) {
        context_drop(ctx);
        return call_fail_memory(&c, 0); /* the CPU can fail in no other way */
    }
    ctx->on_destroy = o.on_destroy; /* not before: a failure calls nothing */
    ctx->destroy_user = o.destroy_user;
    c.ctx = ctx;
    path_log(&c, &ctx->cpu);
    *out = ctx;
    return RELORA_OK;
}
