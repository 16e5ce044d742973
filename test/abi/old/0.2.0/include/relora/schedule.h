/** @file relora/schedule.h
 *  Learning rate as a pure function of the update step. */
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
 *  COSINE            c = t mod R, or t if R is 0: c / w for c < w (1e-7 at c = 0 and 1 of later cycles, as in the
 *                    authors' code), then cosine((c - w) / (R - w))
 *  COSINE_RESTARTS   t / w for t < w; then one cosine((t - w) / (N - w)) over the whole run, except
 *                    that each cycle k = 1, 2, ... first climbs from 0 in rw steps to the value
 *                    that cosine has at the end of the climb (a jagged cosine)
 *
 *  Past the end, t > N, it is 0 for LINEAR, 1 for CONSTANT and m for the others. */
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
    double lr;                    /**< peak, above 0; has no default */
    double min_lr_ratio;          /**< default 0.1; in (0, 1] */
    int64_t first_step;           /**< the step at which this schedule begins, such as the end of a
                                       warm start; default 0 */
    int64_t total_steps;          /**< counted from first_step; 1 or more, not used by CONSTANT */
    int64_t warmup_steps;         /**< default 0 */
    int64_t restart_warmup_steps; /**< default 0; COSINE_RESTARTS only, at most restart_every */
    int64_t restart_every;        /**< must divide total_steps; 2 or more in COSINE_RESTARTS. COSINE:
                                       0, the default, is one cycle */
    int64_t adjust_step;          /**< default 0; COSINE_RESTARTS only. Shifts the restarts as the
                                       authors' code does, quirks included; for comparison only */
} relora_schedule_options;

/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_options_init(relora_schedule_options *options,
                                                      size_t size);
/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_create(relora_schedule **out, relora_context *ctx,
                                                const relora_schedule_options *options);
/** NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_schedule_release(relora_schedule *schedule);

/** Learning rate of the update that follows `step` finished ones. Same step, same answer: there is
 *  no state. RELORA_E_ARGUMENT if `step` is before first_step.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_lr(const relora_schedule *schedule, int64_t step,
                                            double *lr);

/** First step after `step` that begins a new cycle of the curve; -1 if there is none any more. In
 *  COSINE_RESTARTS with restart_warmup_steps of 1 or more its learning rate is 0: with a
 *  relora_cycle of the same period, that update still belongs to the old factors, and merge and
 *  reset follow it. @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_schedule_next_restart(const relora_schedule *schedule, int64_t step,
                                                      int64_t *next);

RELORA_END
#endif
