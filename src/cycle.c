/* The restart: when it is due, and merging, drawing and resetting in the right order. */
#include "adam.h"
#include "float_mode.h"
#include "options.h"
#include "relora/cycle.h"
#include "state.h"

struct member { /* one layer, and its factors in the optimizer */
    relora_linear *linear;
    int32_t a, b;
};

struct relora_cycle {
    relora_context *ctx;
    relora_cycle_options options;
    relora_adam *adam;
    relora_reset_options reset;
    struct member *members;
    int32_t *indices; /* of all factors, two for each member */
    int32_t count, capacity;
};

static const relora_cycle_options cycle_defaults = {
    .struct_size = sizeof(relora_cycle_options),
};

relora_status relora_cycle_options_init(relora_cycle_options *options, size_t size)
{
    return options_write(options, size, &cycle_defaults, sizeof cycle_defaults);
}

static relora_status check_options(const relora_context *ctx, const char *fn,
                                   const relora_cycle_options *o)
{
    if (o->flags)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.flags is 0x%x, and none is known", fn, o->flags);
    if (o->first_step < 0)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.first_step is %lld, less than 0", fn,
             (long long)o->first_step);
    if (o->merge_every < 2)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.merge_every is %lld, less than 2", fn,
             (long long)o->merge_every);
    if (o->reset_every < 2 && o->reset_every != 0)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.reset_every is %lld, neither 0 nor 2 or more", fn,
             (long long)o->reset_every);
    return RELORA_OK;
}

/* ---- life ---- */

relora_status relora_cycle_create(relora_cycle **out, relora_context *ctx,
                                  const relora_cycle_options *options, relora_adam *adam,
                                  const relora_reset_options *reset)
{
    const char *fn = "relora_cycle_create";
    relora_cycle_options o = cycle_defaults;
    relora_reset_options r;
    const relora_context *first = ctx ? ctx : adam ? adam->ctx : NULL; /* for the text */
    if (!out) FAIL(first, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) FAIL(first, RELORA_E_ARGUMENT, "%s: ctx is NULL", fn);
    if (!options) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options is NULL", fn);
    relora_status status = options_read(&o, sizeof o, sizeof o, options);
    if (status < 0) return context_fail_options(ctx, status, fn, "options");
    TRY(check_options(ctx, fn, &o));
    if (reset && !adam) FAIL(ctx, RELORA_E_ARGUMENT, "%s: reset is given, but adam is NULL", fn);
    if (adam && adam->ctx != ctx) FAIL(ctx, RELORA_E_CONTEXT, "%s: adam belongs to another context", fn);
    TRY(reset_options_read(&r, ctx, fn, reset));
    if (!o.reset_every) o.reset_every = o.merge_every;

    relora_cycle *cycle = context_new(ctx, sizeof *cycle);
    if (!cycle) return context_fail_memory(ctx, fn, sizeof *cycle);
    cycle->ctx = ctx;
    cycle->options = o;
    cycle->reset = r;
    cycle->adam = adam;
    if (adam) adam_retain(adam);
    *out = cycle;
    return RELORA_OK;
}

void relora_cycle_release(relora_cycle *cycle)
{
    if (!cycle) return;
    const struct memory *memory = &cycle->ctx->memory;
    for (int32_t i = 0; i < cycle->count; i++) relora_linear_release(cycle->members[i].linear);
    memory_free(memory, cycle->members, (size_t)cycle->capacity * sizeof *cycle->members);
    memory_free(memory, cycle->indices, 2 * (size_t)cycle->capacity * sizeof *cycle->indices);
    relora_adam_release(cycle->adam);
    context_delete(cycle->ctx, cycle, sizeof *cycle);
}

const relora_context *cycle_context(const relora_cycle *cycle)
{
    return cycle ? cycle->ctx : NULL;
}

void cycle_describe(const relora_cycle *cycle, struct text *text)
{
    const relora_cycle_options *o = &cycle->options;
    const relora_reset_options *r = &cycle->reset;
    text_put(text, "first_step=%lld\nmerge_every=%lld\nreset_every=%lld\n", (long long)o->first_step,
             (long long)o->merge_every, (long long)o->reset_every);
    text_put(text, "reset mode=%d\nreset flags=%u\nreset seed=%llu\n", r->mode, r->flags,
             (unsigned long long)r->seed);
    text_number(text, "reset ratio", r->ratio);
}

