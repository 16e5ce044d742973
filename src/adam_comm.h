/* An optimizer among other ranks. All registered parameters form one row of elements, each parameter at a
 * multiple of COMM_ALIGN, which is sent in pieces. With RELORA_ADAM_SHARD_STATE rank r has the moments of
 * share r of this row: equal pieces, the last ones shorter or empty. A cut may go through a parameter. */
#ifndef RELORA_SRC_ADAM_COMM_H
#define RELORA_SRC_ADAM_COMM_H

#include "adam.h"

static inline int adam_is_sharded(const relora_adam *adam)
{
    return comm_has_others(&adam->comm) && (adam->options.flags & RELORA_ADAM_SHARD_STATE);
}

/* Elements of a parameter whose moments this rank has: `count` from the first on. */
struct adam_own {
    int64_t first, count;
};
struct adam_own adam_own(const relora_adam *adam, int32_t index);

/* Make the moments of the shares, once: nothing can be registered after it. Does nothing without shares. */
relora_status adam_share(const struct call *c, relora_adam *adam);

/* Before the sweep: the gradients become their sum over all ranks, of shares the own one alone. */
relora_status adam_sum_grads(const struct call *c, relora_adam *adam);
/* After the sweep over shares: every parameter comes from who has updated it. */
relora_status adam_gather_params(const struct call *c, relora_adam *adam);
/* *sum, on the device, becomes the sum over all ranks. */
relora_status adam_sum_squares(const struct call *c, const relora_adam *adam, double *sum);

/* Both moments of a parameter from all shares, into arrays of its size on the device; and the own share of
 * such arrays back. */
relora_status adam_gather_moment(const struct call *c, const relora_adam *adam, int32_t index,
                                 relora_moment moment, float *whole);
relora_status adam_take_share(const struct call *c, const relora_adam *adam, int32_t index,
                              relora_moment moment, const float *whole);

/* The parameters that are included become their mean over the ranks of `comm`, rounded alike on all of them as a function
 * of `number`. */
relora_status adam_average(const struct call *c, const struct comm *comm, relora_adam *adam, uint64_t number,
                           int (*includes)(void *user, const struct adam_entry *entry), void *user);

/* Do all ranks have the same parameters? Once, and again when one was added. */
relora_status adam_check_same(const struct call *c, relora_adam *adam);

#endif
