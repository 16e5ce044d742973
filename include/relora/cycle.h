/** @file relora/cycle.h
 *  The ReLoRA restart: when to merge and when to reset, and doing both. A host that calls
 *  relora_linear_merge(), relora_linear_reset() and relora_adam_reset() itself does not need it. */
#ifndef RELORA_CYCLE_H
#define RELORA_CYCLE_H

#include "relora/adam.h"
#include "relora/export.h"
#include "relora/linear.h"
#include "relora/schedule.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/* events */
enum {
    RELORA_CYCLE_MERGE = 1, /**< merge every layer, then draw its factors afresh */
    RELORA_CYCLE_RESET = 2, /**< partially reset the moments of every A and B */
    RELORA_CYCLE_FINISH = 4 /**< the merge is that of relora_cycle_finish() */
};

/** Called before and after the work of relora_cycle_advance() and relora_cycle_finish(), if there is any,
 *  on the calling thread. It may read the tensors of the cycle's layers and of its optimizer, but must not
 *  make any other call with them or with the cycle. */
typedef void (*relora_cycle_hook_fn)(void *user, int64_t step, uint32_t events);

typedef struct relora_cycle_options {
    uint32_t struct_size;
    uint32_t flags;              /**< 0 */
    int64_t first_step;          /**< step at which the low-rank training started; default 0 */
    int64_t merge_every;         /**< updates between merges; at least 2 */
    int64_t reset_every;         /**< updates between resets of the moments; at least 2. 0, the
                                      default, means merge_every */
    relora_cycle_hook_fn before; /**< may be NULL */
    relora_cycle_hook_fn after;  /**< may be NULL; not called if the work failed */
    void *hook_user;             /**< the hooks and this pointer are used only inside the two calls,
                                      so they must stay valid until the last of them returns */
    int64_t period_growth;       /**< each cycle has this many more updates than the one before: merge k
                                      follows update k * merge_every + period_growth * k (k - 1) / 2 + 1,
                                      counted from first_step. Default 0. Otherwise reset_every must be
                                      merge_every, or 0. Since 0.6 */
    int64_t stagger;             /**< number of groups of layers that restart one after the other, so that
                                      few layers at a time are cold. Layer i, in the order of adding, restarts
                                      (i mod stagger) / stagger of a cycle after its beginning, rounded down
                                      to whole updates. A state does not hold this order: a resumed run adds
                                      its layers in the same one. Default 0: all at once. Otherwise
                                      reset_every must be merge_every, or 0. A jagged learning rate does not
                                      fit: use a schedule without restarts. At most 4096. Since 0.6 */
    const relora_comm *comm;     /**< other ranks that train apart: between merges each has its own data,
                                      factors and optimizer. A merge adds to W the exact mean over all ranks,
                                      W += 1/N sum of s B A. A and B are drawn afresh, and everything else
                                      that the optimizer trains becomes its mean. After a merge all
                                      parameters have the same bits on all ranks. Each rank keeps its own
                                      moments, and so saves a state under a path of its own. All ranks make
                                      the same calls for the same steps. This needs an optimizer whose own
                                      `comm` is NULL, and refuses targets that are callbacks
                                      (RELORA_E_UNSUPPORTED). The table is copied. NULL, the default, means
                                      none. Since 0.6 */
} relora_cycle_options;

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_options_init(relora_cycle_options *options, size_t size);

