/** @file relora/adam.h
 *  Adam and AdamW over registered parameters, with a partial reset of the moments. Parameters come from
 *  layers (relora_adam_add_linear) or are tensors of the host (relora_adam_add). */
#ifndef RELORA_ADAM_H
#define RELORA_ADAM_H

#include "relora/comm.h"
#include "relora/export.h"
#include "relora/reset.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/* relora_adam_options.flags */
enum {
    RELORA_ADAM_DECOUPLED = 1,       /**< AdamW: p -= lr * decay * p. Without it the decay is added to
                                        the gradient (L2). On by default */
    RELORA_ADAM_SKIP_NOT_FINITE = 2, /**< skip a step if the gradients contain a NaN or an infinity or,
                                          after clipping, squares that exceed F32. A skipped step
                                          changes nothing and does not advance the step count used
                                          for bias correction. Without this flag see max_norm */
    RELORA_ADAM_SHARD_STATE = 4      /**< with `comm`, each rank keeps only the moments of its share of all
                                          elements, as in ZeRO stage 1. A step sends as much as without
                                          it, and the numbers are the same up to the rounding of the norm.
                                          All parameters must be registered before the first step, reset,
                                          save or load (RELORA_E_STATE). Layers with RELORA_INIT_GRADIENT
                                          that train A or W are RELORA_E_UNSUPPORTED, because no rank has
                                          all of a gradient after a step; so are relora_adam_refresh(),
                                          relora_adam_carry() and relora_adam_grad_norm(). Moments of the
                                          host are RELORA_E_STATE. Not part of a state's description.
                                          Since 0.6 */
};

typedef struct relora_adam_options {
    uint32_t struct_size;
    uint32_t flags;
    double beta1;             /**< in [0, 1); default 0.9 */
    double beta2;             /**< in [0, 1); default 0.999 */
    double eps;               /**< above 0, even as F32; default 1e-8 */
    double weight_decay;      /**< for every parameter until relora_adam_set_factors(); finite as
                                   F32; default 0 */
    double max_norm;          /**< clip the global gradient norm to this; 0, the default, never clips.
                                   With clipping, one gradient that is not finite would make every
                                   parameter a NaN. Since 0.5 such a step changes nothing, and is
                                   RELORA_E_NOT_FINITE unless it is skipped. Without clipping, it
                                   spoils only its own element */
    uint64_t seed;            /**< for stochastic rounding; default 0 */
    relora_rounding rounding; /**< of BF16 parameters, except W and bias of a layer, which have the
                                   rounding of their layer; default STOCHASTIC */
    int32_t reserved;         /**< 0 */
    const relora_comm *comm;  /**< the other ranks that train the same parameters, each with its own data; the
                                   table is copied. NULL, the default, means none. See relora_adam_step().
                                   Since 0.6 */
} relora_adam_options;

typedef struct relora_step_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t skipped;      /**< 1 if the step was skipped because gradients are not finite */
    double grad_norm;     /**< global L2 norm of grad_scale * gradient, before clipping */
    double clip_factor;   /**< the gradients were multiplied by min(1, max_norm / (grad_norm + 1e-6)) */
} relora_step_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_step_report_init(relora_step_report *report, size_t size);

typedef int32_t relora_moment;
enum {
    RELORA_MOMENT_FIRST = 1, /**< m, running mean of the gradient */
    RELORA_MOMENT_SECOND = 2 /**< v, running mean of its square */
};

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_options_init(relora_adam_options *options, size_t size);
/** Create an optimizer. @param options NULL for all defaults
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_create(relora_adam **out, relora_device *device,
                                            const relora_adam_options *options);
/** Drop the caller's reference. A cycle that holds the optimizer keeps it alive. NULL is allowed.
 *  @since 0.1 @threads any @stream none */
RELORA_API void relora_adam_release(relora_adam *adam);

