/* The ranks by MPI, in a program that was made where there is one. */
#include "../ranks.h"

#include "../report.h"

static void alone(struct ranks *ranks)
{
    *ranks = (struct ranks){.count = 1};
    relora_comm_init(&ranks->comm, sizeof ranks->comm);
}

#ifdef PRETRAIN_MPI

#include <relora/comm_mpi.h>
#include <time.h>

int ranks_begin(struct ranks *ranks)
{
    int level;
    alone(ranks);
    if (!ranks_are_launched()) return 0;
    relora_comm_mpi *mpi = malloc(sizeof *mpi);
    if (!mpi || MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level)) {
        free(mpi);
        return fail("MPI does not start");
    }
    ranks->mpi = mpi;
    if (relora_comm_mpi_open(mpi, &ranks->comm, MPI_COMM_WORLD) < 0) return fail("MPI: %s", mpi->error);
    ranks->index = ranks->comm.rank;
    ranks->count = ranks->comm.size;
    return 0;
}

void ranks_end(struct ranks *ranks, int lost)
{
    const struct timespec moment = {.tv_nsec = 300000000};
    if (!ranks->mpi) return;
    if (lost) { /* an exchange may be unfinished, so MPI cannot end as it should */
        relora_comm_mpi_leave(ranks->mpi, report_last(), 20);
        nanosleep(&moment,
                  NULL); /* for the others to say what they were told, before the launcher ends them */
        return;
    }
    relora_comm_mpi_close(ranks->mpi);
    MPI_Finalize();
    free(ranks->mpi);
    ranks->mpi = NULL;
}

#else

int ranks_begin(struct ranks *ranks)
{
    alone(ranks);
    if (!ranks_are_launched()) return 0;
    return fail(
        "several processes were started, but this program was built without MPI; install one, such as "
        "libopenmpi-dev, and make it again");
}

void ranks_end(struct ranks *ranks, int lost)
{
    (void)ranks, (void)lost;
}

#endif
