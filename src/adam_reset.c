/* The partial reset of the moments, in place. */
#include "adam_reset.h"

#include "moments.h"

/* ---- options ---- */

enum { HAVE_A_RATIO = 1 << RELORA_RESET_RANDOM | 1 << RELORA_RESET_MAGNITUDE };

static const char *const mode_names[] = {NULL, "ZERO", "RANDOM", "MAGNITUDE", "KEEP", "PROJECT", NULL};
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
    ROWS(reset_rows), .size = sizeof(relora_reset_options),
    .first_size = END_OF(relora_reset_options, cycle), /* 0.1 */
    .heading = "reset ",                               /* in the description of a cycle */
};

relora_status relora_reset_options_init(relora_reset_options *options, size_t size)
{
    return options_write(&reset_table, options, size);
}

relora_status relora_reset_report_init(relora_reset_report *report, size_t size)
{
    return report_init(report, size);
}

relora_status reset_options_read(const struct call *c, relora_reset_options *o, const char *name,
                                 const relora_reset_options *from)
{
    TRY(call_read_options(c, name, &reset_table, o, from));
    if ((o->flags & RELORA_RESET_QUANTILE) && o->mode != RELORA_RESET_MAGNITUDE)
        FAIL(c, RELORA_E_ARGUMENT, "%s.flags has QUANTILE, but %s.mode is %s, not MAGNITUDE", name, name,
             mode_names[o->mode]);
    if ((o->flags & RELORA_RESET_STEP_COUNT) && o->mode == RELORA_RESET_KEEP)
        FAIL(c, RELORA_E_ARGUMENT,
             "%s.flags has STEP_COUNT, but %s.mode is KEEP: moments that stay have their bias", name, name);
    return RELORA_OK;
}

relora_status reset_options_alone(const struct call *c, const relora_reset_options *o)
{
    if (o->mode == RELORA_RESET_PROJECT)
        FAIL(
            c, RELORA_E_UNSUPPORTED,
            "options.mode is PROJECT, which needs the A before the restart: use relora_cycle or relora_moments_project");
    return RELORA_OK;
}

/* ---- which parameters ---- */

static int is_factor(const struct adam_entry *e)
{
    return e->is.linear && (e->role == RELORA_PARAM_A || e->role == RELORA_PARAM_B);
}

relora_status adam_check_listed(const struct call *c, const relora_adam *adam, const int32_t *indices,
                                int32_t count)
{
    if (count < 1) FAIL(c, RELORA_E_ARGUMENT, "count is %d, less than 1", count);
    for (int32_t i = 0; i < count; i++) {
        if (indices[i] < 0 || indices[i] >= adam->registry.count)
            FAIL(c, RELORA_E_NOT_FOUND, "indices[%d] is %d, but adam has %d parameters", i, indices[i],
                 adam->registry.count);
        for (int32_t j = 0; j < i; j++)
            if (indices[j] == indices[i])
                FAIL(c, RELORA_E_EXISTS, "indices[%d] and indices[%d] are both %d", j, i, indices[i]);
    }
    return RELORA_OK;
}

static relora_status check_factors(const struct call *c, const relora_adam *adam, int32_t count)
{
    if (count) FAIL(c, RELORA_E_ARGUMENT, "indices is NULL, but count is %d, not 0", count);
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (is_factor(adam_at(adam, i))) return RELORA_OK;
    FAIL(c, RELORA_E_NOT_FOUND, "none of the %d parameters is an A or B of a layer", adam->registry.count);
}

/* ---- the reset ---- */

static relora_status reset_one(const struct call *c, relora_adam *adam, int32_t index,
                               const relora_reset_options *o, int64_t *counts)
{
    const struct adam_entry *e = adam_at(adam, index);
    relora_reset_options own = *o;
    int projected = o->mode == RELORA_RESET_PROJECT;
    if (projected && e->role == RELORA_PARAM_A) own.mode = RELORA_RESET_ZERO, projected = 0;
    TRY(moments_reset(c, e->first, e->second, (uint64_t)index, &own, counts));
    if ((o->flags & RELORA_RESET_STEP_COUNT) && !projected)
        TRY(call_queue(c, adam_write_steps(adam, c->queue, index, 0)));
    return RELORA_OK;
}

relora_status adam_reset(const struct call *c, relora_adam *adam, const int32_t *indices, int32_t count,
                         const relora_reset_options *o, relora_reset_report *report)
{
    relora_reset_report r = {.struct_size = sizeof r};
    int64_t *counts = NULL;
    TRY(indices ? adam_check_listed(c, adam, indices, count) : check_factors(c, adam, count));
    TRY(call_write_report(c, "report", report, &r, sizeof r));
    if (report) TRY(moments_count(c, &counts));
    int32_t length = indices ? count : adam->registry.count;
    for (int32_t i = 0; i < length; i++)
        if (indices || is_factor(adam_at(adam, i)))
            TRY(adam_check_moments(c, adam, indices ? indices[i] : i));
    for (int32_t i = 0; i < length; i++) {
        int32_t index = indices ? indices[i] : i;
        if (!indices && !is_factor(adam_at(adam, index))) continue;
        TRY(reset_one(c, adam, index, o, counts));
        r.params++;
        r.elements += adam_at(adam, index)->first->shape.count;
    }
    call_log(c, RELORA_LOG_INFO, "%d parameters, %lld elements in each moment", r.params,
             (long long)r.elements);
    if (!report) return RELORA_OK;
    TRY(moments_counted(c, counts, &r));
    call_log(c, RELORA_LOG_INFO, "%lld of them zero in the first, %lld in the second",
             (long long)r.zeroed_first, (long long)r.zeroed_second);
    return report_write(report, &r, sizeof r);
}

relora_status relora_adam_reset(relora_adam *adam, relora_stream *stream, const int32_t *indices,
                                int32_t count, const relora_reset_options *options,
                                relora_reset_report *report)
{
    struct call c = {.fn = "relora_adam_reset"};
    relora_reset_options o;
    TRY(adam_open(&c, adam, stream));
    TRY(reset_options_read(&c, &o, "options", options));
    TRY(reset_options_alone(&c, &o));
    return adam_reset(&c, adam, indices, count, &o, report);
}