/** Register one parameter. `name` is copied and must be new. Both tensors are retained. They must have the
 *  same shape; each may be F32 or BF16. Since 0.6 rows of `param` may have gaps between them, which a step
 *  does not touch; `grad` must have none. The moments are F32, without gaps, and start at 0.
 *  The same memory cannot be registered twice (RELORA_E_EXISTS).
 *  There is no F32 copy of a BF16 parameter: updates below its last bit survive only by stochastic
 *  rounding.
 *  @param index receives 0, 1, 2, ... in order of registration; may be NULL
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_add(relora_adam *adam, const char *name, relora_tensor *param,
                                         relora_tensor *grad, int32_t *index);

/** relora_adam_add() with moments in tensors of the host. They are retained and used in place with their
 *  present values. Steps, resets and loads write into them. The step count starts at 0;
 *  relora_adam_set_steps() sets it.
 *  @param first   m: F32, the shape of `param`, without gaps
 *  @param second  v: likewise. Neither may overlap the other, or memory that is registered here
 *                 (RELORA_E_EXISTS)
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_add_moments(relora_adam *adam, const char *name, relora_tensor *param,
                                                 relora_tensor *grad, relora_tensor *first,
                                                 relora_tensor *second, int32_t *index);

/** Use moments in tensors of the host for a parameter that is already registered, such as the A of a layer.
 *  The old moments are released and their values are lost. The step count stays. RELORA_E_NOT_FOUND for an
 *  unknown index. Otherwise this function works like relora_adam_add_moments().
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_set_moments(relora_adam *adam, int32_t index, relora_tensor *first,
                                                 relora_tensor *second);

/** Register exactly the parameters that `linear` trains in its present mode: "<prefix>.weight" in FULL,
 *  otherwise ".lora_A.weight", ".lora_B.weight" unless frozen, and a trainable ".scaling"; then its ".bias".
 *  If one fails, none is registered. @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_add_linear(relora_adam *adam, const char *prefix, relora_linear *linear);

/** Register everything that the group trains now, under its names and in its order, as
 *  relora_adam_add_linear() does for layers and relora_adam_add() for parameters with a gradient. If one
 *  fails, none is registered. Members added to the group later are not registered. RELORA_E_STATE if the
 *  group trains nothing. @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_adam_add_group(relora_adam *adam, const relora_group *group);

/** Follow the layers after one has changed its mode, weight, parameters or gradients. What a layer no longer
 *  trains is dropped with its moments. What it trains instead is registered, with moments and a step count of
 *  0, where relora_adam_add_linear() would have put it. Everything else keeps its moments, step count and
 *  factors, but may have another index. The order is that of a new optimizer to which the same is added, so
 *  states fit both. Names and moments that were borrowed before are no longer valid. New gradients are not in
 *  the buffer of relora_adam_flatten_grads(). For other options, or to keep the moments of some parameters
 *  only, make a new optimizer and call relora_adam_carry().
 *  @return RELORA_E_EXISTS if memory would be registered twice; RELORA_E_UNSUPPORTED with
 *          RELORA_ADAM_SHARD_STATE. After any failure nothing has changed
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_adam_refresh(relora_adam *adam, relora_stream *stream);

/** Give one parameter its own step size and decay: its learning rate is lr_factor * lr, and weight_decay
 *  replaces that of the options. Norms and biases usually need no decay.
 *  @param lr_factor 0 or more; 1 at first. 0 leaves the parameter where it is
 *  @return RELORA_E_NOT_FOUND for an unknown index
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_adam_set_factors(relora_adam *adam, int32_t index, double lr_factor,
                                                 double weight_decay);

/** Move the gradients of all parameters, with their contents, into one F32 buffer, so that a host that
 *  sums gradients over machines can send them in one piece. They are in order of registration, each at a
 *  multiple of 16 elements, with zeros between. The gradient tensors stay valid, but their data moves:
 *  call relora_tensor_data() again. A parameter added later is not in the buffer. The buffer lives as long as
 *  any gradient in it. If another optimizer flattens a gradient, it leaves the buffer. (A host that has a
 *  buffer borrows slices of it for relora_adam_add() and relora_linear_set_grad() instead.)
 *  @return RELORA_E_STATE if no parameter is registered, if `adam` was flattened before, or if the memory of
 *          a gradient is borrowed, is shared by relora_tensor_to_dlpack() or is such a buffer;
 *          RELORA_E_DTYPE if a gradient is not F32
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_flatten_grads(relora_adam *adam, relora_stream *stream);

/** The buffer made by relora_adam_flatten_grads(), with one axis; NULL before that call. Borrowed: lives
 *  as long as `adam`. @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_adam_flat_grad(relora_adam *adam);

/** Set every registered gradient to 0, and the sketch (RELORA_SKETCH) of each layer.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_zero_grad(relora_adam *adam, relora_stream *stream);

/** One update of every parameter p with gradient g, counting t = 1, 2, ... (Kingma and Ba 2015;
 *  Loshchilov and Hutter 2019, in the arithmetic of torch.optim.AdamW):
 *
 *      g = clip_factor * grad_scale * g
 *      p = (1 - lr * decay) * p                             if decoupled, else g = g + decay * p
 *      m = beta1 * m + (1 - beta1) * g;   v = beta2 * v + (1 - beta2) * g^2
 *      p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 *  The caller passes `lr` each time; the optimizer keeps none. Clipping and skipping happen on the
 *  device, without the host. Equal inputs give equal bits on any number of threads.
 *
 *  With relora_adam_options.comm, g is the sum of the gradients of all ranks, so grad_scale must divide
 *  by the number of micro-batches of all of them. A rank without data takes part with a gradient of 0.
 *  Clipping, skipping and the report refer to the sum, and are equal on all ranks. The step leaves the sum in
 *  the gradients (with RELORA_ADAM_SHARD_STATE anything), so overwrite them or set them to 0 before the next
 *  pass, as always. The first step checks that all ranks have the same bits in the same parameters, unless
 *  the library was built without xxHash. If they differ, it is RELORA_E_STATE on each of them. Ranks that
 *  share seeds draw the same dropout masks: give each micro-batch of all ranks its own `call`.
 *  @param lr         0 or more, finite as F32. If lr times a factor or a decay is not finite, the
 *                    parameter does not change, as with 0
 *  @param grad_scale multiplies every gradient first, for accumulation over micro-batches. Finite as F32
 *  @param report     may be NULL; a report synchronises `stream`
 *  @return RELORA_E_STATE if a layer has another mode, weight, parameter or gradient than when it was added,
 *          or if no parameter is registered. RELORA_E_NOT_FINITE, with a max_norm above 0 and without
 *          RELORA_ADAM_SKIP_NOT_FINITE, if a gradient contains a NaN or an infinity. The text then
 *          names the first such gradient, `report` is filled, and nothing else changes, not even a step
 *          count. On a device other than the CPU this is reported only by a step with a report, because
 *          a step without one does not wait: nothing changes, and the status is RELORA_OK
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_step(relora_adam *adam, relora_stream *stream, double lr,
                                          double grad_scale, relora_step_report *report);

/** relora_adam_step() with the learning rate in `lr`, an F32 tensor of one element. It is read when the
 *  step runs, not when it is queued, so a CUDA graph captured from this call can use another rate at each
 *  launch. A value below 0, a NaN or an infinity cannot be refused at that point: parameters then
 *  do not change, as with 0, while moments and counts do.
 *
 *  A step without a report queues only work on the device, unless a parameter was added or a pointer or
 *  a factor has changed since the last step. Make one step on the stream before capturing.
 *  @return as relora_adam_step(); RELORA_E_DTYPE or RELORA_E_SHAPE for another tensor
 *  @since 0.4 @threads one @stream queues */
