/** @file relora/group.h
 *  The layers and other parameters of a model in one list, each under a name of its own. What is done to all of
 *  them takes one call here: the end of a warm start, a merge, gradients set to 0. An optimizer, a cycle, a
 *  state and a reader take a group at once, and so use the same names: relora_adam_add_group(),
 *  relora_cycle_add_group(), relora_state_add_group(), relora_reader_read_group().
 *
 *  A group computes nothing in the forward or backward pass: those take the layers themselves. Layers that
 *  read one input, such as query, key and value, can be wrapped into neighbouring elements of an array of
 *  the host, which relora_linear_forward_shared() takes. */
#ifndef RELORA_GROUP_H
#define RELORA_GROUP_H

#include "relora/export.h"
#include "relora/linear.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** An empty group. Everything in it will be on `device`.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_group_create(relora_group **out, relora_device *device);

/** Let go of all members. A layer lives on as long as an optimizer, a cycle or a state holds it. NULL is
 *  allowed. @since 0.5 @threads any @stream none */
RELORA_API void relora_group_release(relora_group *group);

/** Make a layer over a weight of the host, relora_linear_create() and relora_linear_set_weight() in one, and
 *  add it. One options struct serves for many layers, because the group fills in what tells them apart:
 *  `layer` is the number of layers before it, in_features, out_features and dtype are those of `weight`
 *  (set features have to agree), and RELORA_LINEAR_BIAS is set if `bias` is given.
 *  @param name    copied; not empty, and new in the group (RELORA_E_EXISTS)
 *  @param weight  [out, in], retained and used in place; NULL in LOWRANK, and only there
 *  @param bias    [out] F32, retained and used in place; NULL for no bias or, with RELORA_LINEAR_BIAS, one of
 *                 the layer's own
 *  @param linear  receives the layer, borrowed: it lives as long as the group. May be NULL
 *  @return RELORA_E_EXISTS also if the weight shares memory with a member
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_wrap(relora_group *group, const char *name, relora_tensor *weight,
                                           relora_tensor *bias, const relora_linear_options *options,
                                           relora_linear **linear);

/** Add a layer made by relora_linear_create() and retain it. If it has the seed and the layer number of
 *  another one in the group, both draw the same A and the same dropout masks: the log says so once, at
 *  RELORA_LOG_WARN. RELORA_E_EXISTS if the name is taken, the layer is in the group, or its weight shares
 *  memory with a member. @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_add_linear(relora_group *group, const char *name,
                                                 relora_linear *linear);

/** Add a parameter that belongs to no layer, such as an embedding or a norm, and retain its tensors.
 *  @param grad  of the same shape; NULL if the parameter is not trained, and only saved and read
 *  @return RELORA_E_EXISTS if the name is taken or the memory is that of a member
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_group_add_param(relora_group *group, const char *name,
                                                relora_tensor *param, relora_tensor *grad);

/** Number of members, layers and parameters; -1 if `group` is NULL.
 *  @since 0.5 @threads any @stream none */
RELORA_API int32_t relora_group_count(const relora_group *group);
/** Index of the member called `name`: 0, 1, 2, ... in the order in which they were added.
 *  RELORA_E_NOT_FOUND if there is none. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_group_find(const relora_group *group, const char *name, int32_t *index);
/** Borrowed: lives as long as `group`. NULL if there is no such member.
 *  @since 0.5 @threads any @stream none */
RELORA_API const char *relora_group_name(const relora_group *group, int32_t index);
/** Borrowed: lives as long as `group`. NULL if that member is not a layer.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_linear *relora_group_linear(const relora_group *group, int32_t index);
/** The parameter, borrowed: lives as long as `group`. NULL if that member is not a parameter; a layer has
 *  its own at relora_linear_param(). @since 0.5 @threads any @stream none */
RELORA_API relora_tensor *relora_group_value(const relora_group *group, int32_t index);
/** The gradient of the parameter, borrowed: lives as long as `group`. NULL if there is none.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_tensor *relora_group_grad(const relora_group *group, int32_t index);

/** relora_linear_set_mode() for every layer in mode FULL that was made with a rank: the end of a warm start.
 *  Layers of rank 0 stay FULL, others stay as they are. All of them change or none: the memory is taken and
 *  filled for every layer before the first one changes, so that for a while the factors are there beside
 *  the gradients of W. Optimizers that hold one of these layers refuse to step from now on: make a new one.
 *  @param mode  RELORA_MODE_LORA; another is RELORA_E_UNSUPPORTED
 *  @return RELORA_E_STATE if no layer is in mode FULL with a rank
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_set_mode(relora_group *group, relora_stream *stream,
                                               relora_linear_mode mode);

/** relora_linear_merge() for every layer in mode LORA. All factors are looked at first: if one of them is not
 *  finite (RELORA_E_NOT_FINITE, with the name of the layer), no layer is merged. relora_group_reset() has
 *  to follow. (A relora_cycle does both, and resets the moments.)
 *  @param cycle   use each value once, from 1
 *  @param report  totals over the layers; may be NULL
 *  @return RELORA_E_STATE if no layer is in mode LORA, or one of them has no weight
 *  @since 0.5 @threads one @stream synchronises */
RELORA_API relora_status relora_group_merge(relora_group *group, relora_stream *stream, uint64_t cycle,
                                            relora_merge_report *report);

/** relora_linear_reset() for every layer in mode LORA or LOWRANK; RELORA_E_STATE if there is none.
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_reset(relora_group *group, relora_stream *stream, uint64_t cycle);

/** Set every gradient of every member to 0. @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_group_zero_grad(relora_group *group, relora_stream *stream);

RELORA_END
#endif
