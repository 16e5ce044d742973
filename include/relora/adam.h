/** @file relora/adam.h
 *  Adam/AdamW over registered parameters, with partial reset of its moments. It works on layers
 *  (relora_adam_add_linear) and on any borrowed memory (relora_adam_add) alike. */
#ifndef RELORA_ADAM_H
#define RELORA_ADAM_H

#include "relora/export.h"
#include "relora/reset.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

enum { /* relora_adam_options.flags */
    RELORA_ADAM_DECOUPLED = 1,     /**< AdamW: p -= lr * decay * p. Without it the decay is added to
                                        the gradient (L2). On by default */
    RELORA_ADAM_SKIP_NOT_FINITE = 2 /**< a step whose gradients hold a NaN or an infinity, or, after
                                         clipping, squares that F32 cannot hold, changes nothing and
                                         counts for no bias correction. Without it see max_norm */
};

typedef struct relora_adam_options {
    uint32_t struct_size;
    uint32_t flags;
    double beta1;             /**< in [0, 1); default 0.9 */
    double beta2;             /**< in [0, 1); default 0.999 */
    double eps;               /**< above 0, also as F32; default 1e-8 */
    double weight_decay;      /**< of every parameter until relora_adam_set_factors(); finite as F32;
                                   default 0 */
    double max_norm;          /**< clip the global gradient norm to this; 0, the default: never. Above 0
                                   a gradient that is not finite would make every parameter a NaN: since
                                   0.5 such a step changes nothing, and is RELORA_E_NOT_FINITE if it is
                                   not to be skipped. At 0 it ruins its own element alone */
    uint64_t seed;            /**< of stochastic rounding; default 0 */
    relora_rounding rounding; /**< of a BF16 parameter, except the W of a layer, which follows its
                                   layer; default STOCHASTIC */
    int32_t reserved;         /**< 0 */
} relora_adam_options;

typedef struct relora_step_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t skipped;      /**< 1 if gradients that are not finite kept the step from happening */
    double grad_norm;     /**< global L2 norm of grad_scale * gradient, before clipping */
    double clip_factor;   /**< min(1, max_norm / (grad_norm + 1e-6)), which multiplied it then */
} relora_step_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_step_report_init(relora_step_report *report, size_t size);

typedef int32_t relora_moment;
enum {
    RELORA_MOMENT_FIRST = 1, /**< m, running mean of the gradient */
    RELORA_MOMENT_SECOND = 2 /**< v, running mean of its square */
};

/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_options_init(relora_adam_options *options, size_t size);
/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_create(relora_adam **out, relora_device *device,
                                            const relora_adam_options *options);
/** Drop the caller's reference; a cycle that holds it keeps it alive. NULL is allowed.
 *  @since 0.1 @threads any @stream none */
RELORA_API void relora_adam_release(relora_adam *adam);

