/** @file relora/linear.h
 *  y = x W^T + b + s * drop(x) A^T B^T. The mode determines which parts exist and which are trained.
 *
 *  W is [out, in] ([in, out] with RELORA_LINEAR_IN_OUT), A is [rank, in], B is [out, rank], b is [out],
 *  all row-major as in PyTorch, and s = alpha / rank, or tanh(scale) if the scale is trainable. With
 *  g = dL/dy, d = drop(x), u = d A^T, h = g B:
 *
 *      dA = s h^T d    dB = s g^T u    db = sum of the rows of g
 *      dx = g W + drop'(s h A)         dscale = (1 - s^2) * sum of h * u, element by element
 *
 *  (Lialin et al., ICLR 2024, and docs/method.md.) W, x, y, dx and dy have the dtype of the layer.
 *  A, B, scale and every gradient are F32. b is F32 or, since 0.6, of the layer's dtype; its values are
 *  added in F32. Each product sums in F32 or wider. In BF16 the operands d, u, h, A, s A and s B are
 *  rounded to nearest before a product, h A before its dropout, and each of the two parts of y and dx when
 *  it is stored. If W + s B A is computed first (relora_order), it is rounded stochastically, and y and dx
 *  are rounded once. In every order s multiplies a factor, not the product: an element of A or B that
 *  exceeds F32 when multiplied by s becomes an infinity, even where scaling the product would not.
 *
 *  A layer keeps nothing between forward and backward. Several micro-batches may therefore be in
 *  progress, and one layer may be used several times in a graph (each use with its own `call`). */
#ifndef RELORA_LINEAR_H
#define RELORA_LINEAR_H

#include "relora/export.h"
#include "relora/plan.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

typedef int32_t relora_linear_mode;
/* a bias is trained in every mode */
enum {
    RELORA_MODE_FULL = 1,   /**< W trained, no A or B: warm start, lm_head, baselines */
    RELORA_MODE_LORA = 2,   /**< W frozen; A and B trained, or one of them, and scale if it is trainable */
    RELORA_MODE_LOWRANK = 3 /**< no W; otherwise as LORA. Without a product of the host beside it, such a
                                 layer outputs 0 while B is 0, and a net of them learns nothing. The host
                                 then writes a B of its own */
};

/* relora_linear_options.flags */
enum {
    RELORA_LINEAR_BIAS = 1,
    RELORA_LINEAR_TRAINABLE_SCALE = 2, /**< s = tanh(scale), not alpha / rank; scale starts at 1 */
    RELORA_LINEAR_REFERENCE = 4,       /**< only for comparison with the authors' code: A starts at 0,
                                            and a reset sets scale to 0. Both stop the training */
    RELORA_LINEAR_KEEP_DELTA = 8,      /**< keep the sum of all merges, F32 with the shape of W: the
                                            difference between W and what it was when it was set or
                                            frozen. Refused in LOWRANK */
    RELORA_LINEAR_TF32 = 16,           /**< forward and backward may round F32 operands to TF32 (10 bits
                                            after the point) on devices that are faster with it; a
                                            merge never does. No effect on the CPU. Not part of a
                                            state's description. Since 0.4 */
    RELORA_LINEAR_IN_OUT = 32,         /**< W, its gradient and the delta are [in, out], as in GPT-2's Conv1D,
                                            in Keras and in column-major arrays of [out, in]. A and B stay as
                                            they are. With another layout sums may be made in another order,
                                            and stochastic rounding takes other draws. Since 0.5 */
    RELORA_LINEAR_FREEZE_A = 64,       /**< train B alone. Each restart makes a new A, which then stays as it
                                            is. It has no gradient, and an optimizer keeps nothing for it.
                                            Since 0.6 */
    RELORA_LINEAR_FREEZE_B = 128       /**< train A alone: A starts at 0, and B is drawn and stays as it is.
                                            Refused with FREEZE_A, with REFERENCE, and with an init other
                                            than UNIFORM; so is FREEZE_A with REFERENCE. Since 0.6 */
};

