/* Cycles that grow, and layers that restart one group after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "conformance/suites.h"

enum { IN = 6, OUT = 5, RANK = 2, LAYERS = 5 };

static uint32_t due(const relora_cycle *c, int64_t step)
{
    uint32_t events = 99;
    OK(relora_cycle_due(c, step, &events));
    return events;
}

static relora_cycle_options options_of(int64_t every, int64_t growth, int64_t stagger)
{
    relora_cycle_options o = cycle_options(every, 0);
    o.period_growth = growth;
    o.stagger = stagger;
    return o;
}

/* ---- growth ---- */

/* By adding up the cycles one after the other. */
START_TEST(test_growth)
{
    static const int64_t every[] = {4, 2, 7}, growth[] = {1, 0, 5};
    relora_cycle_options o = options_of(every[_i], growth[_i], 0);
    o.first_step = 13;
    relora_cycle *c = new_cycle(&o, NULL, NULL);
    int64_t next = every[_i], length = every[_i];
    for (int64_t n = 0; n < 400; n++) {
        int restarts = n == next + 1;
        ck_assert_msg(due(c, 13 + n) == (restarts ? RELORA_CYCLE_MERGE : 0u), "n=%lld", (long long)n);
        if (restarts) next += length += growth[_i];
    }
}
END_TEST

/* Far from 0, and where a count ends. */
START_TEST(test_late)
{
    relora_cycle_options o = options_of(1000, 3, 0);
    relora_cycle *c = new_cycle(&o, NULL, NULL);
    for (int64_t k = 1; k < INT64_C(1) << 30; k = 5 * k + 1) {
        int64_t start = 1000 * k + 3 * (k * (k - 1) / 2);
        ck_assert_uint_eq(due(c, start), 0);
        ck_assert_uint_eq(due(c, start + 1), RELORA_CYCLE_MERGE);
        ck_assert_uint_eq(due(c, start + 2), 0);
    }
    due(c, INT64_MAX);
    o.period_growth = o.merge_every = INT64_MAX;
    c = new_cycle(&o, NULL, NULL);
    ck_assert_uint_eq(due(c, INT64_MAX), 0);
    o.merge_every = 2, o.stagger = 2; /* the second cycle is longer than a count */
    c = new_cycle(&o, NULL, NULL);
    for (int64_t step = 1; step < 10; step++)
        ck_assert_uint_eq(due(c, step), step == 3 ? RELORA_CYCLE_MERGE : 0u);
    o = options_of(1000, 0, 0);
    c = new_cycle(&o, NULL, NULL);
    ck_assert_uint_eq(due(c, INT64_C(9000000000000000000)), 0);
    ck_assert_uint_eq(due(c, INT64_C(9000000000000000001)), RELORA_CYCLE_MERGE);
}
END_TEST

/* The schedule and the cycle that follows it agree: each restart follows an update with rate 0. */
START_TEST(test_schedule)
{
    relora_schedule_options so;
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 1, so.first_step = 50, so.total_steps = 200, so.warmup_steps = 5;
    so.restart_every = 20, so.restart_warmup_steps = 4, so.period_growth = 7;
    relora_schedule *s = new_schedule(&so);
    relora_cycle_options co = options_of(9, 0, 0);
    OK(relora_cycle_options_follow(&co, s));
    ck_assert_int_eq(co.period_growth, 7);
    relora_cycle *c = new_cycle(&co, NULL, NULL);
    int merges = 0;
    double lr, smooth;
    for (int64_t done = 52; done <= 250; done++) {
        int64_t next;
        OK(relora_schedule_lr(s, done - 1, &lr));
        ck_assert_int_eq(lr == 0, due(c, done) != 0);
        if (!due(c, done)) continue;
        merges++;
        OK(relora_schedule_next_restart(s, done - 2, &next));
        ck_assert_int_eq(next, done - 1);
        OK(relora_schedule_lr(s, done + 3, &lr)); /* the end of the ramp: the one cosine again */
        smooth = 0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * (double)(done + 3 - 55) / 195));
        ck_assert_double_eq_tol(lr, smooth, 1e-14);
        OK(relora_schedule_lr(s, done, &lr)); /* a quarter of the value at its end */
        ck_assert_double_eq_tol(lr, smooth / 4, 1e-14);
    }
    ck_assert_int_eq(merges, 5); /* 20, 47, 81, 122, 170 */
}
END_TEST

