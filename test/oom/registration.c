/* Calls that put one object into another: on a failure the collection is what it was. */
#include <stdio.h>
#include "oom/oom.h"

enum { MANY = 40, LAYERS = 18 }; /* past the first array of every collection */

static relora_adam *adam;
static int32_t registered, index_out;

static void check_adam(void)
{
    ck_assert_int_eq(relora_adam_count(adam), registered);
    ck_assert_int_eq(index_out, -7);
}

static void add_parameters(void)
{
    struct rnd rnd = rnd_seed(1);
    relora_tensor *param[MANY], *grad[MANY];
    adam = new_adam(NULL);
    for (int i = 0; i < MANY; i++) {
        param[i] = new_vector(RELORA_F32, i + 1);
        grad[i] = new_vector(RELORA_F32, i + 1);
        put_normal(param[i], &rnd, 1);
        put_normal(grad[i], &rnd, 1);
    }
    oom_begin();
    for (registered = 0; registered < MANY; registered++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", (int)registered);
        index_out = -7;
        SURVIVES(check_adam, relora_adam_add(adam, name, param[registered], grad[registered], &index_out));
        ck_assert_int_eq(index_out, registered);
    }
    SURVIVES(NULL, relora_adam_step(adam, env.st, 0.1, 1, NULL));
    for (int i = 0; i < MANY; i++) {
        oom_result_of(param[i]);
        oom_result_of(relora_adam_moment(adam, i, RELORA_MOMENT_SECOND));
    }
}

START_TEST(test_adam_add) { oom_play(add_parameters, _i, 5 * MANY); }
END_TEST

static void check_count(void) { ck_assert_int_eq(relora_adam_count(adam), registered); }

/* All of a layer's parameters or none; and the layer is usable with another optimizer meanwhile. */
static void add_layers(void)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 6, 4, 2);
    relora_linear *layer[LAYERS];
    struct rnd rnd = rnd_seed(1);
    relora_cycle_options co = cycle_options(5, 0);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    for (int i = 0; i < LAYERS; i++) layer[i] = new_filled_linear(&o, &rnd);
    adam = new_adam(NULL);
    relora_cycle *cycle = new_cycle(&co, adam, NULL);
    oom_begin();
    for (int i = 0; i < LAYERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        registered = relora_adam_count(adam);
        SURVIVES(check_count, relora_adam_add_linear(adam, name, layer[i]));
        ck_assert_int_eq(relora_adam_count(adam), registered + 4);
        SURVIVES(NULL, relora_cycle_add(cycle, layer[i]));
    }
    SURVIVES(NULL, relora_adam_step(adam, env.st, 0.1, 1, NULL));
    SURVIVES(NULL, relora_cycle_advance(cycle, env.st, 6, NULL, NULL, NULL));
    for (int i = 0; i < LAYERS; i++) oom_result_of(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
}

START_TEST(test_adam_add_linear) { oom_play(add_layers, _i, 10 * LAYERS); }
END_TEST

/* ---- what a new optimizer takes from an old one ---- */

static relora_adam *from;

static void check_nothing_carried(void)
{
    relora_tensor *m = relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST);
    ck_assert_double_eq(largest(get(m), relora_tensor_count(m)), 0);
}

static void carry(void)
{
    struct rnd rnd = rnd_seed(1);
    from = new_adam(NULL), adam = new_adam(NULL);
    for (int i = 0; i < 2; i++) {
        relora_tensor *param, *grad;
        add_vector(from, i ? "b" : "a", 5000, &rnd, &param, &grad);
        OK(relora_adam_add(adam, i ? "b" : "a", param, grad, NULL));
    }
    OK(relora_adam_step(from, env.st, 0.1, 1, NULL));
    oom_begin();
    SURVIVES(check_nothing_carried, relora_adam_carry(adam, env.st, from, NULL, 0, NULL));
    oom_result_of(relora_adam_moment(adam, 1, RELORA_MOMENT_SECOND));
}

START_TEST(test_carry) { oom_play(carry, _i, 0); }
END_TEST

Suite *oom_registration(void)
{
    Suite *s = suite_create("registration");
    TCase *tc = env_case(s, "registration", 60);
    tcase_add_loop_test(tc, test_adam_add, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_adam_add_linear, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_carry, 0, OOM_KINDS);
    return s;
}
