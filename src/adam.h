/* The optimizer's registry, as its own files and the cycle see it. */
#ifndef RELORA_SRC_ADAM_H
#define RELORA_SRC_ADAM_H

#include "comm.h"
#include "group.h"
#include "relora/adam.h"

#define ADAM_STEPS_MAX (INT64_C(1) << 53) /* exact in double */

struct adam_entry {                /* one registered parameter */
    struct member is;              /* its name, tensors, and the layer it belongs to, if any */
    relora_tensor *first, *second; /* moments; in shares this rank's, with one axis, or NULL */
    int64_t at;                    /* of its first element in the row of all parameters */
    int64_t *steps;                /* on the device, so that a step can skip itself */
    double lr_factor, weight_decay;
    uint64_t generation; /* of the layer when it was added */
    relora_param role;   /* in the layer */
};

struct relora_adam {
    atomic_int refs;
    relora_context *ctx;
    relora_device *device;
    relora_adam_options options;
    struct registry registry;       /* of struct adam_entry */
    relora_tensor *flat;            /* NULL until the gradients are flat */
    double last_rate, highest_rate; /* of the steps so far whose rate the host gave as a number */
    int64_t rates;                  /* how many */

    /* the other ranks (adam_comm.h) */
    struct comm comm;
    int64_t share; /* elements of the row of all parameters that are one rank's; 0 before there are shares */
    int32_t compared; /* parameters that were found equal on all ranks */

    /* the sweep over all parameters; made anew at the first step after one is added */
    int32_t planned; /* parameters it covers */
    int64_t chunk_count;
    struct adam_param *params; /* as they were last copied to the device */
    int32_t stale;             /* ... unless that failed */
    int32_t failures;          /* of the device, when they were copied */
    void *plan;                /* on the device, with all that follows in it */
    size_t plan_bytes;
    struct adam_param *device_params;
    struct adam_chunk *device_chunks;
    double *partials;
    struct adam_control *control;
    double *squares; /* of this rank's share, then of all */
};

static inline struct adam_entry *adam_at(const relora_adam *adam, int32_t index)
{
    return registry_at(&adam->registry, index);
}

/* Elements that a parameter of `count` takes in the row of all parameters, and those of the row so far. */
int64_t adam_span(int64_t count);
int64_t adam_row(const relora_adam *adam);

/* call_open() of a call about an optimizer. */
relora_status adam_open(struct call *c, const relora_adam *adam, relora_stream *stream);

/* The same, and `index` is a parameter. */
relora_status adam_open_index(struct call *c, const relora_adam *adam, relora_stream *stream, int32_t index);

relora_status adam_check_entry_index(const struct call *c, const relora_adam *adam, int32_t index);

/* A list of parameters: each there, none twice. */
relora_status adam_check_listed(const struct call *c, const relora_adam *adam, const int32_t *indices,
                                int32_t count);

/* A parameter or another tensor of it, `what` in sentences: there, and of the optimizer's device. */
relora_status adam_check_part(const struct call *c, const relora_adam *adam, const char *what,
                              const char *name, const relora_tensor *tensor);
/* Is it without gaps? */
relora_status adam_check_dense(const struct call *c, const char *what, const char *name,
                               const relora_tensor *tensor);

/* Has a tensor of the parameter, `what` in sentences, its memory? */
relora_status adam_check_memory(const struct call *c, const struct adam_entry *e, const char *what,
                                const relora_tensor *tensor);
/* Have the moments at `index`? */
relora_status adam_check_moments(const struct call *c, const relora_adam *adam, int32_t index);

/* relora_adam_add() in an open call. */
relora_status adam_add(const struct call *c, relora_adam *adam, const char *name, relora_tensor *param,
                       relora_tensor *grad);
void adam_drop_last(relora_adam *adam);

/* Let go of what the optimizer has made for the last parameters, and of them, so that `count` stay. */
void adam_drop_entries(relora_adam *adam, int32_t count);

/* Add one parameter with moments and a step count of 0 or, if a registered one is given that it stands in
 * for, with the moments, the count and the factors of that one. */
relora_status adam_register(const struct call *c, relora_adam *adam, const char *name,
                            const struct member *member, relora_param role, const struct adam_entry *from);

/* Add what the layer trains, or none of it. What is in `old`, if that is given, is stood in for. */
relora_status adam_add_linear(const struct call *c, relora_adam *adam, const char *prefix,
                              relora_linear *linear, const struct registry *old);

/* Moments that the host has lent are not to be a parameter or a gradient. */
relora_status adam_check_lent(const struct call *c, const relora_adam *adam, const char *name,
                              const struct member *member);

/* A layer's parameter among those of a registry, or NULL; its index in the optimizer, or -1. */
struct adam_entry *adam_find_part(const struct registry *parameters, const relora_linear *linear,
                                  relora_param role);
int32_t adam_index_of(const relora_adam *adam, const relora_linear *linear, relora_param role);

extern const struct options adam_table;

/* What it is (description.h), and whether a file's optimizer is the same: `adam_describe.c`. */
void adam_describe(const relora_adam *adam, struct text *text);
relora_status adam_compare(const relora_adam *adam, const char *theirs, struct text *why);

void adam_retain(relora_adam *adam);
void adam_plan_free(relora_adam *adam);

/* What one sweep over all parameters needs, with the device told of them; the call is open. */
relora_status adam_sweep_open(const struct call *c, struct adam *sweep, relora_adam *adam);

relora_status adam_read_steps(const struct call *c, const relora_adam *adam, int32_t index, int64_t *steps);
relora_status adam_write_steps(relora_adam *adam, struct queue *queue, int32_t index, int64_t steps);

#endif
