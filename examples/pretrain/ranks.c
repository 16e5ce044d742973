#include "ranks.h"

#include <stdlib.h>
#include "report.h"

/* ---- what a launcher says: Open MPI, then MPICH and Slurm with PMI, then PMIx ---- */

static int number_of(const char *const *variables, int otherwise)
{
    for (; *variables; variables++) {
        const char *text = getenv(*variables);
        if (text && *text >= '0' && *text <= '9') return (int)strtol(text, NULL, 10);
    }
    return otherwise;
}

int ranks_are_launched(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL};
    static const char *const indices[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", NULL};
    return number_of(sizes, number_of(indices, -1) < 0 ? 1 : 2) > 1;
}

int ranks_launched_index(void)
{
    static const char *const indices[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", NULL};
    return ranks_are_launched() ? number_of(indices, 0) : 0;
}

int ranks_launched_here(void)
{
    static const char *const counts[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                         "SLURM_STEP_TASKS_PER_NODE", NULL};
    int count = ranks_are_launched() ? number_of(counts, 1) : 1;
    return count > 0 ? count : 1;
}

/* ---- the ranks ---- */

const relora_comm *ranks_comm(const struct ranks *ranks)
{
    return ranks->count > 1 ? &ranks->comm : NULL;
}

int ranks_sum(const struct ranks *ranks, double *values, int count)
{
    const relora_comm *c = &ranks->comm;
    if (ranks->count == 1 || c->sum(c->user, NULL, values, count, RELORA_COMM_F64) >= 0) return 0;
    return fail("rank %d of %d: %s", ranks->index, ranks->count, c->error(c->user));
}

int ranks_agree(const struct ranks *ranks, int result)
{
    double failed = result != 0;
    return ranks_sum(ranks, &failed, 1) || failed > 0.0 ? -1 : 0;
}
