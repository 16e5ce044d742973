/* relora/comm_nccl.h, between threads, by a header in the place of NCCL's. */
#include <nccl.h>
#include <relora/comm_nccl.h>
#include <stdlib.h>
#include "ranks/world.h"

static struct stub *stub;

static void run(struct rank *rank, struct world *w)
{
    for (int64_t step = 0; step < 3; step++) {
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL));
    }
    world_keep(rank, w);
}

static struct ncclComm comms[STUB_MOST];
static relora_comm_nccl tables[STUB_MOST];

/* The table is that of a GPU; here its memory is the CPU's. */
static void use_nccl(struct rank *rank)
{
    int32_t r = rank->comm.rank;
    comms[r] = (struct ncclComm){.all = stub, .rank = r};
    RANK_OK(rank, relora_comm_nccl_open(&tables[r], &rank->comm, &comms[r]));
    RANK_TRUE(rank, rank->comm.rank == r && rank->comm.memory == RELORA_DEVICE_CUDA);
    rank->comm.memory = RELORA_DEVICE_CPU;
}

START_TEST(test_like_one)
{
    int32_t size = 2 + _i / 2;
    struct plan plan = {.flags = _i % 2 ? RELORA_ADAM_SHARD_STATE : 0, .max_norm = 0.5, .work = run};
    struct plan alone = {.max_norm = 0.5, .work = run, .of = size};
    stub = calloc(1, sizeof *stub);
    stub->size = size;
    pthread_barrier_init(&stub->barrier, NULL, (unsigned)size);
    world_as_one(size, use_nccl, &plan, &alone);
    pthread_barrier_destroy(&stub->barrier);
    free(stub);
}
END_TEST

START_TEST(test_failure)
{
    float x[4] = {1, 2, 3, 4};
    relora_comm comm;
    stub = calloc(1, sizeof *stub);
    stub->size = 1;
    pthread_barrier_init(&stub->barrier, NULL, 1);
    comms[0] = (struct ncclComm){.all = stub};
    ck_assert_int_eq(relora_comm_nccl_open(&tables[0], &comm, &comms[0]), RELORA_OK);
    ck_assert_int_eq(comm.sum(comm.user, NULL, x, 4, RELORA_COMM_F32), RELORA_OK);
    comms[0].broken = ncclInProgress; /* a communicator that does not block */
    ck_assert_int_eq(comm.sum(comm.user, NULL, x, 4, RELORA_COMM_F32), RELORA_E_IO);
    comms[0].broken = ncclSystemError;
    ck_assert_int_lt(comm.sum(comm.user, NULL, x, 4, RELORA_COMM_F32), 0);
    ck_assert_str_eq(comm.error(comm.user), "unhandled system error");
    ck_assert_int_lt(relora_comm_nccl_open(&tables[0], &comm, &comms[0]), 0);
    free(stub);
}
END_TEST

Suite *ranks_nccl(void)
{
    Suite *s = suite_create("nccl");
    TCase *tc = tcase_create("nccl");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_like_one, 0, 6);
    tcase_add_test(tc, test_failure);
    suite_add_tcase(s, tc);
    return s;
}
