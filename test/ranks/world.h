/* The same small training run in one rank or several: parameters of many sizes and both types, and layers. A gradient
 * is a small multiple of 1/64, so that sums of them and of their squares are exact in any order: whatever the
 * number of ranks, the bits must be those of one rank with the data of all. */
#ifndef TEST_RANKS_WORLD_H
#define TEST_RANKS_WORLD_H

#include <check.h>
#include "support/ranks.h"

enum { PLAIN = 6, LAYERS = 2, IN = 24, OUT = 20, RANK = 4, PARAMS = PLAIN + 2 * LAYERS };

struct world {
    relora_adam *adam;
    uint16_t *gapped; /* memory of the last one, whose rows have gaps */
    relora_tensor *value[PLAIN], *grad[PLAIN], *weight[LAYERS];
    relora_linear *layer[LAYERS];
    int32_t first, data; /* gradients are those of ranks first to first + data - 1 */
};

struct plan { /* of a run; `user` of each rank */
    uint32_t flags;
    double max_norm;
    int apart;                                            /* the optimizer does not know of other ranks */
    relora_init init;                                     /* of the layers; 0 for the default */
    uint32_t layer_flags;                                 /* of the layers */
    relora_linear_mode mode;                              /* they begin in; 0 for the default */
    void (*work)(struct rank *rank, struct world *world); /* after the world is made */
    int32_t of;                                           /* ranks whose data one rank alone has */
    unsigned char *bytes[RANKS_MOST];                     /* what world_keep() kept of each rank */
    size_t kept[RANKS_MOST];
    void (*next)(struct rank *rank, struct world *world); /* for work() */
    void *more;
};

/** To prepare ranks: their device is that of a module that passes the CPU off as a GPU. */
void world_on_fake(struct rank *rank);
/** Run plan->work in `size` ranks. With one, it has the data of plan->of ranks. */
struct rank *world_run(int32_t size, rank_fn prepare, struct plan *plan);
/** The same in this process, as the rank of `comm`. */
void world_run_here(const relora_comm *comm, struct plan *plan);
/** An update of exact gradients. */
void world_step(struct rank *rank, struct world *world, int64_t step, relora_step_report *report);
void world_set_grads(struct rank *rank, struct world *world, int64_t step);
/** Exact values, as of one gradient more, in a tensor of the caller. */
void world_fill(struct rank *rank, const struct world *world, relora_tensor *tensor, int64_t step);
/** Keep all parameters, and any bytes, to be compared. */
void world_keep(struct rank *rank, const struct world *world);
void world_keep_bytes(struct rank *rank, const void *bytes, size_t size);
/** All ranks have kept the same, and `other` has too. */
void world_same(const struct plan *plan, int32_t size, const struct plan *other);
void world_free(struct plan *plan);
/** Run `plan` in `size` ranks and `alone` in one: all keep the same. Both are freed. */
void world_as_one(int32_t size, rank_fn prepare, struct plan *plan, struct plan *alone);

/** An optimizer with the plan's options over the parameters of a world; more of them, for a new optimizer. */
relora_adam *world_adam(struct rank *rank, struct world *world);

Suite *ranks_steps(void);
Suite *ranks_failures(void);
Suite *ranks_resets(void);
Suite *ranks_states(void);
Suite *ranks_apart(void);
Suite *ranks_turns(void);
Suite *ranks_nccl(void);

#endif