/** Take the calendar of a schedule: first_step from its first_step, merge_every from its restart_every,
 *  period_growth from its period_growth, and 0 for reset_every. If the schedule has a restart warmup, each
 *  restart then follows an update with learning rate 0. The other fields do not change.
 *  @param options filled by relora_cycle_options_init()
 *  @return RELORA_E_STATE if the schedule has no restarts; RELORA_E_UNSUPPORTED if adjust_step shifts its
 *          restarts; RELORA_E_STRUCT_SIZE if `options` is too old for its period_growth
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_cycle_options_follow(relora_cycle_options *options,
                                                     const relora_schedule *schedule);

/** Create a cycle.
 *  @param adam  kept alive by the cycle. NULL: layers are merged, and no moments are reset
 *  @param reset how to reset `adam`. It is copied, and its `cycle` is set at each restart. NULL means
 *               the defaults; must be NULL if `adam` is NULL
 *  @return RELORA_E_UNSUPPORTED for RELORA_RESET_PROJECT if the moments of `adam` lie in shares
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_create(relora_cycle **out, relora_context *ctx,
                                             const relora_cycle_options *options, relora_adam *adam,
                                             const relora_reset_options *reset);

/** Keep `linear` alive and restart it with the others. RELORA_E_STATE unless its mode is LORA and it has
 *  its weight, or its mode is LOWRANK and it has a target (relora_linear_set_target). Since 0.6 a layer in
 *  FULL with a rank is accepted too: whenever a layer is in FULL, a restart leaves it out.
 *  RELORA_E_NOT_FOUND if the optimizer does not hold the factors that it trains. RELORA_E_EXISTS if the
 *  cycle already has this layer or another one over the same W: both would be merged into one W.
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_cycle_add(relora_cycle *cycle, relora_linear *linear);
/** relora_cycle_add() for every layer of the group that is in mode LORA or has a target; all of them or, on
 *  a failure, none. Other layers, such as a head in mode FULL, are left out, and so is a layer whose turn at
 *  full rank it is: to resume a run there, add its layers by relora_cycle_add(). RELORA_E_STATE if there is
 *  no layer to add.
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_cycle_add_group(relora_cycle *cycle, const relora_group *group);
/** Free the cycle. Its layers and its optimizer live on if somebody else holds them. NULL is allowed.
 *  @since 0.1 @threads any @stream none */
RELORA_API void relora_cycle_release(relora_cycle *cycle);

/** The events that follow update number `step`. The result depends only on `step`: an event with period P
 *  is due if (step - first_step) % P == 1, after the first period. (period_growth and stagger have their own
 *  formulas.) The first one is therefore at first_step + P + 1. With `stagger` an event is due if it is due
 *  for one of the layers or, as long as there is no layer, for one of the groups. This is the calendar: a
 *  layer in FULL counts as well, and then relora_cycle_advance() may do less than is due, or nothing. (With a
 *  jagged schedule of that period and a restart warmup, the update just done had learning rate 0.)
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_due(const relora_cycle *cycle, int64_t step, uint32_t *events);

/** Do what is due after an update. Call it once after each update with the number of updates done, not
 *  counting skipped ones. The first number may be any. If a later one is not the last plus 1, it is
 *  accepted with a line at RELORA_LOG_WARN: a restart is lost if its number is left out, and is done
 *  twice if its number is repeated. Without `stagger` the log also warns, once, if a restart follows an
 *  update whose learning rate was above a tenth of the highest: then the cycle and the schedule have
 *  different calendars, or the schedule has no restart warmup. (This needs the optimizer of the cycle, and
 *  rates given as numbers.)
 *
 *  All layers are checked before anything changes. If every layer whose turn it is is in FULL, nothing is
 *  done and no hook is called, even if relora_cycle_due() says that something is due.
 *  @param events receives what was done; may be NULL
 *  @param merge  totals over all layers, 0 if nothing was due; may be NULL
 *  @param reset  totals over their A and B, 0 if nothing was due; may be NULL
 *  @return RELORA_E_NOT_FINITE if the factors or the weight of a layer are not finite, or W + s B A exceeds
 *          its type. RELORA_E_STATE if no layer was added. RELORA_E_NOT_FOUND if the optimizer does not hold
 *          the factors that a layer trains now: call relora_adam_refresh(). The status of a relora_merge_fn
 *          that fails. Since 0.6 also RELORA_E_STATE if something is due and, with other ranks of the
 *          optimizer, W, a target or a trained parameter has other bits on one of them or, with other ranks
 *          of the cycle, W or a target has, or all layers are in FULL. The text names it, and nothing is done
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_cycle_advance(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                              uint32_t *events, relora_merge_report *merge,
                                              relora_reset_report *reset);

/** Merge every layer once more at the end of training and draw its factors afresh, so that W alone gives
 *  the trained output. Layers in FULL are left out. The moments do not change. If the run may continue, save
 *  its checkpoint before this call, and export afterwards. To continue training from here, create a new
 *  cycle; this one may draw the same numbers again.
 *  @param step  updates done, any number from first_step on: a shorter last cycle is merged like the others
 *  @param merge may be NULL
 *  @return as relora_cycle_advance()
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_cycle_finish(relora_cycle *cycle, relora_stream *stream, int64_t step,
                                             relora_merge_report *merge);

RELORA_END
#endif
