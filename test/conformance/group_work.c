/* What a group does to all of its members, beside the same done to each by hand. */
#include <stdio.h>

#include "conformance/suites.h"

enum { IN = 6, OUT = 5, RANK = 2, LAYERS = 5, ROWS = 4 };

/* Layers of every mode, two parameters, and the same once more without a group. */
struct model {
    relora_group *group;
    relora_linear *layer[LAYERS], *twin[LAYERS];
    relora_tensor *param, *grad, *table, *twin_param, *twin_grad;
};

static const relora_linear_mode modes[LAYERS] = {RELORA_MODE_FULL, RELORA_MODE_LORA, RELORA_MODE_FULL,
                                                 RELORA_MODE_LOWRANK, RELORA_MODE_LORA};
static const int64_t ranks[LAYERS] = {RANK, RANK, 0, RANK, 3};
static const char *const names[LAYERS] = {"warm", "low", "head", "pure", "last"};

static relora_linear *make(int i)
{
    struct rnd r = rnd_seed((uint64_t)i + 1);
    relora_linear_options o = layer_options(modes[i], IN, OUT, ranks[i]);
    o.layer = (uint64_t)i;
    o.flags = i == LAYERS - 1 ? RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE : 0;
    relora_linear *l = new_filled_linear(&o, &r);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_grad(l, p)) put_normal(relora_linear_grad(l, p), &r, 1);
    return l;
}

static relora_tensor *vector(uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    relora_tensor *t = new_vector(RELORA_F32, 4);
    put_normal(t, &r, 1);
    return t;
}

static struct model new_model(void)
{
    struct model m = {.group = new_group(),
                      .param = vector(20),
                      .grad = vector(21),
                      .table = vector(22),
                      .twin_param = vector(20),
                      .twin_grad = vector(21)};
    for (int i = 0; i < LAYERS; i++) {
        m.layer[i] = make(i);
        m.twin[i] = make(i);
        OK(relora_group_add_linear(m.group, names[i], m.layer[i]));
        if (i == 0) OK(relora_group_add_param(m.group, "norm", m.param, m.grad));
        if (i == 2) OK(relora_group_add_param(m.group, "table", m.table, NULL));
    }
    return m;
}

static void same(const relora_tensor *t, const relora_tensor *twin)
{
    ck_assert_int_eq(t != NULL, twin != NULL);
    if (t) UNCHANGED(t, snapshot(twin));
}

/* Group and twins have the same bits everywhere. */
static void alike(const struct model *m)
{
    for (int i = 0; i < LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++) {
            same(relora_linear_param(m->layer[i], p), relora_linear_param(m->twin[i], p));
            same(relora_linear_grad(m->layer[i], p), relora_linear_grad(m->twin[i], p));
        }
    same(m->param, m->twin_param);
    same(m->grad, m->twin_grad);
    UNCHANGED(m->table, snapshot(vector(22)));
}

static void leave_warm_start(struct model *m)
{
    OK(relora_group_set_mode(m->group, env.st, RELORA_MODE_LORA));
    OK(relora_linear_set_mode(m->twin[0], env.st, RELORA_MODE_LORA));
}

/* ---- the end of a warm start ---- */

START_TEST(test_set_mode)
{
    static const relora_linear_mode after[] = {RELORA_MODE_LORA, RELORA_MODE_LORA, RELORA_MODE_FULL,
                                               RELORA_MODE_LOWRANK, RELORA_MODE_LORA};
    struct model m = new_model();
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
    put_all(x, 0.5);
    OK(relora_linear_forward(m.layer[0], env.st, x, y, 0, 0));
    void *was = snapshot(y);
    leave_warm_start(&m);
    for (int i = 0; i < LAYERS; i++) ck_assert_int_eq(relora_linear_get_mode(m.layer[i]), after[i]);
    alike(&m);
    OK(relora_linear_forward(m.layer[0], env.st, x, y, 0, 0));
    UNCHANGED(y, was);
    FAILS(RELORA_E_STATE, relora_group_set_mode(m.group, env.st, RELORA_MODE_LORA), "FULL", "rank");
    alike(&m);
}
END_TEST

