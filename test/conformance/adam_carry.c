/* relora_adam_carry(): the end of a warm start, after which the parameters that stay go on as if their optimizer
 * had stayed too. */
#include "conformance/suites.h"

enum { IN = 9, OUT = 6, RANK = 2, EMBEDDING = 301, WARM = 3, STEPS = 7 };

struct world { /* one layer with a bias, an embedding in BF16 that is registered first, and a norm */
    relora_linear *l;
    relora_tensor *param[2], *grad[2];
    relora_adam *adam;
};

static relora_adam *optimizer_of(struct world *w)
{
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add(adam, "embedding", w->param[0], w->grad[0], NULL));
    OK(relora_adam_add_linear(adam, "l", w->l));
    OK(relora_adam_add(adam, "norm", w->param[1], w->grad[1], NULL));
    return adam;
}

static struct world new_world(void)
{
    struct rnd r = rnd_seed(1);
    struct world w;
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS;
    w.l = new_filled_linear(&o, &r);
    for (int i = 0; i < 2; i++) {
        w.param[i] = new_vector(i ? RELORA_F32 : RELORA_BF16, i ? IN : EMBEDDING);
        w.grad[i] = new_vector(RELORA_F32, i ? IN : EMBEDDING);
        put_normal(w.param[i], &r, 1);
    }
    w.adam = optimizer_of(&w);
    return w;
}

/* An update with gradients that depend on the step alone. */
static void update(struct world *w, relora_adam *adam, int step)
{
    struct rnd r = rnd_seed((uint64_t)step);
    for (int i = 0; i < 2; i++) put_normal(w->grad[i], &r, 1);
    put_normal(relora_linear_grad(w->l, RELORA_PARAM_BIAS), &r, 1);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
        if (p != RELORA_PARAM_BIAS && relora_linear_grad(w->l, p))
            put_normal(relora_linear_grad(w->l, p), &r, 1);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
}

/* The warm start, and a new optimizer with what the host chose of the old one. */
static int32_t turn(struct world *w, const int32_t *indices, int32_t count)
{
    int32_t carried = -7;
    relora_adam *old = w->adam;
    for (int step = 0; step < WARM; step++) update(w, old, step);
    OK(relora_linear_set_mode(w->l, env.st, RELORA_MODE_LORA));
    w->adam = optimizer_of(w);
    OK(relora_adam_carry(w->adam, env.st, old, indices, count, &carried));
    return carried;
}

static int64_t steps_of(relora_adam *adam, int32_t index)
{
    int64_t steps = -1;
    OK(relora_adam_steps(adam, env.st, index, &steps));
    return steps;
}

static int32_t index_of(relora_adam *adam, const char *name)
{
    int32_t index = -1;
    OK(relora_adam_find(adam, name, &index));
    return index;
}

/* Moments and count of a parameter: those of the other optimizer, or those of a new one. */
static void same_moments(relora_adam *a, relora_adam *b, const char *name)
{
    int32_t i = index_of(a, name), k = index_of(b, name);
    for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
        UNCHANGED(relora_adam_moment(a, i, m), snapshot(relora_adam_moment(b, k, m)));
    ck_assert_int_eq(steps_of(a, i), steps_of(b, k));
}

static void new_moments(relora_adam *adam, const char *name)
{
    int32_t i = index_of(adam, name);
    for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++) {
        relora_tensor *t = relora_adam_moment(adam, i, m);
        ck_assert_double_eq(largest(get(t), relora_tensor_count(t)), 0);
    }
    ck_assert_int_eq(steps_of(adam, i), 0);
}

