/* The partial reset of the moments, in place. */
#include "adam_reset.h"

#include "adam_comm.h"
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
             "%s.flags has STEP_COUNT, but %s.mode is KEEP: moments that are kept keep their count", name,
             name);
    return RELORA_OK;
}

relora_status reset_options_alone(const struct call *c, const relora_reset_options *o)
{
    if (o->mode == RELORA_RESET_PROJECT)
        FAIL(c, RELORA_E_UNSUPPORTED,
             "options.mode is PROJECT, which needs the A before the restart: use relora_cycle or "
             "relora_moments_project");
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

/* Which elements go is decided about the whole of a moment, so a moment in shares is put together for it.
 * Every rank then does what a rank alone would do, and keeps its share: the same bits for any number of
 * ranks. */
static relora_status reset_whole(const struct call *c, const relora_adam *adam, int32_t index,
                                 const relora_reset_options *o, int64_t *counts, float *whole)
{
    int64_t n = adam_at(adam, index)->is.value->shape.count;
    float *first = whole, *second = whole + n;
    TRY(adam_gather_moment(c, adam, index, RELORA_MOMENT_FIRST, first));
    TRY(adam_gather_moment(c, adam, index, RELORA_MOMENT_SECOND, second));
    TRY(moments_reset(c, first, second, n, (uint64_t)index, o, counts));
    TRY(adam_take_share(c, adam, index, RELORA_MOMENT_FIRST, first));
    return adam_take_share(c, adam, index, RELORA_MOMENT_SECOND, second);
}

/* `whole` is room for both moments of the largest parameter; NULL unless they lie in shares. */
static relora_status reset_one(const struct call *c, relora_adam *adam, int32_t index,
                               const relora_reset_options *o, int64_t *counts, float *whole)
{
    const struct adam_entry *e = adam_at(adam, index);
    relora_reset_options own = *o;
    int projected = o->mode == RELORA_RESET_PROJECT;
    if (projected && e->role == RELORA_PARAM_A) own.mode = RELORA_RESET_ZERO, projected = 0;
    if (whole) TRY(reset_whole(c, adam, index, &own, counts, whole));
    else
        TRY(moments_reset(c, e->first->data, e->second->data, e->first->shape.count, (uint64_t)index, &own,
                          counts));
    if ((o->flags & RELORA_RESET_STEP_COUNT) && !projected)
        TRY(call_queue(c, adam_write_steps(adam, c->queue, index, 0)));
    return RELORA_OK;
}

struct reset { /* of listed parameters, or of all A and B */
    relora_adam *adam;
    const int32_t *indices;
    int32_t count;
    relora_reset_options options;
    int64_t *counts;      /* on the device; NULL without a report */
    relora_tensor *whole; /* NULL unless moments lie in shares */
};

/* The next parameter from place `*i` on, or -1. */
static int32_t next_index(const struct reset *r, int32_t *i)
{
    if (r->indices) return *i < r->count ? r->indices[(*i)++] : -1;
    while (*i < r->adam->registry.count)
        if (is_factor(adam_at(r->adam, (*i)++))) return *i - 1;
    return -1;
}

static relora_status look_at_moments(const struct call *c, const struct reset *r)
{
    for (int32_t i = 0, index; (index = next_index(r, &i)) >= 0;) TRY(adam_check_moments(c, r->adam, index));
    return RELORA_OK;
}

static relora_status make_whole(const struct call *c, struct reset *r)
{
    int64_t most = 0, both;
    if (!adam_is_sharded(r->adam)) return RELORA_OK;
    TRY(adam_share(c, r->adam));
    for (int32_t i = 0, index; (index = next_index(r, &i)) >= 0;)
        if (adam_at(r->adam, index)->is.value->shape.count > most)
            most = adam_at(r->adam, index)->is.value->shape.count;
    both = 2 * most;
    return tensor_new(c, &r->whole, r->adam->device, RELORA_F32, 1, &both);
}

static relora_status reset_all(const struct call *c, const struct reset *r, relora_reset_report *report)
{
    for (int32_t i = 0, index; (index = next_index(r, &i)) >= 0;) {
        float *whole = r->whole ? r->whole->data : NULL;
        TRY(reset_one(c, r->adam, index, &r->options, r->counts, whole));
        report->params++;
        report->elements += adam_at(r->adam, index)->is.value->shape.count;
    }
    return RELORA_OK;
}

relora_status adam_reset(const struct call *c, relora_adam *adam, const int32_t *indices, int32_t count,
                         const relora_reset_options *o, relora_reset_report *report)
{
    relora_reset_report r = {.struct_size = sizeof r};
    struct reset reset = {.adam = adam, .indices = indices, .count = count, .options = *o};
    TRY(indices ? adam_check_listed(c, adam, indices, count) : check_factors(c, adam, count));
    TRY(call_write_report(c, "report", report, &r, sizeof r));
    TRY(look_at_moments(c, &reset));
    if (report) TRY(moments_count(c, &reset.counts));
    TRY(make_whole(c, &reset));
    relora_status status = reset_all(c, &reset, &r);
    relora_tensor_release(reset.whole);
    TRY(status);
    call_log(c, RELORA_LOG_INFO, "%d parameters, %lld elements in each moment", r.params,
             (long long)r.elements);
    if (!report) return RELORA_OK;
    TRY(moments_counted(c, reset.counts, &r));
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