/* How a new A begins: when a layer is created, when a warm start ends, and at every reset. The first three
 * are functions of (seed, layer, cycle). B begins at 0 in each. */
typedef int32_t relora_init;
enum {
    RELORA_INIT_UNIFORM = 1,  /**< uniform in +-1/sqrt(in), as in the authors' code */
    RELORA_INIT_MATCHED = 2,  /**< the rows of UNIFORM, made orthonormal, times sqrt(in / rank). With s = 1,
                                   which is alpha = rank, an update of B by the learning rate then moves W by
                                   the learning rate, at any rank and size, as full training does. Another s
                                   moves W by s times that. (UNIFORM with s = 1 moves it by
                                   sqrt(rank / (3 in)) times that.) If rank exceeds in, rows are orthonormal
                                   in groups of in */
    RELORA_INIT_GRADIENT = 3, /**< rows like those of MATCHED that span the row space of the gradient of A at
                                   the reset. dA = s B^T (dy^T x) sees the gradient of W through B, so this is
                                   half a step of subspace iteration, at no cost and with nothing of the size
                                   of W. If the gradient has fewer independent rows, the old A completes the
                                   space (not among ranks that train apart), then the draw of MATCHED.
                                   Without a gradient this is MATCHED. Do not zero the gradients between the
                                   last backward and the reset. With RELORA_LINEAR_FREEZE_A there is no dA,
                                   and the sketch of RELORA_SKETCH replaces it. At the end of a warm start A
                                   spans the leading row space of the gradient of W, by a randomised method
                                   with one power step */
    RELORA_INIT_GIVEN = 4     /**< A stays what it is, so the host may write its own after a reset. The first
                                   one is that of MATCHED */
};

typedef struct relora_linear_options {
    uint32_t struct_size;
    uint32_t flags;
    relora_linear_mode mode;  /**< default RELORA_MODE_LORA */
    relora_dtype dtype;       /**< of W, x, y, dx, dy; default RELORA_F32. The rest is F32 */
    int64_t in_features;      /**< 1 or more */
    int64_t out_features;     /**< 1 or more */
    int64_t rank;             /**< 1 or more; a rank above min(in, out) works but is wasteful. In
                                   FULL: 0, or the rank for a later change to LORA */
    double alpha;             /**< s = alpha / rank, finite as F32; default 32 */
    double dropout;           /**< in [0, 1); default 0.1 */
    uint64_t seed;            /**< default 0 */
    uint64_t layer;           /**< distinguishes layers that share a seed: two with the same seed and
                                   layer draw the same A and the same dropout masks */
    relora_rounding rounding; /**< how a BF16 W is rounded when merging or training writes it;
                                   default STOCHASTIC. Training rounds a BF16 bias in the same way */
    int32_t reserved;         /**< 0 */
    relora_init init;         /**< 0, the default, is UNIFORM; with RELORA_LINEAR_REFERENCE no other.
                                   Since 0.6 */
    int32_t reserved2;        /**< 0 */
} relora_linear_options;

typedef int32_t relora_param;
enum {
    RELORA_PARAM_WEIGHT = 1,
    RELORA_PARAM_BIAS = 2,
    RELORA_PARAM_A = 3,
    RELORA_PARAM_B = 4,
    RELORA_PARAM_SCALE = 5,
    RELORA_PARAM_DELTA = 6, /**< the sum of RELORA_LINEAR_KEEP_DELTA; never trained */
    RELORA_PARAM_SKETCH = 7 /**< what RELORA_SKETCH adds to: F32 [rank, in], never trained, and not part of a
                                 state. Layers with RELORA_INIT_GRADIENT and RELORA_LINEAR_FREEZE_A have it.
                                 In a run of several processes a relora_cycle sums it over them before a
                                 restart; a host that resets layers itself calls relora_adam_sum(). Since
                                 0.6 */
};

