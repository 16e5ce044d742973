/* relora_adam_step_lr(): relora_adam_step(), bit for bit, with the rate in a tensor. */
#include "conformance/suites.h"

enum { STEPS = 6, PARAMS = 3 };

struct world {
    relora_adam *adam;
    relora_tensor *param[PARAMS], *grad[PARAMS];
};

/* F32, BF16 rounded stochastically, and one of several chunks; different factors. */
static struct world new_world(uint32_t flags, double max_norm)
{
    static const int64_t sizes[PARAMS] = {7, 301, 70001};
    static const char *const names[PARAMS] = {"a", "b", "c"};
    relora_adam_options o = adam_options();
    struct rnd r = rnd_seed(3);
    struct world w;
    o.flags |= flags;
    o.max_norm = max_norm;
    o.weight_decay = 0.1;
    w.adam = new_adam(&o);
    for (int i = 0; i < PARAMS; i++) {
        w.param[i] = new_vector(i == 1 ? RELORA_BF16 : RELORA_F32, sizes[i]);
        w.grad[i] = new_vector(RELORA_F32, sizes[i]);
        put_normal(w.param[i], &r, 1);
        put_normal(w.grad[i], &r, 1);
        OK(relora_adam_add(w.adam, names[i], w.param[i], w.grad[i], NULL));
    }
    OK(relora_adam_set_factors(w.adam, 0, 0.5, 0));
    return w;
}

static void same_parameter(struct world *a, struct world *b, int32_t i)
{
    int64_t steps_a = -1, steps_b = -2;
    UNCHANGED(a->param[i], snapshot(b->param[i]));
    for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
        UNCHANGED(relora_adam_moment(a->adam, i, m), snapshot(relora_adam_moment(b->adam, i, m)));
    OK(relora_adam_steps(a->adam, env.st, i, &steps_a));
    OK(relora_adam_steps(b->adam, env.st, i, &steps_b));
    ck_assert_int_eq(steps_a, steps_b);
}

static void same(struct world *a, struct world *b)
{
    for (int32_t i = 0; i < PARAMS; i++) same_parameter(a, b, i);
}

static const struct {
    uint32_t flags;
    double max_norm;
} kinds[] = {{0, 0}, {0, 0.5}, {RELORA_ADAM_SKIP_NOT_FINITE, 0.5}};

START_TEST(test_equal)
{
    struct world plain = new_world(kinds[_i].flags, kinds[_i].max_norm);
    struct world other = new_world(kinds[_i].flags, kinds[_i].max_norm);
    relora_tensor *lr = new_vector(RELORA_F32, 1), *matrix = new_matrix(RELORA_F32, 1, 1);
    struct rnd r = rnd_seed(4);
    for (int t = 0; t < STEPS; t++) {
        relora_step_report a = {.struct_size = sizeof a}, b = {.struct_size = sizeof b};
        float rate = (float)rnd_uniform(&r, 0, 0.1);
        relora_tensor *where = t % 2 ? lr : matrix;
        OK(relora_tensor_write(where, env.st, &rate, sizeof rate));
        if (t == 3) put_all(plain.grad[2], INFINITY), put_all(other.grad[2], INFINITY); /* skipped, if so */
        if (t == 4 || (t == 3 && !kinds[_i].flags))
            put_all(plain.grad[2], 0.01), put_all(other.grad[2], 0.01);
        OK(relora_adam_step(plain.adam, env.st, (double)rate, 0.5, t ? &a : NULL));
        OK(relora_adam_step_lr(other.adam, env.st, where, 0.5, t ? &b : NULL));
        ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
        same(&plain, &other);
    }
}
END_TEST

/* What no host can look at before the step runs: it does what 0 does. */
START_TEST(test_bad_rates)
{
    static const float bad[] = {0, -1, -1e-30f, -INFINITY, INFINITY, NAN, -0.0f};
    struct world plain = new_world(0, 0), other = new_world(0, 0);
    relora_tensor *lr = new_vector(RELORA_F32, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *was = snapshot(other.param[2]);
        OK(relora_tensor_write(lr, env.st, &bad[i], sizeof bad[i]));
        OK(relora_adam_step(plain.adam, env.st, 0, 1, NULL));
        OK(relora_adam_step_lr(other.adam, env.st, lr, 1, NULL));
        UNCHANGED(other.param[2], was);
        same(&plain, &other);
    }
}
END_TEST

Suite *adam_lr(void)
{
    Suite *s = suite_create("adam with the rate on the device");
    TCase *tc = env_case(s, "adam lr", 20);
    tcase_add_loop_test(tc, test_equal, 0, 3);
    tcase_add_test(tc, test_bad_rates);
    return s;
}
