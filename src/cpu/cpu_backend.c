/* The table of the CPU, its queue and its memory. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"

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

static relora_status copy(struct queue *q, const struct copy *c)
{
    unsigned char *to = c->to;
    const unsigned char *from = c->from;
    if (!c->bytes) return RELORA_OK;
    (void)q;
#pragma omp parallel for num_threads(q->threads) schedule(static) if ((size_t)c->rows > COPY_SERIAL / c->bytes)
    for (int64_t i = 0; i < c->rows; i++)
        memcpy(to + (size_t)i * c->to_pitch, from + (size_t)i * c->from_pitch, c->bytes);
    return RELORA_OK;
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
    .fill = cpu_fill,
    .convert = cpu_convert,
#if RELORA_ONEDNN
    .gemm = cpu_gemm_onednn,
#else
    .gemm = cpu_gemm_portable,
#endif
    .merge = cpu_merge,
    .fold = cpu_fold,
    .sum_rows = cpu_sum_rows,
    .dropout = cpu_dropout,
    .uniform = cpu_uniform,
    .scale_grad = cpu_scale_grad,
    .largest = cpu_largest,
    .adam_norm = cpu_adam_norm,
    .adam_step = cpu_adam_step,
    .prune = cpu_prune,
    .slice_rows = 256, /* they stay in the cache */
    .row_bytes = 1,
};
