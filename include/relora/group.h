/** @file relora/group.h
 *  A list of the layers and other parameters of a model, each with its own name. One call on the group ends
 *  a warm start, merges, resets, or sets gradients to 0 for all of them. Optimizers, cycles, states and
 *  readers accept a whole group, and use the same names: relora_adam_add_group(), relora_cycle_add_group(),
 *  relora_state_add_group(), relora_reader_read_group().
 *
 *  A group takes no part in the forward and backward passes. Call the layers themselves. To pass layers that
 *  read the same input, such as query, key and value, to relora_linear_forward_shared(), let
 *  relora_group_wrap() store them in neighbouring elements of an array. */
#ifndef RELORA_GROUP_H
#define RELORA_GROUP_H

#include "relora/export.h"
#include "relora/linear.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** Create an empty group. All its members must be on `device`.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_group_create(relora_group **out, relora_device *device);

/** Free the group and release its members. A layer lives on as long as an optimizer, a cycle or a state holds
 *  it. NULL is allowed. @since 0.5 @threads any @stream none */
RELORA_API void relora_group_release(relora_group *group);

/** Create a layer over a weight of the host and add it. This combines relora_linear_create() and
 *  relora_linear_set_weight(). One options struct serves many layers, because the group fills in the fields
 *  that differ: `layer` is the number of layers already in the group, whatever you set, and in_features,
 *  out_features and dtype come from `weight`. Features that you set must agree with it (RELORA_E_SHAPE).
 *  RELORA_LINEAR_BIAS is set if `bias` is given. `options` itself does not change.
 *  @param name    copied; must not be empty, nor be taken in the group (RELORA_E_EXISTS)
 *  @param weight  [out, in] ([in, out] with RELORA_LINEAR_IN_OUT), retained and used in place; must be NULL
 *                 in mode LOWRANK, and in no other
 *  @param bias    [out], F32 or (since 0.6) of the weight's dtype, retained and used in place. NULL means no
 *                 bias or, with RELORA_LINEAR_BIAS, an F32 bias that the layer allocates
 *  @param linear  receives the layer, which is borrowed and lives as long as the group. May be NULL
 *  @return RELORA_E_EXISTS if the name is taken or the weight shares memory with a member
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_wrap(relora_group *group, const char *name, relora_tensor *weight,
                                           relora_tensor *bias, const relora_linear_options *options,
                                           relora_linear **linear);

/** Add a layer made by relora_linear_create() and retain it. If another layer of the group has the same seed
 *  and layer number, both draw the same A and the same dropout masks. The log then says so once, at
 *  RELORA_LOG_WARN.
 *  @return RELORA_E_EXISTS if the name is taken, the layer is already in the group, or its weight shares
 *          memory with a member
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_add_linear(relora_group *group, const char *name,
                                                 relora_linear *linear);

/** Add a parameter that belongs to no layer, such as an embedding or a norm, and retain its tensors.
 *  @param grad  has the shape of `param`. NULL means that the parameter is saved and read, but not trained
 *  @return RELORA_E_EXISTS if the name is taken or the memory belongs to a member
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_add_param(relora_group *group, const char *name, relora_tensor *param,
                                                relora_tensor *grad);

/** relora_group_wrap() over plain pointers to memory of the group's device, which must stay valid as long as
 *  the layer. The options give the shape and the dtype of W, and `layer` is set as there.
 *  @param weight [out, in], or [in, out] with RELORA_LINEAR_IN_OUT, without gaps; NULL in mode LOWRANK, and
 *                in no other
 *  @param bias   [out] F32. NULL means no bias or, with RELORA_LINEAR_BIAS, one that the layer allocates
 *  @since 0.6 @threads one @stream none */
RELORA_API relora_status relora_group_wrap_at(relora_group *group, const char *name, void *weight, void *bias,
                                              const relora_linear_options *options, relora_linear **linear);

