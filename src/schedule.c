/* The four learning-rate curves. Pure functions of the step, in double. */
#include "schedule.h"

#include <math.h>

#include "call.h"
#include "description.h"
#include "float_mode.h"
#include "period.h"

struct relora_schedule {
    relora_context *ctx;
    relora_schedule_options options;
};

/* ---- options ---- */

enum {
    COSINE = 1 << RELORA_SCHEDULE_COSINE,
    RESTARTS = 1 << RELORA_SCHEDULE_COSINE_RESTARTS,
    HAVE_AN_END = 1 << RELORA_SCHEDULE_LINEAR | COSINE | RESTARTS
};
#define STEPS_MAX 0x1p52 /* exact in double, and sums of them fit */

static const char *const kind_names[] = {NULL, "CONSTANT", "LINEAR", "COSINE", "COSINE_RESTARTS", NULL};

static const struct option schedule_rows[] = {
    {FIELD(relora_schedule_options, kind), OPTION_ENUM, .value = RELORA_SCHEDULE_COSINE_RESTARTS,
     .names = kind_names, .as_number = 1},
    {FIELD(relora_schedule_options, first_step), OPTION_I64, .high = STEPS_MAX},
    {FIELD(relora_schedule_options, total_steps), OPTION_I64, .low = 1, .high = STEPS_MAX,
     .kinds = HAVE_AN_END, .ignored = 1},
    {FIELD(relora_schedule_options, warmup_steps), OPTION_I64, .high = STEPS_MAX},
    {FIELD(relora_schedule_options, restart_warmup_steps), OPTION_I64, .high = STEPS_MAX, .kinds = RESTARTS},
    {FIELD(relora_schedule_options, restart_every), OPTION_I64, .high = STEPS_MAX,
     .kinds = COSINE | RESTARTS},
    {FIELD(relora_schedule_options, adjust_step), OPTION_I64, .high = STEPS_MAX, .kinds = RESTARTS},
    {FIELD(relora_schedule_options, period_growth), OPTION_I64, .high = STEPS_MAX, .kinds = RESTARTS,
     .since = 6},
    {FIELD(relora_schedule_options, lr), OPTION_F64, .above_low = 1, .high = NO_LIMIT},
    {FIELD(relora_schedule_options, min_lr_ratio), OPTION_F64, .value = 0.1, .high = 1,
     .kinds = COSINE | RESTARTS, .ignored = 1},
};
const struct options schedule_table = {
    ROWS(schedule_rows), .size = sizeof(relora_schedule_options),
    .first_size = END_OF(relora_schedule_options, adjust_step), /* 0.1 */
};

relora_status relora_schedule_options_init(relora_schedule_options *options, size_t size)
{
    return options_write(&schedule_table, options, size);
}

static relora_status check_at_most(const struct call *c, const char *field, int64_t value, const char *of,
                                   int64_t most)
{
    if (value > most)
        FAIL(c, RELORA_E_ARGUMENT, "options.%s is %lld, more than %s, %lld", field, (long long)value, of,
             (long long)most);
    return RELORA_OK;
}

/* Without a period there is one cycle, and nothing that a restart could do. */
static relora_status check_one_cycle(const struct call *c, const relora_schedule_options *o)
{
    const char *field = o->restart_warmup_steps ? "restart_warmup_steps"
                        : o->period_growth      ? "period_growth"
                                                : "adjust_step";
    int64_t value = o->restart_warmup_steps ? o->restart_warmup_steps
                    : o->period_growth      ? o->period_growth
                                            : o->adjust_step;
    if (value)
        FAIL(c, RELORA_E_ARGUMENT, "options.%s is %lld, but restart_every is 0: there is no restart", field,
             (long long)value);
    return RELORA_OK;
}

static struct period period_of(const relora_schedule_options *o)
{
    return (struct period){.every = o->restart_every, .growth = o->period_growth};
}

/* The last cycle may be shorter than the others, but not than its climb. With adjust_step all are equal, as in
 * the authors' code. */
