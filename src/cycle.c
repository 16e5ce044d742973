/* The restart: when it is due, and merging, drawing and resetting in the right order. */
#include "cycle.h"

#include "adam_reset.h"
#include "description.h"
#include "linear_merge.h"
#include "list.h"
#include "period.h"

/* ---- life ---- */

relora_status relora_cycle_create(relora_cycle **out, relora_context *ctx,
                                  const relora_cycle_options *options, relora_adam *adam,
                                  const relora_reset_options *reset)
{
    struct call c = {.fn = "relora_cycle_create", .ctx = ctx ? ctx : adam ? adam->ctx : NULL};
    relora_cycle_options o;
    relora_reset_options r;
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) FAIL(&c, RELORA_E_ARGUMENT, "ctx is NULL");
    if (!options) FAIL(&c, RELORA_E_ARGUMENT, "options is NULL");
    TRY(call_read_options(&c, "options", &cycle_table, &o, options));
    if (reset && !adam) FAIL(&c, RELORA_E_ARGUMENT, "reset is given, but adam is NULL");
    if (adam && adam->ctx != ctx) FAIL(&c, RELORA_E_CONTEXT, "adam belongs to another context");
    TRY(reset_options_read(&c, &r, "reset", reset));
    TRY(cycle_check_options(&c, &o, &r));
    struct comm apart = {.table = {.size = 1}};
    TRY(cycle_take_comm(&c, &apart, &o, &r, adam));
    if (!o.reset_every) o.reset_every = o.merge_every;

    relora_cycle *cycle = context_new(ctx, sizeof *cycle);
    if (!cycle) {
        if (o.comm) comm_free(&apart);
        return call_fail_memory(&c, sizeof *cycle);
    }
    cycle->apart = apart;
    cycle->ctx = ctx;
    cycle->options = o;
    cycle->reset = r;
    cycle->layers = (struct registry){.ctx = ctx, .size = sizeof(struct member)};
    cycle->advanced = -1;
    cycle->adam = adam;
    if (adam) adam_retain(adam);
    *out = cycle;
    return RELORA_OK;
}

void relora_cycle_release(relora_cycle *cycle)
{
    if (!cycle) return;
    registry_free(&cycle->layers);
    memory_free(&cycle->ctx->memory, cycle->indices, (size_t)cycle->index_capacity * sizeof *cycle->indices);
    if (comm_has_others(&cycle->apart)) comm_free(&cycle->apart);
    relora_adam_release(cycle->adam);
    context_delete(cycle->ctx, cycle, sizeof *cycle);
}

relora_context *cycle_context(const relora_cycle *cycle)
{
    return cycle ? cycle->ctx : NULL;
}

void cycle_describe(const relora_cycle *cycle, struct text *text)
{
    description_put(text, &cycle_table, &cycle->options);
    description_put(text, &reset_table, &cycle->reset);
}

relora_status cycle_compare(const char *ours, const char *theirs, struct text *why)
{
    static const struct options *const tables[] = {&cycle_table, &reset_table, NULL};
    return description_compare(tables, ours, &theirs, NULL, why);
}

/* ---- layers ---- */

static const relora_linear *layer_at(const relora_cycle *cycle, int32_t index)
{
    return ((const struct member *)registry_at(&cycle->layers, index))->linear;
}

/* Layers take turns at full rank: one that is in FULL now may be merged later. */
static relora_status check_layer(const struct call *c, const relora_linear *linear)
{
    char label[LABEL_TEXT];
    const relora_linear_options *o = &linear->options;
    if (o->mode != RELORA_MODE_FULL || !o->rank) return linear_check_merge(c, linear);
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(c, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight",
             linear_label(linear, label));
    return RELORA_OK;
}

/* The optimizer holds the factors that the layer trains. */
static relora_status check_factors(const struct call *c, const relora_cycle *cycle,
                                   const relora_linear *linear)
{
    char label[LABEL_TEXT];
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B && cycle->adam; p++)
        if (linear->grad[p] && adam_index_of(cycle->adam, linear, p) < 0)
            FAIL(c, RELORA_E_NOT_FOUND, "adam does not hold %s of linear (%s)", linear_param_name(p),
                 linear_label(linear, label));
    return RELORA_OK;
}

