/* The merge: looking at all there is before anything changes, W += s B A in slices, and the norms of the change. */
#include "merge.h"

#include <math.h>

#include "convert.h"
#include "float_mode.h"
#include "renew.h"
#include "text.h"

enum part { PART_W, PART_DELTA, PART_A, PART_B, PART_SCALE, PARTS };

struct merge_memory {           /* what all updates share comes first, so that it stays where it is */
    double *norms;              /* of struct merge */
    uint32_t (*largest)[PARTS]; /* element of each part of each update looked at, by its bits */
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

double *merge_sums(struct scratch *scratch)
{
    return scratch_bytes(scratch, MERGE_SUMS * sizeof(double));
}

static struct merge_memory lay_out(const struct update *u, const relora_stream *stream,
                                   struct scratch *scratch, int with_sum)
{
    int64_t rows = merge_slice_rows(stream->device, rows_of(u), 0);
    struct merge_memory memory;
    memory.norms = merge_sums(scratch);
    memory.largest = scratch_bytes(scratch, MERGE_BATCH * sizeof *memory.largest);
    memory.partials = scratch_bytes(scratch, size_mul((size_t)rows, 2 * sizeof(double)));
    memory.product = scratch_take(scratch, rows, cols_of(u), RELORA_F32);
    memory.sum = scratch_take(scratch, with_sum ? rows : 0, cols_of(u), RELORA_F32);
    return memory;
}

static relora_status open_memory(const struct call *c, struct merge_memory *memory, const struct update *u,
                                 int with_sum)
{
    struct scratch scratch = {0};
    lay_out(u, c->stream, &scratch, with_sum);
    TRY(scratch_open(c, &scratch));
    *memory = lay_out(u, c->stream, &scratch, with_sum);
    return RELORA_OK;
}

/* The slice of B A that begins at row `first`; where W is [in, out], of A^T B^T. */
static relora_status multiply_slice(const struct call *c, const struct update *u, int64_t first,
                                    const struct merge_memory *memory, struct view *product)
{
    int64_t rows = merge_slice_rows(c->stream->device, rows_of(u), first);
    *product = view_rows(memory->product, 0, rows);
    struct gemm g = {.b = u->a, .c = *product};
    if (u->in_out) {
        g.a = view_cols(u->a, first, rows), g.ta = 1;
        g.b = u->b, g.tb = 1;
    } else {
        g.a = view_rows(u->b, first, rows);
    }
    return call_queue(c, c->backend->gemm(c->queue, &g));
}

/* ---- looking ---- */

/* One slice of each size: what the products need is then there. */
static relora_status try_products(const struct call *c, const struct update *u)
{
    int64_t rows = merge_slice_rows(c->stream->device, rows_of(u), 0), rest = rows_of(u) % rows;
    struct merge_memory memory;
    struct view product;
    TRY(open_memory(c, &memory, u, 0));
    TRY(multiply_slice(c, u, 0, &memory, &product));
    return rest ? multiply_slice(c, u, rows_of(u) - rest, &memory, &product) : RELORA_OK;
}

static int same_matrix(struct view a, struct view b)
{
    return a.rows == b.rows && a.cols == b.cols && a.ld == b.ld;
}

static int same_products(const struct update *a, const struct update *b)
{
    return a->weight.data && same_matrix(a->a, b->a) && same_matrix(a->b, b->b) && a->in_out == b->in_out;
}

uint32_t merge_largest_finite(relora_dtype dtype)
{
    return dtype == RELORA_BF16 ? 0x7F7F0000u : 0x7F7FFFFFu;
}

static relora_status copy_largest(const struct call *c, uint32_t (*device)[PARTS], uint32_t (*host)[PARTS],
                                  int32_t count, int to_host)
{
    size_t bytes = (size_t)count * sizeof *host;
    struct copy down = {device, host, 1, bytes, 0, 0, COPY_TO_DEVICE};
    struct copy up = {host, device, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, to_host ? &up : &down)));
    if (to_host) TRY(call_queue(c, c->backend->queue_sync(c->queue)));
    return RELORA_OK;
}

