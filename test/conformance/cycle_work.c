/* What a cycle does when it fires: every layer or none, the moments of its factors, hooks, reports,
 * finish. T8, T12, T21, T22 */
#include <stdio.h>
#include "conformance/suites.h"

enum { IN = 11, OUT = 9, RANK = 3, LAYERS = 2 };

struct call {
    int after;
    int64_t step;
    uint32_t events;
};

struct world {
    relora_adam *adam;
    relora_linear *l[LAYERS];
    relora_cycle *c;
    double *want[LAYERS]; /* W after the merge */
    struct call calls[8];
    int n_calls;
};

static void hook_before(void *user, int64_t step, uint32_t events)
{
    struct world *w = user;
    w->calls[w->n_calls++] = (struct call){0, step, events};
}

static void hook_after(void *user, int64_t step, uint32_t events)
{
    struct world *w = user;
    w->calls[w->n_calls++] = (struct call){1, step, events};
}

static relora_tensor *param(struct world *w, int i, relora_param p)
{
    return relora_linear_param(w->l[i], p);
}

/* Factors, gradients, moments: everything alive. */
static void live(struct world *w, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    for (int i = 0; i < LAYERS; i++) {
        put_normal(param(w, i, RELORA_PARAM_A), &r, 0.3);
        put_normal(param(w, i, RELORA_PARAM_B), &r, 0.3);
        w->want[i] = oracle_merged(w->l[i], 32.0 / RANK);
    }
    for (int32_t k = 0; w->adam && k < relora_adam_count(w->adam); k++)
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            put_normal(relora_adam_moment(w->adam, k, m), &r, 1);
}

static struct world *new_world(int64_t merge_every, int64_t reset_every, int with_adam)
{
    struct world *w = scratch(sizeof *w);
    struct rnd r = rnd_seed(1);
    relora_cycle_options co = cycle_options(merge_every, reset_every);
    relora_reset_options ro = reset_options(RELORA_RESET_ZERO, 1, RELORA_RESET_STEP_COUNT);
    if (with_adam) w->adam = new_adam(NULL);
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
        o.flags = RELORA_LINEAR_BIAS;
        o.layer = (uint64_t)i;
        w->l[i] = new_filled_linear(&o, &r);
        if (w->adam) OK(relora_adam_add_linear(w->adam, i ? "l1" : "l0", w->l[i]));
    }
    co.before = hook_before;
    co.after = hook_after;
    co.hook_user = w;
    w->c = new_cycle(&co, w->adam, w->adam ? &ro : NULL);
    for (int i = 0; i < LAYERS; i++) OK(relora_cycle_add(w->c, w->l[i]));
    live(w, 2);
    return w;
}

static void merged(struct world *w)
{
    for (int i = 0; i < LAYERS; i++) {
        double tolerance = close_tolerance(0, RELORA_F32, largest(w->want[i], OUT * IN), RANK);
        CLOSE(get(param(w, i, RELORA_PARAM_WEIGHT)), w->want[i], OUT * IN, tolerance);
        ck_assert_double_eq(largest(get(param(w, i, RELORA_PARAM_B)), OUT * RANK), 0);
        double most = largest(get(param(w, i, RELORA_PARAM_A)), RANK * IN);
        ck_assert_double_gt(most, 0.5 / sqrt(IN));
        ck_assert_double_le(most, (1 + 1e-6) / sqrt(IN));
    }
}

/* Of l.bias the moments stay, of A and B they are zero, their counters too. */
static void moments_reset(struct world *w)
{
    for (int32_t k = 0; k < relora_adam_count(w->adam); k++) {
        relora_tensor *m = relora_adam_moment(w->adam, k, RELORA_MOMENT_FIRST);
        int factor = strstr(relora_adam_name(w->adam, k), "lora_") != NULL;
        ck_assert_int_eq(largest(get(m), relora_tensor_count(m)) == 0, factor);
    }
}

/* Merge, fresh factors, reset, in one call; both reports in total; the hooks around it. */
START_TEST(test_restart)
{
    struct world *w = new_world(4, 0, 1);
    uint32_t events = 0, both = RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET;
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    double delta[LAYERS], weight[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        double *was = get(param(w, i, RELORA_PARAM_WEIGHT));
        for (int k = 0; k < OUT * IN; k++) was[k] -= w->want[i][k];
        delta[i] = norm2(was, OUT * IN);
        weight[i] = norm2(w->want[i], OUT * IN);
    }
    OK(relora_cycle_advance(w->c, env.st, 5, &events, &merge, &reset));
    ck_assert_uint_eq(events, both);
    merged(w);
    moments_reset(w);
    ck_assert_int_eq(merge.layers, LAYERS);
    /* norms over all layers together; W was stored in F32 */
    ck_assert_double_eq_tol(merge.delta_norm, hypot(delta[0], delta[1]), 1e-5 * merge.delta_norm);
    ck_assert_double_eq_tol(merge.weight_norm, hypot(weight[0], weight[1]), 1e-5 * merge.weight_norm);
    ck_assert_int_eq(reset.params, 2 * LAYERS);
    ck_assert_int_eq(reset.elements, LAYERS * RANK * (IN + OUT));
    ck_assert_int_eq(reset.zeroed_first, reset.elements);
    ck_assert_int_eq(w->n_calls, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(w->calls[i].after, i);
        ck_assert_int_eq(w->calls[i].step, 5);
        ck_assert_uint_eq(w->calls[i].events, both);
    }
}
END_TEST