/* flags of relora_linear_forward and relora_linear_backward */
enum {
    RELORA_TRAIN = 1,         /**< apply dropout */
    RELORA_OVERWRITE = 2,     /**< backward: store parameter gradients instead of adding to them */
    RELORA_ACCUMULATE_DX = 4, /**< backward: add to dx instead of storing it */
    RELORA_ACCUMULATE_Y = 8,  /**< forward: add to y instead of storing it, for a LOWRANK layer beside a
                                   product of the host. Since 0.5 */
    RELORA_SKETCH = 16        /**< backward: add A G^T G to the sketch of a layer, or store it with
                                   RELORA_OVERWRITE. G = dy^T x is the gradient of W in this call. The next
                                   reset makes the new A from the row space of the sketch, and sets the sketch
                                   to 0, as relora_linear_zero_grad() does. Give the flag in each backward
                                   pass of an update that a restart will follow: ask relora_cycle_due() with
                                   the number of updates that will be done then. Layers without a sketch
                                   ignore it. It costs 2 rank (in + out) multiply-adds for each row of x.
                                   Since 0.6 */
};

typedef struct relora_merge_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t layers;       /**< how many were merged */
    double delta_norm;    /**< L2 norm of the change of W, as stored after rounding */
    double weight_norm;   /**< L2 norm of W afterwards */
    /* Since 0.6, filled by a relora_cycle and relora_factors_renew(), and 0 elsewhere. Shares of sums of
     * squares over all layers but those with RELORA_INIT_UNIFORM and those that a callback merges; 0 if there
     * is no such layer or no gradient, or if one is not finite */
    double overlap;         /**< share of the new A that lies in the row space of the old one. The rows of the
                                 new one are orthonormal, so this is the mean squared cosine between the two
                                 spaces */
    double gradient_before; /**< share of the gradient of A (of the sketch, if A is frozen) that lies in the
                                 row space of the old A: how much of the gradient of W, as seen through B, the
                                 old A could still follow */
    double gradient_after;  /**< the same for the new A: about rank / in with MATCHED. 1 with GRADIENT; 0 says
                                 that there was no gradient, so that A is that of MATCHED */
} relora_merge_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_merge_report_init(relora_merge_report *report, size_t size);

typedef struct relora_full_rank_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t reserved;     /**< 0 */
    double delta_norm;    /**< L2 norm of the change of W, as stored after rounding */
    double weight_norm;   /**< L2 norm of W afterwards */
    double grad_norm;     /**< L2 norm of the gradient */
    double grad_rank;     /**< effective rank of the gradient: (sum of s^2)^2 / sum of s^4 over its singular
                               values s, from 1 to min(in, out). 0 if the gradient is 0 */
} relora_full_rank_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.6 @threads any @stream none */
RELORA_API relora_status relora_full_rank_report_init(relora_full_rank_report *report, size_t size);

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_linear_options_init(relora_linear_options *options, size_t size);

