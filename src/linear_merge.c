/* The end of a cycle: W += s B A, and factors drawn afresh. */
#include "linear_merge.h"

#include "float_mode.h"
#include "merge_together.h"

static struct view view_of(const relora_tensor *tensor)
{
    return tensor ? tensor_view(tensor) : (struct view){.data = NULL};
}

static struct update update_of(const relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    return (struct update){.name = linear->name,
                           .weight = view_of(linear_weight(linear)),
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

relora_status linear_check_merge(const struct call *c, const relora_linear *linear)
{
    char label[LABEL_TEXT];
    relora_linear_mode mode = linear->options.mode;
    if (mode == RELORA_MODE_FULL)
        FAIL(c, RELORA_E_STATE, "%s is in mode FULL, and has nothing to merge", linear_label(linear, label));
    if (mode == RELORA_MODE_LOWRANK && !linear_merges(linear))
        FAIL(c, RELORA_E_STATE, "%s is in mode LOWRANK without a target; call relora_linear_set_target",
             linear_label(linear, label));
    if (mode == RELORA_MODE_LORA && !linear->param[RELORA_PARAM_WEIGHT])
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
        TRY(linear_check_merge(c, linears[i]));
        TRY(linear_check_memory(c, linears[i], RELORA_PARAM_WEIGHT));
        if (linears[i]->target) TRY(tensor_check(c, linears[i]->target, "the target of a layer"));
        updates[i] = update_of(linears[i]);
    }
    return merge_look(c, updates, count);
}

/* The layer at `index`, or NULL for what is left out. */
static relora_linear *layer_at(const struct merge_job *job, int32_t index)
{
    const struct member *m = registry_at(job->layers, index);
    if (job->includes && !job->includes(job->user, index)) return NULL;
    if (m->value || m->linear->options.mode == RELORA_MODE_FULL) return NULL;
    if (job->lora_only && !linear_merges(m->linear)) return NULL;
    return m->linear;
}

static relora_linear *own_layer_at(const struct merge_job *job, int32_t index)
{
    relora_linear *linear = layer_at(job, index);
    return linear && !linear->merge ? linear : NULL;
}

/* And those that the host merges by a callback. */
static relora_linear *hosts_layer_at(const struct merge_job *job, int32_t index)
{
    relora_linear *linear = layer_at(job, index);
    return linear && linear->merge ? linear : NULL;
}

/* The first of what one of these three gives, or NULL. */
static relora_linear *first_layer(const struct merge_job *job,
                                  relora_linear *(*at)(const struct merge_job *, int32_t))
{
    for (int32_t i = 0; i < job->layers->count; i++)
        if (at(job, i)) return at(job, i);
    return NULL;
}

static struct linear_reset reset_of(const struct merge_job *job, int32_t index)
{
    /* what the host merges comes before the sums are there */
    int measures = job->measures && own_layer_at(job, index);
    struct linear_reset reset = {.cycle = job->cycle, .measures = measures, .apart = job->comm != NULL};
    if (job->moments) job->moments(job->user, index, &reset.transport);
    return reset;
}

static relora_status reserve(const struct call *c, const struct merge_job *job, const relora_linear *linear,
                             int32_t index)
{
    struct linear_reset reset = reset_of(job, index);
    return linear_reset_reserve(c, linear, &reset);
}

static relora_status look_at_all(const struct call *c, const struct merge_job *job)
{
    relora_linear *batch[MERGE_BATCH];
    double squares[2]; /* of no use yet */
    int32_t n = 0;
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = layer_at(job, i);
        if (linear) batch[n++] = linear;
        if (linear && job->draws) TRY(reserve(c, job, linear, i));
        if (n < MERGE_BATCH && i + 1 < job->layers->count) continue;
        if (n) TRY(look_at(c, batch, n));
        n = 0;
    }
    for (int32_t i = 0; i < job->layers->count; i++)
        if (hosts_layer_at(job, i))
            TRY(linear_call_merge(c, hosts_layer_at(job, i), job->cycle, RELORA_MERGE_LOOK, squares));
    return RELORA_OK;
}