/* More layers than a cycle first has room for: each is merged, and each of its moments reset. */
START_TEST(test_many_layers)
{
    enum { MANY = 37 };
    struct rnd r = rnd_seed(7);
    relora_cycle_options co = cycle_options(4, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_ZERO, 1, 0);
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    relora_adam *adam = new_adam(NULL);
    relora_cycle *c = new_cycle(&co, adam, &ro);
    relora_linear *l[MANY];
    for (int i = 0; i < MANY; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        l[i] = new_filled_linear(&o, &r);
        OK(relora_adam_add_linear(adam, name, l[i]));
        OK(relora_cycle_add(c, l[i]));
    }
    for (int32_t k = 0; k < relora_adam_count(adam); k++)
        put_normal(relora_adam_moment(adam, k, RELORA_MOMENT_FIRST), &r, 1);
    OK(relora_cycle_advance(c, env.st, 5, NULL, &merge, &reset));
    ck_assert_int_eq(merge.layers, MANY);
    ck_assert_int_eq(reset.params, 2 * MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_double_eq(largest(get(relora_linear_param(l[i], RELORA_PARAM_B)), OUT * RANK), 0);
    for (int32_t k = 0; k < relora_adam_count(adam); k++) {
        relora_tensor *m = relora_adam_moment(adam, k, RELORA_MOMENT_FIRST);
        ck_assert_double_eq(largest(get(m), relora_tensor_count(m)), 0);
    }
}
END_TEST

/* Nothing due: nothing done, no hook, reports of zeros, NULLs allowed. */
START_TEST(test_nothing_due)
{
    struct world *w = new_world(4, 0, 1);
    uint32_t events = 7;
    relora_merge_report merge = {.struct_size = sizeof merge, .layers = 3, .delta_norm = 4, .weight_norm = 5};
    relora_reset_report reset = {.struct_size = sizeof reset, .params = 3, .elements = 9, .zeroed_first = 7};
    void *was = snapshot(param(w, 0, RELORA_PARAM_WEIGHT)), *b = snapshot(param(w, 0, RELORA_PARAM_B));
    OK(relora_cycle_advance(w->c, env.st, 4, &events, &merge, &reset));
    OK(relora_cycle_advance(w->c, env.st, 1, NULL, NULL, NULL));
    ck_assert_uint_eq(events, 0);
    ck_assert(merge.layers == 0 && merge.delta_norm == 0 && merge.weight_norm == 0);
    ck_assert(reset.params == 0 && reset.elements == 0 && reset.zeroed_first == 0);
    ck_assert_int_eq(w->n_calls, 0);
    UNCHANGED(param(w, 0, RELORA_PARAM_WEIGHT), was);
    UNCHANGED(param(w, 0, RELORA_PARAM_B), b);
}
END_TEST

/* R = 6, C = 4: after 5 only moments, after 7 only factors. */
START_TEST(test_periods_apart)
{
    struct world *w = new_world(6, 4, 1);
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    void *was = snapshot(param(w, 1, RELORA_PARAM_WEIGHT)), *b = snapshot(param(w, 1, RELORA_PARAM_B));
    OK(relora_cycle_advance(w->c, env.st, 5, NULL, &merge, &reset));
    moments_reset(w);
    UNCHANGED(param(w, 1, RELORA_PARAM_WEIGHT), was);
    UNCHANGED(param(w, 1, RELORA_PARAM_B), b);
    ck_assert_int_eq(merge.layers, 0);
    ck_assert_int_eq(reset.params, 2 * LAYERS);
    live(w, 3);
    void *m = snapshot(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST));
    OK(relora_cycle_advance(w->c, env.st, 7, NULL, &merge, &reset));
    merged(w);
    UNCHANGED(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST), m);
    ck_assert_int_eq(merge.layers, LAYERS);
    ck_assert_int_eq(reset.params, 0);
}
END_TEST

