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
    int32_t *indices;       /* of their factors in the optimizer, two for each */
    int32_t index_capacity;
    int64_t advanced; /* the step of the last relora_cycle_advance(); -1 before the first */
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
    ROWS(cycle_rows),
    .size = sizeof(relora_cycle_options),
    .first_size = END_OF(relora_cycle_options, hook_user), /* 0.1 */
};

relora_status relora_cycle_options_init(relora_cycle_options *options, size_t size)
{
    return options_write(&cycle_table, options, size);
}

relora_status relora_cycle_options_follow(relora_cycle_options *options, const relora_schedule *schedule)
{
    const char *fn = "relora_cycle_options_follow";
    const relora_context *ctx = schedule_context(schedule);
    if (!schedule) return RELORA_E_ARGUMENT;
    if (!options) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options is NULL", fn);
    if (options->struct_size < cycle_table.first_size)
        FAIL(ctx, RELORA_E_STRUCT_SIZE, "%s: options.struct_size is %u; call relora_cycle_options_init first", fn,
             options->struct_size);
    const relora_schedule_options *s = schedule_options(schedule);
    if (!s->restart_every) FAIL(ctx, RELORA_E_STATE, "%s: the schedule has no restarts", fn);
    if (s->adjust_step)
        FAIL(ctx, RELORA_E_UNSUPPORTED, "%s: the restarts of the schedule are shifted by adjust_step %lld", fn,
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
    const char *fn = "relora_cycle_create";
    relora_cycle_options o;
    relora_reset_options r;
    const relora_context *first = ctx ? ctx : adam ? adam->ctx : NULL; /* for the text */
    if (!out) FAIL(first, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) FAIL(first, RELORA_E_ARGUMENT, "%s: ctx is NULL", fn);
    if (!options) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options is NULL", fn);
    TRY(context_read_options(ctx, fn, "options", &cycle_table, &o, options));
    if (o.reset_every == 1)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.reset_every is 1, neither 0 nor 2 or more", fn);
    if (reset && !adam) FAIL(ctx, RELORA_E_ARGUMENT, "%s: reset is given, but adam is NULL", fn);
    if (adam && adam->ctx != ctx) FAIL(ctx, RELORA_E_CONTEXT, "%s: adam belongs to another context", fn);
    TRY(reset_options_read(&r, ctx, fn, "reset", reset));
    if (!o.reset_every) o.reset_every = o.merge_every;

    relora_cycle *cycle = context_new(ctx, sizeof *cycle);
    if (!cycle) return context_fail_memory(ctx, fn, sizeof *cycle);
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
    memory_free(&cycle->ctx->memory, cycle->indices,
                (size_t)cycle->index_capacity * sizeof *cycle->indices);
    relora_adam_release(cycle->adam);
    context_delete(cycle->ctx, cycle, sizeof *cycle);
}

const relora_context *cycle_context(const relora_cycle *cycle)
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

static relora_status check_layer(const relora_cycle *cycle, const char *fn, const relora_linear *linear)
{
    char label[LABEL_TEXT];
    if (linear->options.mode != RELORA_MODE_LORA)
        FAIL(cycle->ctx, RELORA_E_STATE, "%s: linear (%s) is in mode %s, not LORA", fn,
             linear_label(linear, label), linear_mode_name(linear->options.mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(cycle->ctx, RELORA_E_STATE, "%s: linear (%s) has no weight; call relora_linear_set_weight", fn,
             linear_label(linear, label));
    return RELORA_OK;
}

/* Where the optimizer has A and B of a layer. */
static relora_status find_factors(const relora_cycle *cycle, const char *fn, const relora_linear *linear,
                                  int32_t factors[2])
{
    char label[LABEL_TEXT];
    if (!cycle->adam) return RELORA_OK;
    factors[0] = adam_index_of(cycle->adam, linear, RELORA_PARAM_A);
    factors[1] = adam_index_of(cycle->adam, linear, RELORA_PARAM_B);
    if (factors[0] < 0 || factors[1] < 0)
        FAIL(cycle->ctx, RELORA_E_NOT_FOUND, "%s: adam does not hold A and B of linear (%s)", fn,
             linear_label(linear, label));
    return RELORA_OK;
}

/* Room for the factors of one layer more. */
static relora_status grow_indices(relora_cycle *cycle, const char *fn)
{
    void *indices = cycle->indices;
    int32_t used = 2 * cycle->layers.count;
    for (int32_t i = 0; i < 2; i++)
        TRY(list_grow(cycle->ctx, fn, &indices, used + i, &cycle->index_capacity, sizeof *cycle->indices));
    cycle->indices = indices;
    return RELORA_OK;
}

static relora_status add_layer(relora_cycle *cycle, const char *fn, relora_linear *linear)
{
    struct member m = {.linear = linear};
    int32_t factors[2] = {-1, -1};
    void *item;
    TRY(check_layer(cycle, fn, linear));
    TRY(registry_check(&cycle->layers, fn, NULL, &m));
    TRY(find_factors(cycle, fn, linear, factors));
    TRY(grow_indices(cycle, fn));
    memcpy(cycle->indices + 2 * cycle->layers.count, factors, sizeof factors);
    TRY(registry_add(&cycle->layers, fn, NULL, &m, &item));
    registry_warn(&cycle->layers, fn, linear);
    return RELORA_OK;
}

relora_status relora_cycle_add(relora_cycle *cycle, relora_linear *linear)
{
    const char *fn = "relora_cycle_add";
    if (!cycle) FAIL(linear ? linear->ctx : NULL, RELORA_E_ARGUMENT, "%s: cycle is NULL", fn);
    if (!linear) FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    if (linear->ctx != cycle->ctx)
        FAIL(cycle->ctx, RELORA_E_CONTEXT, "%s: linear belongs to another context than cycle", fn);
    return add_layer(cycle, fn, linear);
}

relora_status relora_cycle_add_group(relora_cycle *cycle, const relora_group *group)
{
    const char *fn = "relora_cycle_add_group";
    if (!cycle) FAIL(group ? group->ctx : NULL, RELORA_E_ARGUMENT, "%s: cycle is NULL", fn);
    TRY(group_check_given(group, cycle->ctx, fn));
    int32_t before = cycle->layers.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        if (m->value || m->linear->options.mode != RELORA_MODE_LORA) continue;
        relora_status status = add_layer(cycle, fn, m->linear);
        if (status >= 0) continue;
        registry_shrink(&cycle->layers, before);
        return status;
    }
    if (cycle->layers.count == before)
        FAIL(cycle->ctx, RELORA_E_STATE, "%s: no layer of the group is in mode LORA", fn);
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

static relora_status check_step(const relora_cycle *cycle, const char *fn, int64_t step)
{
    if (step < 0)
        FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: step is %lld, less than 0", fn, (long long)step);
    return RELORA_OK;
}

relora_status relora_cycle_due(const relora_cycle *cycle, int64_t step, uint32_t *events)
{
    const char *fn = "relora_cycle_due";
    if (!cycle) return RELORA_E_ARGUMENT;
    if (!events) FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: events is NULL", fn);
    TRY(check_step(cycle, fn, step));
    *events = events_at(cycle, step);
    return RELORA_OK;
}

/* ---- doing it ---- */

static relora_status check_work(const relora_cycle *cycle, const relora_stream *stream, const char *fn,
                                int64_t step)
{
    if (!cycle) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: cycle is NULL", fn);
    if (!stream) FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != cycle->ctx)
        FAIL(cycle->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than cycle", fn);
    TRY(check_step(cycle, fn, step));
    if (!cycle->layers.count) FAIL(cycle->ctx, RELORA_E_STATE, "%s: no layer was added to the cycle", fn);
    return stream_check(stream, fn);
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
static relora_status work_on_layers(relora_cycle *cycle, relora_stream *stream, const char *fn, int64_t step,
                                    uint32_t events, int64_t number, relora_merge_report *report)
{
    struct call_before before = {&cycle->options, step, events};
    int32_t merges = (events & RELORA_CYCLE_MERGE) != 0;
    struct merge_job job = {.layers = &cycle->layers,
                            .merges = merges,
                            .draws = merges,
                            .cycle = (uint64_t)number,
                            .before = call_before,
                            .user = &before};
    TRY(linear_merge_all(&job, stream, fn, report));
    if (merges)
        context_log(cycle->ctx, RELORA_LOG_INFO, "%s: merge %lld of %d layers: |dW| %g, |W| %g", fn,
                    (long long)number, report->layers, report->delta_norm, report->weight_norm);
    return RELORA_OK;
}

/* Every update is advanced over once, or a restart is lost or done twice. */
static void note_step(relora_cycle *cycle, const char *fn, int64_t step)
{
    if (cycle->advanced >= 0 && step != cycle->advanced + 1)
        context_log(cycle->ctx, RELORA_LOG_WARN,
                    "%s: step is %lld, but the last one was %lld; call it once after each update", fn,
                    (long long)step, (long long)cycle->advanced);
    cycle->advanced = step;
}

static relora_status reset_moments(relora_cycle *cycle, relora_stream *stream, const char *fn,
                                   uint64_t number, relora_reset_report *report)
{
    relora_reset_options o = cycle->reset;
    o.cycle = number;
    return adam_reset(cycle->adam, stream, fn, cycle->indices, 2 * cycle->layers.count, &o, report);
}

static relora_status open_reports(const relora_cycle *cycle, const char *fn, relora_merge_report *merge,
                                  relora_reset_report *reset)
{
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    TRY(context_write_report(cycle->ctx, fn, "merge", merge, &m, sizeof m));
    return context_write_report(cycle->ctx, fn, "reset", reset, &r, sizeof r);
}

relora_status relora_cycle_advance(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                   uint32_t *events, relora_merge_report *merge,
                                   relora_reset_report *reset)
{
    GIVEN(stream);
    const char *fn = "relora_cycle_advance";
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    TRY(check_work(cycle, stream, fn, step));
    TRY(open_reports(cycle, fn, merge, reset));
    const relora_cycle_options *o = &cycle->options;
    int64_t n = step - o->first_step;
    uint32_t due = events_at(cycle, step);
    if (due) TRY(work_on_layers(cycle, stream, fn, step, due, event_number(n, o->merge_every), &m));
    if (due & RELORA_CYCLE_RESET)
        TRY(reset_moments(cycle, stream, fn, (uint64_t)event_number(n, o->reset_every),
                          reset ? &r : NULL));
    if (due && o->after) o->after(o->hook_user, step, due);
    if (events) *events = due;
    note_step(cycle, fn, step);
    TRY(report_write(merge, &m, sizeof m));
    return report_write(reset, &r, sizeof r);
}

relora_status relora_cycle_finish(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                  relora_merge_report *merge)
{
    GIVEN(stream);
    const char *fn = "relora_cycle_finish";
    const uint32_t events = RELORA_CYCLE_MERGE | RELORA_CYCLE_FINISH;
    relora_merge_report m = {.struct_size = sizeof m};
    TRY(check_work(cycle, stream, fn, step));
    const relora_cycle_options *o = &cycle->options;
    int64_t n = step - o->first_step;
    if (n < 0)
        FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: step is %lld, but the cycle begins at %lld", fn,
             (long long)step, (long long)o->first_step);
    TRY(open_reports(cycle, fn, merge, NULL));
    /* one more than any merge before it, so that no draw is used twice */
    int64_t number = n ? (n - 1) / o->merge_every + 1 : 1;
    TRY(work_on_layers(cycle, stream, fn, step, events, number, &m));
    if (o->after) o->after(o->hook_user, step, events);
    return report_write(merge, &m, sizeof m);
}