/* Room for the factors of all ranks, and products of that size. */
static relora_status prepare_together(const struct call *c, const struct merge_job *job, struct together *t)
{
    const relora_linear *first = first_layer(job, own_layer_at);
    if (first_layer(job, hosts_layer_at))
        FAIL(c, RELORA_E_UNSUPPORTED,
             "a layer is merged by a callback, which ranks that train apart cannot do");
    if (!first) return RELORA_OK;
    for (int32_t i = 0; i < job->layers->count; i++) {
        struct update update;
        if (!own_layer_at(job, i)) continue;
        update = update_of(own_layer_at(job, i));
        together_count(t, &update);
    }
    TRY(together_open(c, t, first->device));
    for (int32_t i = 0; i < job->layers->count; i++) {
        struct update update;
        if (!own_layer_at(job, i)) continue;
        update = update_of(own_layer_at(job, i));
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

/* What a new A is made of must be the same on all ranks. Those that train together have summed gradients in their step,
 * but not sketches. */
static relora_status sum_gradient(const struct call *c, const struct merge_job *job,
                                  const relora_linear *linear)
{
    const relora_tensor *sketch = linear->param[RELORA_PARAM_SKETCH];
    const relora_tensor *gradient = sketch ? sketch : linear->grad[RELORA_PARAM_A];
    const struct comm *comm = job->comm ? job->comm : sketch ? job->together : NULL;
    if (!comm || !gradient || linear->options.init != RELORA_INIT_GRADIENT) return RELORA_OK;
    return comm_sum_tensor(c, comm, "gradients", gradient);
}

static relora_status finish_layer(const struct call *c, const struct merge_job *job, int32_t index,
                                  relora_merge_report *report)
{
    relora_linear *linear = layer_at(job, index);
    struct linear_reset reset = reset_of(job, index);
    report->layers++;
    if (!job->draws) return RELORA_OK;
    TRY(sum_gradient(c, job, linear));
    return linear_reset_run(c, linear, &reset);
}

/* First the layers whose merge can still be refused. */
static relora_status merge_hosts(const struct call *c, const struct merge_job *job, double sums[MERGE_SUMS],
                                 relora_merge_report *report)
{
    for (int32_t i = 0; i < job->layers->count; i++) {
        relora_linear *linear = hosts_layer_at(job, i);
        if (!linear) continue;
        TRY(linear_call_merge(c, linear, job->cycle, 0, sums));
        TRY(finish_layer(c, job, i, report));
    }
    return RELORA_OK;
}

/* The next layers of the library's own, by their places: one, or as many as ranks send at once. */
static int32_t next_own(const struct merge_job *job, const struct together *t, int32_t from,
                        struct update updates[MERGE_BATCH], int32_t places[MERGE_BATCH])
{
    int32_t n = 0, most = job->comm ? MERGE_BATCH : 1;
    for (int32_t i = from; i < job->layers->count && n < most; i++) {
        if (!own_layer_at(job, i)) continue;
        updates[n] = update_of(own_layer_at(job, i));
        places[n++] = i;
    }
    return job->comm ? together_batch(t, updates, n) : n;
}

static relora_status merge_batch(const struct call *c, const struct merge_job *job, const struct together *t,
                                 const struct update *updates, int32_t count)
{
    if (job->comm) TRY(together_send(c, t, updates, count));
    for (int32_t k = 0; k < count; k++) {
        struct update update = updates[k];
        if (job->comm) TRY(together_take(c, t, updates, count, k, &update));
        TRY(merge_add(c, &update, job->cycle));
    }
    return RELORA_OK;
}

static relora_status merge_own(const struct call *c, const struct merge_job *job, const struct together *t,
                               double sums[MERGE_SUMS], relora_merge_report *report)
{
    const relora_linear *first = first_layer(job, own_layer_at);
    struct update updates[MERGE_BATCH];
    int32_t places[MERGE_BATCH], next = 0, count;
    if (!first) return RELORA_OK;
    const struct update start = update_of(first);
    TRY(merge_start(c, &start, sums));
    while ((count = next_own(job, t, next, updates, places)) > 0) {
        TRY(merge_batch(c, job, t, updates, count));
        for (int32_t k = 0; k < count; k++) TRY(finish_layer(c, job, places[k], report));
        next = places[count - 1] + 1;
    }
    return merge_end(c, &start, sums);
}

static relora_status merge_all(const struct call *c, const struct merge_job *job, const struct together *t,
                               relora_merge_report *report)
{
    double sums[MERGE_SUMS] = {0};
    TRY(merge_hosts(c, job, sums, report));
    TRY(merge_own(c, job, t, sums, report));
    merge_report(sums, report);
    return RELORA_OK;
}

relora_status linear_merge_all(const struct call *c, const struct merge_job *job, relora_merge_report *report)
{
    struct together together = {.comm = job->comm};
    if (!first_layer(job, layer_at)) FAIL(c, RELORA_E_STATE, "no layer is in mode LORA or has a target");
    relora_status status = look(c, job, &together);
    if (status >= 0 && job->before) job->before(job->user);
    if (status >= 0 && job->merges) status = merge_all(c, job, &together, report);
    together_close(&together);
    return status;
}

relora_status linear_merged_rows(const struct call *c, relora_linear *linear, int64_t first, struct view out)
{
    const relora_tensor *w = linear->param[RELORA_PARAM_WEIGHT];
    const struct scale one = {.value = 1};
    if (w) TRY(call_convert(c, out, view_rows(tensor_view(w), first, out.rows), one));
    else TRY(call_queue(c, c->backend->fill(c->queue, out, 0)));
    if (linear->options.mode == RELORA_MODE_FULL) return RELORA_OK;
    struct update update = update_of(linear);
    return merge_onto(c, &update, first, out);
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
    struct linear_reset reset = {.cycle = cycle};
    TRY(linear_check_memory(&c, linear, RELORA_PARAM_A));
    TRY(linear_reset_reserve(&c, linear, &reset));
    return linear_reset_run(&c, linear, &reset);
}

relora_status relora_merge_report_init(relora_merge_report *report, size_t size)
{
    return report_init(report, size);
}
