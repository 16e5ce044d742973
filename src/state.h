/* The list of things that make up a run. */
#ifndef RELORA_SRC_STATE_H
#define RELORA_SRC_STATE_H

#include "adam.h"
#include "reader.h"
#include "relora/state.h"
#include "text.h"
#include "writer.h"

struct state_part {
    enum { PART_TENSOR = 1, PART_LINEAR, PART_ADAM, PART_TEXT } kind;
    char *name;  /* or prefix */
    char *text;  /* PART_TEXT: the value of a metadata pair whose key is `name` */
    relora_status (*compare)(const char *ours, const char *theirs, struct text *why); /* its own, for ours */
    relora_tensor *tensor;
    relora_linear *linear;
    relora_adam *adam;
};

struct relora_state {
    relora_context *ctx;
    struct state_part *parts;
    int32_t count, capacity;
};

#endif
