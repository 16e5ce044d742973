/* The four learning-rate curves. Pure functions of the step, in double. */
#include <math.h>

#include "context.h"
#include "options.h"
#include "relora/schedule.h"
#include "state.h"

struct relora_schedule {
    relora_context *ctx;
    relora_schedule_options options;
};

static const relora_schedule_options schedule_defaults = {
    .struct_size = sizeof(relora_schedule_options),
    .kind = RELORA_SCHEDULE_COSINE_RESTARTS,
    .min_lr_ratio = 0.1,
};

relora_status relora_schedule_options_init(relora_schedule_options *options, size_t size)
{
    return options_write(options, size, &schedule_defaults, sizeof schedule_defaults);
}

/* ---- checks ---- */

static relora_status check_range(const relora_context *ctx, const char *fn, const char *field,
                                 int64_t value, int64_t low, int64_t high)
{
    if (value < low || value > high)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.%s is %lld, outside %lld to %lld", fn, field,
             (long long)value, (long long)low, (long long)high);
    return RELORA_OK;
}

/* A restart period has to cut the run into equal cycles. */
static relora_status check_period(const relora_context *ctx, const char *fn,
                                  const relora_schedule_options *o)
{
    if (o->total_steps % o->restart_every)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.restart_every is %lld, which does not divide total_steps %lld",
             fn, (long long)o->restart_every, (long long)o->total_steps);
    return check_range(ctx, fn, "warmup_steps", o->warmup_steps, 0, o->restart_every);
}

static relora_status check_cosine(const relora_context *ctx, const char *fn,
                                  const relora_schedule_options *o)
{
    if (!(o->min_lr_ratio >= 0 && o->min_lr_ratio <= 1))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.min_lr_ratio is %g, outside [0, 1]", fn,
             o->min_lr_ratio);
    if (o->kind == RELORA_SCHEDULE_COSINE) {
        TRY(check_range(ctx, fn, "restart_every", o->restart_every, 0, o->total_steps));
        return o->restart_every ? check_period(ctx, fn, o) : RELORA_OK;
    }
    TRY(check_range(ctx, fn, "restart_every", o->restart_every, 2, o->total_steps));
    TRY(check_period(ctx, fn, o));
    TRY(check_range(ctx, fn, "restart_warmup_steps", o->restart_warmup_steps, 0, o->restart_every));
    return check_range(ctx, fn, "adjust_step", o->adjust_step, 0, o->restart_every - o->warmup_steps);
}

static relora_status check_unused(const relora_context *ctx, const char *fn,
                                  const relora_schedule_options *o)
{
    if (o->kind == RELORA_SCHEDULE_COSINE_RESTARTS) return RELORA_OK;
    TRY(check_range(ctx, fn, "adjust_step", o->adjust_step, 0, 0));
    TRY(check_range(ctx, fn, "restart_warmup_steps", o->restart_warmup_steps, 0, 0));
    if (o->kind == RELORA_SCHEDULE_COSINE) return RELORA_OK;
    return check_range(ctx, fn, "restart_every", o->restart_every, 0, 0);
}

static relora_status check_options(const relora_context *ctx, const char *fn,
                                   const relora_schedule_options *o)
{
    const int64_t most = INT64_C(1) << 52; /* steps are exact in double, and sums of them fit */
    TRY(check_range(ctx, fn, "kind", o->kind, RELORA_SCHEDULE_CONSTANT, RELORA_SCHEDULE_COSINE_RESTARTS));
    if (!(isfinite(o->lr) && o->lr > 0))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.lr is %g, and must be above 0", fn, o->lr);
    TRY(check_range(ctx, fn, "first_step", o->first_step, 0, most));
    if (o->kind == RELORA_SCHEDULE_CONSTANT) {
        TRY(check_range(ctx, fn, "warmup_steps", o->warmup_steps, 0, most));
        return check_unused(ctx, fn, o);
    }
    TRY(check_range(ctx, fn, "total_steps", o->total_steps, 1, most));
    TRY(check_range(ctx, fn, "warmup_steps", o->warmup_steps, 0, o->total_steps));
    TRY(check_unused(ctx, fn, o));
    return o->kind == RELORA_SCHEDULE_LINEAR ? RELORA_OK : check_cosine(ctx, fn, o);
}