RELORA_API relora_status relora_adam_step_lr(relora_adam *adam, relora_stream *stream,
                                             const relora_tensor *lr, double grad_scale,
                                             relora_step_report *report);

/** Sum a tensor over all ranks of relora_adam_options.comm, in place, with the same bits on each of them.
 *  This is for tensors that no step sums, such as the gradient of a frozen W before
 *  relora_linear_full_rank_step(). All ranks make the call, with tensors of one shape; a rank without data
 *  gives zeros. Without other ranks the tensor stays as it is.
 *  @param tensor F32 or BF16, on the device of `adam`. Rows may lie apart. BF16 is summed in F32 and rounded
 *                to nearest
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_adam_sum(relora_adam *adam, relora_stream *stream, relora_tensor *tensor);

/** L2 norm over all registered gradients of this rank; not finite if one of them is not.
 *  @return RELORA_E_STATE if no parameter is registered; RELORA_E_UNSUPPORTED with RELORA_ADAM_SHARD_STATE:
 *          take it from the report of a step
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_adam_grad_norm(relora_adam *adam, relora_stream *stream, double *norm);

/** Partially reset the moments of the listed parameters in place. If `indices` is NULL and count 0, these
 *  are all A and B that came with a layer; RELORA_E_NOT_FOUND if there is none. An unknown index is
 *  RELORA_E_NOT_FOUND, and an index listed twice is RELORA_E_EXISTS; then nothing is reset.
 *  @param options NULL for the defaults: magnitude, 0.99, joint
 *  @param report  may be NULL; a report synchronises `stream`
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_reset(relora_adam *adam, relora_stream *stream, const int32_t *indices,
                                           int32_t count, const relora_reset_options *options,
                                           relora_reset_report *report);

/** Copy the moments and step counts of another optimizer to the parameters of the same names. In a new
 *  optimizer they are 0. After a warm start that is right for A and B, which are new, but embeddings, norms,
 *  biases and a head continue. The host chooses which of these keep their moments: all, with `indices` NULL
 *  and count 0; some, by their indices in `adam`; or none, without this call. (relora_adam_refresh() keeps
 *  all of them, without a second optimizer.) Factors of relora_adam_set_factors() are not copied, and `from`
 *  does not change. Everything is checked first.
 *  @param from    on the same device. It may hold layers whose mode has changed since
 *  @param carried receives the number of parameters; may be NULL
 *  @return RELORA_E_NOT_FOUND if `from` lacks a parameter listed or, without a list, has none of the names;
 *          RELORA_E_SHAPE if one of them has another shape there; RELORA_E_UNSUPPORTED if either has
 *          RELORA_ADAM_SHARD_STATE; otherwise as relora_adam_reset()
 *  @since 0.6 @threads one @stream queues */
