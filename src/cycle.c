/* The restart: when it is due, and merging, drawing and resetting in the right order. */
#include "cycle.h"

#include "adam_reset.h"
#include "description.h"
#include "linear_merge.h"
#include "list.h"
#include "schedule.h"

struct relora_cycle {
    relora_context *ctx;
    relora_cycle_options options;
    relora_adam *adam;
    relora_reset_options reset;
    struct registry layers; /* of struct member */
    int32_t *indices;       /* room for those of their factors in the optimizer, two for each */
    int32_t index_capacity;
    int64_t advanced; /* the step of the last relora_cycle_advance(); -1 before the first */
    int32_t warned;   /* of a restart at a high rate */
};

/* ---- options ---- */

static const struct option cycle_rows[] = {
    {FIELD(relora_cycle_options, first_step), OPTION_I64, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, merge_every), OPTION_I64, .low = 2, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, reset_every), OPTION_I64, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, flags), OPTION_FLAGS, .quiet = QUIET},
    {FIELD(relora_cycle_options, before), OPTION_POINTER},
    {FIELD(relora_cycle_options, after), OPTION_POINTER},
    {FIELD(relora_cycle_options, hook_user), OPTION_POINTER},
};
const struct options cycle_table = {
    ROWS(cycle_rows), .size = sizeof(relora_cycle_options),
    .first_size = END_OF(relora_cycle_options, hook_user), /* 0.1 */
};

relora_status relora_cycle_options_init(relora_cycle_options *options, size_t size)
{
    return options_write(&cycle_table, options, size);
}