/* ---- members ---- */

static relora_status grow(relora_cycle *cycle, const char *fn)
{
    if (cycle->count < cycle->capacity) return RELORA_OK;
    const struct memory *memory = &cycle->ctx->memory;
    size_t old = (size_t)cycle->capacity, new = old ? 2 * old : 16;
    struct member *members = memory_alloc(memory, new * sizeof *members);
    int32_t *indices = memory_alloc(memory, 2 * new * sizeof *indices);
    if (!members || !indices) {
        memory_free(memory, members, new * sizeof *members);
        memory_free(memory, indices, 2 * new * sizeof *indices);
        return context_fail_memory(cycle->ctx, fn, new * sizeof *members);
    }
    if (cycle->count) {
        memcpy(members, cycle->members, (size_t)cycle->count * sizeof *members);
        memcpy(indices, cycle->indices, 2 * (size_t)cycle->count * sizeof *indices);
    }
    memory_free(memory, cycle->members, old * sizeof *members);
    memory_free(memory, cycle->indices, 2 * old * sizeof *indices);
    cycle->members = members;
    cycle->indices = indices;
    cycle->capacity = (int32_t)new;
    return RELORA_OK;
}

static struct view weight_of(const relora_linear *linear)
{
    const relora_tensor *w = linear->param[RELORA_PARAM_WEIGHT];
    return w ? tensor_view(w) : (struct view){0};
}

