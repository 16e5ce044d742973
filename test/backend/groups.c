/* A device that fails while a whole group changes: every layer is what it was, or every one has changed. */
#include "backend/rounds.h"
#include "backend/suites.h"

enum { LAYERS = 3, IN = 6, OUT = 5, RANK = 2 };

static relora_group *group;
static relora_linear *layer[LAYERS];

static void open_group(relora_linear_mode mode)
{
    static const char *const names[] = {"a", "b", "c"};
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    env_open();
    relora_stream_release(env.st);
    faulty = (struct faulty){0};
    faulty_install(env.ctx);
    OK(relora_stream_create(&env.st, env.dev));
    group = new_group();
    for (int i = 0; i < LAYERS; i++) {
        o.layer = (uint64_t)i;
        layer[i] = new_filled_linear(&o, &r);
        OK(relora_group_add_linear(group, names[i], layer[i]));
    }
}

static void close_group(void)
{
    env_close();
    ck_assert_int_eq(faulty.bytes, 0);
    ck_assert_int_eq(faulty.queues, 0);
}

static void is_full(void)
{
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_int_eq(relora_linear_get_mode(layer[i]), RELORA_MODE_FULL);
        ck_assert_ptr_nonnull(relora_linear_grad(layer[i], RELORA_PARAM_WEIGHT));
        ck_assert_ptr_null(relora_linear_param(layer[i], RELORA_PARAM_A));
        ck_assert_ptr_null(relora_linear_grad(layer[i], RELORA_PARAM_B));
    }
}

/* Every call of the backend fails in turn, for want of memory or because the device does. */
START_TEST(test_set_mode)
{
    relora_status status = RELORA_E_BACKEND;
    int64_t n = 1;
    for (; status < 0; n++) {
        open_group(RELORA_MODE_FULL);
        faulty_plan(_i ? FAULT_DEVICE : FAULT_MEMORY, n);
        status = relora_group_set_mode(group, env.st, RELORA_MODE_LORA);
        faulty_plan(FAULT_MEMORY, 0);
        if (status < 0) is_full();
        for (int i = 0; i < LAYERS && status >= 0; i++)
            ck_assert_int_eq(relora_linear_get_mode(layer[i]), RELORA_MODE_LORA);
        close_group();
    }
    ck_assert_int_ge(n, 6 * LAYERS); /* A, B and their gradients, and what fills them */
}
END_TEST

/* The other way. What has failed while W was written is not known to be the old W, but the layer is in LORA. */
START_TEST(test_set_mode_back)
{
    relora_status status = RELORA_E_BACKEND;
    int64_t n = 1;
    for (; status < 0; n++) {
        open_group(RELORA_MODE_LORA);
        faulty_plan(_i ? FAULT_DEVICE : FAULT_MEMORY, n);
        status = relora_group_set_mode(group, env.st, RELORA_MODE_FULL);
        faulty_plan(FAULT_MEMORY, 0);
        for (int i = 0; i < LAYERS; i++) {
            ck_assert_int_eq(relora_linear_get_mode(layer[i]),
                             status < 0 ? RELORA_MODE_LORA : RELORA_MODE_FULL);
            ck_assert_int_eq(relora_linear_grad(layer[i], RELORA_PARAM_WEIGHT) == NULL, status < 0);
            ck_assert_int_eq(relora_linear_grad(layer[i], RELORA_PARAM_A) == NULL, status >= 0);
        }
        close_group();
    }
    ck_assert_int_ge(n, 6 * LAYERS); /* the gradient of W and its zeros, and the merge */
}
END_TEST

/* An optimizer that cannot follow stays as it is. */
START_TEST(test_refresh)
{
    relora_status status = RELORA_E_BACKEND;
    int64_t n = 1;
    for (; status < 0; n++) {
        open_group(RELORA_MODE_LORA);
        relora_adam *adam = new_adam(NULL);
        OK(relora_adam_add_group(adam, group));
        OK(relora_linear_set_mode(layer[1], env.st, RELORA_MODE_FULL));
        faulty_plan(_i ? FAULT_DEVICE : FAULT_MEMORY, n);
        status = relora_adam_refresh(adam, env.st);
        faulty_plan(FAULT_MEMORY, 0);
        ck_assert_int_eq(relora_adam_count(adam), status < 0 ? 2 * LAYERS : 2 * LAYERS - 1);
        ck_assert_str_eq(relora_adam_name(adam, 2), status < 0 ? "b.lora_A.weight" : "b.weight");
        close_group();
    }
    ck_assert_int_ge(n, 3 * LAYERS); /* step counts, and the moments of W */
}
END_TEST

Suite *backend_groups(void)
{
    Suite *s = suite_create("failing backend: groups");
    TCase *tc = tcase_create("groups");
    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, test_set_mode, 0, 2);
    tcase_add_loop_test(tc, test_set_mode_back, 0, 2);
    tcase_add_loop_test(tc, test_refresh, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