/* Room for the factors of one layer more. */
static relora_status grow_indices(const struct call *c, relora_cycle *cycle)
{
    void *indices = cycle->indices;
    int32_t used = 2 * cycle->layers.count;
    for (int32_t i = 0; i < 2; i++)
        TRY(list_grow(c, &indices, used + i, &cycle->index_capacity, sizeof *cycle->indices));
    cycle->indices = indices;
    return RELORA_OK;
}

static relora_status add_layer(const struct call *c, relora_cycle *cycle, relora_linear *linear)
{
    struct member m = {.linear = linear};
    void *item;
    TRY(check_layer(c, linear));
    TRY(registry_check(c, &cycle->layers, NULL, &m));
    TRY(check_factors(c, cycle, linear));
    TRY(grow_indices(c, cycle));
    TRY(registry_add(c, &cycle->layers, NULL, &m, &item));
    registry_warn(c, &cycle->layers, linear);
    return RELORA_OK;
}

relora_status relora_cycle_add(relora_cycle *cycle, relora_linear *linear)
{
    struct call c = {.fn = "relora_cycle_add", .ctx = cycle ? cycle->ctx : linear ? linear->ctx : NULL};
    if (!cycle) FAIL(&c, RELORA_E_ARGUMENT, "cycle is NULL");
    if (!linear) FAIL(&c, RELORA_E_ARGUMENT, "linear is NULL");
    if (linear->ctx != cycle->ctx) FAIL(&c, RELORA_E_CONTEXT, "linear belongs to another context than cycle");
    return add_layer(&c, cycle, linear);
}

relora_status relora_cycle_add_group(relora_cycle *cycle, const relora_group *group)
{
    struct call c = {.fn = "relora_cycle_add_group", .ctx = cycle ? cycle->ctx : group ? group->ctx : NULL};
    if (!cycle) FAIL(&c, RELORA_E_ARGUMENT, "cycle is NULL");
    TRY(group_check_given(&c, group));
    int32_t before = cycle->layers.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        if (m->value || !linear_merges(m->linear)) continue;
        relora_status status = add_layer(&c, cycle, m->linear);
        if (status >= 0) continue;
        registry_shrink(&cycle->layers, before);
        return status;
    }
    if (cycle->layers.count == before)
        FAIL(&c, RELORA_E_STATE, "no layer of the group is in mode LORA or has a target");
    return RELORA_OK;
}

/* ---- when ---- */

static struct period period_of(const relora_cycle_options *o, int64_t every)
{
    return (struct period){every, o->period_growth, o->stagger};
}

/* Number of the restart of layer `index` that follows at `step`, from 1; 0 if none does. */
static int64_t restart_of(const relora_cycle *cycle, int64_t step, int64_t every, int64_t index)
{
    struct period p = period_of(&cycle->options, every);
    return period_restart(&p, step - cycle->options.first_step, index);
}

/* That of any layer. Layers whose indices differ by `stagger` restart together. */
static int64_t event_number(const relora_cycle *cycle, int64_t step, int64_t every)
{
    int64_t groups = cycle->options.stagger ? cycle->options.stagger : 1, number = 0;
    if (cycle->layers.count && groups > cycle->layers.count) groups = cycle->layers.count;
    for (int64_t group = 0; group < groups && !number; group++)
        number = restart_of(cycle, step, every, group);
    return number;
}

static uint32_t events_at(const relora_cycle *cycle, int64_t step)
{
    uint32_t events = 0;
    if (event_number(cycle, step, cycle->options.merge_every)) events |= RELORA_CYCLE_MERGE;
    if (cycle->adam && event_number(cycle, step, cycle->options.reset_every)) events |= RELORA_CYCLE_RESET;
    return events;
}

/* Is it the turn of this layer, if there is an event? Without stagger it is that of all. */
static int is_due(const relora_cycle *cycle, int64_t step, int32_t index)
{
    const relora_cycle_options *o = &cycle->options;
    return !o->stagger || restart_of(cycle, step, o->merge_every, index);
}

static relora_status check_step(const struct call *c, int64_t step)
{
    if (step < 0) FAIL(c, RELORA_E_ARGUMENT, "step is %lld, less than 0", (long long)step);
    return RELORA_OK;
}

