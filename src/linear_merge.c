/* The end of a cycle: W += s B A, and factors drawn afresh. */
#include "linear_merge.h"

#include <math.h>

#include "convert.h"
#include "float_mode.h"

struct merge_memory { /* what all layers share comes first, so that it stays where it is */
    double *norms;   /* of struct merge */
    uint32_t (*largest)[PARAM_COUNT]; /* element of each parameter of each layer looked at, by its bits */
    double *partials;
    struct view product; /* a slice of B A */
    struct view sum;     /* and of what it is to be added to, in F32; if it is asked for */
};

static struct merge_memory lay_out(const relora_linear *linear, struct scratch *scratch, int with_sum)
{
    int64_t rows = linear_slice_rows(linear, 0);
    struct merge_memory memory;
    memory.norms = scratch_bytes(scratch, 2 * sizeof(double));
    memory.largest = scratch_bytes(scratch, MERGE_BATCH * sizeof *memory.largest);
    memory.partials = scratch_bytes(scratch, size_mul((size_t)rows, 2 * sizeof(double)));
    memory.product = scratch_take(scratch, rows, linear->options.in_features, RELORA_F32);
    memory.sum = scratch_take(scratch, with_sum ? rows : 0, linear->options.in_features, RELORA_F32);
    return memory;
}

static relora_status open_memory(struct merge_memory *memory, const relora_linear *linear,
                                 relora_stream *stream, const char *fn, int with_sum)
{
    struct scratch scratch = {0};
    lay_out(linear, &scratch, with_sum);
    TRY(scratch_open(&scratch, stream, fn));
    *memory = lay_out(linear, &scratch, with_sum);
    return RELORA_OK;
}

static relora_status open_merge(struct merge_memory *memory, const relora_linear *linear,
                                relora_stream *stream, const char *fn)
{
    return open_memory(memory, linear, stream, fn, 0);
}

/* The slice of B A that begins at row `first`. */
static relora_status multiply_slice(const relora_linear *linear, relora_stream *stream, const char *fn,
                                    int64_t first, const struct merge_memory *memory,
                                    struct view *product)
{
    int64_t rows = linear_slice_rows(linear, first);
    *product = view_rows(memory->product, 0, rows);
    struct gemm g = {.a = view_rows(tensor_view(linear->param[RELORA_PARAM_B]), first, rows),
                     .b = tensor_view(linear->param[RELORA_PARAM_A]),
                     .c = *product};
    TRY_QUEUE(stream, fn, linear->device->backend->gemm(stream->queue, &g));
    return RELORA_OK;
}

/* ---- looking ---- */

