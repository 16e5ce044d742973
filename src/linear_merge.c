/* The end of a cycle: W += s B A, and factors drawn afresh. */
#include "linear_merge.h"

#include "merge_together.h"

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

static relora_status check_mode(const struct call *c, const relora_linear *linear)
{
    char label[LABEL_TEXT];
    if (linear->options.mode != RELORA_MODE_LORA)
        FAIL(c, RELORA_E_STATE, "%s is in mode %s; only LORA has what to merge", linear_label(linear, label),
             linear_mode_name(linear->options.mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(c, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight",
             linear_label(linear, label));
    return RELORA_OK;
}

/* Layers that are looked at together: after it nothing but the device can fail. */
static relora_status look_at(const struct call *c, relora_linear *const *linears, int32_t count)
{
    struct update updates[MERGE_BATCH];
    for (int32_t i = 0; i < count; i++) {
        TRY(call_check_device(c, "linear", linears[i]->device));
        TRY(check_mode(c, linears[i]));
        TRY(linear_check_memory(c, linears[i], RELORA_PARAM_WEIGHT));
        updates[i] = update_of(linears[i]);
    }
    return merge_look(c, updates, count);
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

static relora_status look_at_all(const struct call *c, const struct merge_job *job)
{
    relora_linear *batch[MERGE_BATCH];
    int32_t n = 0;
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (linear) batch[n++] = linear;
        if (n < MERGE_BATCH && i + 1 < job->layers->count) continue;
        if (n) TRY(look_at(c, batch, n));
        n = 0;
    }
    return RELORA_OK;
}

/* Room for the factors of all ranks, and products of that size. */
static relora_status prepare_together(const struct call *c, const struct merge_job *job, struct together *t)
{
    for (int32_t i = 0; i < job->layers->count; i++) {
        struct update update;
        if (!layer_at(job, i)) continue;
        update = update_of(layer_at(job, i));
        together_count(t, &update);
    }
    TRY(together_open(c, t, first_layer(job)->device));
    for (int32_t i = 0; i < job->layers->count; i++) {
        struct update update;
        if (!layer_at(job, i)) continue;
        update = update_of(layer_at(job, i));
        TRY(together_look(c, t, &update));
    }
    return RELORA_OK;
}

/* What can fail on one rank alone, on all of them. */
static relora_status look(const struct call *c, const struct merge_job *job, struct together *t)
{
    relora_status status = look_at_all(c, job);
    if (!job->comm || status == RELORA_E_BACKEND) return status;
    if (status >= 0 && job->merges) status = prepare_together(c, job, t);
    return comm_agree(c, job->comm, status);
}

/* ---- doing it ---- */

static relora_status merge_layers(const struct call *c, const struct merge_job *job, const struct together *t,
                                  relora_merge_report *report)
{
    struct update update = update_of(first_layer(job));
    TRY(merge_start(c, &update));
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (!linear) continue;
        update = update_of(linear);
        if (job->comm) TRY(together_gather(c, t, &update));
        TRY(merge_add(c, &update, job->cycle));
        if (job->draws) TRY(linear_reset_run(c, linear, job->cycle));
        report->layers++;
    }
    double norms[2];
    TRY(merge_end(c, &update, norms));
    report->delta_norm = norms[0];
    report->weight_norm = norms[1];
    return RELORA_OK;
}

relora_status linear_merge_all(const struct call *c, const struct merge_job *job, relora_merge_report *report)
{
    struct together together = {.comm = job->comm};
    if (!first_layer(job)) FAIL(c, RELORA_E_STATE, "no layer is in mode LORA");
    relora_status status = look(c, job, &together);
    if (status >= 0 && job->before) job->before(job->user);
    if (status >= 0 && job->merges) status = merge_layers(c, job, &together, report);
    together_close(&together);
    return status;
}

relora_status linear_merged_rows(const struct call *c, relora_linear *linear, int64_t first, struct view out)
{
    const relora_tensor *w = linear->param[RELORA_PARAM_WEIGHT];
    const struct scale one = {.value = 1};
    if (w)
        TRY(call_queue(c,
                       c->backend->convert(c->queue, out, view_rows(tensor_view(w), first, out.rows), one)));
    else TRY(call_queue(c, c->backend->fill(c->queue, out, 0)));
    if (linear->options.mode == RELORA_MODE_FULL) return RELORA_OK;
    struct update update = update_of(linear);
    return merge_onto(c, &update, first, out);
}

relora_status linear_reset_run(const struct call *c, relora_linear *linear, uint64_t cycle)
{
    relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    double start = linear->options.flags & RELORA_LINEAR_REFERENCE ? 0 : 1;
    char label[LABEL_TEXT];
    TRY(call_queue(c, linear_draw_factors(linear, c->queue, cycle, 0)));
    if (scale) TRY(call_queue(c, c->backend->fill(c->queue, tensor_view(scale), start)));
    call_log(c, RELORA_LOG_DEBUG, "factors of %s drawn for cycle %llu", linear_label(linear, label),
             (unsigned long long)cycle);
    return RELORA_OK;
}

relora_status relora_linear_merge(relora_linear *linear, relora_stream *stream, uint64_t cycle,
                                  relora_merge_report *report)
{
    struct call c = {.fn = "relora_linear_merge"};
    relora_merge_report r = {.struct_size = sizeof r};
    char label[LABEL_TEXT];
    TRY(linear_open(&c, linear, stream));
    TRY(call_write_report(&c, "report", report, &r, sizeof r));
    struct member one = {.linear = linear};
    struct registry layers = {.ctx = linear->ctx, .size = sizeof one, .items = &one, .count = 1};
    struct merge_job job = {.layers = &layers, .merges = 1, .cycle = cycle};
    TRY(linear_merge_all(&c, &job, &r));
    call_log(&c, RELORA_LOG_INFO, "%s, cycle %llu: |dW| %g, |W| %g", linear_label(linear, label),
             (unsigned long long)cycle, r.delta_norm, r.weight_norm);
    return report_write(report, &r, sizeof r);
}

relora_status relora_linear_reset(relora_linear *linear, relora_stream *stream, uint64_t cycle)
{
    struct call c = {.fn = "relora_linear_reset"};
    TRY(linear_open(&c, linear, stream));
    if (linear->options.mode == RELORA_MODE_FULL)
        FAIL(&c, RELORA_E_STATE, "linear is in mode FULL and has no factors");
    TRY(linear_check_memory(&c, linear, RELORA_PARAM_A));
    return linear_reset_run(&c, linear, cycle);
}

relora_status relora_merge_report_init(relora_merge_report *report, size_t size)
{
    return report_init(report, size);
}
