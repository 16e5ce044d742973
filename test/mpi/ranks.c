/* relora/comm_mpi.h under mpirun. ranks TEST: the exchanges; a run in several ranks against one alone; a rank that leaves,
 * is silent, or is killed while others wait for it. Each rank prints nothing, or why it aborts. */
#include <math.h>
#include <relora/comm_mpi.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "ranks/world.h"

static relora_comm_mpi mpi;
static relora_comm comm;

static void must(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "rank %d: not so: %s (%s)\n", mpi.rank, what, mpi.error);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* ---- exchanges ---- */

static float f32_of(int rank, int64_t i) { return (float)((i * 7 + rank * 13) % 101 - 50) / 7; }

static float f32_sum(int64_t i) /* in the order of the ranks */
{
    float sum = f32_of(0, i);
    for (int r = 1; r < comm.size; r++) sum += f32_of(r, i);
    return sum;
}

static void sums(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    int64_t *k = malloc((size_t)n * sizeof *k);
    double *d = malloc((size_t)n * sizeof *d);
    for (int64_t i = 0; i < n; i++) {
        x[i] = f32_of(comm.rank, i);
        d[i] = 1e300 * (comm.rank % 2 ? -1 : 1) + (double)i;
        k[i] = INT64_MAX - i; /* it wraps around */
    }
    must(comm.sum(comm.user, NULL, x, n, RELORA_COMM_F32) == RELORA_OK, "the sum in F32");
    must(comm.sum(comm.user, NULL, d, n, RELORA_COMM_F64) == RELORA_OK, "the sum in F64");
    must(comm.sum(comm.user, NULL, k, n, RELORA_COMM_I64) == RELORA_OK, "the sum in I64");
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int r = 0; r < comm.size; r++) sum += 1e300 * (r % 2 ? -1 : 1) + (double)i;
        must(x[i] == f32_sum(i) && d[i] == sum, "sums are made in the order of the ranks");
        must((uint64_t)k[i] == (uint64_t)comm.size * (uint64_t)(INT64_MAX - i), "whole numbers are exact");
    }
    free(x), free(d), free(k);
}

static void parts(int64_t n)
{
    int64_t all = n * comm.size;
    float *x = malloc((size_t)all * sizeof *x);
    int64_t *k = malloc((size_t)all * sizeof *k);
    for (int64_t i = 0; i < all; i++) {
        x[i] = f32_of(comm.rank, i);
        k[i] = comm.rank == i / n ? (int64_t)1 << 40 | i : -1;
    }
    must(comm.reduce_scatter(comm.user, NULL, x, n, RELORA_COMM_F32) == RELORA_OK, "reduce_scatter");
    for (int64_t i = comm.rank * n; i < (comm.rank + 1) * n; i++)
        must(x[i] == f32_sum(i), "a part is its sum");
    must(comm.all_gather(comm.user, NULL, x, n, RELORA_COMM_F32) == RELORA_OK, "all_gather in F32");
    must(comm.all_gather(comm.user, NULL, k, n, RELORA_COMM_I64) == RELORA_OK, "all_gather in I64");
    for (int64_t i = 0; i < all; i++) {
        must(x[i] == f32_sum(i), "all parts came");
        must(k[i] == ((int64_t)1 << 40 | i), "all numbers came");
    }
    free(x), free(k);
}

static void exchanges(void)
{
    static const int64_t counts[] = {1, 2, 3, 16, 1000, 100003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        sums(counts[i]);
        parts(counts[i]);
    }
}

/* ---- a run ---- */

static void run(struct rank *rank, struct world *w)
{
    relora_step_report report = {.struct_size = sizeof report};
    for (int64_t step = 0; step < 4; step++) {
        world_step(rank, w, step, &report);
        RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL));
        world_keep_bytes(rank, &report, sizeof report);
    }
    world_keep(rank, w);
}

static void compare(uint32_t flags)
{
    struct plan plan = {.flags = flags, .max_norm = 0.5, .work = run};
    struct plan alone = {.max_norm = 0.5, .work = run, .of = comm.size};
    world_run(1, NULL, &alone);
    plan.of = comm.size;
    world_run_here(&comm, &plan);
    must(plan.kept[comm.rank] == alone.kept[0] &&
             memcmp(plan.bytes[comm.rank], alone.bytes[0], alone.kept[0]) == 0,
         "the bits are those of one rank");
    world_free(&plan);
    world_free(&alone);
}

/* ---- ranks that are lost ---- */

static int
    lost; /* the rank that is; in its 4th exchange, between the sum of the gradients and the parameters */
static const char *how;

static relora_status last_gather(void *user, void *native, void *data, int64_t count, relora_comm_type type)
{
    if (comm.rank == lost && type == RELORA_COMM_F32) {
        if (strcmp(how, "kill") == 0) raise(SIGKILL);
        if (strcmp(how, "leave") == 0) relora_comm_mpi_leave(&mpi, "the disk is full", 20);
        sleep(strcmp(how, "leave") == 0 ? 1 : 4); /* mpirun ends the others when it misses one */
        _exit(0);
    }
    return relora_comm_mpi_all_gather(user, native, data, count, type);
}

static void until_lost(struct rank *rank, struct world *w)
{
    char text[512];
    world_set_grads(rank, w, 0);
    relora_status status = relora_adam_step(w->adam, rank->st, 0.01, 1, NULL);
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    /* that of the parameters, or still that of the gradients, in which the lost rank had done its part */
    if (status != RELORA_E_COMM || !strstr(text, "of 3: the exchange of ")) must(0, text);
    if (strcmp(how, "leave") == 0 && !strstr(text, "rank 1 has left: the disk is full")) must(0, text);
    if (strcmp(how, "silent") == 0 && !strstr(text, "no answer from another rank for 1 seconds"))
        must(0, text);
    printf("rank %d was told\n", comm.rank);
    fflush(stdout);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL); /* so that all are */
    _exit(0);
}

static void lose(const char *name)
{
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = until_lost, .of = comm.size};
    how = name;
    lost = 1;
    mpi.seconds = strcmp(name, "leave") == 0 ? 60 : 1;
    comm.all_gather = last_gather;
    world_run_here(&comm, &plan);
}

int main(int argc, char **argv)
{
    const char *test = argc > 1 ? argv[1] : "";
    MPI_Init(&argc, &argv);
    if (relora_comm_mpi_open(&mpi, &comm, MPI_COMM_WORLD) < 0) must(0, "the communicator opens");
    if (strcmp(test, "exchanges") == 0) exchanges();
    else if (strcmp(test, "run") == 0) compare(0), compare(RELORA_ADAM_SHARD_STATE);
    else lose(test);
    relora_comm_mpi_close(&mpi);
    MPI_Finalize();
    return 0;
}
