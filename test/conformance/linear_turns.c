/* LORA to FULL and back: what is merged, kept and let go of, and optimizers and cycles that go on with it. */
#include "conformance/suites.h"

enum { ROWS = 9, IN = 13, OUT = 11, RANK = 3, LAYERS = 3, KINDS = 32 };

static relora_tensor *param(relora_linear *l, relora_param p) { return relora_linear_param(l, p); }

static relora_linear_options kind(int i)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = i & 1 ? RELORA_BF16 : RELORA_F32;
    o.flags = RELORA_LINEAR_BIAS | (i & 2 ? RELORA_LINEAR_TRAINABLE_SCALE : 0) |
              (i & 4 ? RELORA_LINEAR_KEEP_DELTA : 0) | (i & 8 ? RELORA_LINEAR_IN_OUT : 0);
    if (i & 16) o.flags |= i & 1 ? RELORA_LINEAR_FREEZE_A : RELORA_LINEAR_FREEZE_B;
    o.dropout = 0.25;
    o.seed = 5, o.layer = 2;
    return o;
}

static relora_linear *filled(const relora_linear_options *o)
{
    struct rnd r = rnd_seed(1);
    return new_filled_linear(o, &r);
}

/* What FULL has, and no more. */
static void is_full(relora_linear *l)
{
    ck_assert_int_eq(relora_linear_get_mode(l), RELORA_MODE_FULL);
    ck_assert_ptr_nonnull(relora_linear_grad(l, RELORA_PARAM_WEIGHT));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_DELTA; p++) {
        ck_assert_ptr_null(param(l, p));
        ck_assert_ptr_null(relora_linear_grad(l, p));
    }
}

static void is_fresh_lora(relora_linear *l, const relora_linear_options *o)
{
    relora_linear *fresh = new_linear(o);
    ck_assert_int_eq(relora_linear_get_mode(l), RELORA_MODE_LORA);
    ck_assert_ptr_null(relora_linear_grad(l, RELORA_PARAM_WEIGHT));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_DELTA; p++) {
        ck_assert_int_eq(param(l, p) == NULL, param(fresh, p) == NULL);
        ck_assert_int_eq(relora_linear_grad(l, p) == NULL, relora_linear_grad(fresh, p) == NULL);
        if (param(fresh, p)) UNCHANGED(param(l, p), snapshot(param(fresh, p)));
    }
}

/* W gets the bits of a merge for cycle 0, in place; back in LORA everything is as in a new layer. */
START_TEST(test_there_and_back)
{
    relora_linear_options o = kind(_i);
    relora_linear *l = filled(&o), *twin = filled(&o);
    relora_tensor *w = param(l, RELORA_PARAM_WEIGHT);
    const void *memory = relora_tensor_data(w), *bias = snapshot(param(l, RELORA_PARAM_BIAS));
    OK(relora_linear_merge(twin, env.st, 0, NULL));
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_FULL));
    is_full(l);
    ck_assert_ptr_eq(param(l, RELORA_PARAM_WEIGHT), w);
    ck_assert_ptr_eq(relora_tensor_data(w), memory);
    UNCHANGED(w, snapshot(param(twin, RELORA_PARAM_WEIGHT)));
    UNCHANGED(param(l, RELORA_PARAM_BIAS), bias);
    relora_tensor *grad = relora_linear_grad(l, RELORA_PARAM_WEIGHT);
    ck_assert_double_eq(largest(get(grad), relora_tensor_count(grad)), 0);
    const void *merged = snapshot(w);
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    is_fresh_lora(l, &o);
    UNCHANGED(w, merged);
}
END_TEST

/* The output stays, up to the rounding of the merge and of the products. */
START_TEST(test_output)
{
    relora_linear_options o = kind(_i);
    relora_linear *l = filled(&o);
    struct rnd r = rnd_seed(3);
    relora_tensor *x = new_matrix(o.dtype, ROWS, IN), *y = new_matrix(o.dtype, ROWS, OUT);
    put_normal(x, &r, 1);
    OK(relora_linear_set_order(l, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    double *want = get(y);
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_FULL));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    double most = largest(want, ROWS * OUT);
    CLOSE(get(y), want, ROWS * OUT, close_tolerance(0, o.dtype, most, 4 * IN));
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    const void *full = snapshot(y);
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    UNCHANGED(y, full);
}
END_TEST