static relora_status check_last_cycle(const struct call *c, const relora_schedule_options *o)
{
    struct period p = period_of(o);
    int64_t period = o->restart_every;
    int64_t last = o->total_steps - period_start(&p, period_cycle(&p, o->total_steps));
    const char *field = o->kind == RELORA_SCHEDULE_COSINE ? "warmup_steps" : "restart_warmup_steps";
    int64_t climb = o->kind == RELORA_SCHEDULE_COSINE ? o->warmup_steps : o->restart_warmup_steps;
    if (!last) return RELORA_OK;
    if (o->adjust_step)
        FAIL(c, RELORA_E_ARGUMENT,
             "options.restart_every is %lld, which does not divide total_steps %lld as adjust_step needs",
             (long long)period, (long long)o->total_steps);
    if (last < climb)
        FAIL(
            c, RELORA_E_ARGUMENT,
            "options.%s is %lld, more than the last cycle: restart_every %lld leaves %lld of total_steps %lld",
            field, (long long)climb, (long long)period, (long long)last, (long long)o->total_steps);
    return RELORA_OK;
}

/* What belongs to a cycle has to fit into one. */
static relora_status check_period(const struct call *c, const relora_schedule_options *o)
{
    int64_t period = o->restart_every;
    if (o->period_growth && o->adjust_step)
        FAIL(c, RELORA_E_ARGUMENT,
             "options.adjust_step is %lld, but period_growth is %lld, and both shift restarts",
             (long long)o->adjust_step, (long long)o->period_growth);
    if (period == 1 && o->kind == RELORA_SCHEDULE_COSINE_RESTARTS)
        FAIL(c, RELORA_E_ARGUMENT, "options.restart_every is 1, but a cycle has 2 steps or more");
    TRY(check_at_most(c, "restart_every", period, "total_steps", o->total_steps));
    TRY(check_at_most(c, "warmup_steps", o->warmup_steps, "restart_every", period));
    TRY(check_at_most(c, "restart_warmup_steps", o->restart_warmup_steps, "restart_every", period));
    TRY(check_last_cycle(c, o));
    return check_at_most(c, "adjust_step", o->adjust_step, "restart_every - warmup_steps",
                         period - o->warmup_steps);
}

/* What no row can say alone. */
static relora_status check_options(const struct call *c, const relora_schedule_options *o)
{
    if (o->kind == RELORA_SCHEDULE_CONSTANT) return RELORA_OK;
    TRY(check_at_most(c, "warmup_steps", o->warmup_steps, "total_steps", o->total_steps));
    return o->restart_every ? check_period(c, o) : check_one_cycle(c, o);
}

/* ---- life ---- */

relora_status relora_schedule_create(relora_schedule **out, relora_context *ctx,
                                     const relora_schedule_options *options)
{
    struct call c = {.fn = "relora_schedule_create", .ctx = ctx};
    relora_schedule_options o;
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!options) FAIL(&c, RELORA_E_ARGUMENT, "options is NULL");
    TRY(call_read_options(&c, "options", &schedule_table, &o, options));
    TRY(check_options(&c, &o));
    relora_schedule *schedule = context_new(ctx, sizeof *schedule);
    if (!schedule) return call_fail_memory(&c, sizeof *schedule);
    schedule->ctx = ctx;
    schedule->options = o;
    *out = schedule;
    return RELORA_OK;
}

void relora_schedule_release(relora_schedule *schedule)
{
    if (schedule) context_delete(schedule->ctx, schedule, sizeof *schedule);
}

const relora_schedule_options *schedule_options(const relora_schedule *schedule)
{
    return &schedule->options;
}

relora_context *schedule_context(const relora_schedule *schedule)
{
    return schedule ? schedule->ctx : NULL;
}

void schedule_describe(const relora_schedule *schedule, struct text *text)
{
    description_put(text, &schedule_table, &schedule->options);
}

relora_status schedule_compare(const char *ours, const char *theirs, struct text *why)
{
    static const struct options *const tables[] = {&schedule_table, NULL};
    return description_compare(tables, ours, &theirs, NULL, why);
}

/* ---- the curves; t counts from first_step ---- */

static double part(int64_t steps, int64_t of)
{
    return (double)steps / (double)(of > 1 ? of : 1);
}

static double cosine(const relora_schedule_options *o, double progress)
{
    const double pi = 3.14159265358979323846;
    return o->min_lr_ratio + (1 - o->min_lr_ratio) * 0.5 * (1 + cos(pi * progress));
}