/* ---- life ---- */

relora_status relora_schedule_create(relora_schedule **out, relora_context *ctx,
                                     const relora_schedule_options *options)
{
    const char *fn = "relora_schedule_create";
    relora_schedule_options o = schedule_defaults;
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!options) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options is NULL", fn);
    relora_status status = options_read(&o, sizeof o, sizeof o, options);
    if (status < 0) return context_fail_options(ctx, status, fn, "options");
    TRY(check_options(ctx, fn, &o));
    relora_schedule *schedule = context_new(ctx, sizeof *schedule);
    if (!schedule) return context_fail_memory(ctx, fn, sizeof *schedule);
    schedule->ctx = ctx;
    schedule->options = o;
    *out = schedule;
    return RELORA_OK;
}

void relora_schedule_release(relora_schedule *schedule)
{
    if (schedule) context_delete(schedule->ctx, schedule, sizeof *schedule);
}

const relora_context *schedule_context(const relora_schedule *schedule)
{
    return schedule ? schedule->ctx : NULL;
}

void schedule_describe(const relora_schedule *schedule, struct text *text)
{
    const relora_schedule_options *o = &schedule->options;
    text_put(text, "kind=%d\nfirst_step=%lld\ntotal_steps=%lld\nwarmup_steps=%lld\n", o->kind,
             (long long)o->first_step, (long long)o->total_steps, (long long)o->warmup_steps);
    text_put(text, "restart_warmup_steps=%lld\nrestart_every=%lld\nadjust_step=%lld\n",
             (long long)o->restart_warmup_steps, (long long)o->restart_every, (long long)o->adjust_step);
    text_number(text, "lr", o->lr);
    text_number(text, "min_lr_ratio", o->min_lr_ratio);
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
    if (t > o->total_steps) return o->min_lr_ratio;
    if (c >= o->warmup_steps) return cosine(o, part(c - o->warmup_steps, period - o->warmup_steps));
    if (t != c && c < 2) return 1e-7; /* as the authors' code does in later cycles */
    return part(c, o->warmup_steps);
}

static double restarts_factor(const relora_schedule_options *o, int64_t t)
{
    int64_t run = o->total_steps - o->warmup_steps, ramp = o->restart_warmup_steps;
    int64_t shifted = t + o->adjust_step, since = shifted % o->restart_every;
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

static relora_status check_step(const relora_schedule *schedule, const char *fn, int64_t step,
                                const void *out, const char *out_name)
{
    if (!schedule) return RELORA_E_ARGUMENT;
    if (!out) FAIL(schedule->ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, out_name);
    if (step < schedule->options.first_step || step - schedule->options.first_step > INT64_C(1) << 60)
        FAIL(schedule->ctx, RELORA_E_ARGUMENT, "%s: step is %lld, but the schedule begins at %lld", fn,
             (long long)step, (long long)schedule->options.first_step);
    return RELORA_OK;
}

relora_status relora_schedule_lr(const relora_schedule *schedule, int64_t step, double *lr)
{
    TRY(check_step(schedule, "relora_schedule_lr", step, lr, "lr"));
    const relora_schedule_options *o = &schedule->options;
    *lr = o->lr * factor(o, step - o->first_step);
    return RELORA_OK;
}

relora_status relora_schedule_next_restart(const relora_schedule *schedule, int64_t step, int64_t *next)
{
    TRY(check_step(schedule, "relora_schedule_next_restart", step, next, "next"));
    const relora_schedule_options *o = &schedule->options;
    int64_t period = o->restart_every;
    *next = -1;
    if (!period) return RELORA_OK; /* no restarts in this kind, or one cycle */
    int64_t t = step - o->first_step;
    int64_t candidate = ((t + o->adjust_step) / period + 1) * period - o->adjust_step;
    if (candidate < period) candidate += period; /* the quirk of adjust_step: none before t = period */
    if (candidate < o->total_steps) *next = o->first_step + candidate;
    return RELORA_OK;
}