/* ---- stagger ---- */

struct world {
    relora_linear *l[LAYERS];
    relora_adam *adam;
    relora_cycle *c;
};

static struct world new_world(const relora_cycle_options *options, relora_reset_mode mode, relora_init init)
{
    struct world w;
    struct rnd r = rnd_seed(1);
    relora_reset_options ro = reset_options(mode, 1, 0);
    char name[8];
    w.adam = new_adam(NULL);
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
        o.layer = (uint64_t)i, o.init = init;
        snprintf(name, sizeof name, "l%d", i);
        w.l[i] = new_filled_linear(&o, &r);
        OK(relora_adam_add_linear(w.adam, name, w.l[i]));
    }
    w.c = new_cycle(options, w.adam, &ro);
    for (int i = 0; i < LAYERS; i++) OK(relora_cycle_add(w.c, w.l[i]));
    return w;
}

static relora_tensor *b_of(struct world *w, int i) { return relora_linear_param(w->l[i], RELORA_PARAM_B); }

static void revive(struct world *w)
{
    for (int i = 0; i < LAYERS; i++) {
        put_all(b_of(w, i), 1);
        for (int k = 0; k < 2; k++) put_all(relora_adam_moment(w->adam, 2 * i + k, RELORA_MOMENT_FIRST), 1);
    }
}

/* Which layers restart: those whose time has come, with their moments, and no others. */
START_TEST(test_stagger)
{
    static const int64_t every[] = {10, 10, 4, 7}, growth[] = {0, 3, 0, 0}, stagger[] = {5, 3, 4096, 1};
    relora_cycle_options o = options_of(every[_i], growth[_i], stagger[_i]);
    struct world w = new_world(&o, RELORA_RESET_ZERO, 0);
    int restarts[LAYERS] = {0};
    for (int64_t n = 1; n <= 100; n++) {
        relora_merge_report merge = {.struct_size = sizeof merge};
        relora_reset_report reset = {.struct_size = sizeof reset};
        int64_t start = 0, length = every[_i], k = 0; /* of the cycle in which update n - 1 is */
        for (; start + length <= n - 1; length += growth[_i], k++) start += length;
        int layers = 0;
        uint32_t events, want = due(w.c, n);
        revive(&w);
        OK(relora_cycle_advance(w.c, env.st, n, &events, &merge, &reset));
        for (int i = 0; i < LAYERS; i++) {
            int now = k && n - 1 - start == i % stagger[_i] * length / stagger[_i];
            layers += now, restarts[i] += now;
            ck_assert_int_eq(*get(b_of(&w, i)) == 0, now);
            for (int m = 0; m < 2; m++)
                ck_assert_int_eq(*get(relora_adam_moment(w.adam, 2 * i + m, RELORA_MOMENT_FIRST)) == 0, now);
        }
        ck_assert_int_eq(merge.layers, layers);
        ck_assert_int_eq(reset.params, 2 * layers);
        ck_assert_uint_eq(events, want);
        ck_assert_uint_eq(events, layers ? RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET : 0u);
    }
    for (int i = 0; i < LAYERS; i++) ck_assert_int_ge(restarts[i], 3);
}
END_TEST

/* Without layers every group counts; the end merges all of them, with a number that none has had. */
START_TEST(test_edges)
{
    relora_cycle_options o = options_of(10, 0, 5);
    relora_cycle *empty = new_cycle(&o, NULL, NULL);
    for (int64_t n = 1; n <= 40; n++)
        ck_assert_uint_eq(due(empty, n), n > 10 && n % 2 ? RELORA_CYCLE_MERGE : 0u);
    struct world w = new_world(&o, RELORA_RESET_ZERO, 0), x = new_world(&o, RELORA_RESET_ZERO, 0);
    relora_merge_report merge = {.struct_size = sizeof merge};
    revive(&w);
    OK(relora_cycle_finish(w.c, env.st, 25, &merge));
    ck_assert_int_eq(merge.layers, LAYERS);
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_double_eq(largest(get(b_of(&w, i)), OUT * RANK), 0);
        OK(relora_linear_reset(x.l[i], env.st, 3)); /* 1 and 2 are those of the updates 11 to 29 */
        UNCHANGED(relora_linear_param(w.l[i], RELORA_PARAM_A),
                  snapshot(relora_linear_param(x.l[i], RELORA_PARAM_A)));
    }
}
END_TEST