static struct view part_view(const struct update *u, enum part part)
{
    union {
        const float *trainable;
        void *data; /* on the device like the rest, and only read */
    } scale = {u->scale.trainable};
    switch (part) {
    case PART_W: return u->weight;
    case PART_DELTA: return u->delta;
    case PART_A: return u->a;
    case PART_B: return u->b;
    default: return (struct view){scale.data, 1, 1, 1, RELORA_F32};
    }
}

/* W + s B A is made as merging will make it, in F32, and thrown away. */
static relora_status check_sums(const struct call *c, const struct update *u)
{
    static const enum part targets[] = {PART_W, PART_DELTA};
    const struct scale one = {.value = 1};
    struct merge_memory memory;
    uint32_t largest[1][PARTS] = {{0}};
    char label[LABEL_TEXT];
    TRY(open_memory(c, &memory, u, 1));
    TRY(copy_largest(c, memory.largest, largest, 1, 0));
    for (int64_t first = 0; first < rows_of(u);
         first += merge_slice_rows(c->stream->device, rows_of(u), first)) {
        struct merge m = {.scale = u->scale, .rounding = RELORA_ROUND_NEAREST};
        TRY(multiply_slice(c, u, first, &memory, &m.x));
        m.y = view_rows(memory.sum, 0, m.x.rows);
        for (int i = 0; i < 2; i++) {
            struct view target = part_view(u, targets[i]);
            if (!target.data) continue;
            TRY(call_convert(c, m.y, view_rows(target, first, m.x.rows), one));
            TRY(call_queue(c, c->backend->merge(c->queue, &m)));
            TRY(call_queue(c, c->backend->largest(c->queue, m.y, &memory.largest[0][targets[i]])));
        }
    }
    TRY(copy_largest(c, memory.largest, largest, 1, 1));
    if (largest[0][PART_W] > merge_largest_finite(u->weight.dtype) ||
        largest[0][PART_DELTA] > merge_largest_finite(RELORA_F32))
        FAIL(c, RELORA_E_NOT_FINITE, "W + s B A of %s is beyond the range of %s; nothing was merged",
             layer_label(u->name, u->layer, label), dtype_name(u->weight.dtype));
    return RELORA_OK;
}

static int largest_fit(const struct update *u, const uint32_t largest[PARTS])
{
    double rank = (double)u->a.rows;
    double room = 1.01 + 1e-7 * rank; /* more than rounding adds to a sum of so many */
    double range = (double)float_of_bits(merge_largest_finite(RELORA_F32)) / room;
    double weight_range = (double)float_of_bits(merge_largest_finite(u->weight.dtype)) / room;
    double product = rank * (double)float_of_bits(largest[PART_A]) * (double)float_of_bits(largest[PART_B]);
    double s = u->scale.trainable ? 1 : fabs(u->scale.value); /* a tanh is less */
    return product < range && (double)float_of_bits(largest[PART_W]) + s * product < weight_range &&
           (double)float_of_bits(largest[PART_DELTA]) + s * product < range;
}

/* By the largest elements alone, in whatever mode the host's thread is: can no sum, in any order, leave the range? */
static int is_bounded(const struct update *u, const uint32_t largest[PARTS])
{
    const struct update *volatile asked = u;
    fenv_t host = float_mode_enter();
    volatile int fit = largest_fit(asked, largest);
    float_mode_leave(&host);
    return fit;
}

static relora_status check_largest(const struct call *c, const struct update *u,
                                   const uint32_t largest[PARTS])
{
    uint32_t most = merge_largest_finite(RELORA_F32);
    char label[LABEL_TEXT];
    if (largest[PART_A] > most || largest[PART_B] > most || largest[PART_SCALE] > most)
        FAIL(c, RELORA_E_NOT_FINITE, "a factor of %s is not finite; nothing was merged",
             layer_label(u->name, u->layer, label));
    if (largest[PART_W] > most || largest[PART_DELTA] > most)
        FAIL(c, RELORA_E_NOT_FINITE, "the weight of %s is not finite; nothing was merged",
             layer_label(u->name, u->layer, label));
    return RELORA_OK;
}