static relora_status check_mode(const relora_linear *linear, const char *fn)
{
    char label[LABEL_TEXT];
    if (linear->options.mode != RELORA_MODE_LORA)
        FAIL(linear->ctx, RELORA_E_STATE, "%s: %s is in mode %s; only LORA has what to merge", fn,
             linear_label(linear, label), linear_mode_name(linear->options.mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(linear->ctx, RELORA_E_STATE, "%s: %s has no weight; call relora_linear_set_weight", fn,
             linear_label(linear, label));
    return RELORA_OK;
}

/* One slice of each size: what the products need is then there. */
static relora_status try_products(relora_linear *linear, relora_stream *stream, const char *fn)
{
    int64_t rows = linear_slice_rows(linear, 0), rest = linear->options.out_features % rows;
    struct merge_memory memory;
    struct view product;
    TRY(open_merge(&memory, linear, stream, fn));
    TRY(multiply_slice(linear, stream, fn, 0, &memory, &product));
    return rest ? multiply_slice(linear, stream, fn, linear->options.out_features - rest, &memory, &product)
                : RELORA_OK;
}

static int same_products(const relora_linear *a, const relora_linear *b)
{
    return a->options.in_features == b->options.in_features &&
           a->options.out_features == b->options.out_features && a->options.rank == b->options.rank;
}

/* The largest bits that a finite number of the type has as F32. */
static uint32_t largest_finite(relora_dtype dtype)
{
    return dtype == RELORA_BF16 ? 0x7F7F0000u : 0x7F7FFFFFu;
}

static relora_status copy_largest(relora_stream *stream, const char *fn, uint32_t (*device)[PARAM_COUNT],
                                  uint32_t (*host)[PARAM_COUNT], int32_t layers, int to_host)
{
    const struct backend *backend = stream->device->backend;
    size_t bytes = (size_t)layers * sizeof *host;
    struct copy down = {device, host, 1, bytes, 0, 0, COPY_TO_DEVICE};
    struct copy up = {host, device, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, to_host ? &up : &down));
    if (to_host) TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    return RELORA_OK;
}

/* W + s B A is made as merging will make it, in F32, and thrown away. */
static relora_status check_sums(const relora_linear *linear, relora_stream *stream, const char *fn)
{
    static const relora_param targets[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_DELTA};
    const struct backend *backend = stream->device->backend;
    const struct scale one = {.value = 1};
    struct merge_memory memory;
    uint32_t largest[1][PARAM_COUNT] = {{0}};
    char label[LABEL_TEXT];
    TRY(open_memory(&memory, linear, stream, fn, 1));
    TRY(copy_largest(stream, fn, memory.largest, largest, 1, 0));
    for (int64_t first = 0; first < linear->options.out_features; first += linear_slice_rows(linear, first)) {
        struct merge m = {.scale = linear_scale(linear), .rounding = RELORA_ROUND_NEAREST};
        TRY(multiply_slice(linear, stream, fn, first, &memory, &m.x));
        m.y = view_rows(memory.sum, 0, m.x.rows);
        for (int i = 0; i < 2; i++) {
            const relora_tensor *target = linear->param[targets[i]];
            if (!target) continue;
            struct view part = view_rows(tensor_view(target), first, m.x.rows);
            TRY_QUEUE(stream, fn, backend->convert(stream->queue, m.y, part, one));
            TRY_QUEUE(stream, fn, backend->merge(stream->queue, &m));
            TRY_QUEUE(stream, fn, backend->largest(stream->queue, m.y, &memory.largest[0][targets[i]]));
        }
    }
    TRY(copy_largest(stream, fn, memory.largest, largest, 1, 1));
    if (largest[0][RELORA_PARAM_WEIGHT] > largest_finite(linear->options.dtype) ||
        largest[0][RELORA_PARAM_DELTA] > largest_finite(RELORA_F32))
        FAIL(stream->ctx, RELORA_E_NOT_FINITE, "%s: W + s B A of %s is beyond the range of %s; nothing was merged", fn,
             linear_label(linear, label), dtype_name(linear->options.dtype));
    return RELORA_OK;
}

/* By the largest elements alone: can no sum, in any order, leave the range? */
static int is_bounded(const relora_linear *linear, const uint32_t largest[PARAM_COUNT])
{
    double room = 1.01 + 1e-7 * (double)linear->options.rank; /* more than rounding adds to a sum of so many */
    double range = (double)float_of_bits(largest_finite(RELORA_F32)) / room;
    double weight_range = (double)float_of_bits(largest_finite(linear->options.dtype)) / room;
    double a = (double)float_of_bits(largest[RELORA_PARAM_A]), b = (double)float_of_bits(largest[RELORA_PARAM_B]);
    double product = (double)linear->options.rank * a * b;
    double s = linear->param[RELORA_PARAM_SCALE] ? 1 : fabs(linear_scale(linear).value); /* a tanh is less */
    return product < range && (double)float_of_bits(largest[RELORA_PARAM_WEIGHT]) + s * product < weight_range &&
           (double)float_of_bits(largest[RELORA_PARAM_DELTA]) + s * product < range;
}

static relora_status check_largest(const relora_linear *linear, const char *fn, const uint32_t largest[PARAM_COUNT])
{
    uint32_t most = largest_finite(RELORA_F32);
    char label[LABEL_TEXT];
    if (largest[RELORA_PARAM_A] > most || largest[RELORA_PARAM_B] > most || largest[RELORA_PARAM_SCALE] > most)
        FAIL(linear->ctx, RELORA_E_NOT_FINITE, "%s: a factor of %s is not finite; nothing was merged", fn,
             linear_label(linear, label));
    if (largest[RELORA_PARAM_WEIGHT] > most || largest[RELORA_PARAM_DELTA] > most)
        FAIL(linear->ctx, RELORA_E_NOT_FINITE, "%s: the weight of %s is not finite; nothing was merged", fn,
             linear_label(linear, label));
    return RELORA_OK;
}

static relora_status check_finite(relora_linear *const *linears, int32_t count, relora_stream *stream,
                                  const char *fn)
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    uint32_t largest[MERGE_BATCH][PARAM_COUNT] = {{0}};
    TRY(open_merge(&memory, linears[0], stream, fn));
    TRY(copy_largest(stream, fn, memory.largest, largest, MERGE_BATCH, 0));
    for (int32_t i = 0; i < count; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
            if (linears[i]->param[p] && p != RELORA_PARAM_BIAS)
                TRY_QUEUE(stream, fn, backend->largest(stream->queue, tensor_view(linears[i]->param[p]),
                                                       &memory.largest[i][p]));
    TRY(copy_largest(stream, fn, memory.largest, largest, MERGE_BATCH, 1));
    for (int32_t i = 0; i < count; i++) TRY(check_largest(linears[i], fn, largest[i]));
    for (int32_t i = 0; i < count; i++)
        if (!is_bounded(linears[i], largest[i])) TRY(check_sums(linears[i], stream, fn));
    return RELORA_OK;
}

/* Layers that are looked at together: after it nothing but the device can fail. */
static relora_status look_at(relora_linear *const *linears, int32_t count, relora_stream *stream,
                             const char *fn)
{
    for (int32_t i = 0; i < count; i++) {
        TRY(linear_check(linears[i], stream, fn));
        TRY(check_mode(linears[i], fn));
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t before = 0;
        while (before < i && !same_products(linears[before], linears[i])) before++;
        if (before == i) TRY(try_products(linears[i], stream, fn));
    }
    return check_finite(linears, count, stream, fn);
}

/* The layer at `index`, or NULL for what is left out. */
static relora_linear *layer_at(const struct merge_job *job, int32_t index)
{
    const struct member *m = registry_at(job->layers, index);
    if (m->value || (job->lora_only && m->linear->options.mode != RELORA_MODE_LORA)) return NULL;
    return m->linear;
}

/* The first layer, for what all of them share; NULL if there is none. */
static relora_linear *first_layer(const struct merge_job *job)
{
    for (int32_t i = 0; i < job->layers->count; i++)
        if (layer_at(job, i)) return layer_at(job, i);
    return NULL;
}

static relora_status look_at_all(const struct merge_job *job, relora_stream *stream, const char *fn)
{
    relora_linear *batch[MERGE_BATCH];
    int32_t n = 0;
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (linear) batch[n++] = linear;
        if (n < MERGE_BATCH && i + 1 < job->layers->count) continue;
        if (n) TRY(look_at(batch, n, stream, fn));
        n = 0;
    }
    return RELORA_OK;
}