/** relora_group_add_param() over plain pointers, likewise: `count` F32 elements on one axis.
 *  @param grad NULL means that the parameter is saved and read, but not trained
 *  @since 0.6 @threads one @stream none */
RELORA_API relora_status relora_group_add_param_at(relora_group *group, const char *name, int64_t count,
                                                   void *param, void *grad);

/** The layer whose W, or whose target (relora_linear_set_target), begins at this address, borrowed: lives as
 *  long as `group`. NULL if there is none. For trainers whose products are given the pointer of a weight.
 *  @since 0.6 @threads any @stream none */
RELORA_API relora_linear *relora_group_linear_at(const relora_group *group, const void *weight);

/** Number of layers and parameters together; -1 if `group` is NULL.
 *  @since 0.5 @threads any @stream none */
RELORA_API int32_t relora_group_count(const relora_group *group);
/** Find the index of the member called `name`. Indices are 0, 1, 2, ... in the order in which members were
 *  added. RELORA_E_NOT_FOUND if there is no such member. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_group_find(const relora_group *group, const char *name, int32_t *index);
/** The name of a member, borrowed: lives as long as `group`. NULL if there is no such member.
 *  @since 0.5 @threads any @stream none */
RELORA_API const char *relora_group_name(const relora_group *group, int32_t index);
/** The layer, borrowed: lives as long as `group`. NULL if that member is not a layer.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_linear *relora_group_linear(const relora_group *group, int32_t index);
/** The parameter, borrowed: lives as long as `group`. NULL if that member is a layer. The parameters of
 *  layers come from relora_linear_param(). @since 0.5 @threads any @stream none */
RELORA_API relora_tensor *relora_group_value(const relora_group *group, int32_t index);
/** The gradient of the parameter, borrowed: lives as long as `group`. NULL if it has no gradient.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_tensor *relora_group_grad(const relora_group *group, int32_t index);

/** Call relora_linear_set_mode() for every layer that can take the mode: to LORA, at the end of a warm
 *  start, all layers in FULL whose rank is not 0; to FULL, since 0.6, all layers in LORA, which waits for
 *  the stream. Other layers stay as they are. Either all these layers change or none does: the memory is
 *  allocated and filled for every layer before the first one changes, so for a while the memory of both modes
 *  exists. Optimizers that hold one of these layers refuse to step from now on: call relora_adam_refresh() or
 *  create a new one.
 *  @param mode  RELORA_MODE_LORA or RELORA_MODE_FULL; LOWRANK is RELORA_E_UNSUPPORTED
 *  @return RELORA_E_STATE if there is no such layer; RELORA_E_NOT_FINITE as for relora_linear_set_mode()
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_set_mode(relora_group *group, relora_stream *stream,
                                               relora_linear_mode mode);

/** Call relora_linear_merge() for every layer in mode LORA or with a target (relora_linear_set_target). All
 *  layers are checked first. If a merge would put a NaN or an infinity into one of them, or finds one there
 *  (RELORA_E_NOT_FINITE, with the name of the layer), no layer is merged. Call relora_group_reset() next.
 *  (A relora_cycle does both, and also resets the moments.)
 *  @param cycle   use each value once, beginning with 1
 *  @param report  receives totals over the layers; may be NULL
 *  @return RELORA_E_STATE if there is no such layer, or one of them has no weight; the status of a
 *          relora_merge_fn that fails
 *  @since 0.5 @threads one @stream synchronises */
RELORA_API relora_status relora_group_merge(relora_group *group, relora_stream *stream, uint64_t cycle,
                                            relora_merge_report *report);

/** Call relora_linear_reset() for every layer in mode LORA or LOWRANK. RELORA_E_STATE if there is none.
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_reset(relora_group *group, relora_stream *stream, uint64_t cycle);

/** Set the gradients of all members to 0, and their sketches. @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_zero_grad(relora_group *group, relora_stream *stream);

RELORA_END
#endif
