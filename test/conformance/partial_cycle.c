/* A run that is no multiple of its period: schedule, cycle and finish agree on where it restarts. And the warning
 * about a cycle whose restarts are not those of the schedule. */
#include "conformance/suites.h"

enum { TOTAL = 47, EVERY = 10, LAST = TOTAL % EVERY, CLIMB = 3, FIRST = 5 };

static relora_schedule_options options_of(relora_schedule_kind kind)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.kind = kind;
    o.lr = 2;
    o.first_step = FIRST;
    o.total_steps = TOTAL;
    o.restart_every = EVERY;
    o.warmup_steps = CLIMB;
    if (kind == RELORA_SCHEDULE_COSINE_RESTARTS) o.restart_warmup_steps = CLIMB;
    return o;
}

static double cosine(double progress) { return 0.1 + 0.9 * 0.5 * (1 + cos(acos(-1) * progress)); }

static double lr_at(relora_schedule *s, int64_t t)
{
    double lr = -1;
    OK(relora_schedule_lr(s, FIRST + t, &lr));
    return lr / 2;
}

/* The last cycle climbs like the others, and ends where the last update of a cycle of its length ends. */
START_TEST(test_cosine)
{
    relora_schedule_options o = options_of(RELORA_SCHEDULE_COSINE);
    relora_schedule *s = new_schedule(&o);
    for (int64_t t = 0; t <= TOTAL; t++) {
        int64_t c = t % EVERY, length = t < TOTAL - LAST ? EVERY : LAST;
        double want = c < CLIMB ? (double)c / CLIMB : cosine((double)(c - CLIMB) / (double)(length - CLIMB));
        if (t >= EVERY && c < 2) want = 1e-7;
        ck_assert_double_eq_tol(lr_at(s, t), want, 1e-14);
    }
    ck_assert_double_eq_tol(lr_at(s, TOTAL + 1), 0.1, 1e-15);
}
END_TEST

START_TEST(test_jagged)
{
    relora_schedule_options o = options_of(RELORA_SCHEDULE_COSINE_RESTARTS);
    relora_schedule *s = new_schedule(&o);
    for (int64_t t = 0; t <= TOTAL; t++) {
        int64_t c = t % EVERY, run = TOTAL - CLIMB;
        double want = c < CLIMB ? (double)c / CLIMB * (t < EVERY ? 1 : cosine((double)(t - c) / (double)run))
                                : cosine((double)(t - CLIMB) / (double)run);
        ck_assert_double_eq_tol(lr_at(s, t), want, 1e-14);
    }
}
END_TEST

/* Each restart of the schedule is one of the cycle that follows it, after the update at the restart; and there are
 * no others. The last merge draws what no merge before has drawn. */
START_TEST(test_agree)
{
    relora_schedule_options o = options_of(_i ? RELORA_SCHEDULE_COSINE : RELORA_SCHEDULE_COSINE_RESTARTS);
    relora_schedule *s = new_schedule(&o);
    relora_cycle_options co = cycle_options(2, 0);
    OK(relora_cycle_options_follow(&co, s));
    relora_cycle *cycle = new_cycle(&co, NULL, NULL);
    int64_t next = -7, restarts = 0;
    OK(relora_schedule_next_restart(s, FIRST, &next));
    for (int64_t step = FIRST + 1; step <= FIRST + TOTAL; step++) {
        uint32_t events = 99;
        OK(relora_cycle_due(cycle, step, &events));
        ck_assert_uint_eq(events, step == next + 1 ? RELORA_CYCLE_MERGE : 0);
        if (!events) continue;
        restarts++;
        ck_assert_double_lt(lr_at(s, step - 1 - FIRST), 1e-6);
        OK(relora_schedule_next_restart(s, next, &next));
    }
    ck_assert_int_eq(next, -1);
    ck_assert_int_eq(restarts, TOTAL / EVERY);
}
END_TEST

START_TEST(test_finish)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 8, 6, 2);
    relora_linear *l = new_filled_linear(&o, &r), *other = new_filled_linear(&o, &r);
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(EVERY, 0);
    relora_merge_report report = {.struct_size = sizeof report};
    OK(relora_adam_add_linear(adam, "l", l));
    relora_cycle *cycle = new_cycle(&co, adam, NULL);
    OK(relora_cycle_add(cycle, l));
    for (int64_t step = 1; step <= TOTAL; step++)
        OK(relora_cycle_advance(cycle, env.st, step, NULL, NULL, NULL));
    put_normal(relora_linear_param(l, RELORA_PARAM_B), &r, 1);
    for (int32_t i = 0; i < 2; i++) put_all(relora_adam_moment(adam, i, RELORA_MOMENT_FIRST), 0.5);
    double *want = oracle_merged(l, 32.0 / 2);
    OK(relora_cycle_finish(cycle, env.st, TOTAL, &report));
    ck_assert_double_gt(report.delta_norm, 0);
    CLOSE(get(relora_linear_param(l, RELORA_PARAM_WEIGHT)), want, 8 * 6,
          close_tolerance(0, RELORA_F32, 64, 2));
    for (int32_t i = 0; i < 2; i++) { /* the moments are not reset */
        relora_tensor *m = relora_adam_moment(adam, i, RELORA_MOMENT_FIRST);
        double *values = get(m);
        for (int64_t k = 0; k < relora_tensor_count(m); k++) ck_assert_double_eq(values[k], 0.5);
    }
    OK(relora_linear_reset(other, env.st, TOTAL / EVERY + 1));
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_A), snapshot(relora_linear_param(other, RELORA_PARAM_A)));
}
END_TEST