static relora_status check_finite(const struct call *c, const struct update *updates, int32_t count)
{
    struct merge_memory memory;
    uint32_t largest[MERGE_BATCH][PARTS] = {{0}};
    TRY(open_memory(c, &memory, &updates[0], 0));
    TRY(copy_largest(c, memory.largest, largest, MERGE_BATCH, 0));
    for (int32_t i = 0; i < count; i++)
        for (enum part part = PART_W; part < PARTS; part++) {
            struct view v = part_view(&updates[i], part);
            if (v.data) TRY(call_queue(c, c->backend->largest(c->queue, v, &memory.largest[i][part])));
        }
    TRY(copy_largest(c, memory.largest, largest, MERGE_BATCH, 1));
    for (int32_t i = 0; i < count; i++) TRY(check_largest(c, &updates[i], largest[i]));
    for (int32_t i = 0; i < count; i++)
        if (updates[i].weight.data && !is_bounded(&updates[i], largest[i])) TRY(check_sums(c, &updates[i]));
    return RELORA_OK;
}

relora_status merge_look(const struct call *c, const struct update *updates, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t before = 0;
        if (!updates[i].weight.data) continue; /* the host makes the product */
        while (before < i && !same_products(&updates[before], &updates[i])) before++;
        if (before == i) TRY(try_products(c, &updates[i]));
    }
    return check_finite(c, updates, count);
}

/* ---- doing it ---- */

/* The sums come first in the workspace, where no update's slices overwrite them. */
relora_status merge_start(const struct call *c, const struct update *first, const double sums[MERGE_SUMS])
{
    struct merge_memory memory;
    TRY(open_memory(c, &memory, first, 0));
    struct copy down = {memory.norms, sums, 1, MERGE_SUMS * sizeof *sums, 0, 0, COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &down));
}

relora_status merge_add(const struct call *c, const struct update *u, uint64_t cycle)
{
    struct merge_memory memory;
    TRY(open_memory(c, &memory, u, 0));
    for (int64_t first = 0; first < rows_of(u);
         first += merge_slice_rows(c->stream->device, rows_of(u), first)) {
        struct merge m = {.scale = u->scale,
                          .rounding = u->rounding,
                          .draw = draw_make(u->seed, u->layer, DRAW_MERGE, cycle),
                          .first = (uint64_t)(first * cols_of(u)),
                          .norms = memory.norms,
                          .partials = memory.partials};
        TRY(multiply_slice(c, u, first, &memory, &m.x));
        m.y = view_rows(u->weight, first, m.x.rows);
        if (u->delta.data) m.delta = view_rows(u->delta, first, m.x.rows);
        TRY(call_queue(c, c->backend->merge(c->queue, &m)));
    }
    return RELORA_OK;
}

relora_status merge_end(const struct call *c, const struct update *first, double sums[MERGE_SUMS])
{
    struct merge_memory memory;
    TRY(open_memory(c, &memory, first, 0));
    struct copy up = {sums, memory.norms, 1, MERGE_SUMS * sizeof *sums, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

void merge_report(const double sums[MERGE_SUMS], relora_merge_report *report)
{
    report->delta_norm = float_mode_root(sums[0]);
    report->weight_norm = float_mode_root(sums[1]);
    report->overlap = renew_share(sums + RENEW_OVERLAP);
    report->gradient_before = renew_share(sums + RENEW_BEFORE);
    report->gradient_after = renew_share(sums + RENEW_AFTER);
}

relora_status merge_onto(const struct call *c, const struct update *u, int64_t first, struct view out)
{
    struct merge_memory memory;
    struct merge m = {.y = out, .scale = u->scale, .rounding = RELORA_ROUND_NEAREST};
    TRY(open_memory(c, &memory, u, 0));
    TRY(multiply_slice(c, u, first, &memory, &m.x));
    return call_queue(c, c->backend->merge(c->queue, &m));
}

/* A layer is dead when A and B are both 0; the authors' code starts that way. */
relora_status merge_draw_factors(const struct backend *backend, struct queue *queue, struct view drawn,
                                 struct view other, struct draw draw, int dead)
{
    double bound = dead ? 0 : float_mode_quotient(1, float_mode_root((double)drawn.cols));
    TRY(backend->uniform(queue, drawn, bound, draw));
    return backend->fill(queue, other, 0);
}