/** Register one parameter. `name` is copied and must be new; both tensors are retained, have one
 *  shape, are row-major without gaps and may be F32 or BF16 each. The moments are F32 and start
 *  at 0. The same memory cannot be registered twice (RELORA_E_EXISTS).
 *  @param index receives 0, 1, 2, ... in order of registration; may be NULL
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_add(relora_adam *adam, const char *name, relora_tensor *param,
                                         relora_tensor *grad, int32_t *index);

/** relora_adam_add() with moments of the host's, which are retained, used in place as they are, and written by
 *  steps, resets and states. The step count starts at 0: relora_adam_set_steps() sets it.
 *  @param first   m: F32, the shape of `param`, without gaps
 *  @param second  v: likewise. Neither may overlap the other, or memory that is registered here
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_add_moments(relora_adam *adam, const char *name, relora_tensor *param,
                                                 relora_tensor *grad, relora_tensor *first,
                                                 relora_tensor *second, int32_t *index);

/** Use moments of the host's for a parameter that is registered already, such as the A of a layer. Those it had are
 *  released, and their values are lost. Otherwise as relora_adam_add_moments(), the step count excepted, which
 *  stays. @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_set_moments(relora_adam *adam, int32_t index, relora_tensor *first,
                                                 relora_tensor *second);

/** Register exactly what `linear` trains in its present mode, as "<prefix>.weight" in FULL, as
 *  ".lora_A.weight", ".lora_B.weight" and a trainable ".scaling" otherwise; then its ".bias".
 *  All of them or, on a failure, none. @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_add_linear(relora_adam *adam, const char *prefix,
                                                relora_linear *linear);

/** Register everything that the group trains now: relora_adam_add_linear() for its layers and
 *  relora_adam_add() for its parameters with a gradient, under their names and in their order. All of it or,
 *  on a failure, nothing. What is added to the group later is not registered. RELORA_E_STATE if the group
 *  trains nothing. @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_add_group(relora_adam *adam, const relora_group *group);

/** Give one parameter its own step size and decay: it moves by lr_factor * lr, with weight_decay
 *  in place of that of the options. Norms and biases usually want no decay.
 *  @param lr_factor 0 or more; 1 at first. 0 leaves the parameter where it is
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_set_factors(relora_adam *adam, int32_t index,
                                                 double lr_factor, double weight_decay);

/** Move the gradients of all parameters, with their contents, into one F32 buffer, in order of
 *  registration, each at a multiple of 16 elements with zeros between: what a host that sums
 *  gradients over machines sends in one piece. The gradient tensors stay valid, but their data
 *  moves: ask relora_tensor_data() again. RELORA_E_STATE if a gradient's memory is borrowed or is
 *  such a buffer, or if `adam` has done it already; RELORA_E_DTYPE if one is not F32. (A host with a buffer of
 *  its own needs none: it borrows slices of it for relora_adam_add() and relora_linear_set_grad().) A parameter
 *  added later is not in the buffer. The buffer lives as long as any gradient in it; one moves on
 *  when another optimizer flattens it. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_flatten_grads(relora_adam *adam, relora_stream *stream);

/** The buffer that relora_adam_flatten_grads() made, one axis. Borrowed: lives as long as `adam`;
 *  NULL before. @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_adam_flat_grad(relora_adam *adam);

/** Set every registered gradient to 0. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_zero_grad(relora_adam *adam, relora_stream *stream);

/** One update of every parameter p with gradient g, counting t = 1, 2, ... (Kingma and Ba 2015;
 *  Loshchilov and Hutter 2019, in the arithmetic of torch.optim.AdamW):
 *
 *      g = clip_factor * grad_scale * g
 *      p = (1 - lr * decay) * p                             if decoupled, else g = g + decay * p
 *      m = beta1 * m + (1 - beta1) * g;   v = beta2 * v + (1 - beta2) * g^2
 *      p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 *  `lr` comes from the caller each time; the optimizer keeps none. Clipping and skipping need no
 *  word from the host. With equal inputs the result is the same bit for bit, on any number of
 *  threads.
 *  @param lr         0 or more, finite as F32. Where lr times a factor or a decay is not, the
 *                    parameter stays where it is, as at 0
 *  @param grad_scale multiplies every gradient first: accumulation over micro-batches. Finite as F32
 *  @param report     may be NULL; asking for it synchronises `stream`
 *  @return RELORA_E_STATE if the mode or the weight of a layer has changed since it was added, or
 *          no parameter is registered. RELORA_E_NOT_FINITE, with a max_norm above 0 and without
 *          RELORA_ADAM_SKIP_NOT_FINITE, if a gradient holds a NaN or an infinity: the text names the
 *          first, `report` is filled, and nothing else has changed, no step count either. On the
 *          CPU always; on another device, where a step without a report waits for nothing, only
 *          with one: without it nothing changes, and the status is RELORA_OK
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_step(relora_adam *adam, relora_stream *stream, double lr,
                                          double grad_scale, relora_step_report *report);

/** relora_adam_step() with the learning rate in `lr`, an F32 tensor of one element, which is read when
 *  the step runs and not when it is queued: a CUDA graph that was captured from this call takes
 *  another rate each time it is launched. A value below 0, a NaN or an infinity cannot be refused then: it
 *  leaves every parameter where it is, as 0 does, while moments and counts go on.
 *
 *  A step without a report queues nothing but work on the device, unless a parameter was added or a
 *  pointer or a factor has changed since the last one: make one step on the stream before capturing.
 *  @return as relora_adam_step(); RELORA_E_DTYPE or RELORA_E_SHAPE for another tensor
 *  @since 0.4 @threads one @stream queues */
RELORA_API relora_status relora_adam_step_lr(relora_adam *adam, relora_stream *stream,
                                             const relora_tensor *lr, double grad_scale,
                                             relora_step_report *report);

/** L2 norm over all registered gradients; a NaN or an infinity if one of them is. @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_adam_grad_norm(relora_adam *adam, relora_stream *stream,
                                               double *norm);

/** Partially reset the moments of the listed parameters, in place. `indices` NULL with count 0
 *  means every A and B that came with a layer, and is RELORA_E_NOT_FOUND if there is none. An
 *  unknown index is RELORA_E_NOT_FOUND, one listed twice RELORA_E_EXISTS; then nothing is reset.
 *  @param options NULL for the defaults: magnitude, 0.99, joint
 *  @param report  may be NULL; asking for it synchronises `stream`
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_reset(relora_adam *adam, relora_stream *stream,
                                           const int32_t *indices, int32_t count,
                                           const relora_reset_options *options,
                                           relora_reset_report *report);

/** Number of registered parameters; -1 if `adam` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_adam_count(const relora_adam *adam);
/** Borrowed: lives as long as `adam`. NULL if there is no such parameter.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_adam_name(const relora_adam *adam, int32_t index);
/** Index of the parameter called `name`; RELORA_E_NOT_FOUND if there is none.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_find(const relora_adam *adam, const char *name,
                                          int32_t *index);
/** Borrowed: lives as long as `adam`. F32, the shape of the parameter. NULL if there is none.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_adam_moment(relora_adam *adam, int32_t index,
                                             relora_moment moment);
/** Updates of this parameter since its step count was last reset: t of relora_adam_step().
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_adam_steps(relora_adam *adam, relora_stream *stream, int32_t index,
                                           int64_t *steps);
/** Set that count, as when a run is resumed; 0 to 2^53.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_set_steps(relora_adam *adam, relora_stream *stream,
                                               int32_t index, int64_t steps);

RELORA_END
#endif
