/* When a cycle fires. T5, T14 */
#include "conformance/suites.h"

struct row {
    int64_t first, merge, reset;
};

static const struct row rows[] = {{0, 4, 0},       {0, 4, 4}, {0, 2, 0}, {7, 5, 0},
                                  {5000, 100, 25}, {0, 6, 4}, {3, 4, 6}};

static relora_cycle *make(const struct row *row)
{
    relora_cycle_options o = cycle_options(row->merge, row->reset);
    o.first_step = row->first;
    return new_cycle(&o, new_adam(NULL), NULL);
}

static uint32_t due(relora_cycle *c, int64_t step)
{
    uint32_t events = 99;
    OK(relora_cycle_due(c, step, &events));
    return events;
}

/* n updates done since the start: n % every == 1, past the first */
static int fires(int64_t n, int64_t every) { return n > every && n % every == 1; }

START_TEST(test_rule)
{
    const struct row *row = &rows[_i];
    relora_cycle *c = make(row);
    int64_t reset = row->reset ? row->reset : row->merge;
    for (int pass = 0; pass < 2; pass++) /* pure: asking changes nothing */
        for (int64_t n = 0; n <= 4 * row->merge + reset + 2; n++) {
            uint32_t want = fires(n, row->merge) ? RELORA_CYCLE_MERGE : 0u;
            want |= fires(n, reset) ? RELORA_CYCLE_RESET : 0u;
            ck_assert_msg(due(c, row->first + n) == want, "n=%lld", (long long)n);
        }
    ck_assert_uint_eq(due(c, row->first + 1), 0); /* never on the first update */
    ck_assert_uint_eq(due(c, row->first + row->merge + 1) & RELORA_CYCLE_MERGE, RELORA_CYCLE_MERGE);
}
END_TEST

/* Far from 0 the arithmetic is the same. */
START_TEST(test_late_steps)
{
    const struct row row = {0, 1000, 0};
    relora_cycle *c = make(&row);
    int64_t far = INT64_C(1000) << 42;
    ck_assert_uint_eq(due(c, far), 0);
    ck_assert_uint_eq(due(c, far + 1), RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET);
    ck_assert_uint_eq(due(c, far + 2), 0);
}
END_TEST

/* Without an optimizer there is nothing to reset. */
START_TEST(test_without_adam)
{
    relora_cycle_options o = cycle_options(4, 0);
    relora_cycle *c = new_cycle(&o, NULL, NULL);
    for (int64_t n = 0; n < 20; n++) ck_assert_uint_eq(due(c, n), fires(n, 4) ? RELORA_CYCLE_MERGE : 0u);
}
END_TEST

/* T5: on a schedule of the same period the update just done had learning rate 0, and the schedule names
 * the same steps. */
START_TEST(test_learning_rate_is_0)
{
    const struct row row = {50, 25, 0};
    relora_cycle *c = make(&row);
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1;
    o.first_step = 50;
    o.total_steps = 100;
    o.warmup_steps = 5;
    o.restart_every = 25;
    o.restart_warmup_steps = 8;
    relora_schedule *s = new_schedule(&o);
    int merges = 0;
    int64_t next;
    double lr;
    for (int64_t done = 51; done <= 150; done++) {
        if (!due(c, done)) continue;
        merges++;
        OK(relora_schedule_lr(s, done - 1, &lr)); /* update number n uses the rate of n - 1 */
        ck_assert_double_eq(lr, 0);
        OK(relora_schedule_lr(s, done, &lr));
        ck_assert_double_gt(lr, 0);
        OK(relora_schedule_next_restart(s, done - 2, &next));
        ck_assert_int_eq(next, done - 1);
    }
    ck_assert_int_eq(merges, 3);
}
END_TEST

struct loop {
    relora_cycle *c;
    relora_linear *l;
    int64_t merged_at[16];
    int merges;
};

static struct loop new_loop(int64_t merge, int64_t reset)
{
    struct rnd r = rnd_seed(1);
    struct loop loop = {.merges = 0};
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 4, 2);
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(merge, reset);
    loop.l = new_filled_linear(&o, &r);
    OK(relora_adam_add_linear(adam, "l", loop.l));
    loop.c = new_cycle(&co, adam, NULL);
    OK(relora_cycle_add(loop.c, loop.l));
    return loop;
}

static uint32_t advance(struct loop *loop, int64_t done)
{
    uint32_t events = 99, want = due(loop->c, done);
    relora_merge_report report = {.struct_size = sizeof report, .layers = 9};
    put_all(relora_linear_param(loop->l, RELORA_PARAM_B), 1);
    OK(relora_cycle_advance(loop->c, env.st, done, &events, &report, NULL));
    ck_assert_uint_eq(events, want);
    ck_assert_int_eq(report.layers, events & RELORA_CYCLE_MERGE ? 1 : 0);
    if (events & RELORA_CYCLE_MERGE) loop->merged_at[loop->merges++] = done;
    /* B tells whether there was a restart */
    ck_assert_int_eq(*get(relora_linear_param(loop->l, RELORA_PARAM_B)) == 0,
                     (events & RELORA_CYCLE_MERGE) != 0);
    return events;
}

