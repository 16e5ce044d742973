#include "backend/faulty.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct faulty faulty;

struct arrival { /* a copy to the host on its way */
    struct arrival *next;
    struct copy copy; /* from `bytes`, without gaps */
    unsigned char bytes[];
};

struct faulty_queue {
    struct arrival *arrivals; /* latest first; no two go to one place between two queue_sync */
    struct queue *inner;      /* the CPU's */
    int of_device;            /* the device's own, which lives as long as the context */
    int broken;               /* queued work has failed and nobody was told; the rest does not run */
    int told;
    char error[80];
};

static struct faulty_queue *of(const struct queue *q) { return (struct faulty_queue *)(uintptr_t)q; }

static struct queue *inner(const struct queue *q) { return of(q)->inner; }

void faulty_plan(enum fault kind, int64_t at)
{
    faulty.kind = kind;
    faulty.at = at;
    faulty.calls = 0;
    faulty.entry = NULL;
    faulty.told = faulty.after = 0;
}

/* ---- which call fails ---- */

enum { SKIPPED = 1 }; /* succeeds without doing anything */

static relora_status tell(struct faulty_queue *q, relora_status status, const char *entry)
{
    faulty.told++;
    if (!q) return status;
    if (status == RELORA_E_BACKEND) q->told = 1;
    snprintf(q->error, sizeof q->error, "%s, call %lld, fails as planned", entry, (long long)faulty.calls);
    return status;
}

static int falls_due(void)
{
    if (!faulty.at || faulty.held) return 0;
    return faulty.kind == FAULT_LOST ? faulty.calls >= faulty.at : faulty.calls == faulty.at;
}

/* What becomes of a call: RELORA_OK lets it run, SKIPPED and failures do not. `queued` work may fail late. */
static relora_status enter(struct queue *queue, const char *entry, int queued)
{
    struct faulty_queue *q = queue ? of(queue) : NULL;
    if (!faulty.held) faulty.calls++;
    if (q && q->told && !q->of_device) faulty.after++;
    if (q && q->broken) {
        if (faulty.kind == FAULT_VERY_LATE && strcmp(entry, "queue_sync") != 0)
            return queued ? SKIPPED : RELORA_OK;
        q->broken = 0;
        return tell(q, RELORA_E_BACKEND, entry);
    }
    if (!falls_due()) return RELORA_OK;
    if (!faulty.entry) faulty.entry = entry;
    if (faulty.kind == FAULT_MEMORY) return tell(q, RELORA_E_NO_MEMORY, entry);
    if (queued && (faulty.kind == FAULT_LATE || faulty.kind == FAULT_VERY_LATE)) {
        q->broken = 1;
        return SKIPPED;
    }
    return tell(q, RELORA_E_BACKEND, entry);
}

static relora_status without_work(relora_status fate) { return fate == SKIPPED ? RELORA_OK : fate; }

/* ---- devices and queues ---- */

static relora_status count(int32_t *devices)
{
    relora_status fate = enter(NULL, "count", 0);
    return fate ? without_work(fate) : backend_cpu.count(devices);
}

static relora_status describe(int32_t device, char *name, size_t capacity, uint64_t *free_bytes,
                              uint64_t *total_bytes)
{
    relora_status fate = enter(NULL, "describe", 0);
    return fate ? without_work(fate) : backend_cpu.describe(device, name, capacity, free_bytes, total_bytes);
}

static relora_status queue_open(int32_t device, const struct queue_options *options, struct queue **out)
{
    relora_status fate = enter(NULL, "queue_open", 0);
    if (fate) return without_work(fate);
    struct faulty_queue *q = calloc(1, sizeof *q);
    struct queue_options without = *options;
    without.parent = NULL; /* it is one of ours */
    relora_status status = backend_cpu.queue_open(device, &without, &q->inner);
    if (status < 0) {
        free(q);
        return status;
    }
    faulty.queues++;
    *out = (struct queue *)q;
    return RELORA_OK;
}

/* Let everything that is on its way arrive, or only forget it. */
static void empty(struct queue *q, int arrive)
{
    struct arrival *a;
    while ((a = of(q)->arrivals)) {
        of(q)->arrivals = a->next;
        if (arrive) backend_cpu.copy(inner(q), &a->copy);
        free(a);
    }
}

static void queue_close(struct queue *q)
{
    empty(q, 0);
    faulty.queues--;
    backend_cpu.queue_close(inner(q));
    free(of(q));
}

static void *queue_native(const struct queue *q) { return backend_cpu.queue_native(of(q)->inner); }

static const char *queue_error(const struct queue *q) { return of(q)->error; }

static relora_status queue_sync(struct queue *q)
{
    relora_status fate = faulty.kind == FAULT_MEMORY ? RELORA_OK : enter(q, "queue_sync", 0);
    if (fate) return without_work(fate);
    empty(q, 1);
    return backend_cpu.queue_sync(inner(q));
}

static relora_status queue_wait(struct queue *q, struct queue *other)
{
    relora_status fate = enter(q, "queue_wait", 1);
    return fate ? without_work(fate) : backend_cpu.queue_wait(inner(q), inner(other));
}

/* ---- memory ---- */

static relora_status alloc(struct queue *q, size_t bytes, void **out)
{
    relora_status fate = enter(q, "alloc", 0);
    if (fate) return without_work(fate);
    relora_status status = backend_cpu.alloc(inner(q), bytes, out);
    if (status >= 0) faulty.bytes += (int64_t)bytes;
    return status;
}

