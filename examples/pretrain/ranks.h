/* The processes of a run: one, or several that mpirun or srun has started. All have the same model, each has
 * micro-batches of its own, and rank 0 alone prints and writes. Without MPI there is only one (make MPI=0). */
#ifndef PRETRAIN_RANKS_H
#define PRETRAIN_RANKS_H

#include <relora/relora.h>

struct ranks {
    int index, count;
    relora_comm comm;
    void *mpi; /* NULL if this process is the only one */
};

/* What the launcher says before MPI has begun: are there several processes, which is this, how many on this machine? */
int ranks_are_launched(void);
int ranks_launched_index(void);
int ranks_launched_here(void);

/* -1 after a sentence: this build has no MPI, or MPI does not begin. */
int ranks_begin(struct ranks *ranks);
/* The end. A rank that is lost, as it failed without the others, tells them why, so that they do not wait for it. */
void ranks_end(struct ranks *ranks, int lost);

/* The table for an optimizer; NULL for a process alone. */
const relora_comm *ranks_comm(const struct ranks *ranks);

/* Each value becomes its sum over all ranks; -1 after a sentence. */
int ranks_sum(const struct ranks *ranks, double *values, int count);
/* 0 if `result` is 0 on every rank. -1 on all otherwise: who failed has said why. */
int ranks_agree(const struct ranks *ranks, int result);

#endif