RELORA_API relora_status relora_adam_carry(relora_adam *adam, relora_stream *stream, const relora_adam *from,
                                           const int32_t *indices, int32_t count, int32_t *carried);

/** Number of registered parameters; -1 if `adam` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_adam_count(const relora_adam *adam);
/** Name of a parameter; NULL if there is no such parameter. Borrowed: lives as long as `adam`.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_adam_name(const relora_adam *adam, int32_t index);
/** Index of the parameter called `name`; RELORA_E_NOT_FOUND if there is none.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_adam_find(const relora_adam *adam, const char *name, int32_t *index);
/** A moment of a parameter: F32, with its shape; NULL if there is no such parameter or moment, or if moments
 *  lie in shares (RELORA_ADAM_SHARD_STATE). Borrowed: lives until `adam` is released or has other moments for
 *  the parameter.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_tensor *relora_adam_moment(relora_adam *adam, int32_t index, relora_moment moment);
/** Number of updates of a parameter since its step count was last reset: t of relora_adam_step().
 *  RELORA_E_NOT_FOUND for an unknown index.
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_adam_steps(relora_adam *adam, relora_stream *stream, int32_t index,
                                           int64_t *steps);
/** Set the step count of a parameter, for example when a run is resumed; 0 to 2^53. RELORA_E_NOT_FOUND for
 *  an unknown index.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_adam_set_steps(relora_adam *adam, relora_stream *stream, int32_t index,
                                               int64_t steps);

RELORA_END
#endif