static relora_status check_member(const relora_cycle *cycle, const char *fn,
                                  const relora_linear *linear, struct member *m)
{
    unsigned long long layer = linear->options.layer;
    if (linear->options.mode != RELORA_MODE_LORA)
        FAIL(cycle->ctx, RELORA_E_STATE, "%s: linear (layer %llu) is in mode %s, not LORA", fn, layer,
             linear_mode_name(linear->options.mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(cycle->ctx, RELORA_E_STATE, "%s: linear (layer %llu) has no weight; call relora_linear_set_weight",
             fn, layer);
    for (int32_t i = 0; i < cycle->count; i++) {
        const relora_linear *other = cycle->members[i].linear;
        if (other == linear)
            FAIL(cycle->ctx, RELORA_E_EXISTS, "%s: linear (layer %llu) is in the cycle already", fn, layer);
        if (views_overlap(weight_of(other), weight_of(linear)))
            FAIL(cycle->ctx, RELORA_E_EXISTS, "%s: linear (layer %llu) shares its weight with layer %llu", fn, layer,
                 (unsigned long long)other->options.layer);
    }
    if (!cycle->adam) return RELORA_OK;
    m->a = adam_index_of(cycle->adam, linear, RELORA_PARAM_A);
    m->b = adam_index_of(cycle->adam, linear, RELORA_PARAM_B);
    if (m->a < 0 || m->b < 0)
        FAIL(cycle->ctx, RELORA_E_NOT_FOUND, "%s: adam does not hold A and B of linear (layer %llu)", fn,
             layer);
    return RELORA_OK;
}

relora_status relora_cycle_add(relora_cycle *cycle, relora_linear *linear)
{
    const char *fn = "relora_cycle_add";
    struct member m = {.linear = linear, .a = -1, .b = -1};
    if (!cycle) FAIL(linear ? linear->ctx : NULL, RELORA_E_ARGUMENT, "%s: cycle is NULL", fn);
    if (!linear) FAIL(cycle->ctx, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    if (linear->ctx != cycle->ctx)
        FAIL(cycle->ctx, RELORA_E_CONTEXT, "%s: linear belongs to another context than cycle", fn);
    TRY(check_member(cycle, fn, linear, &m));
    TRY(grow(cycle, fn));
    linear_retain(linear);
    int32_t *pair = cycle->indices + 2 * (size_t)cycle->count;
    pair[0] = m.a;
    pair[1] = m.b;
    cycle->members[cycle->count++] = m;
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
    if (!cycle->count) FAIL(cycle->ctx, RELORA_E_STATE, "%s: no layer was added to the cycle", fn);
    return stream_check(stream, fn);
}

/* Every layer, or none: whatever can fail for a reason of its own is looked at first. */
static relora_status check_layers(relora_cycle *cycle, relora_stream *stream, const char *fn)
{
    relora_linear *batch[MERGE_BATCH];
    for (int32_t i = 0, n = 0; i < cycle->count; i++) {
        relora_linear *linear = cycle->members[i].linear;
        TRY(linear_check(linear, stream, fn));
        batch[n++] = linear;
        if (n < MERGE_BATCH && i + 1 < cycle->count) continue;
        TRY(linear_merge_check(batch, n, stream, fn));
        n = 0;
    }
    return RELORA_OK;
}

static relora_status merge_layers(relora_cycle *cycle, relora_stream *stream, const char *fn,
                                  uint64_t number, relora_merge_report *report)
{
    const relora_linear *first = cycle->members[0].linear;
    double norms[2];
    TRY(linear_merge_start(first, stream, fn));
    for (int32_t i = 0; i < cycle->count; i++) {
        TRY(linear_merge_run(cycle->members[i].linear, stream, fn, number));
        TRY(linear_reset_run(cycle->members[i].linear, stream, fn, number));
    }
    TRY(linear_merge_end(first, stream, fn, norms));
    report->layers = cycle->count;
    report->delta_norm = float_mode_root(norms[0]);
    report->weight_norm = float_mode_root(norms[1]);
    context_log(cycle->ctx, RELORA_LOG_INFO, "%s: merge %llu of %d layers: |dW| %g, |W| %g", fn,
                (unsigned long long)number, report->layers, report->delta_norm, report->weight_norm);
    return RELORA_OK;
}

static relora_status reset_moments(relora_cycle *cycle, relora_stream *stream, const char *fn,
                                   uint64_t number, relora_reset_report *report)
{
    relora_reset_options o = cycle->reset;
    o.cycle = number;
    return adam_reset(cycle->adam, stream, fn, cycle->indices, 2 * cycle->count, &o, report);
}

static relora_status open_reports(const relora_cycle *cycle, const char *fn, relora_merge_report *merge,
                                  relora_reset_report *reset)
{
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    relora_status status = report_write(merge, &m, sizeof m);
    if (status < 0) return context_fail_options(cycle->ctx, status, fn, "merge");
    status = report_write(reset, &r, sizeof r);
    return status < 0 ? context_fail_options(cycle->ctx, status, fn, "reset") : RELORA_OK;
}

relora_status relora_cycle_advance(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                   uint32_t *events, relora_merge_report *merge,
                                   relora_reset_report *reset)
{
    const char *fn = "relora_cycle_advance";
    relora_merge_report m = {.struct_size = sizeof m};
    relora_reset_report r = {.struct_size = sizeof r};
    TRY(check_work(cycle, stream, fn, step));
    TRY(open_reports(cycle, fn, merge, reset));
    const relora_cycle_options *o = &cycle->options;
    int64_t n = step - o->first_step;
    uint32_t due = events_at(cycle, step);
    if (due) TRY(check_layers(cycle, stream, fn));
    if (due && o->before) o->before(o->hook_user, step, due);
    if (due & RELORA_CYCLE_MERGE)
        TRY(merge_layers(cycle, stream, fn, (uint64_t)event_number(n, o->merge_every), &m));
    if (due & RELORA_CYCLE_RESET)
        TRY(reset_moments(cycle, stream, fn, (uint64_t)event_number(n, o->reset_every),
                          reset ? &r : NULL));
    if (due && o->after) o->after(o->hook_user, step, due);
    if (events) *events = due;
    TRY(report_write(merge, &m, sizeof m));
    return report_write(reset, &r, sizeof r);
}

relora_status relora_cycle_finish(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                  relora_merge_report *merge)
{
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
    TRY(check_layers(cycle, stream, fn));
    /* one more than any merge before it, so that no draw is used twice */
    uint64_t number = n ? (uint64_t)((n - 1) / o->merge_every) + 1 : 1;
    if (o->before) o->before(o->hook_user, step, events);
    TRY(merge_layers(cycle, stream, fn, number, &m));
    if (o->after) o->after(o->hook_user, step, events);
    return report_write(merge, &m, sizeof m);
}
