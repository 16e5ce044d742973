/* RELORA_LINEAR_FREEZE_A and _B: one factor trains, and nothing exists for the other. What does exist is, bit for
 * bit, that of a layer which trains both and whose optimizer leaves the other factor where it is. */
#include "conformance/suites.h"

enum { ROWS = 19, IN = 13, OUT = 11, RANK = 3, CALL = 4, STEPS = 3, FORCED = 3, VARIANTS = 32 * FORCED };

struct variant {
    uint32_t flag; /* which factor is frozen */
    relora_param frozen, trained;
    relora_linear_options options; /* without the flag */
    const relora_order *order;
};

/* AUTO may choose another order where a factor is frozen. */
static const relora_order forced[FORCED][2] = {{RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
                                               {RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
                                               {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH}};

static struct variant variant(int i)
{
    struct variant v = {.flag = i & 1 ? RELORA_LINEAR_FREEZE_B : RELORA_LINEAR_FREEZE_A};
    v.frozen = i & 1 ? RELORA_PARAM_B : RELORA_PARAM_A;
    v.trained = i & 1 ? RELORA_PARAM_A : RELORA_PARAM_B;
    v.options = layer_options(i & 2 ? RELORA_MODE_LOWRANK : RELORA_MODE_LORA, IN, OUT, RANK);
    v.options.dtype = i & 4 ? RELORA_BF16 : RELORA_F32;
    v.options.flags = RELORA_LINEAR_BIAS | (i & 8 ? RELORA_LINEAR_TRAINABLE_SCALE : 0);
    v.options.dropout = i & 16 ? 0.25 : 0;
    v.order = forced[i / 32];
    return v;
}

static relora_tensor *param(relora_linear *l, relora_param p) { return relora_linear_param(l, p); }

/* A layer with the values of `like`, if that is there, and its optimizer. */
static relora_linear *new_layer(const struct variant *v, uint32_t flag, relora_linear *like,
                                relora_adam **adam)
{
    struct rnd r = rnd_seed(7);
    relora_linear_options o = v->options;
    o.flags |= flag;
    relora_linear *l = new_filled_linear(&o, &r);
    for (relora_param p = RELORA_PARAM_WEIGHT; like && p <= RELORA_PARAM_SCALE; p++)
        if (param(like, p)) OK(relora_tensor_copy(param(l, p), param(like, p), env.st));
    OK(relora_linear_set_order(l, v->order[0], v->order[1]));
    *adam = new_adam(NULL);
    OK(relora_adam_add_linear(*adam, "l", l));
    return l;
}

static void hold_still(relora_adam *adam, relora_param frozen)
{
    int32_t index;
    OK(relora_adam_find(adam, frozen == RELORA_PARAM_A ? "l.lora_A.weight" : "l.lora_B.weight", &index));
    OK(relora_adam_set_factors(adam, index, 0, 0));
}

struct train {
    relora_linear *l;
    relora_adam *adam;
    relora_tensor *x, *y, *dy, *dx;
};

static void train(struct train *t, uint64_t step)
{
    struct rnd r = rnd_seed(20 + step);
    put_normal(t->x, &r, 1);
    put_normal(t->dy, &r, 1);
    OK(relora_linear_forward(t->l, env.st, t->x, t->y, step, RELORA_TRAIN));
    OK(relora_linear_backward(t->l, env.st, t->x, t->dy, step % 2 ? NULL : t->dx, step,
                              RELORA_TRAIN | RELORA_OVERWRITE));
    OK(relora_linear_backward(t->l, env.st, t->x, t->dy, step % 2 ? t->dx : NULL, step, RELORA_TRAIN));
    OK(relora_adam_step(t->adam, env.st, 0.01, 1, NULL));
}

START_TEST(test_bits)
{
    struct variant v = variant(_i);
    struct train one = {0}, both = {0};
    both.l = new_layer(&v, 0, NULL, &both.adam);
    hold_still(both.adam, v.frozen);
    one.l = new_layer(&v, v.flag, both.l, &one.adam);
    for (int i = 0; i < 2; i++) {
        struct train *t = i ? &both : &one;
        t->x = new_matrix(v.options.dtype, ROWS, IN), t->dx = new_matrix(v.options.dtype, ROWS, IN);
        t->y = new_matrix(v.options.dtype, ROWS, OUT), t->dy = new_matrix(v.options.dtype, ROWS, OUT);
    }
    void *was = snapshot(param(one.l, v.trained));
    for (uint64_t step = 0; step < STEPS; step++) {
        train(&one, step);
        train(&both, step);
        UNCHANGED(one.y, snapshot(both.y));
        UNCHANGED(one.dx, snapshot(both.dx));
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
            if (param(one.l, p)) UNCHANGED(param(one.l, p), snapshot(param(both.l, p)));
            relora_tensor *grad = relora_linear_grad(one.l, p);
            if (grad) UNCHANGED(grad, snapshot(relora_linear_grad(both.l, p)));
        }
    }
    ck_assert_int_ne(memcmp(was, snapshot(param(one.l, v.trained)), bytes_of(param(one.l, v.trained))), 0);
}
END_TEST

/* No gradient and no moments: as much less memory. */
START_TEST(test_nothing_for_the_frozen)
{
    struct variant v = variant(_i);
    relora_adam *adam[2];
    int64_t used[2], elements = v.frozen == RELORA_PARAM_A ? RANK * IN : OUT * RANK;
    for (int i = 0; i < 2; i++) {
        int64_t before = env.mem.bytes;
        relora_linear_options o = v.options;
        o.flags |= i ? v.flag : 0;
        relora_linear *l = new_linear(&o);
        if (o.mode == RELORA_MODE_LORA) OK(relora_linear_set_weight(l, new_matrix(o.dtype, OUT, IN), NULL));
        OK(relora_adam_add_linear(adam[i] = new_adam(NULL), "l", l));
        used[i] = env.mem.bytes - before;
        ck_assert_ptr_nonnull(param(l, v.frozen));
        ck_assert_ptr_nonnull(relora_linear_grad(l, v.trained));
        ck_assert_int_eq(relora_linear_grad(l, v.frozen) == NULL, i);
    }
    ck_assert_int_eq(relora_adam_count(adam[1]), relora_adam_count(adam[0]) - 1);
    if (env_kind() == RELORA_DEVICE_CPU) ck_assert_int_le(used[1], used[0] - 3 * 4 * elements);
}
END_TEST

/* The trained factor starts at 0, so y is that of W; the other is drawn, anew for each cycle, by the length of its
 * rows. The trained one has a gradient at once. */
static void check_start(relora_linear *l, const struct variant *v)
{
    int64_t cols = v->frozen == RELORA_PARAM_A ? IN : RANK;
    double *drawn = get(param(l, v->frozen)), *zero = get(param(l, v->trained));
    int64_t n = relora_tensor_count(param(l, v->frozen));
    ck_assert_double_eq(largest(zero, relora_tensor_count(param(l, v->trained))), 0);
    ck_assert_double_gt(largest(drawn, n), 0.7 / sqrt((double)cols));
    ck_assert_double_le(largest(drawn, n), (1 + 1e-6) / sqrt((double)cols));
    double mean = 0;
    for (int64_t i = 0; i < n; i++) mean += drawn[i] / (double)n;
    ck_assert_double_le(fabs(mean), 0.4 / sqrt((double)cols)); /* both signs: 4 standard errors */
    struct rnd r = rnd_seed(3);
    relora_tensor *x = new_matrix(v->options.dtype, ROWS, IN), *dy = new_matrix(v->options.dtype, ROWS, OUT);
    put_normal(x, &r, 1);
    put_normal(dy, &r, 1);
    OK(relora_linear_backward(l, env.st, x, dy, NULL, CALL, RELORA_OVERWRITE));
    relora_tensor *grad = relora_linear_grad(l, v->trained);
    ck_assert_double_gt(largest(get(grad), relora_tensor_count(grad)), 1e-3);
}

START_TEST(test_start_and_restart)
{
    struct variant v = variant(_i);
    relora_linear_options o = v.options;
    relora_tensor *w = new_matrix(o.dtype, OUT, IN);
    struct rnd r = rnd_seed(5);
    put_normal(w, &r, 0.3);
    o.flags |= v.flag;
    o.mode = v.options.mode == RELORA_MODE_LORA ? RELORA_MODE_FULL : RELORA_MODE_LOWRANK;
    relora_linear *l = new_linear(&o);
    if (o.mode == RELORA_MODE_FULL) {
        OK(relora_linear_set_weight(l, w, NULL));
        OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    }
    check_start(l, &v);
    void *first = snapshot(param(l, v.frozen));
    put_normal(param(l, v.trained), &r, 0.1);
    if (o.mode == RELORA_MODE_FULL) OK(relora_linear_merge(l, env.st, 1, NULL));
    OK(relora_linear_reset(l, env.st, 1));
    check_start(l, &v);
    ck_assert_int_ne(memcmp(first, snapshot(param(l, v.frozen)), bytes_of(param(l, v.frozen))), 0);
}
END_TEST

/* Query with A frozen, key with B, value with neither: each as it is alone. */
START_TEST(test_shared)
{
    enum { LAYERS = 3 };
    struct rnd r = rnd_seed(6);
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *dx = new_matrix(RELORA_F32, ROWS, IN), *dy[LAYERS];
    relora_linear *l[LAYERS];
    static const uint32_t flags[LAYERS] = {RELORA_LINEAR_FREEZE_A, RELORA_LINEAR_FREEZE_B, 0};
    put_normal(x, &r, 1);
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
        o.flags = flags[i], o.layer = (uint64_t)i;
        l[i] = new_filled_linear(&o, &r);
        put_normal(dy[i] = new_matrix(RELORA_F32, ROWS, OUT), &r, 1);
    }
    void *want[LAYERS][2] = {{NULL}};
    for (int i = 0; i < LAYERS; i++) {
        OK(relora_linear_backward(l[i], env.st, x, dy[i], dx, CALL,
                                  RELORA_OVERWRITE | (i ? RELORA_ACCUMULATE_DX : 0)));
        for (int k = 0; k < 2; k++)
            if (relora_linear_grad(l[i], RELORA_PARAM_A + k))
                want[i][k] = snapshot(relora_linear_grad(l[i], RELORA_PARAM_A + k));
    }
    void *sum = snapshot(dx);
    put_all(dx, 9);
    OK(relora_linear_backward_shared(l, LAYERS, env.st, x, dy, dx, CALL, RELORA_OVERWRITE));
    UNCHANGED(dx, sum);
    for (int i = 0; i < LAYERS; i++)
        for (int k = 0; k < 2; k++) {
            ck_assert_int_eq(want[i][k] == NULL,
                             flags[i] == (k ? RELORA_LINEAR_FREEZE_B : RELORA_LINEAR_FREEZE_A));
            if (want[i][k]) UNCHANGED(relora_linear_grad(l[i], RELORA_PARAM_A + k), want[i][k]);
        }
}
END_TEST

