/** @file relora/restart.h
 *  The parts of a restart as functions on tensors, for a program with its own layers, factors, optimizer and
 *  moments. The library keeps nothing between these calls. Layers (relora/linear.h), optimizers
 *  (relora/adam.h) and cycles (relora/cycle.h) restart by the same code. The same tensors, seeds and numbers
 *  give the same bits.
 *
 *  relora_linear_set_target() is for programs in between: they have a layer for the branch through the rank,
 *  beside their own product and weight.
 *
 *  To restart a model, call relora_merge() for each weight. If all weights or none are to change, first
 *  call it for all of them with RELORA_MERGE_LOOK. Then call relora_factors_draw() or
 *  relora_factors_renew() for each pair of factors, and relora_moments_reset() or relora_moments_project()
 *  for the moments of each A and B. To find out when a restart is due, count the updates yourself, or ask
 *  relora_cycle_due() of a cycle without layers and optimizer. */
#ifndef RELORA_RESTART_H
#define RELORA_RESTART_H

#include "relora/export.h"
#include "relora/linear.h"
#include "relora/reset.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/* relora_merge_options.flags */
enum {
    RELORA_MERGE_LOOK = 1,  /**< only check whether everything is finite, and the sum would be */
    RELORA_MERGE_IN_OUT = 2 /**< W is [in, out], as in GPT-2's Conv1D or in Keras: W += s A^T B^T */
};

typedef struct relora_merge_options {
    uint32_t struct_size;
    uint32_t flags;           /**< default 0 */
    double scale;             /**< s, such as alpha / rank; finite as F32; default 1 */
    uint64_t seed;            /**< default 0 */
    uint64_t layer;           /**< distinguishes weights that share a seed; error texts name it */
    uint64_t cycle;           /**< stochastic rounding is a function of (seed, layer, cycle, place in W), so
                                   use each value once */
    relora_rounding rounding; /**< of a BF16 W; default STOCHASTIC */
    int32_t reserved;         /**< 0 */
} relora_merge_options;

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_merge_options_init(relora_merge_options *options, size_t size);

/** Compute W += s B A as relora_linear_merge() does. If W or a factor holds a NaN or an infinity, or if
 *  W + s B A would exceed the range of W's type, nothing changes and the status is RELORA_E_NOT_FINITE. The
 *  factors stay as they are.
 *  @param weight  [out, in], F32 or BF16; must not overlap `a` or `b`
 *  @param a       [rank, in] F32
 *  @param b       [out, rank] F32
 *  @param options NULL for the defaults
 *  @param report  may be NULL; with RELORA_MERGE_LOOK it is 0
 *  @since 0.5 @threads one @stream synchronises */
RELORA_API relora_status relora_merge(relora_stream *stream, relora_tensor *weight, const relora_tensor *a,
                                      const relora_tensor *b, const relora_merge_options *options,
                                      relora_merge_report *report);

/** Merges the factors of a LOWRANK layer into a weight that only the host can write: quantised, F16 or
 *  inside a convolution. The parameters are those of relora_merge(), which it may call on the same stream.
 *  `a` and `b` are computed and finite. With RELORA_MERGE_LOOK in options->flags it must not change anything,
 *  and its status says whether the merge can be done. Without this flag it adds options->scale times B A to
 *  the weight. Its work on `stream` may still be queued when it returns; other work must be done. It must not
 *  make any other call with the layer or with what holds it. It may fill the two norms of `report`, which is
 *  never NULL.
 *  @return RELORA_OK, or a negative status, which the function that merges returns as its own */
typedef relora_status (*relora_merge_fn)(void *user, relora_stream *stream, const relora_tensor *a,
                                         const relora_tensor *b, const relora_merge_options *options,
                                         relora_merge_report *report);

/** Say where a layer in mode LOWRANK is merged, if it is a branch beside a product of the host: into
 *  `weight`, or by `merge`. From then on relora_linear_merge(), relora_group_merge() and a relora_cycle
 *  treat it as a layer in mode LORA. If both are NULL, it has no target again. Its forward and backward
 *  passes do not change.
 *
 *  All layers are checked before one changes, and each callback is first called with RELORA_MERGE_LOOK. Then
 *  the callbacks merge, and in a cycle each is followed by new factors for its layer. The library merges the
 *  other layers last. If a callback fails although it agreed before, the call ends with its status. The
 *  callbacks before it have then merged, and nothing else has changed. The same step of a cycle may be tried
 *  again, because the B of a layer that was merged is 0 by then.
 *  @param weight [out, in], or [in, out] with RELORA_LINEAR_IN_OUT; F32 or BF16, whatever the layer's dtype.
 *                Retained. Must not overlap the parameters and gradients of the layer
 *  @param merge  used with `user` inside calls that merge, until the layer is released or this is called
 *                again
 *  @return RELORA_E_STATE in another mode; RELORA_E_ARGUMENT if both `weight` and `merge` are given
 *  @since 0.6 @threads one @stream none */
RELORA_API relora_status relora_linear_set_target(relora_linear *linear, relora_tensor *weight,
                                                  relora_merge_fn merge, void *user);

