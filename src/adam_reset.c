/* The partial reset of the moments, in place. */
#include "adam_reset.h"

#include "moments.h"

/* ---- options ---- */

enum { HAVE_A_RATIO = 1 << RELORA_RESET_RANDOM | 1 << RELORA_RESET_MAGNITUDE };

static const char *const mode_names[] = {NULL, "ZERO", "RANDOM", "MAGNITUDE", NULL};
static const char *const flag_names[] = {"STEP_COUNT", "INDEPENDENT", "QUANTILE", NULL};

static const struct option reset_rows[] = {
    {FIELD(relora_reset_options, mode), OPTION_ENUM, .value = RELORA_RESET_MAGNITUDE, .names = mode_names,
     .as_number = 1},
    {FIELD(relora_reset_options, flags), OPTION_FLAGS, .names = flag_names},
    {FIELD(relora_reset_options, seed), OPTION_U64},
    {FIELD(relora_reset_options, ratio), OPTION_F64, .value = 0.99, .high = 1, .kinds = HAVE_A_RATIO,
     .ignored = 1},
    {FIELD(relora_reset_options, cycle), OPTION_U64, .quiet = QUIET},
    {FIELD(relora_reset_options, reserved), OPTION_I32, .quiet = QUIET},
};
const struct options reset_table = {
    ROWS(reset_rows),
    .size = sizeof(relora_reset_options),
    .first_size = END_OF(relora_reset_options, cycle), /* 0.1 */
    .heading = "reset ", /* in the description of a cycle */
};

relora_status relora_reset_options_init(relora_reset_options *options, size_t size)
{
    return options_write(&reset_table, options, size);
}

relora_status relora_reset_report_init(relora_reset_report *report, size_t size)
{
    return report_init(report, size);
}

relora_status reset_options_read(relora_reset_options *o, const relora_context *ctx, const char *fn,
                                 const char *name, const relora_reset_options *from)
{
    TRY(context_read_options(ctx, fn, name, &reset_table, o, from));
    if ((o->flags & RELORA_RESET_QUANTILE) && o->mode != RELORA_RESET_MAGNITUDE)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: %s.flags has QUANTILE, but %s.mode is %s, not MAGNITUDE", fn, name,
             name, mode_names[o->mode]);
    return RELORA_OK;
}

/* ---- which parameters ---- */

static int is_factor(const struct adam_entry *e)
{
    return e->is.linear && (e->role == RELORA_PARAM_A || e->role == RELORA_PARAM_B);
}

static relora_status check_listed(const relora_adam *adam, const char *fn, const int32_t *indices,
                                  int32_t count)
{
    if (count < 1) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: count is %d, less than 1", fn, count);
    for (int32_t i = 0; i < count; i++) {
        if (indices[i] < 0 || indices[i] >= adam->registry.count)
            FAIL(adam->ctx, RELORA_E_NOT_FOUND, "%s: indices[%d] is %d, but adam has %d parameters", fn, i,
                 indices[i], adam->registry.count);
        for (int32_t j = 0; j < i; j++)
            if (indices[j] == indices[i])
                FAIL(adam->ctx, RELORA_E_EXISTS, "%s: indices[%d] and indices[%d] are both %d", fn, j, i,
                     indices[i]);
    }
    return RELORA_OK;
}

static relora_status check_factors(const relora_adam *adam, const char *fn, int32_t count)
{
    if (count)
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: indices is NULL, but count is %d, not 0", fn, count);
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (is_factor(adam_at(adam, i))) return RELORA_OK;
    FAIL(adam->ctx, RELORA_E_NOT_FOUND, "%s: none of the %d parameters is an A or B of a layer", fn,
         adam->registry.count);
}

/* ---- the reset ---- */

static relora_status reset_one(relora_adam *adam, relora_stream *stream, const char *fn, int32_t index,
                               const relora_reset_options *o, int64_t *counts)
{
    const struct adam_entry *e = adam_at(adam, index);
    TRY(moments_reset(stream, fn, e->first, e->second, (uint64_t)index, o, counts));
    if (o->flags & RELORA_RESET_STEP_COUNT)
        TRY_QUEUE(stream, fn, adam_write_steps(adam, stream->queue, index, 0));
    return RELORA_OK;
}

relora_status adam_reset(relora_adam *adam, relora_stream *stream, const char *fn,
                         const int32_t *indices, int32_t count, const relora_reset_options *options,
                         relora_reset_report *report)
{
    relora_reset_options o;
    relora_reset_report r = {.struct_size = sizeof r};
    int64_t *counts = NULL;
    TRY(adam_check(adam, stream, fn));
    TRY(reset_options_read(&o, adam->ctx, fn, "options", options));
    TRY(indices ? check_listed(adam, fn, indices, count) : check_factors(adam, fn, count));
    TRY(context_write_report(adam->ctx, fn, "report", report, &r, sizeof r));
    if (report) TRY(moments_count(stream, fn, &counts));
    int32_t length = indices ? count : adam->registry.count;
    for (int32_t i = 0; i < length; i++) {
        int32_t index = indices ? indices[i] : i;
        if (!indices && !is_factor(adam_at(adam, index))) continue;
        TRY(reset_one(adam, stream, fn, index, &o, counts));
        r.params++;
        r.elements += adam_at(adam, index)->first->shape.count;
    }
    context_log(adam->ctx, RELORA_LOG_INFO, "%s: %d parameters, %lld elements in each moment", fn, r.params,
                (long long)r.elements);
    if (!report) return RELORA_OK;
    TRY(moments_counted(stream, fn, counts, &r));
    context_log(adam->ctx, RELORA_LOG_INFO, "%s: %lld of them zero in the first, %lld in the second", fn,
                (long long)r.zeroed_first, (long long)r.zeroed_second);
    return report_write(report, &r, sizeof r);
}

relora_status relora_adam_reset(relora_adam *adam, relora_stream *stream, const int32_t *indices,
                                int32_t count, const relora_reset_options *options,
                                relora_reset_report *report)
{
    GIVEN(stream);
    return adam_reset(adam, stream, "relora_adam_reset", indices, count, options, report);
}