/* A merge and a reset of the host's own leave nothing to merge: not a bit of W changes. */
START_TEST(test_with_a_cycle)
{
    relora_linear_options o = kind(_i);
    relora_linear *l = filled(&o);
    OK(relora_linear_merge(l, env.st, 7, NULL));
    OK(relora_linear_reset(l, env.st, 7));
    const void *merged = snapshot(param(l, RELORA_PARAM_WEIGHT));
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_FULL));
    is_full(l);
    UNCHANGED(param(l, RELORA_PARAM_WEIGHT), merged);
}
END_TEST

/* What cannot be merged stays as it is. */
START_TEST(test_not_finite)
{
    relora_linear_options o = kind(_i);
    relora_linear *l = filled(&o);
    put_all(param(l, RELORA_PARAM_B), INFINITY);
    const void *was = snapshot(param(l, RELORA_PARAM_WEIGHT));
    FAILS(RELORA_E_NOT_FINITE, relora_linear_set_mode(l, env.st, RELORA_MODE_FULL), "relora_linear_set_mode",
          "factor");
    ck_assert_int_eq(relora_linear_get_mode(l), RELORA_MODE_LORA);
    ck_assert_ptr_null(relora_linear_grad(l, RELORA_PARAM_WEIGHT));
    ck_assert_ptr_nonnull(param(l, RELORA_PARAM_A));
    UNCHANGED(param(l, RELORA_PARAM_WEIGHT), was);
}
END_TEST

/* ---- many layers ---- */

struct model {
    relora_group *group;
    relora_linear *l[LAYERS], *head;
    relora_tensor *norm, *dnorm;
};

static const char *const names[LAYERS] = {"a", "b", "c"};

static struct model new_model(void)
{
    struct model m = {.group = new_group()};
    struct rnd r = rnd_seed(1);
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = kind(i);
        o.layer = (uint64_t)i;
        m.l[i] = new_filled_linear(&o, &r);
        OK(relora_group_add_linear(m.group, names[i], m.l[i]));
        if (i) continue;
        put_normal(m.norm = new_vector(RELORA_F32, 4), &r, 1);
        put_normal(m.dnorm = new_vector(RELORA_F32, 4), &r, 1);
        OK(relora_group_add_param(m.group, "norm", m.norm, m.dnorm));
    }
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    o.layer = 9;
    OK(relora_group_add_linear(m.group, "head", m.head = new_filled_linear(&o, &r)));
    return m;
}

static void put_gradients(const struct model *m, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    for (int i = 0; i <= LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
            relora_tensor *grad = relora_linear_grad(i < LAYERS ? m->l[i] : m->head, p);
            if (grad) put_normal(grad, &r, 1);
        }
}

START_TEST(test_group)
{
    struct model m = new_model(), twins = new_model();
    put_all(param(m.l[LAYERS - 1], RELORA_PARAM_A), NAN);
    FAILS(RELORA_E_NOT_FINITE, relora_group_set_mode(m.group, env.st, RELORA_MODE_FULL),
          "relora_group_set_mode", "layer \"c\"");
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_int_eq(relora_linear_get_mode(m.l[i]), RELORA_MODE_LORA);
        UNCHANGED(param(m.l[i], RELORA_PARAM_WEIGHT), snapshot(param(twins.l[i], RELORA_PARAM_WEIGHT)));
    }
    OK(relora_tensor_copy(param(m.l[LAYERS - 1], RELORA_PARAM_A), param(twins.l[LAYERS - 1], RELORA_PARAM_A),
                          env.st));
    OK(relora_group_set_mode(m.group, env.st, RELORA_MODE_FULL));
    for (int i = 0; i < LAYERS; i++) {
        is_full(m.l[i]);
        OK(relora_linear_set_mode(twins.l[i], env.st, RELORA_MODE_FULL));
        UNCHANGED(param(m.l[i], RELORA_PARAM_WEIGHT), snapshot(param(twins.l[i], RELORA_PARAM_WEIGHT)));
    }
    FAILS(RELORA_E_STATE, relora_group_set_mode(m.group, env.st, RELORA_MODE_FULL), "LORA");
    OK(relora_group_set_mode(m.group, env.st, RELORA_MODE_LORA)); /* the head, without a rank, stays */
    ck_assert_int_eq(relora_linear_get_mode(m.head), RELORA_MODE_FULL);
    ck_assert_int_eq(relora_linear_get_mode(m.l[0]), RELORA_MODE_LORA);
}
END_TEST

