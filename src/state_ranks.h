/* A state that several ranks save together. */
#ifndef RELORA_SRC_STATE_RANKS_H
#define RELORA_SRC_STATE_RANKS_H

#include "adam_comm.h"
#include "state.h"

struct gathered {   /* moments that lie in shares, in the order of the state: on rank 0, on the host */
    void **moments; /* NULL elsewhere */
    int32_t count;
    relora_tensor *whole; /* room on the device for the largest */
};

/* The ranks of the first optimizer that has others; NULL if none has. */
const struct comm *state_comm(const relora_state *state);

/* Every rank calls it. Exchanges go on even if rank 0 has no memory for what comes. */
relora_status state_gather(const struct call *c, const relora_state *state, const struct comm *comm,
                           struct gathered *gathered);
void state_gather_free(const relora_state *state, struct gathered *gathered);

/* This rank's share of a moment that is whole in a file. */
relora_status state_load_share(const struct call *c, const relora_adam *adam, int32_t index,
                               relora_moment moment, const unsigned char *whole);

#endif