/* A layer in mode FULL to the end has an optimizer to the end; what both train has the same bits after all updates. */
START_TEST(test_goes_on)
{
    struct world w = new_world(), whole = new_world();
    ck_assert_int_eq(turn(&w, NULL, 0), 3);
    new_moments(w.adam, "l.lora_A.weight");
    new_moments(w.adam, "l.lora_B.weight");
    for (int step = 0; step < STEPS; step++) update(&whole, whole.adam, step);
    for (int step = WARM; step < STEPS; step++) update(&w, w.adam, step);
    for (int i = 0; i < 2; i++) UNCHANGED(w.param[i], snapshot(whole.param[i]));
    UNCHANGED(relora_linear_param(w.l, RELORA_PARAM_BIAS),
              snapshot(relora_linear_param(whole.l, RELORA_PARAM_BIAS)));
    same_moments(w.adam, whole.adam, "embedding");
    same_moments(w.adam, whole.adam, "l.bias");
    same_moments(w.adam, whole.adam, "norm");
    ck_assert_int_eq(steps_of(w.adam, index_of(w.adam, "l.lora_A.weight")), STEPS - WARM);
}
END_TEST

START_TEST(test_chosen)
{
    struct world w = new_world();
    relora_adam *old = w.adam;
    int32_t last = 4; /* embedding, A, B, bias, norm */
    ck_assert_int_eq(turn(&w, &last, 1), 1);
    same_moments(w.adam, old, "norm");
    new_moments(w.adam, "embedding");
    new_moments(w.adam, "l.bias");
}
END_TEST

/* The old optimizer stays as it is, and is good for nothing else, since a layer of its has changed. */
START_TEST(test_from_stays)
{
    struct world w = new_world();
    relora_adam *old = w.adam;
    void *was[4][2];
    for (int step = 0; step < WARM; step++) update(&w, old, step);
    for (int32_t i = 0; i < 4; i++)
        for (int m = 0; m < 2; m++) was[i][m] = snapshot(relora_adam_moment(old, i, m + RELORA_MOMENT_FIRST));
    OK(relora_linear_set_mode(w.l, env.st, RELORA_MODE_LORA));
    w.adam = optimizer_of(&w);
    OK(relora_adam_carry(w.adam, env.st, old, NULL, 0, NULL));
    update(&w, w.adam, WARM);
    for (int32_t i = 0; i < 4; i++)
        for (int m = 0; m < 2; m++) UNCHANGED(relora_adam_moment(old, i, m + RELORA_MOMENT_FIRST), was[i][m]);
    FAILS(RELORA_E_STATE, relora_adam_step(old, env.st, 0.1, 1, NULL), "l.weight");
}
END_TEST

/* A host that lends the same moments to both has moved nothing: only the count is copied. */
START_TEST(test_lent)
{
    struct world w = new_world();
    relora_adam *one = new_adam(NULL), *two = new_adam(NULL);
    relora_tensor *m = new_vector(RELORA_F32, IN), *v = new_vector(RELORA_F32, IN),
                  *third = new_vector(RELORA_F32, IN);
    put_all(m, 0.5), put_all(v, 0.25);
    OK(relora_adam_add_moments(one, "norm", w.param[1], w.grad[1], m, v, NULL));
    OK(relora_adam_set_steps(one, env.st, 0, 11));
    OK(relora_adam_add_moments(two, "norm", w.param[1], w.grad[1], m, v, NULL));
    OK(relora_adam_carry(two, env.st, one, NULL, 0, NULL));
    ck_assert_int_eq(steps_of(two, 0), 11);
    ck_assert_double_eq(get(m)[IN - 1], 0.5);
    OK(relora_adam_set_moments(two, 0, third, m)); /* the second is the first of the other */
    OK(relora_adam_set_steps(two, env.st, 0, 2));
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(two, env.st, one, NULL, 0, NULL), "norm", "memory");
    ck_assert_int_eq(steps_of(two, 0), 2);
}
END_TEST

Suite *adam_carry(void)
{
    Suite *s = suite_create("moments carried over");
    TCase *tc = env_case(s, "carry", 20);
    tcase_add_test(tc, test_goes_on);
    tcase_add_test(tc, test_chosen);
    tcase_add_test(tc, test_from_stays);
    tcase_add_test(tc, test_lent);
    return s;
}