/* ---- an optimizer that follows ---- */

static int32_t index_of(relora_adam *adam, const char *name)
{
    int32_t index = -1;
    OK(relora_adam_find(adam, name, &index));
    return index;
}

static int64_t steps_of(relora_adam *adam, const char *name)
{
    int64_t steps;
    OK(relora_adam_steps(adam, env.st, index_of(adam, name), &steps));
    return steps;
}

/* The names, in order, of a new optimizer for the same group. */
static void is_in_order(relora_adam *adam, const relora_group *group)
{
    relora_adam *fresh = new_adam(NULL);
    OK(relora_adam_add_group(fresh, group));
    ck_assert_int_eq(relora_adam_count(adam), relora_adam_count(fresh));
    for (int32_t i = 0; i < relora_adam_count(fresh); i++)
        ck_assert_str_eq(relora_adam_name(adam, i), relora_adam_name(fresh, i));
}

/* What stays has its moments, count and factors; what comes begins at 0; what went is gone. */
START_TEST(test_refresh)
{
    struct model m = new_model();
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add_group(adam, m.group));
    for (int step = 0; step < 3; step++) {
        put_gradients(&m, (uint64_t)step);
        OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    }
    OK(relora_adam_set_factors(adam, index_of(adam, "norm"), 0.5, 0.25));
    relora_tensor *kept = relora_adam_moment(adam, index_of(adam, "c.lora_B.weight"), RELORA_MOMENT_FIRST);
    const void *moments = snapshot(kept);
    OK(relora_linear_set_mode(m.l[1], env.st, RELORA_MODE_FULL));
    FAILS(RELORA_E_STATE, relora_adam_step(adam, env.st, 0.01, 1, NULL), "\"b.", "relora_adam_refresh");
    OK(relora_adam_refresh(adam, env.st));
    is_in_order(adam, m.group);
    int32_t none;
    FAILS(RELORA_E_NOT_FOUND, relora_adam_find(adam, "b.lora_A.weight", &none), "lora_A");
    ck_assert_ptr_eq(relora_adam_moment(adam, index_of(adam, "c.lora_B.weight"), RELORA_MOMENT_FIRST), kept);
    UNCHANGED(kept, moments);
    ck_assert_int_eq(steps_of(adam, "c.lora_B.weight"), 3);
    ck_assert_int_eq(steps_of(adam, "norm"), 3);
    ck_assert_int_eq(steps_of(adam, "b.bias"), 3);
    ck_assert_int_eq(steps_of(adam, "b.weight"), 0);
    const void *norm = snapshot(m.norm), *weight = snapshot(param(m.l[1], RELORA_PARAM_WEIGHT));
    put_gradients(&m, 9);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    ck_assert_int_ne(memcmp(weight, snapshot(param(m.l[1], RELORA_PARAM_WEIGHT)),
                            bytes_of(param(m.l[1], RELORA_PARAM_WEIGHT))),
                     0);
    ck_assert_int_ne(memcmp(norm, snapshot(m.norm), bytes_of(m.norm)), 0);
    OK(relora_linear_set_mode(m.l[1], env.st, RELORA_MODE_LORA));
    OK(relora_adam_refresh(adam, env.st));
    is_in_order(adam, m.group);
    ck_assert_int_eq(steps_of(adam, "b.lora_A.weight"), 0);
    ck_assert_int_eq(steps_of(adam, "norm"), 4);
}
END_TEST