/* Every layer is looked at first: a NaN in the last one, and no W, no factor, no moment changes. */
START_TEST(test_not_finite)
{
    struct world *w = new_world(4, 0, 1);
    relora_tensor *b = param(w, LAYERS - 1, _i ? RELORA_PARAM_A : RELORA_PARAM_B);
    double *values = get(b);
    values[relora_tensor_count(b) - 1] = NAN;
    put(b, values);
    void *was[LAYERS], *a[LAYERS], *m = snapshot(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST));
    for (int i = 0; i < LAYERS; i++) {
        was[i] = snapshot(param(w, i, RELORA_PARAM_WEIGHT));
        a[i] = snapshot(param(w, i, RELORA_PARAM_A));
    }
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(w->c, env.st, 5, NULL, NULL, NULL), "factor");
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_finish(w->c, env.st, 5, NULL), "factor");
    for (int i = 0; i < LAYERS; i++) {
        UNCHANGED(param(w, i, RELORA_PARAM_WEIGHT), was[i]);
        UNCHANGED(param(w, i, RELORA_PARAM_A), a[i]);
    }
    UNCHANGED(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST), m);
    for (int i = 0; i < w->n_calls; i++) ck_assert_int_eq(w->calls[i].after, 0); /* not called on failure */
}
END_TEST

/* Nor if the product of finite factors of the last one is none. */
START_TEST(test_beyond_the_range)
{
    struct world *w = new_world(4, 0, 1);
    put_all(param(w, LAYERS - 1, RELORA_PARAM_A), 1e30);
    put_all(param(w, LAYERS - 1, RELORA_PARAM_B), 1e30);
    void *was[LAYERS], *a[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        was[i] = snapshot(param(w, i, RELORA_PARAM_WEIGHT));
        a[i] = snapshot(param(w, i, RELORA_PARAM_A));
    }
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(w->c, env.st, 5, NULL, NULL, NULL), "layer \"l1\"",
          "nothing was merged");
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_finish(w->c, env.st, 5, NULL), "layer \"l1\"");
    for (int i = 0; i < LAYERS; i++) {
        UNCHANGED(param(w, i, RELORA_PARAM_WEIGHT), was[i]);
        UNCHANGED(param(w, i, RELORA_PARAM_A), a[i]);
    }
    ck_assert_int_eq(w->n_calls, 0);
}
END_TEST

/* finish(): W alone gives the trained output, the moments stay, the hooks see FINISH. T21 */
START_TEST(test_finish)
{
    struct world *w = new_world(4, 0, _i);
    relora_merge_report merge = {.struct_size = sizeof merge};
    void *m = w->adam ? snapshot(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST)) : NULL;
    OK(relora_cycle_finish(w->c, env.st, 3, &merge));
    merged(w);
    ck_assert_int_eq(merge.layers, LAYERS);
    ck_assert_double_gt(merge.delta_norm, 0);
    if (w->adam) UNCHANGED(relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST), m);
    ck_assert_int_eq(w->n_calls, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(w->calls[i].step, 3);
        ck_assert_uint_eq(w->calls[i].events, RELORA_CYCLE_MERGE | RELORA_CYCLE_FINISH);
    }
    OK(relora_cycle_finish(w->c, env.st, 3, &merge)); /* B is 0 now: once more changes nothing */
    ck_assert_double_eq(merge.delta_norm, 0);
}
END_TEST

START_TEST(test_without_adam)
{
    struct world *w = new_world(4, 0, 0);
    uint32_t events;
    relora_reset_report reset = {.struct_size = sizeof reset, .params = 3};
    OK(relora_cycle_advance(w->c, env.st, 5, &events, NULL, &reset));
    merged(w);
    ck_assert_uint_eq(events, RELORA_CYCLE_MERGE);
    ck_assert_int_eq(reset.params, 0);
}
END_TEST

/* Every restart draws another A; the sum of all changes arrives in W. T4, T21 */
START_TEST(test_many_restarts)
{
    struct world *w = new_world(4, 0, 1);
    double *last = get(param(w, 0, RELORA_PARAM_A));
    for (int64_t n = 5; n <= 17; n += 4) {
        OK(relora_cycle_advance(w->c, env.st, n, NULL, NULL, NULL));
        merged(w);
        double *now = get(param(w, 0, RELORA_PARAM_A));
        ck_assert_double_gt(distance(now, last, RANK * IN), 0.1);
        ck_assert_double_gt(distance(now, get(param(w, 1, RELORA_PARAM_A)), RANK * IN), 0.1);
        last = now;
        live(w, (uint64_t)n);
    }
}
END_TEST

/* finish() right after a restart draws another A than that restart did. */
START_TEST(test_finish_draws_anew)
{
    struct world *w = new_world(4, 0, 0);
    for (int64_t n = 5; n <= 10; n++) {
        OK(relora_cycle_advance(w->c, env.st, n, NULL, NULL, NULL));
        if (n % 4 != 1) continue;
        double *drawn = get(param(w, 0, RELORA_PARAM_A));
        OK(relora_cycle_finish(w->c, env.st, n, NULL));
        ck_assert_double_gt(distance(get(param(w, 0, RELORA_PARAM_A)), drawn, RANK * IN), 0.1);
    }
}
END_TEST

