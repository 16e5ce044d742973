/* What a cycle can be asked for, and the calendar of a schedule. */
#include "adam_reset.h"
#include "call.h"
#include "cycle.h"
#include "schedule.h"

static const struct option cycle_rows[] = {
    {FIELD(relora_cycle_options, first_step), OPTION_I64, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, merge_every), OPTION_I64, .low = 2, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, reset_every), OPTION_I64, .high = NO_LIMIT},
    {FIELD(relora_cycle_options, flags), OPTION_FLAGS, .quiet = QUIET},
    {FIELD(relora_cycle_options, before), OPTION_POINTER},
    {FIELD(relora_cycle_options, after), OPTION_POINTER},
    {FIELD(relora_cycle_options, hook_user), OPTION_POINTER},
    {FIELD(relora_cycle_options, period_growth), OPTION_I64, .high = NO_LIMIT, .since = 6},
    {FIELD(relora_cycle_options, stagger), OPTION_I64, .high = 4096, .since = 6},
    {FIELD(relora_cycle_options, comm), OPTION_POINTER, .since = 6},
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
    if (s->period_growth && options->struct_size < END_OF(relora_cycle_options, period_growth))
        FAIL(&c, RELORA_E_STRUCT_SIZE, "options.struct_size is %u, without the period_growth of the schedule",
             options->struct_size);
    options->first_step = s->first_step;
    options->merge_every = s->restart_every;
    options->reset_every = 0;
    if (options->struct_size >= END_OF(relora_cycle_options, period_growth))
        options->period_growth = s->period_growth;
    return RELORA_OK;
}

relora_status cycle_check_options(const struct call *c, const relora_cycle_options *o,
                                  const relora_reset_options *reset)
{
    const char *why = reset->mode == RELORA_RESET_PROJECT ? "reset.mode is PROJECT"
                      : o->period_growth                  ? "options.period_growth is not 0"
                      : o->stagger                        ? "options.stagger is not 0"
                                                          : NULL;
    if (o->reset_every == 1) FAIL(c, RELORA_E_ARGUMENT, "options.reset_every is 1, neither 0 nor 2 or more");
    if (why && o->reset_every && o->reset_every != o->merge_every)
        FAIL(c, RELORA_E_ARGUMENT, "%s, but options.reset_every is %lld, not merge_every, %lld", why,
             (long long)o->reset_every, (long long)o->merge_every);
    return RELORA_OK;
}