relora_status relora_cycle_due(const relora_cycle *cycle, int64_t step, uint32_t *events)
{
    if (!cycle) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_cycle_due", .ctx = cycle->ctx};
    if (!events) FAIL(&c, RELORA_E_ARGUMENT, "events is NULL");
    TRY(check_step(&c, step));
    *events = events_at(cycle, step);
    return RELORA_OK;
}

/* ---- doing it ---- */

static relora_status open_work(struct call *c, const relora_cycle *cycle, relora_stream *stream, int64_t step)
{
    TRY(call_open(c, stream, "cycle", cycle ? cycle->ctx : NULL, NULL));
    TRY(check_step(c, step));
    if (!cycle->layers.count) FAIL(c, RELORA_E_STATE, "no layer was added to the cycle");
    return RELORA_OK;
}

/* Layers in FULL have nothing to restart, nor have those whose turn it is not at `step`; -1: it is that of all. */
static int has_work(const relora_cycle *cycle, int64_t step)
{
    for (int32_t i = 0; i < cycle->layers.count; i++)
        if (layer_at(cycle, i)->options.mode != RELORA_MODE_FULL && (step < 0 || is_due(cycle, step, i)))
            return 1;
    return 0;
}

struct work {
    const relora_cycle *cycle;
    int64_t step;
    uint32_t events;
};

static void call_before(void *user)
{
    const struct work *work = user;
    const relora_cycle_options *o = &work->cycle->options;
    if (o->before) o->before(o->hook_user, work->step, work->events);
}

static int includes(void *user, int32_t index)
{
    const struct work *work = user;
    return work->events & RELORA_CYCLE_FINISH || is_due(work->cycle, work->step, index);
}

/* The moments of the B of a layer, for PROJECT. */
static void find_moments(void *user, int32_t index, struct transport *transport)
{
    const struct work *work = user;
    const relora_adam *adam = work->cycle->adam;
    const struct member *m = registry_at(&work->cycle->layers, index);
    int32_t factor = m->linear->grad[RELORA_PARAM_B] ? adam_index_of(adam, m->linear, RELORA_PARAM_B) : -1;
    if (factor < 0) return;
    const struct adam_entry *b = adam_at(adam, factor);
    *transport = (struct transport){.first = tensor_view(b->first),
                                    .second = tensor_view(b->second),
                                    .beta1 = adam->options.beta1,
                                    .beta2 = adam->options.beta2,
                                    .steps = b->steps};
}

/* Look at every layer, tell the host, and merge and draw afresh if that is among the events. */
static relora_status work_on_layers(const struct call *c, relora_cycle *cycle, int64_t step, uint32_t events,
                                    int64_t number, int32_t measures, relora_merge_report *report)
{
    struct work work = {cycle, step, events};
    int32_t merges = (events & RELORA_CYCLE_MERGE) != 0, restarts = merges && !(events & RELORA_CYCLE_FINISH);
    int with_others = cycle->adam && comm_has_others(&cycle->adam->comm);
    int projects = cycle->adam && cycle->reset.mode == RELORA_RESET_PROJECT && (events & RELORA_CYCLE_RESET);
    struct merge_job job = {.layers = &cycle->layers,
                            .merges = merges,
                            .comm = comm_has_others(&cycle->apart) ? &cycle->apart : NULL,
                            .together = with_others ? &cycle->adam->comm : NULL,
                            .draws = merges,
                            .cycle = (uint64_t)number,
                            .measures = measures,
                            .moments = projects ? find_moments : NULL,
                            .includes = includes,
                            .before = call_before,
                            .user = &work};
    for (int32_t i = 0; i < cycle->layers.count && restarts; i++)
        if (is_due(cycle, step, i)) cycle_note_sketch(c, cycle, layer_at(cycle, i));
    TRY(linear_merge_all(c, &job, report));
    if (merges && job.comm) TRY(cycle_average_rest(c, cycle, &job));
    if (merges)
        call_log(c, RELORA_LOG_INFO, "merge %lld: %d layers, |dW| %g, |W| %g", (long long)number,
                 report->layers, report->delta_norm, report->weight_norm);
    return RELORA_OK;
}

