/** @file relora/cycle.h
 *  The ReLoRA restart, assembled: when to merge, when to reset, and doing both. A host that calls
 *  relora_linear_merge(), relora_linear_reset() and relora_adam_reset() itself needs none of it. */
#ifndef RELORA_CYCLE_H
#define RELORA_CYCLE_H

#include "relora/adam.h"
#include "relora/export.h"
#include "relora/linear.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

enum { /* events */
    RELORA_CYCLE_MERGE = 1, /**< merge every layer, then draw its factors afresh */
    RELORA_CYCLE_RESET = 2, /**< partially reset the moments of every A and B */
    RELORA_CYCLE_FINISH = 4 /**< the merge is that of relora_cycle_finish() */
};

/** Called around the work of relora_cycle_advance() and relora_cycle_finish(), on the calling
 *  thread, when there is any. Must not call back into the cycle, its layers or its optimizer, except
 *  to read their tensors. */
typedef void (*relora_cycle_hook_fn)(void *user, int64_t step, uint32_t events);

typedef struct relora_cycle_options {
    uint32_t struct_size;
    uint32_t flags;              /**< 0 */
    int64_t first_step;          /**< step at which the low-rank training started; default 0 */
    int64_t merge_every;         /**< updates between merges; at least 2 */
    int64_t reset_every;         /**< updates between optimizer resets; at least 2, or 0, the
                                      default, for the same as merge_every */
    relora_cycle_hook_fn before; /**< may be NULL */
    relora_cycle_hook_fn after;  /**< may be NULL; not called if the work failed */
    void *hook_user;
} relora_cycle_options;

/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_options_init(relora_cycle_options *options, size_t size);

/** @param adam  kept alive by the cycle. NULL: layers are merged, and no moments are reset
 *  @param reset how to reset `adam`; copied, its `cycle` is set at each restart. NULL for the
 *               defaults; must be NULL if `adam` is
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_create(relora_cycle **out, relora_context *ctx,
                                             const relora_cycle_options *options,
                                             relora_adam *adam, const relora_reset_options *reset);

/** Keep `linear` alive and restart it with the others. RELORA_E_STATE unless its mode is LORA and it
 *  has its weight,
 *  RELORA_E_NOT_FOUND if the optimizer does not hold its A and B, RELORA_E_EXISTS if it, or
 *  another layer over the same W, is in the cycle: both would be merged into one W.
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_cycle_add(relora_cycle *cycle, relora_linear *linear);
/** NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_cycle_release(relora_cycle *cycle);

/** Which events follow the update that makes `step` of them, a pure function: an event with period
 *  P falls on (step - first_step) % P == 1, past the first period; so never on 1, and first on
 *  first_step + P + 1. (On a jagged schedule of that period, with a restart warmup, the update just
 *  done had learning rate 0.)
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_cycle_due(const relora_cycle *cycle, int64_t step,
                                          uint32_t *events);

/** Call once after each update with the number of updates done; skipped ones do not count. Does
 *  what is due, and says what it did. Every layer is looked at first: if the factors of one are not
 *  finite (RELORA_E_NOT_FINITE), or a mode has changed, nothing is merged or reset.
 *  @param events receives what was done; may be NULL
 *  @param merge  totals over all layers; may be NULL; all 0 if nothing was due
 *  @param reset  totals over their A and B; likewise
 *  @return RELORA_E_STATE if no layer was added
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_cycle_advance(relora_cycle *cycle, relora_stream *stream,
                                              int64_t step, uint32_t *events,
                                              relora_merge_report *merge,
                                              relora_reset_report *reset);

/** Merge every layer once more at the end of training and draw its factors afresh, so that nothing
 *  learned in the last cycle is lost: W alone then gives the trained output. The moments are not
 *  touched. Who trains on afterwards needs a new cycle: this one may draw the same numbers again. @param merge may be NULL
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_cycle_finish(relora_cycle *cycle, relora_stream *stream,
                                             int64_t step, relora_merge_report *merge);

RELORA_END
#endif