/** Create a layer. A, B and scale start as relora_linear_reset() makes them for cycle 0; gradients and
 *  the bias start at 0. W is missing until relora_linear_set_weight(): until then every call that needs it is
 *  RELORA_E_STATE.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_linear_create(relora_linear **out, relora_device *device,
                                              const relora_linear_options *options);

/** Drop the caller's reference. An optimizer or a cycle that holds the layer keeps it alive. NULL is
 *  allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_linear_release(relora_linear *linear);

/** Retain `weight` [out, in] ([in, out] with RELORA_LINEAR_IN_OUT) and `bias` [out] and use them in
 *  place. Training and merging write into them, so the host's own saving and inference code sees every
 *  change. Rows of `weight` may have gaps between them. `weight` must be NULL in LOWRANK and only there.
 *  `bias` is F32 or, since 0.6, of the layer's dtype. If it is NULL, the layer keeps the bias that it has,
 *  at first its own in F32. A bias is refused without RELORA_LINEAR_BIAS, and if its memory overlaps that of
 *  W. A delta (RELORA_LINEAR_KEEP_DELTA) becomes 0. Optimizers that already hold the layer refuse to step
 *  from now on: call relora_adam_refresh() or create a new one.
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_linear_set_weight(relora_linear *linear, relora_tensor *weight,
                                                  relora_tensor *bias);

/** relora_linear_create() and relora_linear_set_weight() in one call. in_features, out_features and dtype
 *  come from `weight`. Features that are set in `options` must agree with it (RELORA_E_SHAPE).
 *  RELORA_LINEAR_BIAS is set if `bias` is given. `options` itself does not change. relora_group_wrap() does
 *  the same for a member of a group.
 *  @param weight  as for relora_linear_set_weight(); NULL in mode LOWRANK, which needs both features
 *  @param bias    as for relora_linear_set_weight(). NULL means no bias or, with RELORA_LINEAR_BIAS, an F32
 *                 bias that the layer allocates
 *  @since 0.6 @threads any @stream none */
RELORA_API relora_status relora_linear_wrap(relora_linear **out, relora_device *device, relora_tensor *weight,
                                            relora_tensor *bias, const relora_linear_options *options);