/* The trained factors of the layers in the optimizer; their number. */
static int32_t list_factors(relora_cycle *cycle, int64_t step)
{
    int32_t count = 0;
    for (int32_t i = 0; i < cycle->layers.count; i++) {
        const relora_linear *linear = layer_at(cycle, i);
        for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B && is_due(cycle, step, i); p++) {
            int32_t index = linear->grad[p] ? adam_index_of(cycle->adam, linear, p) : -1;
            if (index >= 0) cycle->indices[count++] = index;
        }
    }
    return count;
}

static relora_status reset_moments(const struct call *c, relora_cycle *cycle, int64_t step,
                                   relora_reset_report *report)
{
    relora_reset_options o = cycle->reset;
    o.cycle = (uint64_t)event_number(cycle, step, cycle->options.reset_every);
    return adam_reset(c, cycle->adam, cycle->indices, list_factors(cycle, step), &o, report);
}

/* Before a layer changes: does the optimizer know it as it is now, and can the moments be reset afterwards? */
static relora_status look_at_moments(const struct call *c, relora_cycle *cycle, int64_t step)
{
    for (int32_t i = 0; i < cycle->layers.count; i++) TRY(check_factors(c, cycle, layer_at(cycle, i)));
    int32_t count = list_factors(cycle, step);
    TRY(call_check_device(c, "adam", cycle->adam->device));
    for (int32_t i = 0; i < count; i++) TRY(adam_check_moments(c, cycle->adam, cycle->indices[i]));
    return RELORA_OK;
}

static relora_status open_reports(const struct call *c, relora_merge_report *merge,
                                  relora_reset_report *reset)
{
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    TRY(call_write_report(c, "merge", merge, &m, sizeof m));
    return call_write_report(c, "reset", reset, &r, sizeof r);
}

relora_status relora_cycle_advance(relora_cycle *cycle, relora_stream *stream, int64_t step, uint32_t *events,
                                   relora_merge_report *merge, relora_reset_report *reset)
{
    struct call c = {.fn = "relora_cycle_advance"};
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    TRY(open_work(&c, cycle, stream, step));
    TRY(open_reports(&c, merge, reset));
    const relora_cycle_options *o = &cycle->options;
    int64_t number = event_number(cycle, step, o->merge_every);
    uint32_t due = events_at(cycle, step);
    if (due) TRY(cycle_check_meeting(&c, cycle));
    if (!has_work(cycle, step)) due = 0;
    if (due & RELORA_CYCLE_RESET) TRY(look_at_moments(&c, cycle, step));
    if (due) {
        TRY(cycle_check_ranks(&c, cycle));
        TRY(work_on_layers(&c, cycle, step, due, number, merge != NULL, &m));
    }
    if (due & RELORA_CYCLE_RESET) TRY(reset_moments(&c, cycle, step, reset ? &r : NULL));
    if (due && o->after) o->after(o->hook_user, step, due);
    if (due) cycle_note_rate(&c, cycle, step);
    if (events) *events = due;
    cycle_note_step(&c, cycle, step);
    TRY(report_write(merge, &m, sizeof m));
    return report_write(reset, &r, sizeof r);
}

relora_status relora_cycle_finish(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                  relora_merge_report *merge)
{
    struct call c = {.fn = "relora_cycle_finish"};
    const uint32_t events = RELORA_CYCLE_MERGE | RELORA_CYCLE_FINISH;
    relora_merge_report m = {.struct_size = sizeof m};
    TRY(open_work(&c, cycle, stream, step));
    const relora_cycle_options *o = &cycle->options;
    int64_t n = step - o->first_step;
    if (n < 0)
        FAIL(&c, RELORA_E_ARGUMENT, "step is %lld, but the cycle begins at %lld", (long long)step,
             (long long)o->first_step);
    TRY(open_reports(&c, merge, NULL));
    TRY(cycle_check_meeting(&c, cycle));
    TRY(cycle_check_ranks(&c, cycle));
    /* one more than any merge before it, so that no draw is used twice */
    struct period p = period_of(o, o->merge_every);
    int64_t number = n ? period_cycle(&p, n - 1) + 1 : 1;
    if (has_work(cycle, -1)) {
        TRY(work_on_layers(&c, cycle, step, events, number, merge != NULL, &m));
        if (o->after) o->after(o->hook_user, step, events);
    }
    return report_write(merge, &m, sizeof m);
}
