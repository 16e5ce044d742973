/* The merge: looking at all there is before anything changes, W += s B A in slices, and the norms of the change. */
#include "merge.h"

#include <math.h>

#include "convert.h"
#include "float_mode.h"
#include "linear.h"

enum part { PART_W, PART_DELTA, PART_A, PART_B, PART_SCALE, PARTS };

struct merge_memory { /* what all updates share comes first, so that it stays where it is */
    double *norms;               /* of struct merge */
    uint32_t (*largest)[PARTS];  /* element of each part of each update looked at, by its bits */
    double *partials;
    struct view product; /* a slice of B A, or of its transpose */
    struct view sum;     /* and of what it is to be added to, in F32; if it is asked for */
};

static int64_t rows_of(const struct update *u)
{
    return u->in_out ? u->a.cols : u->b.rows;
}

static int64_t cols_of(const struct update *u)
{
    return u->in_out ? u->b.rows : u->a.cols;
}

/* As equal as they can be: a small rest would cost a product of its own. */
int64_t merge_slice_rows(const relora_device *device, int64_t rows, int64_t first)
{
    int64_t least = device->backend->slice_rows;
    int64_t count = least && rows >= 2 * least ? rows / least : 1;
    int64_t slice = (rows + count - 1) / count, left = rows - first;
    return slice < left ? slice : left;
}

static struct merge_memory lay_out(const struct update *u, const relora_stream *stream, struct scratch *scratch,
                                   int with_sum)
{
    int64_t rows = merge_slice_rows(stream->device, rows_of(u), 0);
    struct merge_memory memory;
    memory.norms = scratch_bytes(scratch, 2 * sizeof(double));
    memory.largest = scratch_bytes(scratch, MERGE_BATCH * sizeof *memory.largest);
    memory.partials = scratch_bytes(scratch, size_mul((size_t)rows, 2 * sizeof(double)));
    memory.product = scratch_take(scratch, rows, cols_of(u), RELORA_F32);
    memory.sum = scratch_take(scratch, with_sum ? rows : 0, cols_of(u), RELORA_F32);
    return memory;
}

static relora_status open_memory(struct merge_memory *memory, const struct update *u, relora_stream *stream,
                                 const char *fn, int with_sum)
{
    struct scratch scratch = {0};
    lay_out(u, stream, &scratch, with_sum);
    TRY(scratch_open(&scratch, stream, fn));
    *memory = lay_out(u, stream, &scratch, with_sum);
    return RELORA_OK;
}

/* The slice of B A that begins at row `first`; where W is [in, out], of A^T B^T. */
static relora_status multiply_slice(const struct update *u, relora_stream *stream, const char *fn, int64_t first,
                                    const struct merge_memory *memory, struct view *product)
{
    int64_t rows = merge_slice_rows(stream->device, rows_of(u), first);
    *product = view_rows(memory->product, 0, rows);
    struct gemm g = {.b = u->a, .c = *product};
    if (u->in_out) {
        g.a = view_cols(u->a, first, rows), g.ta = 1;
        g.b = u->b, g.tb = 1;
    } else {
        g.a = view_rows(u->b, first, rows);
    }
    TRY_QUEUE(stream, fn, stream->device->backend->gemm(stream->queue, &g));
    return RELORA_OK;
}

/* ---- looking ---- */

/* One slice of each size: what the products need is then there. */
static relora_status try_products(const struct update *u, relora_stream *stream, const char *fn)
{
    int64_t rows = merge_slice_rows(stream->device, rows_of(u), 0), rest = rows_of(u) % rows;
    struct merge_memory memory;
    struct view product;
    TRY(open_memory(&memory, u, stream, fn, 0));
    TRY(multiply_slice(u, stream, fn, 0, &memory, &product));
    return rest ? multiply_slice(u, stream, fn, rows_of(u) - rest, &memory, &product) : RELORA_OK;
}

static int same_matrix(struct view a, struct view b)
{
    return a.rows == b.rows && a.cols == b.cols && a.ld == b.ld;
}

static int same_products(const struct update *a, const struct update *b)
{
    return same_matrix(a->a, b->a) && same_matrix(a->b, b->b) && a->in_out == b->in_out;
}

/* The largest bits that a finite number of the type has as F32. */
static uint32_t largest_finite(relora_dtype dtype)
{
    return dtype == RELORA_BF16 ? 0x7F7F0000u : 0x7F7FFFFFu;
}

