/* The end of a cycle: W += s B A, and factors drawn afresh. */
#include "linear_merge.h"

#include "merge.h"

static struct view view_of(const relora_tensor *tensor)
{
    return tensor ? tensor_view(tensor) : (struct view){.data = NULL};
}

static struct update update_of(const relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    return (struct update){.name = linear->name,
                           .weight = view_of(linear->param[RELORA_PARAM_WEIGHT]),
                           .delta = view_of(linear->param[RELORA_PARAM_DELTA]),
                           .a = view_of(linear->param[RELORA_PARAM_A]),
                           .b = view_of(linear->param[RELORA_PARAM_B]),
                           .in_out = linear_in_out(o),
                           .scale = linear_scale(linear),
                           .rounding = o->rounding,
                           .seed = o->seed,
                           .layer = o->layer};
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

/* Layers that are looked at together: after it nothing but the device can fail. */
static relora_status look_at(relora_linear *const *linears, int32_t count, relora_stream *stream,
                             const char *fn)
{
    struct update updates[MERGE_BATCH];
    for (int32_t i = 0; i < count; i++) {
        TRY(linear_check(linears[i], stream, fn));
        TRY(check_mode(linears[i], fn));
        updates[i] = update_of(linears[i]);
    }
    return merge_look(updates, count, stream, fn);
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

relora_status linear_merge_all(const struct merge_job *job, relora_stream *stream, const char *fn,
                               relora_merge_report *report)
{
    const relora_linear *first = first_layer(job);
    if (!first) FAIL(stream->ctx, RELORA_E_STATE, "%s: no layer is in mode LORA", fn);
    TRY(look_at_all(job, stream, fn));
    if (job->before) job->before(job->user);
    if (!job->merges) return RELORA_OK;
    struct update update = update_of(first);
    TRY(merge_start(&update, stream, fn));
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (!linear) continue;
        update = update_of(linear);
        TRY(merge_add(&update, stream, fn, job->cycle));
        if (job->draws) TRY(linear_reset_run(linear, stream, fn, job->cycle));
        report->layers++;
    }
    return merge_end(&update, stream, fn, report);
}

relora_status linear_merged_rows(relora_linear *linear, relora_stream *stream, const char *fn,
                                 int64_t first, struct view out)
{
    const struct backend *backend = linear->device->backend;
    const relora_tensor *w = linear->param[RELORA_PARAM_WEIGHT];
    const struct scale one = {.value = 1};
    if (w)
        TRY_QUEUE(stream, fn,
                  backend->convert(stream->queue, out, view_rows(tensor_view(w), first, out.rows), one));
    else
        TRY_QUEUE(stream, fn, backend->fill(stream->queue, out, 0));
    if (linear->options.mode == RELORA_MODE_FULL) return RELORA_OK;
    struct update update = update_of(linear);
    return merge_onto(&update, stream, fn, first, out);
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