/* An optimizer of the warm start refuses, a new one takes the layers as they are now. */
START_TEST(test_old_optimizer)
{
    struct model m = new_model();
    relora_adam *before = new_adam(NULL), *after = new_adam(NULL);
    OK(relora_adam_add_group(before, m.group));
    OK(relora_adam_step(before, env.st, 0.1, 1, NULL));
    OK(relora_group_set_mode(m.group, env.st, RELORA_MODE_LORA));
    FAILS(RELORA_E_STATE, relora_adam_step(before, env.st, 0.1, 1, NULL), "warm");
    OK(relora_adam_add_group(after, m.group));
    OK(relora_adam_step(after, env.st, 0.1, 1, NULL));
}
END_TEST

/* ---- the end of a cycle ---- */

START_TEST(test_merge)
{
    struct model m = new_model();
    relora_merge_report one = {.struct_size = sizeof one}, all = one;
    double delta = 0, total = 0;
    leave_warm_start(&m);
    for (int i = 0; i < 2; i++)
        put_all(relora_linear_param(i ? m.twin[0] : m.layer[0], RELORA_PARAM_B), 0.25);
    OK(relora_group_merge(m.group, env.st, 3, &all));
    for (int i = 0; i < LAYERS; i++) {
        if (relora_linear_get_mode(m.twin[i]) != RELORA_MODE_LORA) continue;
        OK(relora_linear_merge(m.twin[i], env.st, 3, &one));
        delta += one.delta_norm * one.delta_norm;
        total += one.weight_norm * one.weight_norm;
    }
    ck_assert_int_eq(all.layers, 3);
    ck_assert_double_eq_tol(all.delta_norm, sqrt(delta), 1e-12 * sqrt(delta)); /* the order of a few sums */
    ck_assert_double_eq_tol(all.weight_norm, sqrt(total), 1e-12 * sqrt(total));
    alike(&m);
    OK(relora_group_reset(m.group, env.st, 3));
    for (int i = 0; i < LAYERS; i++)
        if (relora_linear_get_mode(m.twin[i]) != RELORA_MODE_FULL)
            OK(relora_linear_reset(m.twin[i], env.st, 3));
    alike(&m);
}
END_TEST

/* A factor of the last layer is not finite, or it has no weight: the first is not merged either. */
START_TEST(test_all_or_none)
{
    struct model m = new_model();
    relora_merge_report report = {.struct_size = sizeof report, .layers = 77};
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    leave_warm_start(&m);
    for (int i = 0; i < 2; i++) put_all(relora_linear_param(i ? m.twin[4] : m.layer[4], RELORA_PARAM_A), NAN);
    FAILS(RELORA_E_NOT_FINITE, relora_group_merge(m.group, env.st, 1, &report), "layer \"last\"", "nothing");
    ck_assert_int_eq(report.layers, 0);
    alike(&m);
    for (int i = 0; i < 2; i++) put_all(relora_linear_param(i ? m.twin[4] : m.layer[4], RELORA_PARAM_A), 1);
    o.layer = 9;
    OK(relora_group_add_linear(m.group, "bare", new_linear(&o)));
    FAILS(RELORA_E_STATE, relora_group_merge(m.group, env.st, 1, NULL), "layer \"bare\" has no weight");
    alike(&m);
}
END_TEST

/* More layers than are looked at together, the last of them not finite. */
START_TEST(test_many)
{
    enum { MANY = 70 };
    relora_group *g = new_group();
    relora_linear *l[MANY];
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 3, 4, 1);
    char name[16];
    for (int i = 0; i < MANY; i++) {
        o.layer = (uint64_t)i;
        l[i] = new_filled_linear(&o, &r);
        snprintf(name, sizeof name, "l%d", i);
        OK(relora_group_add_linear(g, name, l[i]));
    }
    void *first = snapshot(relora_linear_param(l[0], RELORA_PARAM_WEIGHT));
    double b = get(relora_linear_param(l[MANY - 1], RELORA_PARAM_B))[0];
    put_all(relora_linear_param(l[MANY - 1], RELORA_PARAM_B), INFINITY);
    FAILS(RELORA_E_NOT_FINITE, relora_group_merge(g, env.st, 1, NULL), "layer \"l69\"");
    UNCHANGED(relora_linear_param(l[0], RELORA_PARAM_WEIGHT), first);
    put_all(relora_linear_param(l[MANY - 1], RELORA_PARAM_B), b);
    relora_merge_report report = {.struct_size = sizeof report};
    OK(relora_group_merge(g, env.st, 1, &report));
    ck_assert_int_eq(report.layers, MANY);
}
END_TEST

/* ---- gradients, the optimizer and the cycle ---- */