/** Move a frozen W one step against its orthogonalised gradient:
 *
 *      W -= lr * scale * 0.2 sqrt(max(in, out)) U V^T        with grad = U S V^T
 *
 *  The elements of the step have a root mean square of about 0.2 lr, as those of a step of Adam often have.
 *  This is the update of Muon (Jordan et al. 2024) without momentum. It is not part of ReLoRA's paper.
 *  docs/method.md says what it is for.
 *
 *  U V^T comes from 24 products in F32: 8 min^2 (2 max + min) multiply-adds, for min and max of in and out.
 *  Singular values from 1e-4 of the largest become 1 within 0.003, unless more than 256 are as large as the
 *  largest. Smaller ones become less than 1: 0.36 at 1e-5. A gradient of 0 moves nothing. The workspace
 *  of the stream holds two F32 matrices of min by min, a third of max(min, 256) by min, and 16 bytes for each
 *  row of W.
 *
 *  If W or the gradient holds a NaN or an infinity, or if W could exceed the range of its type, nothing
 *  changes and the status is RELORA_E_NOT_FINITE. After any later failure `grad` may have been overwritten.
 *  @param weight  [out, in] or [in, out], F32 or BF16; must not overlap `grad`
 *  @param grad    F32, the shape of W; is overwritten with U V^T
 *  @param lr      0 or more, such that the step is finite in F32
 *  @param options NULL for the defaults; `scale` multiplies lr. With RELORA_MERGE_LOOK neither W nor `grad`
 *                 changes. Stochastic rounding is a function of (seed, layer, cycle), with other random
 *                 numbers than a merge. RELORA_MERGE_IN_OUT makes no difference
 *  @param report  may be NULL; with RELORA_MERGE_LOOK it is 0
 *  @since 0.6 @threads one @stream synchronises */
RELORA_API relora_status relora_full_rank_step(relora_stream *stream, relora_tensor *weight,
                                               relora_tensor *grad, double lr,
                                               const relora_merge_options *options,
                                               relora_full_rank_report *report);

/** Draw A uniformly in +-1/sqrt(in) from (seed, layer, cycle), and set B to 0, as relora_linear_reset() does.
 *  Use cycle 0 when training begins.
 *  @param a  [rank, in] F32
 *  @param b  [out, rank] F32; must not overlap `a`
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_factors_draw(relora_stream *stream, relora_tensor *a, relora_tensor *b,
                                             uint64_t seed, uint64_t layer, uint64_t cycle);

typedef struct relora_factors_options {
    uint32_t struct_size;
    relora_init init; /**< default RELORA_INIT_UNIFORM, and 0 is the same */
    uint64_t seed;    /**< default 0 */
    uint64_t layer;   /**< distinguishes factors that share a seed; default 0 */
    uint64_t cycle;   /**< 0, the default, when training begins */
} relora_factors_options;

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.6 @threads any @stream none */
RELORA_API relora_status relora_factors_options_init(relora_factors_options *options, size_t size);

/** Make a new A by one of the inits of relora/linear.h, and set B to 0, as relora_linear_reset() does.
 *  UNIFORM is relora_factors_draw().
 *  @param a        [rank, in] F32; GIVEN does not change it, and GRADIENT may complete the new one from it
 *  @param b        [out, rank] F32; must not overlap `a`
 *  @param gradient of A, [rank, in] F32, or NULL; is only read, and must not overlap `a` or `b`. GRADIENT
 *                  without it is MATCHED. The other inits use it for the report only
 *  @param options  NULL for the defaults
 *  @param report   may be NULL; layers is 1, and the norms are 0. Asking for it synchronises `stream`
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_factors_renew(relora_stream *stream, relora_tensor *a, relora_tensor *b,
                                              const relora_tensor *gradient,
                                              const relora_factors_options *options,
                                              relora_merge_report *report);

/** Carry the moments m and v of B from one A to another, in place, when B has returned to 0. If M is the
 *  running mean of the gradient of W, m is s M A^T. This gives the part of M in the row space of the old A,
 *  and so
 *
 *      m' = m X    X = (A_old A_old^T + d)^-1 A_old A_new^T    d = 1e-6 of the mean of the diagonal before it
 *      v' = c2 abs((v / c2 - (m / c1)^2) (X * X) + (m' / c1)^2)    c1 = 1 - beta1^steps, c2 = 1 - beta2^steps
 *
 *  with squares and X * X element by element, and sums in double (LDAdam, arXiv 2410.16103, for any A). If
 *  the rows are orthogonal and of one length, X has the cosines between old and new rows. If A does not
 *  change, neither do the moments, except for the ridge d.
 *  @param first   m: [out, rank] F32, without gaps between its rows
 *  @param second  v: the same shape; must not overlap `first`
 *  @param a_old   [rank, in] F32, the A of these moments. Neither A may overlap a moment
 *  @param a_new   the same shape
 *  @param beta1   of the optimizer, in [0, 1), as is `beta2`
 *  @param steps   updates that the moments have seen; with 0 they are taken to have no bias
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_moments_project(relora_stream *stream, relora_tensor *first,
                                                relora_tensor *second, const relora_tensor *a_old,
                                                const relora_tensor *a_new, double beta1, double beta2,
                                                int64_t steps);

/** Partially reset the two moments of one parameter in place, as relora_adam_reset() does.
 *  @param first   F32, without gaps between its rows
 *  @param second  the same shape; must not overlap `first`
 *  @param index   number of the parameter; RANDOM is a function of (seed, index, cycle)
 *  @param options NULL for the defaults. The host keeps the step count, so RELORA_RESET_STEP_COUNT is
 *                 refused
 *  @param report  may be NULL; asking for it synchronises `stream`
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_moments_reset(relora_stream *stream, relora_tensor *first,
                                              relora_tensor *second, uint64_t index,
                                              const relora_reset_options *options,
                                              relora_reset_report *report);

RELORA_END
#endif
