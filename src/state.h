/* The list of things that make up a run. */
#ifndef RELORA_SRC_STATE_H
#define RELORA_SRC_STATE_H

#include "adam.h"
#include "reader.h"
#include "relora/state.h"
#include "text.h"
#include "writer.h"

/* Compare a description with that of a file; RELORA_E_STATE with the reason in `why`. */
typedef relora_status (*compare_fn)(const char *ours, const char *theirs, struct text *why);

struct state_part {
    struct member is; /* name or prefix; PART_TENSOR: the value; PART_LINEAR: the layer */
    enum { PART_TENSOR = 1, PART_LINEAR, PART_ADAM, PART_TEXT, PART_BYTES } kind;
    char *text;         /* PART_TEXT: the value of a metadata pair whose key is the name */
    compare_fn compare; /* for a description of ours; NULL for a pair of the host */
    relora_adam *adam;  /* PART_ADAM */
    void *bytes;        /* PART_BYTES: the host's */
    size_t size;
};

struct relora_state {
    relora_context *ctx;
    struct registry parts; /* of struct state_part */
    relora_layout layout;  /* of weights in exports */
};

static inline struct state_part *state_at(const relora_state *state, int32_t index)
{
    return registry_at(&state->parts, index);
}

#endif