START_TEST(test_zero_grad)
{
    struct model m = new_model();
    OK(relora_group_zero_grad(m.group, env.st));
    for (int i = 0; i < LAYERS; i++) OK(relora_linear_zero_grad(m.twin[i], env.st));
    put_all(m.twin_grad, 0);
    alike(&m);
}
END_TEST

/* The optimizer has the names and the order of the group, and steps as if everything was added by hand. */
START_TEST(test_adam)
{
    static const char *const expected[] = {"warm.weight",        "norm",
                                           "low.lora_A.weight",  "low.lora_B.weight",
                                           "head.weight",        "pure.lora_A.weight",
                                           "pure.lora_B.weight", "last.lora_A.weight",
                                           "last.lora_B.weight", "last.scaling",
                                           "last.bias"};
    struct model m = new_model();
    relora_adam *adam = new_adam(NULL), *twin = new_adam(NULL);
    OK(relora_adam_add_group(adam, m.group));
    ck_assert_int_eq(relora_adam_count(adam), 11);
    for (int32_t i = 0; i < 11; i++) ck_assert_str_eq(relora_adam_name(adam, i), expected[i]);
    for (int i = 0; i < LAYERS; i++) {
        OK(relora_adam_add_linear(twin, names[i], m.twin[i]));
        if (i == 0) OK(relora_adam_add(twin, "norm", m.twin_param, m.twin_grad, NULL));
    }
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    OK(relora_adam_step(twin, env.st, 0.1, 1, NULL));
    alike(&m);
}
END_TEST

/* All or none: the last name is taken. */
START_TEST(test_adam_refuses)
{
    struct model m = new_model();
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL);
    add_vector(adam, "last.scaling", 3, &r, NULL, NULL);
    FAILS(RELORA_E_EXISTS, relora_adam_add_group(adam, m.group), "last.scaling");
    ck_assert_int_eq(relora_adam_count(adam), 1);
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
}
END_TEST

/* The cycle takes what is in mode LORA, and restarts it as it would by hand. */
START_TEST(test_cycle)
{
    struct model m = new_model();
    relora_cycle_options co = cycle_options(4, 0);
    relora_merge_report report = {.struct_size = sizeof report};
    relora_cycle *c = new_cycle(&co, NULL, NULL), *twin = new_cycle(&co, NULL, NULL);
    leave_warm_start(&m);
    OK(relora_cycle_add_group(c, m.group));
    for (int i = 0; i < LAYERS; i++)
        if (relora_linear_get_mode(m.twin[i]) == RELORA_MODE_LORA) OK(relora_cycle_add(twin, m.twin[i]));
    OK(relora_cycle_advance(c, env.st, 5, NULL, &report, NULL));
    OK(relora_cycle_advance(twin, env.st, 5, NULL, NULL, NULL));
    ck_assert_int_eq(report.layers, 3);
    alike(&m);
}
END_TEST

/* All or none: the optimizer lacks one of the layers. */
START_TEST(test_cycle_refuses)
{
    struct model m = new_model();
    relora_cycle_options co = cycle_options(4, 0);
    relora_adam *adam = new_adam(NULL);
    relora_cycle *c = new_cycle(&co, adam, NULL);
    OK(relora_adam_add_linear(adam, "low", m.layer[1]));
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_add_group(c, m.group), "adam", "layer \"last\"");
    FAILS(RELORA_E_STATE, relora_cycle_advance(c, env.st, 5, NULL, NULL, NULL), "no layer");
    OK(relora_adam_add_linear(adam, "last", m.layer[4]));
    OK(relora_cycle_add_group(c, m.group));
    OK(relora_cycle_advance(c, env.st, 5, NULL, NULL, NULL));
    FAILS(RELORA_E_EXISTS, relora_cycle_add_group(c, m.group), "layer \"low\"");
}
END_TEST

Suite *group_work(void)
{
    Suite *s = suite_create("group work");
    TCase *tc = env_case(s, "warm start", 20);
    tcase_add_test(tc, test_set_mode);
    tcase_add_test(tc, test_old_optimizer);
    tc = env_case(s, "merge", 20);
    tcase_add_test(tc, test_merge);
    tcase_add_test(tc, test_all_or_none);
    tcase_add_test(tc, test_many);
    tc = env_case(s, "others", 20);
    tcase_add_test(tc, test_zero_grad);
    tcase_add_test(tc, test_adam);
    tcase_add_test(tc, test_adam_refuses);
    tcase_add_test(tc, test_cycle);
    tcase_add_test(tc, test_cycle_refuses);
    return s;
}