/* Steps after it are those of a new optimizer that was given the same moments, counts and factors. */
START_TEST(test_refresh_bits)
{
    struct model m[2] = {new_model(), new_model()};
    relora_adam *adam[2], *old;
    for (int i = 0; i < 2; i++) {
        OK(relora_adam_add_group(adam[i] = new_adam(NULL), m[i].group));
        put_gradients(&m[i], 4);
        OK(relora_adam_step(adam[i], env.st, 0.01, 1, NULL));
        OK(relora_group_set_mode(m[i].group, env.st, RELORA_MODE_FULL));
    }
    OK(relora_adam_refresh(adam[0], env.st));
    old = adam[1];
    OK(relora_adam_add_group(adam[1] = new_adam(NULL), m[1].group));
    for (int32_t i = 0; i < relora_adam_count(adam[1]); i++) {
        int32_t from;
        if (relora_adam_find(old, relora_adam_name(adam[1], i), &from) < 0) continue;
        OK(relora_adam_set_moments(adam[1], i, relora_adam_moment(old, from, RELORA_MOMENT_FIRST),
                                   relora_adam_moment(old, from, RELORA_MOMENT_SECOND)));
        OK(relora_adam_set_steps(adam[1], env.st, i, 1));
    }
    for (int step = 0; step < 2; step++)
        for (int i = 0; i < 2; i++) {
            put_gradients(&m[i], 5 + (uint64_t)step);
            OK(relora_adam_step(adam[i], env.st, 0.01, 1, NULL));
        }
    for (int i = 0; i < LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_BIAS; p++)
            UNCHANGED(param(m[0].l[i], p), snapshot(param(m[1].l[i], p)));
    UNCHANGED(m[0].norm, snapshot(m[1].norm));
}
END_TEST

static void lend_moments(relora_adam *adam, relora_tensor *first, relora_tensor *second)
{
    relora_tensor *value = new_matrix(RELORA_F32, OUT, IN), *dvalue = new_matrix(RELORA_F32, OUT, IN);
    OK(relora_adam_add_moments(adam, "other", value, dvalue, first, second, NULL));
}

/* W that is a parameter of its own, or memory of a moment, cannot come in addition. Nothing changes. */
START_TEST(test_refresh_refused)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *w = param(l, RELORA_PARAM_WEIGHT), *grad = new_matrix(RELORA_F32, OUT, IN);
    relora_adam *adam = new_adam(NULL);
    put_normal(grad, &r, 1);
    if (_i == 1) lend_moments(adam, w, grad); /* before the layer */
    OK(relora_adam_add_linear(adam, "l", l));
    if (_i == 0) OK(relora_adam_add(adam, "tied", w, grad, NULL));
    if (_i == 2) lend_moments(adam, w, grad); /* behind it */
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_FULL));
    FAILS(RELORA_E_EXISTS, relora_adam_refresh(adam, env.st), "relora_adam_refresh", "memory");
    ck_assert_int_eq(relora_adam_count(adam), 3);
    ck_assert_int_eq(index_of(adam, "l.lora_A.weight"), _i == 1);
    FAILS(RELORA_E_STATE, relora_adam_step(adam, env.st, 0.01, 1, NULL), "l.lora_A");
}
END_TEST

/* Nothing has changed: nothing changes, not even a bit of what follows. A layer under the empty prefix too. */
START_TEST(test_refresh_of_nothing)
{
    relora_linear_options o = kind(3);
    relora_linear *l[2] = {filled(&o), filled(&o)};
    relora_adam *adam[2];
    for (int i = 0; i < 2; i++) {
        OK(relora_adam_add_linear(adam[i] = new_adam(NULL), "", l[i]));
        for (int step = 0; step < 3; step++) {
            struct rnd r = rnd_seed(20 + (uint64_t)step);
            for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_SCALE; p++)
                put_normal(relora_linear_grad(l[i], p), &r, 1);
            OK(relora_adam_step(adam[i], env.st, 0.01, 1, NULL));
            if (i) OK(relora_adam_refresh(adam[i], env.st));
        }
    }
    ck_assert_str_eq(relora_adam_name(adam[1], 0), ".lora_A.weight");
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_SCALE; p++)
        UNCHANGED(param(l[1], p), snapshot(param(l[0], p)));
    relora_adam *none = new_adam(NULL);
    OK(relora_adam_refresh(none, env.st));
    ck_assert_int_eq(relora_adam_count(none), 0);
}
END_TEST

