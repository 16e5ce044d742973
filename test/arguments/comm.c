/* The table of a communicator, in the options of an optimizer. */
#include "arguments/arguments.h"

static relora_status nothing(void *user, void *native, void *data, int64_t count, relora_comm_type type)
{
    (void)user, (void)native, (void)data, (void)count, (void)type;
    return RELORA_OK;
}

static relora_comm good_table(void)
{
    relora_comm comm;
    OK(relora_comm_init(&comm, sizeof comm));
    comm.rank = 1;
    comm.size = 2;
    comm.sum = comm.reduce_scatter = comm.all_gather = nothing;
    return comm;
}

#define BAD(field_, value_, status_, ...)                                                   \
    do {                                                                                    \
        relora_adam_options o_ = adam_options();                                            \
        relora_comm comm_ = good_table();                                                   \
        relora_adam *a_ = POISON;                                                           \
        o_.comm = &comm_;                                                                   \
        comm_.field_ = value_;                                                              \
        FAILS(status_, relora_adam_create(&a_, env.dev, &o_), "options.comm", __VA_ARGS__); \
        ck_assert_ptr_null(a_);                                                             \
    } while (0)

START_TEST(test_fields)
{
    BAD(rank, -1, RELORA_E_ARGUMENT, "rank is -1");
    BAD(rank, 2, RELORA_E_ARGUMENT, "rank is 2", "size is 2");
    BAD(size, 0, RELORA_E_ARGUMENT, "size is 0");
    BAD(size, -3, RELORA_E_ARGUMENT, "size is -3");
    BAD(size, 1, RELORA_E_ARGUMENT, "rank is 1", "size is 1");
    BAD(memory, 0, RELORA_E_ARGUMENT, "memory is 0");
    BAD(memory, 3, RELORA_E_ARGUMENT, "memory is 3");
    BAD(sum, NULL, RELORA_E_ARGUMENT, "sum", "NULL");
    BAD(reduce_scatter, NULL, RELORA_E_ARGUMENT, "reduce_scatter", "NULL");
    BAD(all_gather, NULL, RELORA_E_ARGUMENT, "all_gather", "NULL");
    BAD(struct_size, 0, RELORA_E_STRUCT_SIZE, "struct_size");
    BAD(struct_size, (uint32_t)sizeof(void *), RELORA_E_STRUCT_SIZE, "struct_size");
}
END_TEST

/* Memory of a GPU cannot be where the CPU computes; memory of the host can be for both. */
START_TEST(test_memory)
{
    relora_comm comm = good_table();
    relora_adam_options o = adam_options();
    relora_adam *adam = POISON;
    o.comm = &comm;
    if (cpu_only()) return;
    comm.memory = RELORA_DEVICE_CUDA;
    FAILS(RELORA_E_DEVICE, relora_adam_create(&adam, env.dev, &o), "options.comm.memory", "CUDA");
    ck_assert_ptr_null(adam);
}
END_TEST

START_TEST(test_struct_size)
{
    struct padded p;
    relora_comm comm = good_table();
    relora_adam_options o = adam_options();
    relora_adam *adam = POISON;
    o.comm = (const relora_comm *)bad_struct_size(&p, &comm, sizeof comm, _i);
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_create(&adam, env.dev, &o), "options.comm", "struct_size");
    ck_assert_ptr_null(adam);
}
END_TEST

/* A run alone needs no functions. The table is copied, so it may go. */
START_TEST(test_alone)
{
    relora_comm comm;
    relora_adam_options o = adam_options();
    relora_adam *adam;
    struct rnd r = rnd_seed(1);
    OK(relora_comm_init(&comm, sizeof comm));
    o.comm = &comm;
    o.flags |= RELORA_ADAM_SHARD_STATE;
    OK(relora_adam_create(&adam, env.dev, &o));
    memset(&comm, 0xFF, sizeof comm);
    add_vector(adam, "p", 40, &r, NULL, NULL);
    ck_assert_ptr_nonnull(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST)); /* all of it is this rank's */
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    relora_adam_release(adam);
}
END_TEST

START_TEST(test_init)
{
    relora_comm comm;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_comm_init(NULL, sizeof comm));
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, relora_comm_init(&comm, 3));
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, relora_comm_init(&comm, 4097));
    OK(relora_comm_init(&comm, sizeof comm));
    ck_assert_uint_eq(comm.struct_size, sizeof comm);
    ck_assert_int_eq(comm.size, 1);
    ck_assert_int_eq(comm.memory, RELORA_DEVICE_CPU);
}
END_TEST

Suite *comm_arguments(void)
{
    Suite *s = suite_create("arguments of communicators");
    TCase *tc = env_case(s, "comm", 30);
    tcase_add_test(tc, test_fields);
    tcase_add_test(tc, test_memory);
    tcase_add_loop_test(tc, test_struct_size, 0, 5);
    tcase_add_test(tc, test_alone);
    tcase_add_test(tc, test_init);
    return s;
}