static double linear_factor(const relora_schedule_options *o, int64_t t)
{
    if (t < o->warmup_steps) return part(t, o->warmup_steps);
    double left = part(o->total_steps - t, o->total_steps - o->warmup_steps);
    return left > 0 ? left : 0;
}

static double cosine_factor(const relora_schedule_options *o, int64_t t)
{
    int64_t period = o->restart_every ? o->restart_every : o->total_steps;
    int64_t c = o->restart_every ? t % period : t;
    int64_t left = o->total_steps - (t - c); /* of the run when the cycle begins */
    if (t > o->total_steps) return o->min_lr_ratio;
    if (left > 0 && left < period) period = left; /* the last cycle ends as low as the others */
    if (c >= o->warmup_steps) return cosine(o, part(c - o->warmup_steps, period - o->warmup_steps));
    if (t != c && c < 2) return 1e-7; /* as the authors' code does in later cycles */
    return part(c, o->warmup_steps);
}

static double restarts_factor(const relora_schedule_options *o, int64_t t)
{
    int64_t run = o->total_steps - o->warmup_steps, ramp = o->restart_warmup_steps;
    struct period p = period_of(o);
    int64_t shifted = t + o->adjust_step;
    int64_t since = o->restart_every ? shifted - period_start(&p, period_cycle(&p, shifted)) : shifted;
    if (t > o->total_steps) return o->min_lr_ratio;
    if (t < o->warmup_steps) return part(t, o->warmup_steps);
    if (since >= ramp || t < o->restart_every) /* the authors compare t here, not the shifted step */
        return cosine(o, part(shifted - o->warmup_steps, run));
    return part(since, ramp) * cosine(o, part(shifted - since + ramp - o->warmup_steps, run));
}

static double factor(const relora_schedule_options *o, int64_t t)
{
    switch (o->kind) {
    case RELORA_SCHEDULE_CONSTANT: return t < o->warmup_steps ? part(t, o->warmup_steps) : 1;
    case RELORA_SCHEDULE_LINEAR: return linear_factor(o, t);
    case RELORA_SCHEDULE_COSINE: return cosine_factor(o, t);
    default: return restarts_factor(o, t);
    }
}

/* The mode of the host's thread must not show in a rate. */
static double rate(const volatile relora_schedule_options *options, volatile int64_t t)
{
    fenv_t host = float_mode_enter();
    relora_schedule_options o = *options;
    volatile double lr = o.lr * factor(&o, t);
    float_mode_leave(&host);
    return lr;
}

static relora_status check_step(const struct call *c, const relora_schedule *schedule, int64_t step,
                                const void *out, const char *out_name)
{
    if (!schedule) return RELORA_E_ARGUMENT;
    if (!out) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", out_name);
    if (step < schedule->options.first_step || step - schedule->options.first_step > INT64_C(1) << 60)
        FAIL(c, RELORA_E_ARGUMENT, "step is %lld, but the schedule begins at %lld", (long long)step,
             (long long)schedule->options.first_step);
    return RELORA_OK;
}

relora_status relora_schedule_lr(const relora_schedule *schedule, int64_t step, double *lr)
{
    struct call c = {.fn = "relora_schedule_lr", .ctx = schedule_context(schedule)};
    TRY(check_step(&c, schedule, step, lr, "lr"));
    const relora_schedule_options *o = &schedule->options;
    *lr = rate(o, step - o->first_step);
    return RELORA_OK;
}

relora_status relora_schedule_next_restart(const relora_schedule *schedule, int64_t step, int64_t *next)
{
    struct call c = {.fn = "relora_schedule_next_restart", .ctx = schedule_context(schedule)};
    TRY(check_step(&c, schedule, step, next, "next"));
    const relora_schedule_options *o = &schedule->options;
    int64_t period = o->restart_every;
    *next = -1;
    if (!period) return RELORA_OK; /* no restarts in this kind, or one cycle */
    int64_t t = step - o->first_step;
    struct period p = period_of(o);
    int64_t candidate = period_start(&p, period_cycle(&p, t + o->adjust_step) + 1) - o->adjust_step;
    if (candidate < period) candidate += period; /* the quirk of adjust_step: none before t = period */
    if (candidate < o->total_steps) *next = o->first_step + candidate;
    return RELORA_OK;
}
