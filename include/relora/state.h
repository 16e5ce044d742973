/** @file relora/state.h
 *  Everything that makes up a training run, saved by one call and restored by another, so that a resumed
 *  run continues bit for bit. Also exports for other programs: plain weights, adapters and deltas.
 *
 *  A state lists objects by name. Its file is a safetensors file with the names of the authors' code:
 *  "<prefix>.weight", ".bias", ".lora_A.weight", ".lora_B.weight" and ".scaling" for a layer, and
 *  ".delta" for a layer that keeps one; "<prefix>.<parameter>.exp_avg", ".exp_avg_sq" and
 *  "<prefix>.steps" for an optimizer. Metadata "relora.<kind>.<prefix>" describes each object. An empty
 *  prefix has no dot. Random numbers have no state of their own. They are functions of seeds, which
 *  the descriptions contain, and of steps, which the host stores with relora_state_set(). */
#ifndef RELORA_STATE_H
#define RELORA_STATE_H

#include "relora/adam.h"
#include "relora/checkpoint.h"
#include "relora/cycle.h"
#include "relora/export.h"
#include "relora/linear.h"
#include "relora/schedule.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** Create an empty state. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_state_create(relora_state **out, relora_context *ctx);
/** Free the state and release its objects. NULL is allowed. @since 0.2 @threads any @stream none */
RELORA_API void relora_state_release(relora_state *state);

/** Add one tensor of the host, such as an embedding or a norm. It is retained. A save reads its values, and a
 *  load writes them. Saving and loading refuse two objects with a tensor of the same name (RELORA_E_EXISTS).
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_add_tensor(relora_state *state, const char *name,
                                                 relora_tensor *tensor);
/** Add every parameter the layer has when the state is saved or loaded, and a description of it.
 *  The layer is kept alive. Saving and loading refuse two layers with the same prefix (RELORA_E_EXISTS), and
 *  two optimizers. @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_add_linear(relora_state *state, const char *prefix,
                                                 relora_linear *linear);
/** relora_state_add_linear() and relora_state_add_tensor() for every member of the group, under its name; all
 *  of them or, on a failure, none. What is added to the group later is not in the state.
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_state_add_group(relora_state *state, const relora_group *group);
/** Add both moments and the step count of every parameter. The optimizer is kept alive. With other ranks
 *  (relora_adam_options.comm) every rank makes the calls that save and load the state. Rank 0 writes the
 *  file, which does not say how many ranks there were: any number of them can load it.
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_add_adam(relora_state *state, const char *prefix, relora_adam *adam);
/** Add a description of the schedule, which is not kept alive. A second one under the same prefix
 *  is RELORA_E_EXISTS.
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_add_schedule(relora_state *state, const char *prefix,
                                                   const relora_schedule *schedule);
/** Add a description of the cycle, which is not kept alive. A second one under the same prefix is
 *  RELORA_E_EXISTS.
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_add_cycle(relora_state *state, const char *prefix,
                                                const relora_cycle *cycle);
/** Add memory of the host that is no tensor, such as the position of a data loader or the state of a random
 *  generator. It is used in place: a save reads it, and a load writes it together with everything else. The
 *  file has it as a tensor U8 [bytes], and a load refuses any other size (RELORA_E_SHAPE). Releases before
 *  0.6 refuse to load such a file. The byte order is the host's.
 *  @param data must stay valid as long as the state; may be NULL if `bytes` is 0
 *  @since 0.6 @threads one @stream none */
RELORA_API relora_status relora_state_add_bytes(relora_state *state, const char *name, void *data,
                                                size_t bytes);
/** Set one pair of metadata of the host: step, data position, settings. Both strings are copied. The key
 *  must not begin with "relora."; a later value replaces an earlier one. Read it back with
 *  relora_reader_metadata(). A save refuses names and texts that are not UTF-8.
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_state_set(relora_state *state, const char *key, const char *value);

/** Save the state as relora_writer_save() does: at any step, but before relora_cycle_finish() if the run may
 *  continue. If an optimizer in it has other ranks, they all call this, and all return the status of rank 0.
 *  Only rank 0 writes the file, and needs memory for the moments that lie in shares.
 *  @param flags RELORA_SAVE_CHECKSUM or 0
 *  @return as relora_writer_save(); RELORA_E_STATE if nothing was added; RELORA_E_EXISTS if two objects have
 *          the same name
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_state_save(relora_state *state, relora_stream *stream, const char *path,
                                           uint32_t flags);

/** Restore the state from an open file. Everything is checked first, and nothing changes unless all fits.
 *  Each rank of several reads the file by itself. The file may be of another release: a field it lacks has
 *  its default, and one that this release does not know is refused unless it is 0.
 *  @return RELORA_E_STATE if a description differs, with the field and both values in the text;
 *          RELORA_E_NOT_FOUND if the file lacks something or has tensors left over; RELORA_E_SHAPE,
 *          RELORA_E_DTYPE or RELORA_E_FORMAT for a tensor that does not fit or is damaged; RELORA_E_EXISTS as
 *          for relora_state_save()
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_state_load(relora_state *state, relora_stream *stream, relora_reader *reader);

/* how exports write a weight */
typedef int32_t relora_layout;
enum {
    RELORA_LAYOUT_OWN = 1,    /**< as each layer has it */
    RELORA_LAYOUT_OUT_IN = 2, /**< [out, in], as in PyTorch's nn.Linear */
    RELORA_LAYOUT_IN_OUT = 3  /**< [in, out], as in GPT-2's Conv1D */
};

/** Choose the layout in which the exports below write the weights and deltas of all layers. At first it is
 *  RELORA_LAYOUT_OWN. The values are the same in every layout. relora_state_export_merged() in a layout that
 *  is not the layer's own needs memory for one W on the device. Saving and loading are not affected.
 *  @since 0.6 @threads one @stream none */
RELORA_API relora_status relora_state_set_export_layout(relora_state *state, relora_layout layout);

/** Write plain weights: W + s B A of each layer (s B A in LOWRANK), rounded to nearest into the layer's
 *  dtype, its bias, and the tensors of the host. The layers do not change. The export needs little memory.
 *  A layer with RELORA_LINEAR_IN_OUT is written as [in, out], unless relora_state_set_export_layout() says
 *  otherwise.
 *  @return as relora_writer_save(); RELORA_E_NOT_FOUND if there is neither a layer nor a tensor
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_state_export_merged(relora_state *state, relora_stream *stream,
                                                    const char *path);

/** Write the present A and B of every layer in mode LORA into an existing folder, as PEFT reads it:
 *  adapter_model.safetensors and adapter_config.json. They fit the present W, not the one before a
 *  merge. Each of the two files is replaced whole; a failure between them leaves the new tensors beside
 *  the old configuration.
 *  @param base_model  name or path of the base model, for the configuration; may be ""
 *  @return as relora_writer_save(); RELORA_E_NOT_FOUND if no layer is in mode LORA; RELORA_E_UNSUPPORTED if
 *          only some of them have RELORA_LINEAR_IN_OUT, because PEFT has one fan_in_fan_out for all: choose
 *          one with relora_state_set_export_layout(); RELORA_E_NOT_FINITE if a trainable scale is not finite
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_state_export_adapter(relora_state *state, relora_stream *stream,
                                                     const char *folder, const char *base_model);

/** Write the sum of all merges of each layer made with RELORA_LINEAR_KEEP_DELTA, as "<prefix>.weight" in F32.
 *  RELORA_E_NOT_FOUND if there is none; otherwise as relora_writer_save().
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_state_export_delta(relora_state *state, relora_stream *stream,
                                                   const char *path);

RELORA_END
#endif