/** Change the mode in place. y stays the same, except for the rounding of the merge.
 *
 *  FULL to LORA, at the end of a warm start: W is frozen, its gradient is freed, and factors are drawn as
 *  relora_linear_reset() draws them for cycle 0. RELORA_INIT_GRADIENT takes the gradient of W. No reset has
 *  to follow. With an init other than UNIFORM the call waits for the stream.
 *
 *  LORA to FULL, since 0.6: W += s B A as relora_linear_merge() does it for cycle 0, with its checks. A, B,
 *  scale and delta are freed, and W is trained, with a gradient of 0. The call waits for the stream.
 *
 *  A layer may go back and forth. To use no draw twice, call relora_linear_merge() and relora_linear_reset()
 *  with the number of the cycle before LORA to FULL, which then has nothing to merge. After FULL to LORA call
 *  relora_linear_reset() with the number of the cycle. Optimizers that hold the layer refuse to step from now
 *  on: call relora_adam_refresh() or create a new one. A cycle leaves the layer out while it is in FULL.
 *  @return RELORA_E_STATE if rank is 0, the layer already has that mode or, to FULL, it has no weight;
 *          RELORA_E_UNSUPPORTED for other changes. Nothing changes if the memory is not there
 *          (RELORA_E_NO_MEMORY) or the merge would not be finite (RELORA_E_NOT_FINITE)
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_linear_set_mode(relora_linear *linear, relora_stream *stream,
                                                relora_linear_mode mode);
/** The present mode; 0 if `linear` is NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_linear_mode relora_linear_get_mode(const relora_linear *linear);

/** A parameter, borrowed. NULL if the layer does not have it in its present mode.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_linear_param(relora_linear *linear, relora_param param);
/** The gradient of a parameter, borrowed: F32, with the shape of the parameter. NULL if the parameter
 *  is not trained in the present mode.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_linear_grad(relora_linear *linear, relora_param param);

/** Retain `tensor` and use it in place as A, B, the scale or the bias. The layer takes its values, and
 *  training, merging and resetting write into it. This is for hosts that keep everything that is trained in
 *  their own arrays. Optimizers that hold the layer refuse to step from now on: call relora_adam_refresh() or
 *  create a new one.
 *  @param param  RELORA_PARAM_A, _B, _SCALE or _BIAS; RELORA_E_STATE if the layer has no such parameter now.
 *                A layer creates its A and B when it leaves the warm start, so set them afterwards
 *  @param tensor F32, the shape of the parameter, without gaps between rows; RELORA_E_EXISTS if it overlaps
 *                the layer's other parameters, gradients or target. Since 0.6 a bias may have the dtype of
 *                the layer
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_linear_set_param(relora_linear *linear, relora_param param,
                                                 relora_tensor *tensor);

/** Retain `tensor` and use it in place as the gradient of a parameter that is trained now, for example a
 *  slice of one buffer for all gradients. It is F32. Backward adds to the values that it has. Any trained
 *  parameter is accepted, including W in FULL. Otherwise this function works like relora_linear_set_param().
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_linear_set_grad(relora_linear *linear, relora_param param,
                                                relora_tensor *tensor);

/** Compute the output y of the layer for x, or add it to y with RELORA_ACCUMULATE_Y.
 *  @param x     [rows, in]; any number of rows, 0 included
 *  @param y     [rows, out]; must not overlap x
 *  @param call  identifies this use of the layer: dropout is a function of (seed, layer, call). Give
 *               each micro-batch and each use in a graph its own number, such as step * uses + use.
 *               The rounding of a folded pass in BF16 also depends on it, even without dropout
 *  @param flags RELORA_TRAIN, RELORA_ACCUMULATE_Y, both or 0
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_linear_forward(relora_linear *linear, relora_stream *stream,
                                               const relora_tensor *x, relora_tensor *y, uint64_t call,
                                               uint32_t flags);

/** Add to the gradients of all parameters that are trained in the present mode, and write dx unless it is
 *  NULL. `x`, `call` and RELORA_TRAIN must be those of the matching forward.
 *  @param dy    [rows, out]
 *  @param dx    [rows, in], or NULL; must not overlap dy or x
 *  @param flags any of RELORA_TRAIN, RELORA_OVERWRITE, RELORA_ACCUMULATE_DX, RELORA_SKETCH
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_linear_backward(relora_linear *linear, relora_stream *stream,
                                                const relora_tensor *x, const relora_tensor *dy,
                                                relora_tensor *dx, uint64_t call, uint32_t flags);

/** relora_linear_forward() on plain pointers to memory of the layer's device. The number of rows may differ
 *  from call to call.
 *  @param rows  0 or more; with 0 the pointers may be NULL
 *  @param x     rows of in elements of the layer's dtype; they begin `ldx` elements apart (in or more)
 *  @param y     rows of out elements, `ldy` elements apart (out or more); must not overlap x
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_linear_forward_at(relora_linear *linear, relora_stream *stream, int64_t rows,
                                                  const void *x, int64_t ldx, void *y, int64_t ldy,
                                                  uint64_t call, uint32_t flags);

/** relora_linear_backward() on plain pointers, as for relora_linear_forward_at().
 *  @param dx  NULL if it is not needed; `lddx` is then ignored
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_linear_backward_at(relora_linear *linear, relora_stream *stream, int64_t rows,
                                                   const void *x, int64_t ldx, const void *dy, int64_t lddy,
                                                   void *dx, int64_t lddx, uint64_t call, uint32_t flags);

/** relora_linear_forward() of several layers that read the same x, such as query, key and value, or gate
 *  and up. The results are those of separate calls, on a CUDA device up to rounding, because BF16 layers
 *  share products with their factors there. All arguments are checked before any work, so a wrong one
 *  changes nothing. The workspace of the stream is larger than for one layer (relora_linear_plan): it holds
 *  copies of the factors of up to four layers, and what they share.
 *  @param linears `count` different layers
 *  @param y       `count` tensors, one for each layer; none may overlap another or x
 *  @since 0.3 @threads one @stream queues */
RELORA_API relora_status relora_linear_forward_shared(relora_linear *const *linears, int32_t count,
                                                      relora_stream *stream, const relora_tensor *x,
                                                      relora_tensor *const *y, uint64_t call, uint32_t flags);

/** relora_linear_backward() of the same layers. dx receives the sum over all layers.
 *  @param dy    `count` tensors, one for each layer
 *  @param dx    [rows, in], or NULL
 *  @param flags as for relora_linear_backward(); RELORA_ACCUMULATE_DX adds the sum to dx
 *  @since 0.3 @threads one @stream queues */