/* ---- doing it ---- */

/* The norms begin at 0. They come first in the workspace, where no layer's slices overwrite them. */
static relora_status start_norms(const relora_linear *first, relora_stream *stream, const char *fn)
{
    struct merge_memory memory;
    double norms[2] = {0};
    TRY(open_merge(&memory, first, stream, fn));
    struct copy down = {memory.norms, norms, 1, sizeof norms, 0, 0, COPY_TO_DEVICE};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &down));
    return RELORA_OK;
}

static relora_status merge_one(relora_linear *linear, relora_stream *stream, const char *fn, uint64_t cycle)
{
    struct view w = tensor_view(linear->param[RELORA_PARAM_WEIGHT]);
    const relora_tensor *delta = linear->param[RELORA_PARAM_DELTA];
    struct merge_memory memory;
    TRY(open_merge(&memory, linear, stream, fn));
    for (int64_t first = 0; first < w.rows; first += linear_slice_rows(linear, first)) {
        struct merge m = {.scale = linear_scale(linear),
                          .rounding = linear->options.rounding,
                          .draw = linear_draw(linear, DRAW_MERGE, cycle),
                          .first = (uint64_t)(first * w.cols),
                          .norms = memory.norms,
                          .partials = memory.partials};
        TRY(multiply_slice(linear, stream, fn, first, &memory, &m.x));
        m.y = view_rows(w, first, m.x.rows);
        if (delta) m.delta = view_rows(tensor_view(delta), first, m.x.rows);
        TRY_QUEUE(stream, fn, linear->device->backend->merge(stream->queue, &m));
    }
    return RELORA_OK;
}

/* The sums of |change of W|^2 and |W|^2 over all layers. */
static relora_status read_norms(const relora_linear *first, relora_stream *stream, const char *fn,
                                relora_merge_report *report)
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    double norms[2];
    TRY(open_merge(&memory, first, stream, fn));
    struct copy up = {norms, memory.norms, 1, sizeof norms, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &up));
    TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    report->delta_norm = float_mode_root(norms[0]);
    report->weight_norm = float_mode_root(norms[1]);
    return RELORA_OK;
}