static relora_status copy_largest(relora_stream *stream, const char *fn, uint32_t (*device)[PARTS],
                                  uint32_t (*host)[PARTS], int32_t count, int to_host)
{
    const struct backend *backend = stream->device->backend;
    size_t bytes = (size_t)count * sizeof *host;
    struct copy down = {device, host, 1, bytes, 0, 0, COPY_TO_DEVICE};
    struct copy up = {host, device, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, to_host ? &up : &down));
    if (to_host) TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    return RELORA_OK;
}

static struct view part_view(const struct update *u, enum part part)
{
    void *scale = (void *)(uintptr_t)u->scale.trainable; /* on the device like the rest, and only read */
    switch (part) {
    case PART_W: return u->weight;
    case PART_DELTA: return u->delta;
    case PART_A: return u->a;
    case PART_B: return u->b;
    default: return (struct view){scale, 1, 1, 1, RELORA_F32};
    }
}

/* W + s B A is made as merging will make it, in F32, and thrown away. */
static relora_status check_sums(const struct update *u, relora_stream *stream, const char *fn)
{
    static const enum part targets[] = {PART_W, PART_DELTA};
    const struct backend *backend = stream->device->backend;
    const struct scale one = {.value = 1};
    struct merge_memory memory;
    uint32_t largest[1][PARTS] = {{0}};
    char label[LABEL_TEXT];
    TRY(open_memory(&memory, u, stream, fn, 1));
    TRY(copy_largest(stream, fn, memory.largest, largest, 1, 0));
    for (int64_t first = 0; first < rows_of(u); first += merge_slice_rows(stream->device, rows_of(u), first)) {
        struct merge m = {.scale = u->scale, .rounding = RELORA_ROUND_NEAREST};
        TRY(multiply_slice(u, stream, fn, first, &memory, &m.x));
        m.y = view_rows(memory.sum, 0, m.x.rows);
        for (int i = 0; i < 2; i++) {
            struct view target = part_view(u, targets[i]);
            if (!target.data) continue;
            TRY_QUEUE(stream, fn, backend->convert(stream->queue, m.y, view_rows(target, first, m.x.rows), one));
            TRY_QUEUE(stream, fn, backend->merge(stream->queue, &m));
            TRY_QUEUE(stream, fn, backend->largest(stream->queue, m.y, &memory.largest[0][targets[i]]));
        }
    }
    TRY(copy_largest(stream, fn, memory.largest, largest, 1, 1));
    if (largest[0][PART_W] > largest_finite(u->weight.dtype) || largest[0][PART_DELTA] > largest_finite(RELORA_F32))
        FAIL(stream->ctx, RELORA_E_NOT_FINITE, "%s: W + s B A of %s is beyond the range of %s; nothing was merged", fn,
             layer_label(u->name, u->layer, label), dtype_name(u->weight.dtype));
    return RELORA_OK;
}

/* By the largest elements alone: can no sum, in any order, leave the range? */
static int is_bounded(const struct update *u, const uint32_t largest[PARTS])
{
    double rank = (double)u->a.rows;
    double room = 1.01 + 1e-7 * rank; /* more than rounding adds to a sum of so many */
    double range = (double)float_of_bits(largest_finite(RELORA_F32)) / room;
    double weight_range = (double)float_of_bits(largest_finite(u->weight.dtype)) / room;
    double product = rank * (double)float_of_bits(largest[PART_A]) * (double)float_of_bits(largest[PART_B]);
    double s = u->scale.trainable ? 1 : fabs(u->scale.value); /* a tanh is less */
    return product < range && (double)float_of_bits(largest[PART_W]) + s * product < weight_range &&
           (double)float_of_bits(largest[PART_DELTA]) + s * product < range;
}

static relora_status check_largest(const struct update *u, const relora_stream *stream, const char *fn,
                                   const uint32_t largest[PARTS])
{
    uint32_t most = largest_finite(RELORA_F32);
    char label[LABEL_TEXT];
    if (largest[PART_A] > most || largest[PART_B] > most || largest[PART_SCALE] > most)
        FAIL(stream->ctx, RELORA_E_NOT_FINITE, "%s: a factor of %s is not finite; nothing was merged", fn, layer_label(u->name, u->layer, label));
    if (largest[PART_W] > most || largest[PART_DELTA] > most)
        FAIL(stream->ctx, RELORA_E_NOT_FINITE, "%s: the weight of %s is not finite; nothing was merged", fn, layer_label(u->name, u->layer, label));
    return RELORA_OK;
}