RELORA_API relora_status relora_linear_backward_shared(relora_linear *const *linears, int32_t count,
                                                       relora_stream *stream, const relora_tensor *x,
                                                       relora_tensor *const *dy, relora_tensor *dx,
                                                       uint64_t call, uint32_t flags);

/** Add dW = dy^T x to `dw`, or store it with RELORA_OVERWRITE. This is the gradient of W, or of W + s B A,
 *  whether or not W is trained, and what FULL would accumulate: x is taken as given, without dropout. Nothing
 *  in the layer changes.
 *  @param x     [rows, in], as in the matching forward
 *  @param dy    [rows, out]
 *  @param dw    F32, [out, in] ([in, out] with RELORA_LINEAR_IN_OUT), of the host. Rows may lie apart.
 *               It must not overlap x, dy or a parameter of the layer
 *  @param flags RELORA_OVERWRITE or 0
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_linear_weight_grad(relora_linear *linear, relora_stream *stream,
                                                   const relora_tensor *x, const relora_tensor *dy,
                                                   relora_tensor *dw, uint32_t flags);

/** Set every gradient of the layer to 0, and its sketch. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_linear_zero_grad(relora_linear *linear, relora_stream *stream);

/** Merge: W += s B A, with the product in F32 whatever the dtype of W. The factors do not change, so the
 *  output counts them twice until relora_linear_reset(). If A, B or s contains a NaN or an infinity, the
 *  status is RELORA_E_NOT_FINITE and W does not change. Since 0.5 this also holds if W contains one, or if
 *  W + s B A would exceed the range of W's type. RELORA_E_STATE unless the mode is LORA and W is set, or the
 *  mode is LOWRANK and there is a target (relora_linear_set_target). If the target is a callback that fails,
 *  its status is returned.
 *  @param cycle  stochastic rounding is a function of (seed, layer, cycle). Use each value once and begin
 *                with 1, because creating the layer used 0
 *  @param report may be NULL
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_linear_merge(relora_linear *linear, relora_stream *stream, uint64_t cycle,
                                             relora_merge_report *report);

/** Move the frozen W one step against its orthogonalised gradient, as relora_full_rank_step() does:
 *
 *      W -= lr * 0.2 sqrt(max(in, out)) U V^T        with grad = U S V^T
 *
 *  In each update of A and B, or every few, such a step moves W where a low rank cannot. It needs no
 *  moments. Optimizers that hold the layer continue, and with RELORA_LINEAR_KEEP_DELTA the change is added to
 *  the delta. RELORA_E_STATE unless the mode is LORA; RELORA_E_NOT_FINITE as for relora_full_rank_step().
 *  @param grad   F32 with the shape of W, as relora_linear_weight_grad() makes it. It is overwritten with
 *                U V^T. Rows may lie apart. It must not overlap W or the delta
 *  @param lr     0 or more; often the learning rate of the present update, or twice that
 *  @param step   stochastic rounding is a function of (seed, layer, step), so use each value once, such as
 *                the number of the update
 *  @param report may be NULL
 *  @since 0.6 @threads one @stream synchronises */
RELORA_API relora_status relora_linear_full_rank_step(relora_linear *linear, relora_stream *stream,
                                                      relora_tensor *grad, double lr, uint64_t step,
                                                      relora_full_rank_report *report);

/** Make a new A as `init` of the options says (by default uniform in +-1/sqrt(in), as a function of (seed,
 *  layer, cycle)), and set B to 0 and a trainable scale to 1 (to 0 with RELORA_LINEAR_REFERENCE). With
 *  RELORA_LINEAR_FREEZE_B, B is drawn in +-1/sqrt(rank) and A is set to 0. Gradients do not change, but a
 *  sketch (RELORA_SKETCH) becomes 0. RELORA_E_STATE in FULL.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_linear_reset(relora_linear *linear, relora_stream *stream, uint64_t cycle);

RELORA_END
#endif