/* ---- a calendar that is not the schedule's ---- */

/* The warnings of a run of `updates`, each at the rate of the schedule, from step `from` on. */
static int warnings(const relora_schedule_options *so, const relora_cycle_options *co, int64_t from,
                    int64_t updates)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 8, 6, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_schedule *s = new_schedule(so);
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_linear_zero_grad(l, env.st));
    relora_cycle *cycle = new_cycle(co, adam, NULL);
    OK(relora_cycle_add(cycle, l));
    env.lines[RELORA_LOG_WARN] = 0;
    for (int64_t step = from; step < from + updates; step++) {
        double lr = -1;
        OK(relora_schedule_lr(s, step, &lr));
        OK(relora_adam_step(adam, env.st, lr, 1, NULL));
        OK(relora_cycle_advance(cycle, env.st, step + 1, NULL, NULL, NULL));
    }
    return env.lines[RELORA_LOG_WARN];
}

START_TEST(test_calendars_agree)
{
    relora_schedule_options so = options_of(_i ? RELORA_SCHEDULE_COSINE : RELORA_SCHEDULE_COSINE_RESTARTS);
    relora_cycle_options co = cycle_options(2, 0);
    if (_i) so.min_lr_ratio = 0; /* the update before a restart is near 0 as well */
    relora_schedule *s = new_schedule(&so);
    OK(relora_cycle_options_follow(&co, s));
    ck_assert_int_eq(warnings(&so, &co, FIRST, TOTAL), 0);
    for (int64_t from = FIRST; from < FIRST + EVERY + 3; from++) /* resumed anywhere */
        ck_assert_int_eq(warnings(&so, &co, from, TOTAL - (from - FIRST)), 0);
    co.merge_every = 2 * EVERY; /* at every other restart */
    ck_assert_int_eq(warnings(&so, &co, FIRST, TOTAL), 0);
}
END_TEST

/* A forgotten first_step, another period, other resets, and teeth that were forgotten; said once. */
START_TEST(test_calendars_differ)
{
    relora_schedule_options so = options_of(RELORA_SCHEDULE_COSINE_RESTARTS);
    relora_cycle_options co = cycle_options(EVERY, 0);
    co.first_step = FIRST;
    if (_i == 0) co.first_step = 0;
    if (_i == 1) co.merge_every = 15;
    if (_i == 2) co.reset_every = 7;
    if (_i == 3) so.restart_warmup_steps = 0;
    ck_assert_int_eq(warnings(&so, &co, FIRST, TOTAL), 1);
    ck_assert_ptr_nonnull(strstr(env.warning, "relora_cycle_options_follow"));
    const char *const at[] = {"after step 11", "after step 21", "after step 13", "after step 16"};
    ck_assert_msg(strstr(env.warning, at[_i]) != NULL, "%s", env.warning);
}
END_TEST

/* Layers that restart one after the other have no schedule to restart with. */
START_TEST(test_stagger_has_no_calendar)
{
    relora_schedule_options so = options_of(RELORA_SCHEDULE_COSINE);
    relora_cycle_options co = cycle_options(EVERY, 0);
    co.first_step = FIRST, so.restart_every = 0;
    ck_assert_int_eq(warnings(&so, &co, FIRST, TOTAL), 1);
    co.stagger = 2;
    ck_assert_int_eq(warnings(&so, &co, FIRST, TOTAL), 0);
}
END_TEST

/* What is not known is not guessed: rates on the device, an optimizer of the host's. */
START_TEST(test_unknown_rates)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 8, 6, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_adam *adam = new_adam(NULL);
    relora_tensor *lr = new_vector(RELORA_F32, 1);
    relora_cycle_options co = cycle_options(4, 0);
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_linear_zero_grad(l, env.st));
    relora_cycle *cycle = new_cycle(&co, adam, NULL);
    OK(relora_cycle_add(cycle, l));
    put_all(lr, 0.5);
    env.lines[RELORA_LOG_WARN] = 0;
    for (int64_t step = 1; step <= 9; step++) {
        if (step % 2) OK(relora_adam_step_lr(adam, env.st, lr, 1, NULL));
        else OK(relora_adam_step(adam, env.st, 0.5, 1, NULL));
        OK(relora_cycle_advance(cycle, env.st, step, NULL, NULL, NULL));
    }
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
}
END_TEST

Suite *partial_cycle(void)
{
    Suite *s = suite_create("a last cycle that is shorter");
    TCase *tc = env_case(s, "partial", 20);
    tcase_add_test(tc, test_cosine);
    tcase_add_test(tc, test_jagged);
    tcase_add_loop_test(tc, test_agree, 0, 2);
    tcase_add_test(tc, test_finish);
    tc = env_case(s, "calendar", 60);
    tcase_add_loop_test(tc, test_calendars_agree, 0, 2);
    tcase_add_loop_test(tc, test_calendars_differ, 0, 4);
    tcase_add_test(tc, test_unknown_rates);
    tcase_add_test(tc, test_stagger_has_no_calendar);
    return s;
}
