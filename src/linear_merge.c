/* The end of a cycle: W += s B A, and factors drawn afresh. */
#include "float_mode.h"
#include "linear.h"
#include "options.h"

struct merge_memory { /* what all layers share comes first, so that it stays where it is */
    double *norms;   /* of struct merge */
    int32_t *flags;  /* of not_finite, one for each layer that is looked at */
    double *partials;
    struct view product; /* a slice of B A */
};

/* As equal as they can be: a small rest would cost a product of its own. */
int64_t linear_slice_rows(const relora_linear *linear, int64_t first)
{
    int64_t least = linear->device->backend->slice_rows, out = linear->options.out_features;
    int64_t count = least && out >= 2 * least ? out / least : 1;
    int64_t rows = (out + count - 1) / count, left = out - first;
    return rows < left ? rows : left;
}

static struct merge_memory lay_out(const relora_linear *linear, struct scratch *scratch)
{
    int64_t rows = linear_slice_rows(linear, 0);
    struct merge_memory memory;
    memory.norms = scratch_bytes(scratch, 2 * sizeof(double));
    memory.flags = scratch_bytes(scratch, MERGE_BATCH * sizeof(int32_t));
    memory.partials = scratch_bytes(scratch, size_mul((size_t)rows, 2 * sizeof(double)));
    memory.product = scratch_take(scratch, rows, linear->options.in_features, RELORA_F32);
    return memory;
}

static relora_status open_merge(struct merge_memory *memory, const relora_linear *linear,
                                relora_stream *stream, const char *fn)
{
    struct scratch scratch = {0};
    lay_out(linear, &scratch);
    TRY(scratch_open(&scratch, stream, fn));
    *memory = lay_out(linear, &scratch);
    return RELORA_OK;
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
    const relora_linear_options *o = &linear->options;
    if (o->mode != RELORA_MODE_LORA)
        FAIL(linear->ctx, RELORA_E_STATE, "%s: layer %llu is in mode %s; only LORA has what to merge", fn,
             (unsigned long long)o->layer, linear_mode_name(o->mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(linear->ctx, RELORA_E_STATE, "%s: layer %llu has no weight; call relora_linear_set_weight",
             fn, (unsigned long long)o->layer);
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

static relora_status check_finite(relora_linear *const *linears, int32_t count, relora_stream *stream,
                                  const char *fn)
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    int32_t flags[MERGE_BATCH] = {0};
    TRY(open_merge(&memory, linears[0], stream, fn));
    struct copy down = {memory.flags, flags, 1, sizeof flags, 0, 0, COPY_TO_DEVICE};
    struct copy up = {flags, memory.flags, 1, sizeof flags, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &down));
    for (int32_t i = 0; i < count; i++)
        for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++)
            if (linears[i]->param[p])
                TRY_QUEUE(stream, fn, backend->not_finite(stream->queue, tensor_view(linears[i]->param[p]),
                                                          &memory.flags[i]));
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &up));
    TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    for (int32_t i = 0; i < count; i++)
        if (flags[i])
            FAIL(stream->ctx, RELORA_E_NOT_FINITE,
                 "%s: a factor of layer %llu is not finite; nothing was merged", fn,
                 (unsigned long long)linears[i]->options.layer);
    return RELORA_OK;
}

relora_status linear_merge_check(relora_linear *const *linears, int32_t count, relora_stream *stream,
                                 const char *fn)
{
    for (int32_t i = 0; i < count; i++) TRY(check_mode(linears[i], fn));
    for (int32_t i = 0; i < count; i++) {
        int32_t before = 0;
        while (before < i && !same_products(linears[before], linears[i])) before++;
        if (before == i) TRY(try_products(linears[i], stream, fn));
    }
    return check_finite(linears, count, stream, fn);
}

/* ---- doing it ---- */

relora_status linear_merge_start(const relora_linear *first, relora_stream *stream, const char *fn)
{
    struct merge_memory memory;
    double norms[2] = {0};
    TRY(open_merge(&memory, first, stream, fn));
    struct copy down = {memory.norms, norms, 1, sizeof norms, 0, 0, COPY_TO_DEVICE};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &down));
    return RELORA_OK;
}

relora_status linear_merge_run(relora_linear *linear, relora_stream *stream, const char *fn, uint64_t cycle)
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

relora_status linear_merge_end(const relora_linear *first, relora_stream *stream, const char *fn,
                               double norms[2])
{
    const struct backend *backend = stream->device->backend;
    struct merge_memory memory;
    TRY(open_merge(&memory, first, stream, fn));
    struct copy up = {norms, memory.norms, 1, 2 * sizeof *norms, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &up));
    TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    return RELORA_OK;
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
    TRY_QUEUE(stream, fn, linear_draw_factors(linear, stream->queue, cycle, 0));
    if (scale)
        TRY_QUEUE(stream, fn,
                  stream->device->backend->fill(stream->queue, tensor_view(scale), start));
    context_log(linear->ctx, RELORA_LOG_DEBUG, "%s: factors of layer %llu drawn for cycle %llu", fn,
                (unsigned long long)linear->options.layer, (unsigned long long)cycle);
    return RELORA_OK;
}

relora_status relora_linear_merge(relora_linear *linear, relora_stream *stream, uint64_t cycle,
                                  relora_merge_report *report)
{
    const char *fn = "relora_linear_merge";
    relora_merge_report r = {.struct_size = sizeof r};
    double norms[2];
    TRY(linear_check(linear, stream, fn));
    relora_status status = report_write(report, &r, sizeof r);
    if (status < 0) return context_fail_options(linear->ctx, status, fn, "report");
    TRY(linear_merge_check(&linear, 1, stream, fn));
    TRY(linear_merge_start(linear, stream, fn));
    TRY(linear_merge_run(linear, stream, fn, cycle));
    TRY(linear_merge_end(linear, stream, fn, norms));
    r.layers = 1;
    r.delta_norm = float_mode_root(norms[0]);
    r.weight_norm = float_mode_root(norms[1]);
    context_log(linear->ctx, RELORA_LOG_INFO, "%s: layer %llu, cycle %llu: |dW| %g, |W| %g", fn,
                (unsigned long long)linear->options.layer, (unsigned long long)cycle, r.delta_norm,
                r.weight_norm);
    return report_write(report, &r, sizeof r);
}

relora_status relora_linear_reset(relora_linear *linear, relora_stream *stream, uint64_t cycle)
{
    const char *fn = "relora_linear_reset";
    TRY(linear_check(linear, stream, fn));
    if (linear->options.mode == RELORA_MODE_FULL)
        FAIL(linear->ctx, RELORA_E_STATE, "%s: linear is in mode FULL and has no factors", fn);
    return linear_reset_run(linear, stream, fn, cycle);
}
