/* The end of a cycle, for one layer or for many. */
#ifndef RELORA_SRC_LINEAR_MERGE_H
#define RELORA_SRC_LINEAR_MERGE_H

#include "comm.h"
#include "group.h"
#include "linear_init.h"

struct merge_job { /* what is done to the layers of a registry */
    const struct registry *layers;
    int32_t lora_only; /* leave out what has nothing to merge, which is an error otherwise */
    int32_t merges;    /* W += s B A */
    const struct comm
        *comm; /* of ranks that train apart: W gets the mean of what all of them have; NULL for none */
    const struct comm *together; /* of ranks that train together; NULL for none */
    int32_t draws;               /* then factors drawn afresh, layer by layer */
    uint64_t cycle;
    int32_t measures; /* what their A have in common with those before, into the report */
    /* The moments of B of a layer, which go with A: all but the two A. May be NULL. */
    void (*moments)(void *user, int32_t index, struct transport *transport);
    int (*includes)(void *user, int32_t index); /* is it the turn of this layer? NULL: it is that of all */
    void (*before)(void *user); /* called when every layer was looked at and none is changed; may be NULL */
    void *user;
};

/* Is there something to merge, and a place for it? */
relora_status linear_check_merge(const struct call *c, const relora_linear *linear);

/* All of the layers or, but for a failure of the device or of a host's callback, none: every mode and every
 * factor is looked at first, and the memory taken that the products need. Waits for the device once for
 * MERGE_BATCH layers looked at, and once at the end. Fills the report of what was merged. */
relora_status linear_merge_all(const struct call *c, const struct merge_job *job,
                               relora_merge_report *report);

/* A layer with a callback: the host merges, or looks, by `flags`. The squares of its norms are added.
 * `linear_target.c` */
relora_status linear_call_merge(const struct call *c, relora_linear *linear, uint64_t cycle, uint32_t flags,
                                double squares[2]);

/* One slice of W + s B A, rounded to nearest, into `out` on the device; W stays. */
relora_status linear_merged_rows(const struct call *c, relora_linear *linear, int64_t first, struct view out);

#endif