/* `cycle` of the reset options is set at each restart: a random mask is another one each time. */
START_TEST(test_random_masks_differ)
{
    struct rnd r = rnd_seed(6);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 200, OUT, RANK);
    relora_cycle_options co = cycle_options(4, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_RANDOM, 0.5, 0);
    relora_adam *adam = new_adam(NULL);
    relora_linear *l = new_filled_linear(&o, &r);
    OK(relora_adam_add_linear(adam, "l", l));
    relora_cycle *c = new_cycle(&co, adam, &ro);
    OK(relora_cycle_add(c, l));
    relora_tensor *m = relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST);
    double *masks[2], same = 0;
    for (int i = 0; i < 2; i++) {
        put_all(m, 1);
        OK(relora_cycle_advance(c, env.st, 5 + 4 * i, NULL, NULL, NULL));
        masks[i] = get(m);
    }
    for (int i = 0; i < RANK * 200; i++) same += masks[0][i] == masks[1][i];
    ck_assert_double_lt(fabs(same / (RANK * 200) - 0.5), 0.1); /* 5 deviations of 0.02 */
}
END_TEST

/* T12: two replicas stay equal through merge and reset, bit for bit. */
START_TEST(test_replicas)
{
    struct world *one = new_world(4, 0, 1), *two = new_world(4, 0, 1);
    for (int64_t n = 5; n <= 13; n += 4) {
        OK(relora_cycle_advance(one->c, env.st, n, NULL, NULL, NULL));
        OK(relora_cycle_advance(two->c, env.st, n, NULL, NULL, NULL));
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
            UNCHANGED(param(one, 1, p), snapshot(param(two, 1, p)));
        live(one, (uint64_t)n);
        live(two, (uint64_t)n);
    }
}
END_TEST

/* T22: two layers over one W, be it one tensor or two over the same memory, would merge twice. */
START_TEST(test_one_weight_twice)
{
    struct world *w = new_world(4, 0, 0);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *tied = new_linear(&o);
    relora_tensor *weight = param(w, 0, RELORA_PARAM_WEIGHT), *again = weight;
    if (_i) {
        OK(relora_tensor_borrow(&again, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}, NULL,
                                relora_tensor_data(weight), NULL, NULL));
    }
    OK(relora_linear_set_weight(tied, again, NULL));
    if (_i) relora_tensor_release(again);
    FAILS(RELORA_E_EXISTS, relora_cycle_add(w->c, tied), "");
    OK(relora_cycle_advance(w->c, env.st, 5, NULL, NULL, NULL));
    merged(w);
}
END_TEST

/* The cycle keeps optimizer and layers alive. */
START_TEST(test_keeps_alive)
{
    struct rnd r = rnd_seed(5);
    relora_adam *adam;
    relora_linear *l;
    relora_tensor *weight;
    relora_cycle_options co = cycle_options(4, 0);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    OK(relora_adam_create(&adam, env.dev, NULL));
    OK(relora_linear_create(&l, env.dev, &o));
    OK(relora_tensor_create(&weight, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    put_normal(weight, &r, 1);
    OK(relora_linear_set_weight(l, weight, NULL));
    OK(relora_adam_add_linear(adam, "l", l));
    relora_cycle *c = new_cycle(&co, adam, NULL);
    OK(relora_cycle_add(c, l));
    relora_tensor_release(weight);
    relora_linear_release(l);
    relora_adam_release(adam);
    OK(relora_cycle_advance(c, env.st, 5, NULL, NULL, NULL));
}
END_TEST

Suite *cycle_work(void)
{
    Suite *s = suite_create("cycle: work");
    TCase *tc = env_case(s, "work", 20);
    tcase_add_test(tc, test_restart);
    tcase_add_test(tc, test_many_layers);
    tcase_add_test(tc, test_nothing_due);
    tcase_add_test(tc, test_periods_apart);
    tcase_add_loop_test(tc, test_not_finite, 0, 2);
    tcase_add_test(tc, test_beyond_the_range);
    tcase_add_loop_test(tc, test_finish, 0, 2);
    tcase_add_test(tc, test_without_adam);
    tcase_add_test(tc, test_many_restarts);
    tcase_add_test(tc, test_finish_draws_anew);
    tcase_add_test(tc, test_random_masks_differ);
    tcase_add_test(tc, test_replicas);
    tcase_add_loop_test(tc, test_one_weight_twice, 0, 2);
    tcase_add_test(tc, test_keeps_alive);
    return s;
}