static void release(struct queue *q, void *ptr, size_t bytes)
{
    faulty.bytes -= (int64_t)bytes;
    backend_cpu.release(inner(q), ptr, bytes);
}

/* The host sees noise until the queue is synchronised. */
static relora_status send(struct queue *q, const struct copy *c)
{
    size_t total = (size_t)c->rows * c->bytes;
    struct arrival *a = malloc(sizeof *a + total);
    if (!a) return RELORA_E_NO_MEMORY;
    struct copy now = *c;
    now.to = a->bytes;
    now.to_pitch = c->bytes;
    backend_cpu.copy(inner(q), &now);
    a->copy = *c;
    a->copy.from = a->bytes;
    a->copy.from_pitch = c->bytes;
    a->next = of(q)->arrivals;
    of(q)->arrivals = a;
    for (int64_t i = 0; i < c->rows; i++)
        memset((unsigned char *)c->to + (size_t)i * c->to_pitch, 0xa5, c->bytes);
    return RELORA_OK;
}

static relora_status copy(struct queue *q, const struct copy *c)
{
    relora_status fate = enter(q, "copy", 1);
    if (fate) return without_work(fate);
    return c->direction == COPY_TO_HOST ? send(q, c) : backend_cpu.copy(inner(q), c);
}

/* ---- arithmetic ---- */

static relora_status fill(struct queue *q, struct view y, double value)
{
    relora_status fate = enter(q, "fill", 1);
    return fate ? without_work(fate) : backend_cpu.fill(inner(q), y, value);
}

static relora_status convert(struct queue *q, const struct conversion *list, int32_t count)
{
    relora_status fate = enter(q, "convert", 1);
    return fate ? without_work(fate) : backend_cpu.convert(inner(q), list, count);
}

static relora_status gemm(struct queue *q, const struct gemm *g)
{
    relora_status fate = enter(q, "gemm", 1);
    return fate ? without_work(fate) : backend_cpu.gemm(inner(q), g);
}

static relora_status merge(struct queue *q, const struct merge *m)
{
    relora_status fate = enter(q, "merge", 1);
    return fate ? without_work(fate) : backend_cpu.merge(inner(q), m);
}

static relora_status fold(struct queue *q, const struct fold *f)
{
    relora_status fate = enter(q, "fold", 1);
    return fate ? without_work(fate) : backend_cpu.fold(inner(q), f);
}

static relora_status sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate)
{
    relora_status fate = enter(q, "sum_rows", 1);
    return fate ? without_work(fate) : backend_cpu.sum_rows(inner(q), sums, x, accumulate);
}

static relora_status dropout(struct queue *q, const struct dropout *d)
{
    relora_status fate = enter(q, "dropout", 1);
    return fate ? without_work(fate) : backend_cpu.dropout(inner(q), d);
}

static relora_status uniform(struct queue *q, struct view y, double bound, struct draw d)
{
    relora_status fate = enter(q, "uniform", 1);
    return fate ? without_work(fate) : backend_cpu.uniform(inner(q), y, bound, d);
}

static relora_status scale_grad(struct queue *q, float *grad, const float *scale, struct view h,
                                struct view u, int32_t accumulate)
{
    relora_status fate = enter(q, "scale_grad", 1);
    return fate ? without_work(fate) : backend_cpu.scale_grad(inner(q), grad, scale, h, u, accumulate);
}

static relora_status largest(struct queue *q, struct view x, uint32_t *bits)
{
    relora_status fate = enter(q, "largest", 1);
    return fate ? without_work(fate) : backend_cpu.largest(inner(q), x, bits);
}

static relora_status adam_norm(struct queue *q, const struct adam *a)
{
    relora_status fate = enter(q, "adam_norm", 1);
    return fate ? without_work(fate) : backend_cpu.adam_norm(inner(q), a);
}

static relora_status adam_decide(struct queue *q, const struct adam *a)
{
    relora_status fate = enter(q, "adam_decide", 1);
    return fate ? without_work(fate) : backend_cpu.adam_decide(inner(q), a);
}

static relora_status adam_step(struct queue *q, const struct adam *a)
{
    relora_status fate = enter(q, "adam_step", 1);
    return fate ? without_work(fate) : backend_cpu.adam_step(inner(q), a);
}

static relora_status prune(struct queue *q, const struct prune *p)
{
    relora_status fate = enter(q, "prune", 1);
    return fate ? without_work(fate) : backend_cpu.prune(inner(q), p);
}

static relora_status span(struct queue *q, const struct span *s)
{
    relora_status fate = enter(q, "span", 1);
    return fate ? without_work(fate) : backend_cpu.span(inner(q), s);
}

static relora_status share(struct queue *q, const struct share *s)
{
    relora_status fate = enter(q, "share", 1);
    return fate ? without_work(fate) : backend_cpu.share(inner(q), s);
}

static relora_status project(struct queue *q, const struct project *p)
{
    relora_status fate = enter(q, "project", 1);
    return fate ? without_work(fate) : backend_cpu.project(inner(q), p);
}

static const struct backend table = {
    .version = BACKEND_VERSION,
    .kind = RELORA_DEVICE_CPU,
    .name = "faulty",
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
    .slice_rows = 256,
};

void faulty_install(relora_context *ctx)
{
    struct relora_device *device = &ctx->cpu;
    device->backend->queue_close(device->queue);
    device->backend = &table;
    struct queue_options options = {.memory = &ctx->memory, .threads = ctx->threads};
    if (table.queue_open(device->index, &options, &device->queue) < 0) abort();
    of(device->queue)->of_device = 1;
}