/* ---- a cycle whose layers take turns ---- */

static int hooks;

static void count_hook(void *user, int64_t step, uint32_t events)
{
    (void)user, (void)step, (void)events;
    hooks++;
}

START_TEST(test_cycle)
{
    struct model m = new_model();
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(2, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_ZERO, 1, RELORA_RESET_STEP_COUNT);
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    uint32_t events;
    OK(relora_linear_set_mode(m.l[0], env.st, RELORA_MODE_FULL));
    OK(relora_adam_add_group(adam, m.group));
    co.before = co.after = count_hook;
    hooks = 0;
    relora_cycle *cycle = new_cycle(&co, adam, &ro);
    for (int i = 0; i < LAYERS; i++) OK(relora_cycle_add(cycle, m.l[i])); /* in LORA or not */
    FAILS(RELORA_E_STATE, relora_cycle_add(cycle, m.head), "FULL");
    put_gradients(&m, 1);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    const void *full = snapshot(param(m.l[0], RELORA_PARAM_WEIGHT));
    OK(relora_cycle_advance(cycle, env.st, 3, &events, &merge, &reset));
    ck_assert_uint_eq(events, RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET);
    ck_assert_int_eq(merge.layers, LAYERS - 1);
    ck_assert_int_eq(reset.params, 2 * (LAYERS - 1));
    ck_assert_int_eq(steps_of(adam, "a.weight"), 1);
    ck_assert_int_eq(steps_of(adam, "b.lora_B.weight"), 0);
    UNCHANGED(param(m.l[0], RELORA_PARAM_WEIGHT), full);
    /* the turn of the next */
    OK(relora_linear_set_mode(m.l[0], env.st, RELORA_MODE_LORA));
    OK(relora_linear_set_mode(m.l[1], env.st, RELORA_MODE_FULL));
    const void *before = snapshot(param(m.l[0], RELORA_PARAM_WEIGHT));
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_advance(cycle, env.st, 5, NULL, NULL, NULL), "lora_A", "\"a\"");
    UNCHANGED(param(m.l[0], RELORA_PARAM_WEIGHT), before);
    OK(relora_adam_refresh(adam, env.st));
    put_gradients(&m, 2);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    OK(relora_cycle_advance(cycle, env.st, 5, &events, &merge, &reset));
    ck_assert_int_eq(merge.layers, LAYERS - 1);
    ck_assert_int_eq(reset.params, 2 * (LAYERS - 1));
    ck_assert_int_eq(steps_of(adam, "a.lora_A.weight"), 0);
    ck_assert_int_eq(steps_of(adam, "b.weight"), 1);
    ck_assert_int_eq(steps_of(adam, "b.bias"), 2);
    ck_assert_int_eq(hooks, 4);
    /* the end, in full rank: nothing is done any more, whatever the calendar says */
    OK(relora_group_set_mode(m.group, env.st, RELORA_MODE_FULL));
    OK(relora_cycle_due(cycle, 7, &events));
    ck_assert_uint_eq(events, RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET);
    OK(relora_cycle_advance(cycle, env.st, 7, &events, &merge, &reset));
    ck_assert_uint_eq(events, 0);
    OK(relora_cycle_finish(cycle, env.st, 7, &merge));
    ck_assert_int_eq(merge.layers, 0);
    ck_assert_int_eq(hooks, 4);
}
END_TEST

Suite *linear_turns(void)
{
    Suite *s = suite_create("turns at full rank");
    TCase *tc = env_case(s, "turns", 20);
    tcase_add_loop_test(tc, test_there_and_back, 0, KINDS);
    tcase_add_loop_test(tc, test_output, 0, KINDS);
    tcase_add_loop_test(tc, test_with_a_cycle, 0, KINDS);
    tcase_add_loop_test(tc, test_not_finite, 0, KINDS);
    tcase_add_test(tc, test_group);
    tcase_add_test(tc, test_refresh);
    tcase_add_test(tc, test_refresh_bits);
    tcase_add_loop_test(tc, test_refresh_refused, 0, 3);
    tcase_add_test(tc, test_refresh_of_nothing);
    tcase_add_test(tc, test_cycle);
    return s;
}