/* A layer whose turn it is not need not be ready: it is not looked at. */
START_TEST(test_others_are_left)
{
    relora_cycle_options o = options_of(10, 0, 5);
    struct world w = new_world(&o, RELORA_RESET_ZERO, 0);
    put_all(b_of(&w, 1), (double)NAN);
    OK(relora_cycle_advance(w.c, env.st, 11, NULL, NULL, NULL));
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(w.c, env.st, 13, NULL, NULL, NULL), "l1");
}
END_TEST

/* ---- a run that is resumed in the middle of all of it ---- */

static void train(struct world *w, int from, int to)
{
    for (int step = from; step < to; step++) {
        struct rnd r = rnd_seed(100 + (uint64_t)step);
        for (int i = 0; i < LAYERS; i++)
            for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
                put_normal(relora_linear_grad(w->l[i], p), &r, 1);
        OK(relora_adam_step(w->adam, env.st, 0.01, 1, NULL));
        OK(relora_cycle_advance(w->c, env.st, step + 1, NULL, NULL, NULL));
    }
}

static relora_state *state_of(struct world *w)
{
    static const char *const names[LAYERS] = {"a", "b", "c", "d", "e"};
    relora_state *s;
    OK(relora_state_create(&s, env.ctx));
    for (int i = 0; i < LAYERS; i++) OK(relora_state_add_linear(s, names[i], w->l[i]));
    OK(relora_state_add_adam(s, "adam", w->adam));
    OK(relora_state_add_cycle(s, "cycle", w->c));
    return s;
}

START_TEST(test_resume)
{
    relora_cycle_options o = options_of(6, 2, 3);
    char path[] = "/tmp/relora-growth-XXXXXX";
    int made = mkstemp(path);
    relora_reader *file;
    ck_assert_int_ge(made, 0);
    close(made);
    struct world w = new_world(&o, RELORA_RESET_PROJECT, RELORA_INIT_GRADIENT);
    struct world x = new_world(&o, RELORA_RESET_PROJECT, RELORA_INIT_GRADIENT);
    train(&w, 0, 9 + _i);
    relora_state *saved = state_of(&w), *loaded = state_of(&x);
    OK(relora_state_save(saved, env.st, path, 0));
    train(&w, 9 + _i, 40);
    OK(relora_reader_open(&file, env.ctx, path));
    OK(relora_state_load(loaded, env.st, file));
    relora_reader_release(file);
    remove(path);
    train(&x, 9 + _i, 40);
    for (int i = 0; i < LAYERS; i++) {
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
            if (relora_linear_param(w.l[i], p))
                UNCHANGED(relora_linear_param(x.l[i], p), snapshot(relora_linear_param(w.l[i], p)));
        for (int k = 0; k < 2; k++)
            UNCHANGED(relora_adam_moment(x.adam, 2 * i + k, RELORA_MOMENT_SECOND),
                      snapshot(relora_adam_moment(w.adam, 2 * i + k, RELORA_MOMENT_SECOND)));
    }
    relora_state_release(saved);
    relora_state_release(loaded);
}
END_TEST

Suite *cycle_growth(void)
{
    Suite *s = suite_create("cycles that grow or are staggered");
    TCase *tc = env_case(s, "growth", 20);
    tcase_add_loop_test(tc, test_growth, 0, 3);
    tcase_add_test(tc, test_late);
    tcase_add_test(tc, test_schedule);
    tc = env_case(s, "stagger", 20);
    tcase_add_loop_test(tc, test_stagger, 0, 4);
    tcase_add_test(tc, test_edges);
    tcase_add_test(tc, test_others_are_left);
    tcase_add_loop_test(tc, test_resume, 0, 8);
    return s;
}