relora_status linear_merge_all(const struct merge_job *job, relora_stream *stream, const char *fn,
                               relora_merge_report *report)
{
    const relora_linear *first = first_layer(job);
    if (!first) FAIL(stream->ctx, RELORA_E_STATE, "%s: no layer is in mode LORA", fn);
    TRY(look_at_all(job, stream, fn));
    if (job->before) job->before(job->user);
    if (!job->merges) return RELORA_OK;
    TRY(start_norms(first, stream, fn));
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (!linear) continue;
        TRY(merge_one(linear, stream, fn, job->cycle));
        if (job->draws) TRY(linear_reset_run(linear, stream, fn, job->cycle));
        report->layers++;
    }
    return read_norms(first, stream, fn, report);
}

relora_status linear_merged_rows(relora_linear *linear, relora_stream *stream, const char *fn,
                                 int64_t first, struct view out)
{
    const struct backend *backend = linear->device->backend;
    const relora_tensor *w = linear->param[RELORA_PARAM_WEIGHT];
    const struct scale one = {.value = 1};
    struct merge_memory memory;
    if (w)
        TRY_QUEUE(stream, fn,
                  backend->convert(stream->queue, out, view_rows(tensor_view(w), first, out.rows), one));
    else
        TRY_QUEUE(stream, fn, backend->fill(stream->queue, out, 0));
    if (linear->options.mode == RELORA_MODE_FULL) return RELORA_OK;
    TRY(open_merge(&memory, linear, stream, fn));
    struct merge m = {.y = out, .scale = linear_scale(linear), .rounding = RELORA_ROUND_NEAREST};
    TRY(multiply_slice(linear, stream, fn, first, &memory, &m.x));
    TRY_QUEUE(stream, fn, backend->merge(stream->queue, &m));
    return RELORA_OK;
}

relora_status linear_reset_run(relora_linear *linear, relora_stream *stream, const char *fn,
                               uint64_t cycle)
{
    relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    double start = linear->options.flags & RELORA_LINEAR_REFERENCE ? 0 : 1;
    char label[LABEL_TEXT];
    TRY_QUEUE(stream, fn, linear_draw_factors(linear, stream->queue, cycle, 0));
    if (scale)
        TRY_QUEUE(stream, fn,
                  stream->device->backend->fill(stream->queue, tensor_view(scale), start));
    context_log(linear->ctx, RELORA_LOG_DEBUG, "%s: factors of %s drawn for cycle %llu", fn,
                linear_label(linear, label), (unsigned long long)cycle);
    return RELORA_OK;
}

relora_status relora_linear_merge(relora_linear *linear, relora_stream *stream, uint64_t cycle,
                                  relora_merge_report *report)
{
    GIVEN(stream);
    const char *fn = "relora_linear_merge";
    relora_merge_report r = {.struct_size = sizeof r};
    char label[LABEL_TEXT];
    TRY(linear_check(linear, stream, fn));
    TRY(context_write_report(linear->ctx, fn, "report", report, &r, sizeof r));
    struct member one = {.linear = linear};
    struct registry layers = {.ctx = linear->ctx, .size = sizeof one, .items = &one, .count = 1};
    struct merge_job job = {.layers = &layers, .merges = 1, .cycle = cycle};
    TRY(linear_merge_all(&job, stream, fn, &r));
    context_log(linear->ctx, RELORA_LOG_INFO, "%s: %s, cycle %llu: |dW| %g, |W| %g", fn,
                linear_label(linear, label), (unsigned long long)cycle, r.delta_norm, r.weight_norm);
    return report_write(report, &r, sizeof r);
}

relora_status relora_linear_reset(relora_linear *linear, relora_stream *stream, uint64_t cycle)
{
    GIVEN(stream);
    const char *fn = "relora_linear_reset";
    TRY(linear_check(linear, stream, fn));
    if (linear->options.mode == RELORA_MODE_FULL)
        FAIL(linear->ctx, RELORA_E_STATE, "%s: linear is in mode FULL and has no factors", fn);
    return linear_reset_run(linear, stream, fn, cycle);
}

relora_status relora_merge_report_init(relora_merge_report *report, size_t size)
{
    return report_init(report, size);
}
