/** @file relora/schedule.h
 *  The learning rate as a pure function of the step. */
#ifndef RELORA_SCHEDULE_H
#define RELORA_SCHEDULE_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** With t = step - first_step, N = total_steps, w = warmup_steps, R = restart_every,
 *  rw = restart_warmup_steps, m = min_lr_ratio, and
 *  cosine(P) = m + (1 - m) * (1 + cos(pi P)) / 2, the learning rate is lr times
 *
 *  CONSTANT          t / w for t < w, then 1
 *  LINEAR            t / w for t < w, then (N - t) / (N - w), not below 0
 *  COSINE            with c = t mod R, or c = t and R = N if R is 0: c / w for c < w, then
 *                    cosine((c - w) / (R - w)). In later cycles it is 1e-7 at c = 0 and c = 1, as in
 *                    the authors' code
 *  COSINE_RESTARTS   t / w for t < w, then one cosine((t - w) / (N - w)) over the whole run. Each
 *                    later cycle k = 1, 2, ... first climbs from 0 within rw steps to the value that
 *                    the cosine has at the end of the climb (a jagged cosine)
 *
 *  If R does not divide N, the last cycle is shorter than the others: it has the N mod R steps that are
 *  left. In COSINE it falls as low as they do, with N mod R in the place of R. In COSINE_RESTARTS one curve
 *  spans the run in any case. w (COSINE) or rw (COSINE_RESTARTS) must fit into the last cycle. The last merge
 *  is that of relora_cycle_finish().
 *
 *  Past the end, for t > N, the rate is 0 for LINEAR, and lr times m for the cosines. A kind refuses a
 *  restart_every, restart_warmup_steps, adjust_step or period_growth that it does not use. At t = N COSINE is
 *  m, where the authors' code begins another cycle; no update of the run asks for it. */
typedef int32_t relora_schedule_kind;
enum {
    RELORA_SCHEDULE_CONSTANT = 1,
    RELORA_SCHEDULE_LINEAR = 2,
    RELORA_SCHEDULE_COSINE = 3,         /**< cyclical cosine with a floor */
    RELORA_SCHEDULE_COSINE_RESTARTS = 4 /**< the jagged one: one cosine, many warmups */
};

typedef struct relora_schedule_options {
    uint32_t struct_size;
    relora_schedule_kind kind;    /**< default RELORA_SCHEDULE_COSINE_RESTARTS */
    double lr;                    /**< the peak, above 0; has no default */
    double min_lr_ratio;          /**< default 0.1; in [0, 1]. Releases up to 0.4 refuse 0, as the
                                       authors' code does */
    int64_t first_step;           /**< the step at which this schedule begins, for example the end
                                       of a warm start; default 0 */
    int64_t total_steps;          /**< counted from first_step; 1 or more, not used by CONSTANT */
    int64_t warmup_steps;         /**< default 0; at most total_steps (CONSTANT: any) and, if there
                                       are restarts, restart_every. The authors' code accepts more */
    int64_t restart_warmup_steps; /**< default 0; COSINE_RESTARTS only, at most restart_every */
    int64_t restart_every;        /**< COSINE and COSINE_RESTARTS only; at most total_steps, and
                                       2 or more in COSINE_RESTARTS. Up to 0.5 it had to divide
                                       total_steps, and with adjust_step it still must. 0, the
                                       default, is one cycle without restarts; before 0.5 only COSINE
                                       accepted it */
    int64_t adjust_step;          /**< default 0; COSINE_RESTARTS only. Shifts the restarts as the
                                       authors' code does, for comparison with it. At most
                                       restart_every - warmup_steps; theirs may also be negative */
    int64_t period_growth;        /**< each cycle has this many more steps than the one before: cycle
                                       k begins at t = k R + period_growth * k (k - 1) / 2. Default 0.
                                       COSINE_RESTARTS only, without adjust_step. Since 0.6 */
} relora_schedule_options;

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_options_init(relora_schedule_options *options, size_t size);
/** Create a schedule. @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_create(relora_schedule **out, relora_context *ctx,
                                                const relora_schedule_options *options);
/** Free the schedule. NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_schedule_release(relora_schedule *schedule);

/** Learning rate of the update that follows `step` finished updates. The result depends on `step`
 *  alone. RELORA_E_ARGUMENT if `step` is before first_step.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_lr(const relora_schedule *schedule, int64_t step, double *lr);

/** First step after `step` that begins a new cycle of the curve; -1 if there is none. In COSINE_RESTARTS with
 *  restart_warmup_steps of 1 or more the learning rate of that step is 0. In a relora_cycle of the same
 *  period that update still uses the old factors; merge and reset follow it. RELORA_E_ARGUMENT if `step` is
 *  before first_step.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_next_restart(const relora_schedule *schedule, int64_t step,
                                                      int64_t *next);

RELORA_END
#endif
