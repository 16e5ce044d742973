/* The table of the CPU, its queue and its memory. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "float_mode.h"

static relora_status count(int32_t *devices)
{
    *devices = 1;
    return RELORA_OK;
}

static relora_status describe(int32_t device, char *name, size_t capacity, uint64_t *free_bytes,
                              uint64_t *total_bytes)
{
    (void)device;
    long page = sysconf(_SC_PAGESIZE);
    if (name) snprintf(name, capacity, "CPU");
    if (free_bytes) *free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)page;
    if (total_bytes) *total_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)page;
    return RELORA_OK;
}

static relora_status queue_open(int32_t device, const struct queue_options *options, struct queue **out)
{
    (void)device;
    struct queue *q = memory_alloc_zero(options->memory, sizeof *q);
    if (!q) return RELORA_E_NO_MEMORY;
    q->memory = options->memory;
    q->threads = options->threads;
    cpu_loop_open(q, options->parent);
    *out = q;
    return RELORA_OK;
}

static void queue_close(struct queue *q)
{
#if RELORA_ONEDNN
    cpu_gemm_cache_free(q);
#endif
    memory_free(q->memory, q->scratch, q->scratch_bytes);
    memory_free(q->memory, q, sizeof *q);
}

static void *queue_native(const struct queue *q)
{
    (void)q;
    return NULL;
}

static const char *queue_error(const struct queue *q)
{
    (void)q;
    return "out of memory for temporaries, or the matrix library failed";
}

static relora_status queue_sync(struct queue *q)
{
    (void)q; /* everything is done when its call returns */
    return RELORA_OK;
}

static relora_status queue_wait(struct queue *q, struct queue *other)
{
    (void)q, (void)other;
    return RELORA_OK;
}

static relora_status alloc(struct queue *q, size_t bytes, void **out)
{
    *out = memory_alloc(q->memory, bytes);
    return *out ? RELORA_OK : RELORA_E_NO_MEMORY;
}

static void release(struct queue *q, void *ptr, size_t bytes)
{
    memory_free(q->memory, ptr, bytes);
}

enum { COPY_SERIAL = 4 << 20 }; /* below so many bytes one thread is as fast */

static void copy_row(void *job, int64_t i)
{
    const struct copy *c = job;
    memcpy((unsigned char *)c->to + (size_t)i * c->to_pitch,
           (const unsigned char *)c->from + (size_t)i * c->from_pitch, c->bytes);
}

static relora_status copy(struct queue *q, const struct copy *c)
{
    struct copy job = *c;
    if (!c->bytes) return RELORA_OK;
    cpu_loop(q, c->rows, (size_t)c->rows > COPY_SERIAL / c->bytes, copy_row, &job);
    return RELORA_OK;
}

/* ---- arithmetic, in the floating-point mode of the library ---- */

static relora_status leave(const fenv_t *host, relora_status status)
{
    float_mode_leave(host);
    return status;
}

static relora_status fill(struct queue *q, struct view y, double value)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_fill(q, y, value));
}

static relora_status convert(struct queue *q, const struct conversion *list, int32_t count)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_convert(q, list, count));
}

static relora_status gemm(struct queue *q, const struct gemm *g)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_gemm(q, g));
}

/* oneDNN computes while it chooses. */
static relora_status gemm_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_gemm_tell(q, g, path));
}

static relora_status merge(struct queue *q, const struct merge *m)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_merge(q, m));
}

static relora_status fold(struct queue *q, const struct fold *f)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_fold(q, f));
}

static relora_status sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_sum_rows(q, sums, x, accumulate));
}

static relora_status dropout(struct queue *q, const struct dropout *d)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_dropout(q, d));
}

static relora_status uniform(struct queue *q, struct view y, double bound, struct draw d)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_uniform(q, y, bound, d));
}

static relora_status scale_grad(struct queue *q, float *grad, const float *scale, struct view h,
                                struct view u, int32_t accumulate)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_scale_grad(q, grad, scale, h, u, accumulate));
}

static relora_status largest(struct queue *q, struct view x, uint32_t *bits)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_largest(q, x, bits));
}

static relora_status adam_norm(struct queue *q, const struct adam *a)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_adam_norm(q, a));
}

static relora_status adam_decide(struct queue *q, const struct adam *a)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_adam_decide(q, a));
}

static relora_status adam_step(struct queue *q, const struct adam *a)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_adam_step(q, a));
}

static relora_status prune(struct queue *q, const struct prune *p)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_prune(q, p));
}

static relora_status span(struct queue *q, const struct span *s)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_span(q, s));
}

static relora_status share(struct queue *q, const struct share *s)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_share(q, s));
}

static relora_status project(struct queue *q, const struct project *p)
{
    fenv_t host = float_mode_enter();
    return leave(&host, cpu_project(q, p));
}

const struct backend backend_cpu = {
    .version = BACKEND_VERSION,
    .kind = RELORA_DEVICE_CPU,
    .name = "CPU",
    .count = count,
    .describe = describe,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .queue_native = queue_native,
    .queue_error = queue_error,
    .queue_sync = queue_sync,
    .queue_wait = queue_wait,
    .alloc = alloc,
    .release = release,
    .copy = copy,
    .fill = fill,
    .convert = convert,
    .gemm = gemm,
    .gemm_tell = gemm_tell,
    .merge = merge,
    .fold = fold,
    .sum_rows = sum_rows,
    .dropout = dropout,
    .uniform = uniform,
    .scale_grad = scale_grad,
    .largest = largest,
    .adam_norm = adam_norm,
    .adam_decide = adam_decide,
    .adam_step = adam_step,
    .prune = prune,
    .span = span,
    .share = share,
    .project = project,
    .slice_rows = 256, /* they stay in the cache */
    .row_bytes = 1,
};