static relora_status check_finite(const struct update *updates, int32_t count, relora_stream *stream, const char *fn)
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    uint32_t largest[MERGE_BATCH][PARTS] = {{0}};
    TRY(open_memory(&memory, &updates[0], stream, fn, 0));
    TRY(copy_largest(stream, fn, memory.largest, largest, MERGE_BATCH, 0));
    for (int32_t i = 0; i < count; i++)
        for (enum part part = PART_W; part < PARTS; part++) {
            struct view v = part_view(&updates[i], part);
            if (v.data) TRY_QUEUE(stream, fn, backend->largest(stream->queue, v, &memory.largest[i][part]));
        }
    TRY(copy_largest(stream, fn, memory.largest, largest, MERGE_BATCH, 1));
    for (int32_t i = 0; i < count; i++) TRY(check_largest(&updates[i], stream, fn, largest[i]));
    for (int32_t i = 0; i < count; i++)
        if (!is_bounded(&updates[i], largest[i])) TRY(check_sums(&updates[i], stream, fn));
    return RELORA_OK;
}

relora_status merge_look(const struct update *updates, int32_t count, relora_stream *stream, const char *fn)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t before = 0;
        while (before < i && !same_products(&updates[before], &updates[i])) before++;
        if (before == i) TRY(try_products(&updates[i], stream, fn));
    }
    return check_finite(updates, count, stream, fn);
}

/* ---- doing it ---- */

/* The norms begin at 0. They come first in the workspace, where no update's slices overwrite them. */
relora_status merge_start(const struct update *first, relora_stream *stream, const char *fn)
{
    struct merge_memory memory;
    double norms[2] = {0};
    TRY(open_memory(&memory, first, stream, fn, 0));
    struct copy down = {memory.norms, norms, 1, sizeof norms, 0, 0, COPY_TO_DEVICE};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &down));
    return RELORA_OK;
}

relora_status merge_add(const struct update *u, relora_stream *stream, const char *fn, uint64_t cycle)
{
    struct merge_memory memory;
    TRY(open_memory(&memory, u, stream, fn, 0));
    for (int64_t first = 0; first < rows_of(u); first += merge_slice_rows(stream->device, rows_of(u), first)) {
        struct merge m = {.scale = u->scale,
                          .rounding = u->rounding,
                          .draw = draw_make(u->seed, u->layer, DRAW_MERGE, cycle),
                          .first = (uint64_t)(first * cols_of(u)),
                          .norms = memory.norms,
                          .partials = memory.partials};
        TRY(multiply_slice(u, stream, fn, first, &memory, &m.x));
        m.y = view_rows(u->weight, first, m.x.rows);
        if (u->delta.data) m.delta = view_rows(u->delta, first, m.x.rows);
        TRY_QUEUE(stream, fn, stream->device->backend->merge(stream->queue, &m));
    }
    return RELORA_OK;
}

relora_status merge_end(const struct update *first, relora_stream *stream, const char *fn,
                        relora_merge_report *report)
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    double norms[2];
    TRY(open_memory(&memory, first, stream, fn, 0));
    struct copy up = {norms, memory.norms, 1, sizeof norms, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &up));
    TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    report->delta_norm = float_mode_root(norms[0]);
    report->weight_norm = float_mode_root(norms[1]);
    return RELORA_OK;
}

relora_status merge_onto(const struct update *u, relora_stream *stream, const char *fn, int64_t first,
                         struct view out)
{
    struct merge_memory memory;
    struct merge m = {.y = out, .scale = u->scale, .rounding = RELORA_ROUND_NEAREST};
    TRY(open_memory(&memory, u, stream, fn, 0));
    TRY(multiply_slice(u, stream, fn, first, &memory, &m.x));
    TRY_QUEUE(stream, fn, stream->device->backend->merge(stream->queue, &m));
    return RELORA_OK;
}

/* A layer is dead when A and B are both 0; the authors' code starts that way. */
relora_status merge_draw_factors(const struct backend *backend, struct queue *queue, struct view a, struct view b,
                                 struct draw draw, int dead)
{
    double bound = dead ? 0 : float_mode_quotient(1, float_mode_root((double)a.cols));
    TRY(backend->uniform(queue, a, bound, draw));
    return backend->fill(queue, b, 0);
}