/* A cycle restarts layers of each kind, and resets the moments of what they train. */
START_TEST(test_cycle)
{
    enum { LAYERS = 3 };
    static const uint32_t flags[LAYERS] = {RELORA_LINEAR_FREEZE_A, RELORA_LINEAR_FREEZE_B, 0};
    static const char *const names[LAYERS] = {"a", "b", "c"};
    struct rnd r = rnd_seed(8);
    relora_group *group = new_group();
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(2, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_ZERO, 1, 0);
    relora_linear *l[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
        o.flags = flags[i], o.layer = (uint64_t)i;
        l[i] = new_filled_linear(&o, &r);
        OK(relora_group_add_linear(group, names[i], l[i]));
    }
    relora_cycle *cycle = new_cycle(&co, adam, &ro);
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_add(cycle, l[0]), "relora_cycle_add", "lora_B");
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_add(cycle, l[1]), "relora_cycle_add", "lora_A");
    OK(relora_adam_add_group(adam, group));
    ck_assert_int_eq(relora_adam_count(adam), 4);
    OK(relora_cycle_add_group(cycle, group));
    for (int i = 0; i < 4; i++) put_normal(relora_adam_moment(adam, i, RELORA_MOMENT_FIRST), &r, 1);
    relora_reset_report report = {.struct_size = sizeof report};
    relora_merge_report merged = {.struct_size = sizeof merged};
    OK(relora_cycle_advance(cycle, env.st, 3, NULL, &merged, &report));
    ck_assert_int_eq(merged.layers, LAYERS);
    ck_assert_int_eq(report.params, 4);
    ck_assert_int_eq(report.elements, 2 * (RANK * IN + OUT * RANK));
    ck_assert_int_eq(report.zeroed_first, report.elements);
    ck_assert_double_eq(largest(get(param(l[0], RELORA_PARAM_B)), OUT * RANK), 0);
    ck_assert_double_eq(largest(get(param(l[1], RELORA_PARAM_A)), RANK * IN), 0);
    ck_assert_double_gt(largest(get(param(l[1], RELORA_PARAM_B)), OUT * RANK), 0);
    OK(relora_adam_reset(adam, env.st, NULL, 0, &ro, &report));
    ck_assert_int_eq(report.params, 4);
}
END_TEST

Suite *linear_frozen(void)
{
    Suite *s = suite_create("frozen factors");
    TCase *tc = env_case(s, "frozen", 20);
    tcase_add_loop_test(tc, test_bits, 0, VARIANTS);
    tcase_add_loop_test(tc, test_nothing_for_the_frozen, 0, 16);
    tcase_add_loop_test(tc, test_start_and_restart, 0, 16);
    tcase_add_test(tc, test_shared);
    tcase_add_test(tc, test_cycle);
    return s;
}