relora_status relora_cycle_options_follow(relora_cycle_options *options, const relora_schedule *schedule)
{
    struct call c = {.fn = "relora_cycle_options_follow", .ctx = schedule_context(schedule)};
    if (!schedule) return RELORA_E_ARGUMENT;
    if (!options) FAIL(&c, RELORA_E_ARGUMENT, "options is NULL");
    if (options->struct_size < cycle_table.first_size)
        FAIL(&c, RELORA_E_STRUCT_SIZE, "options.struct_size is %u; call relora_cycle_options_init first",
             options->struct_size);
    const relora_schedule_options *s = schedule_options(schedule);
    if (!s->restart_every) FAIL(&c, RELORA_E_STATE, "the schedule has no restarts");
    if (s->adjust_step)
        FAIL(&c, RELORA_E_UNSUPPORTED, "the restarts of the schedule are shifted by adjust_step %lld",
             (long long)s->adjust_step);
    options->first_step = s->first_step;
    options->merge_every = s->restart_every;
    options->reset_every = 0;
    return RELORA_OK;
}

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
    if (o.reset_every == 1) FAIL(&c, RELORA_E_ARGUMENT, "options.reset_every is 1, neither 0 nor 2 or more");
    if (reset && !adam) FAIL(&c, RELORA_E_ARGUMENT, "reset is given, but adam is NULL");
    if (adam && adam->ctx != ctx) FAIL(&c, RELORA_E_CONTEXT, "adam belongs to another context");
    TRY(reset_options_read(&c, &r, "reset", reset));
    if (!o.reset_every) o.reset_every = o.merge_every;

    relora_cycle *cycle = context_new(ctx, sizeof *cycle);
    if (!cycle) return call_fail_memory(&c, sizeof *cycle);
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
        FAIL(c, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight", linear_label(linear, label));
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

/* Number of the event that follows update `n`, from 1; 0 if none does. */
static int64_t event_number(int64_t n, int64_t every)
{
    return n > every && n % every == 1 ? n / every : 0;
}

static uint32_t events_at(const relora_cycle *cycle, int64_t step)
{
    int64_t n = step - cycle->options.first_step;
    uint32_t events = 0;
    if (event_number(n, cycle->options.merge_every)) events |= RELORA_CYCLE_MERGE;
    if (cycle->adam && event_number(n, cycle->options.reset_every)) events |= RELORA_CYCLE_RESET;
    return events;
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

/* Layers in FULL have nothing to restart. */
static int has_work(const relora_cycle *cycle)
{
    for (int32_t i = 0; i < cycle->layers.count; i++)
        if (layer_at(cycle, i)->options.mode != RELORA_MODE_FULL) return 1;
    return 0;
}

struct call_before { /* of the host's hook */
    const relora_cycle_options *options;
    int64_t step;
    uint32_t events;
};

static void call_before(void *user)
{
    const struct call_before *call = user;
    if (call->options->before) call->options->before(call->options->hook_user, call->step, call->events);
}

/* Look at every layer, tell the host, and merge and draw afresh if that is among the events. */
static relora_status work_on_layers(const struct call *c, relora_cycle *cycle, int64_t step, uint32_t events,
                                    int64_t number, relora_merge_report *report)
{
    struct call_before before = {&cycle->options, step, events};
    int32_t merges = (events & RELORA_CYCLE_MERGE) != 0;
    struct merge_job job = {.layers = &cycle->layers,
                            .merges = merges,
                            .draws = merges,
                            .cycle = (uint64_t)number,
                            .before = call_before,
                            .user = &before};
    TRY(linear_merge_all(c, &job, report));
    if (merges)
        call_log(c, RELORA_LOG_INFO, "merge %lld of %d layers: |dW| %g, |W| %g", (long long)number,
                 report->layers, report->delta_norm, report->weight_norm);
    return RELORA_OK;
}

/* Every update is advanced over once, or a restart is lost or done twice. */
static void note_step(const struct call *c, relora_cycle *cycle, int64_t step)
{
    if (cycle->advanced >= 0 && step != cycle->advanced + 1)
        call_log(c, RELORA_LOG_WARN,
                 "step is %lld, but the last one was %lld; call it once after each update", (long long)step,
                 (long long)cycle->advanced);
    cycle->advanced = step;
}

/* A schedule that restarts with the cycle is near 0 there, and climbs again afterwards. After a resume the rates
 * before are not known; two of them are enough, as the one before a restart is an ordinary one. */
static void note_rate(const struct call *c, relora_cycle *cycle, int64_t step)
{
    const relora_adam *adam = cycle->adam;
    if (!adam || cycle->warned || adam->rates < 2 || !(adam->last_rate > adam->highest_rate / 10)) return;
    cycle->warned = 1;
    call_log(
        c, RELORA_LOG_WARN,
        "the restart after step %lld follows an update with learning rate %g, and the highest so far was %g; "
        "give the cycle the calendar of a schedule with a restart warmup (relora_cycle_options_follow)",
        (long long)step, adam->last_rate, adam->highest_rate);
}

/* The trained factors of the layers in the optimizer; their number. */
static int32_t list_factors(relora_cycle *cycle)
{
    int32_t count = 0;
    for (int32_t i = 0; i < cycle->layers.count; i++) {
        const relora_linear *linear = layer_at(cycle, i);
        for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++) {
            int32_t index = linear->grad[p] ? adam_index_of(cycle->adam, linear, p) : -1;
            if (index >= 0) cycle->indices[count++] = index;
        }
    }
    return count;
}

static relora_status reset_moments(const struct call *c, relora_cycle *cycle, uint64_t number,
                                   relora_reset_report *report)
{
    relora_reset_options o = cycle->reset;
    o.cycle = number;
    TRY(call_check_device(c, "adam", cycle->adam->device));
    return adam_reset(c, cycle->adam, cycle->indices, list_factors(cycle), &o, report);
}

/* Before a layer changes: does the optimizer know it as it is now, and can the moments be reset afterwards? */
static relora_status look_at_moments(const struct call *c, relora_cycle *cycle)
{
    for (int32_t i = 0; i < cycle->layers.count; i++) TRY(check_factors(c, cycle, layer_at(cycle, i)));
    int32_t count = list_factors(cycle);
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
    int64_t n = step - o->first_step;
    uint32_t due = has_work(cycle) ? events_at(cycle, step) : 0;
    if (due & RELORA_CYCLE_RESET) TRY(look_at_moments(&c, cycle));
    if (due) TRY(work_on_layers(&c, cycle, step, due, event_number(n, o->merge_every), &m));
    if (due & RELORA_CYCLE_RESET)
        TRY(reset_moments(&c, cycle, (uint64_t)event_number(n, o->reset_every), reset ? &r : NULL));
    if (due && o->after) o->after(o->hook_user, step, due);
    if (due) note_rate(&c, cycle, step);
    if (events) *events = due;
    note_step(&c, cycle, step);
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
    /* one more than any merge before it, so that no draw is used twice */
    int64_t number = n ? (n - 1) / o->merge_every + 1 : 1;
    if (has_work(cycle)) {
        TRY(work_on_layers(&c, cycle, step, events, number, &m));
        if (o->after) o->after(o->hook_user, step, events);
    }
    return report_write(merge, &m, sizeof m);
}