/* T5: R = C = 4 merges after 5, 9 and 13 of 16. */
START_TEST(test_after_5_9_13)
{
    struct loop loop = new_loop(4, 4);
    for (int64_t n = 1; n <= 16; n++) advance(&loop, n);
    ck_assert_int_eq(loop.merges, 3);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(loop.merged_at[i], 5 + 4 * i);
}
END_TEST

/* T14: batches that are skipped are no updates: however many and wherever, the merges stay on the same
 * counts, and none is lost. The authors' code loses the one at 9 if batch 8 is skipped. */
START_TEST(test_skipped_batches)
{
    struct loop loop = new_loop(4, 0);
    int64_t done = 0;
    for (int batch = 1; done < 16; batch++) {
        if (batch == 4 + _i || batch == 8 || batch == 9) continue; /* NaN: no step, no advance */
        advance(&loop, ++done);
    }
    ck_assert_int_eq(loop.merges, 3);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(loop.merged_at[i], 5 + 4 * i);
}
END_TEST

/* R and C apart: merges at 7, 13, 19, resets at 5, 9, 13, 17; at 13 both. */
START_TEST(test_two_periods)
{
    struct loop loop = new_loop(6, 4);
    for (int64_t n = 1; n <= 20; n++) {
        uint32_t events = advance(&loop, n);
        ck_assert_int_eq((events & RELORA_CYCLE_MERGE) != 0, n == 7 || n == 13 || n == 19);
        ck_assert_int_eq((events & RELORA_CYCLE_RESET) != 0, n == 5 || n == 9 || n == 13 || n == 17);
    }
}
END_TEST

/* The calendar of a schedule: every merge follows an update whose learning rate was 0, from a late start, too. */
START_TEST(test_follow)
{
    relora_schedule_options so;
    relora_cycle_options o = cycle_options(3, 2);
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 1, so.first_step = 7, so.total_steps = 40, so.restart_every = 8, so.restart_warmup_steps = 2;
    relora_schedule *schedule = new_schedule(&so);
    OK(relora_cycle_options_follow(&o, schedule));
    ck_assert_int_eq(o.struct_size, sizeof o);
    relora_cycle *c = new_cycle(&o, new_adam(NULL), NULL);
    int merges = 0;
    for (int64_t step = so.first_step; step < so.first_step + so.total_steps; step++) {
        double lr = -1;
        OK(relora_schedule_lr(schedule, step, &lr)); /* of the update that makes step + 1 of them */
        int restarts = step > so.first_step && !(lr > 0);
        ck_assert_uint_eq(due(c, step + 1), restarts ? RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET : 0u);
        merges += restarts;
    }
    ck_assert_int_eq(merges, 4);
}
END_TEST

/* A number that is left out or comes again is warned of; the first may be any, and a failure is no call. */
START_TEST(test_warns)
{
    struct rnd r = rnd_seed(1);
    relora_cycle_options o = cycle_options(4, 0);
    relora_linear_options lo = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    relora_cycle *c = new_cycle(&o, NULL, NULL);
    relora_linear *l = new_filled_linear(&lo, &r);
    relora_tensor *b = relora_linear_param(l, RELORA_PARAM_B);
    OK(relora_cycle_add(c, l));
    OK(relora_cycle_advance(c, env.st, 7, NULL, NULL, NULL));
    OK(relora_cycle_advance(c, env.st, 8, NULL, NULL, NULL));
    put_all(b, NAN);
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(c, env.st, 9, NULL, NULL, NULL), "");
    put_all(b, 1);
    OK(relora_cycle_advance(c, env.st, 9, NULL, NULL, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
    OK(relora_cycle_advance(c, env.st, 9, NULL, NULL, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
    ck_assert_ptr_nonnull(strstr(env.warning, "relora_cycle_advance: step is 9, but the last one was 9"));
    OK(relora_cycle_advance(c, env.st, 11, NULL, NULL, NULL));
    OK(relora_cycle_advance(c, env.st, 3, NULL, NULL, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 3);
    OK(relora_cycle_advance(c, env.st, 4, NULL, NULL, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 3);
}
END_TEST

Suite *cycle_when(void)
{
    Suite *s = suite_create("cycle: when");
    TCase *tc = env_case(s, "when", 20);
    tcase_add_loop_test(tc, test_rule, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tc, test_late_steps);
    tcase_add_test(tc, test_without_adam);
    tcase_add_test(tc, test_learning_rate_is_0);
    tcase_add_test(tc, test_after_5_9_13);
    tcase_add_loop_test(tc, test_skipped_batches, 0, 4);
    tcase_add_test(tc, test_two_periods);
    tcase_add_test(tc, test_follow);
    tcase_add_test(tc, test_warns);
    return s;
}
