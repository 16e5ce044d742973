/* src/schedule.c against the tables of method.md 5.1 to 5.3. T6. More values are in golden/schedule.c. */
#include "unit/suites.h"

struct point {
    int64_t t;
    double factor;
};

struct table {
    relora_schedule_kind kind;
    int64_t total, warmup, rewarm, every, adjust;
    struct point at[28]; /* t < 0 ends it */
};

/* clang-format off */
static const struct table tables[] = {
    {RELORA_SCHEDULE_COSINE_RESTARTS, 20000, 500, 100, 5000, 0,
     {{0, 0}, {1, 0x1.0624dd2f1a9fcp-9}, {250, .5}, {499, 0x1.fef9db22d0e56p-1}, {500, 1},
      {501, 0x1.ffffffcdd5b2dp-1}, {4999, 0x1.c614dc71140adp-1}, {5000, 0}, {5001, 0x1.2101bea62a9dcp-7},
      {5050, 0x1.c392b9e3a2968p-2}, {5099, 0x1.bf0eb2e909ec0p-1}, {5100, 0x1.c392b9e3a2968p-1},
      {5101, 0x1.c38c4f7b5c8b4p-1}, {9999, 0x1.22ea13986dde2p-1}, {10000, 0}, {10001, 0x1.6f92fd5ba0badp-8},
      {10050, 0x1.1f2ad5ef9591fp-2}, {10099, 0x1.1c4baff4de508p-1}, {10100, 0x1.1f2ad5ef9591fp-1},
      {14999, 0x1.e817a2a853dcfp-3}, {15000, 0}, {15050, 0x1.dd5c425d9356cp-4}, {15100, 0x1.dd5c425d9356cp-3},
      {19999, 0x1.99999b2aec031p-4}, {20000, 0}, {-1, 0}}},
    {RELORA_SCHEDULE_COSINE_RESTARTS, 15000, 500, 100, 5000, 0, /* the README case */
     {{500, 1}, {4999, 0.8026148712613355}, {5000, 0}, {5001, 0.007944057628661946}, {5050, 0.39720288143309734},
      {5100, 0.7944057628661947}, {9999, 0.3393023470266954}, {10000, 0}, {10050, 0.16532615374355322},
      {10100, 0.33065230748710644}, {14999, 0.10000001056200228}, {-1, 0}}},
    {RELORA_SCHEDULE_COSINE_RESTARTS, 20000, 500, 100, 5000, 2000, /* quirks of adjust_step */
     {{499, 0.998}, {500, 0.9768413988762155}, {2999, 0.8868779075655958}, {3000, 0.8868298366769954},
      {5000, 0.775}, {7999, 0.5681921123095288}, {8000, 0}, {8001, 0.005608736853562596}, {8050, 0.2804368426781298},
      {8100, 0.5608736853562596}, {12999, 0.23832633091158903}, {13000, 0}, {13050, 0.11654306339297243},
      {17999, 0.10000000584000258}, {18000, 0}, {18050, 0.0500291993814407}, {18100, 0.1000583987628814},
      {19999, 0.12313564877465553}, {-1, 0}}},
    {RELORA_SCHEDULE_COSINE_RESTARTS, 20000, 500, 100, 5000, 60,
     {{4939, 0.8868779075655958}, {4940, 0.8868298366769954}, {4999, 0.8839782226456786}, {5000, 0.5291872839188512},
      {5040, 0.8819788065314187}, {9939, 0.5681921123095288}, {9940, 0}, {9990, 0.2804368426781298},
      {10040, 0.5608736853562596}, {19999, 0.059034455270100025}, {-1, 0}}},
    {RELORA_SCHEDULE_COSINE_RESTARTS, 20000, 0, 100, 5000, 0, {{0, 1}, {5000, 0}, {-1, 0}}}, /* no warmup */
    {RELORA_SCHEDULE_COSINE, 20000, 500, 0, 5000, 0,
     {{0, 0}, {1, .002}, {500, 1}, {501, 0.9999998903377333}, {2750, .55}, {4999, 0.10000010966226668}, {5000, 1e-7},
      {5001, 1e-7}, {5002, .004}, {5250, .5}, {10000, 1e-7}, {20000, 1e-7}, {-1, 0}}},
    {RELORA_SCHEDULE_LINEAR, 20000, 500, 0, 0, 0,
     {{0, 0}, {250, .5}, {500, 1}, {501, 0.999948717948718}, {10250, .5}, {19999, 5.128205128205128e-05}, {20000, 0},
      {20001, 0}, {-1, 0}}},
    {RELORA_SCHEDULE_CONSTANT, 0, 8, 0, 0, 0, {{0, 0}, {1, .125}, {4, .5}, {8, 1}, {1000000, 1}, {-1, 0}}},
    {RELORA_SCHEDULE_CONSTANT, 0, 0, 0, 0, 0, {{0, 1}, {7, 1}, {-1, 0}}},
};
/* clang-format on */
enum { TABLES = sizeof tables / sizeof *tables };

static relora_schedule *make(const struct table *t, double lr, int64_t first)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.kind = t->kind;
    o.lr = lr;
    o.first_step = first;
    o.total_steps = t->total;
    o.warmup_steps = t->warmup;
    o.restart_warmup_steps = t->rewarm;
    o.restart_every = t->every;
    o.adjust_step = t->adjust;
    return new_schedule(&o);
}

static double rate(relora_schedule *s, int64_t step)
{
    double lr = -1;
    OK(relora_schedule_lr(s, step, &lr));
    return lr;
}

/* The tables have 16 digits; the cosine of another libm may differ in the last bits. */
START_TEST(test_tables)
{
    const struct table *t = &tables[_i];
    relora_schedule *s = make(t, 1, 0), *late = make(t, 0.25, 777);
    for (const struct point *p = t->at; p->t >= 0; p++) {
        ck_assert_double_le(fabs(rate(s, p->t) - p->factor), 4e-15 * p->factor);
        ck_assert_double_le(fabs(rate(late, p->t + 777) - 0.25 * p->factor), 1e-15 * p->factor);
    }
}
END_TEST

/* Same step, same answer, in any order. */
START_TEST(test_pure)
{
    relora_schedule *s = make(&tables[_i], 1, 0);
    double forth[201];
    for (int i = 0; i <= 200; i++) forth[i] = rate(s, i * 100);
    for (int i = 200; i >= 0; i--) ck_assert_double_eq(rate(s, i * 100), forth[i]);
}
END_TEST

/* t > N: 0 for LINEAR, 1 for CONSTANT, the floor for the others. */
START_TEST(test_past_the_end)
{
    static const int64_t beyond[] = {1, 100, 5000, 123456789};
    const struct table *t = &tables[_i];
    relora_schedule *s = make(t, 2, 0);
    double want = t->kind == RELORA_SCHEDULE_LINEAR ? 0 : t->kind == RELORA_SCHEDULE_CONSTANT ? 2 : 0.2;
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(rate(s, t->total + t->warmup + beyond[i]), want, 1e-15);
}
END_TEST

/* The jag joins the cosine: no jump at the end of a ramp beyond one step of either. */
START_TEST(test_jag_joins)
{
    relora_schedule *s = make(&tables[0], 1, 0);
    for (int64_t k = 5000; k < 20000; k += 5000) {
        double top = rate(s, k + 100), below = rate(s, k + 99), after = rate(s, k + 101);
        ck_assert_double_eq_tol(below, 0.99 * top, 1e-12);
        ck_assert(after < top && after > 0.999 * top);
        ck_assert_double_eq(rate(s, k), 0);
    }
}
END_TEST

/* Without a period, the default, both cosines are one cycle: one curve from the warmup to the floor. */
START_TEST(test_one_cycle)
{
    struct table t = tables[_i ? 5 : 0];
    t.rewarm = t.every = 0;
    relora_schedule *one = make(&t, 1, 0);
    int64_t n = -7;
    for (int64_t step = 0; step <= t.total; step += 50) {
        double run = (double)(step - t.warmup) / (double)(t.total - t.warmup);
        double want =
            step < t.warmup ? (double)step / (double)t.warmup : 0.1 + 0.45 * (1 + cos(acos(-1) * run));
        ck_assert_double_eq_tol(rate(one, step), want, 1e-12);
    }
    ck_assert_double_eq(rate(one, t.total + 1), 0.1);
    OK(relora_schedule_next_restart(one, 0, &n));
    ck_assert_int_eq(n, -1);
}
END_TEST

static int64_t next(relora_schedule *s, int64_t step)
{
    int64_t n = -7;
    OK(relora_schedule_next_restart(s, step, &n));
    return n;
}

START_TEST(test_next_restart)
{
    relora_schedule *s = make(&tables[0], 1, 100), *cosine = make(&tables[5], 1, 0),
                    *linear = make(&tables[6], 1, 0);
    ck_assert_int_eq(next(s, 100), 5100);
    ck_assert_int_eq(next(s, 5099), 5100);
    ck_assert_int_eq(next(s, 5100), 10100); /* after `step`, not at it */
    ck_assert_int_eq(next(s, 10100), 15100);
    ck_assert_int_eq(next(s, 15100), -1); /* the run ends at 20100 */
    ck_assert_int_eq(next(s, 99999999), -1);
    ck_assert_int_eq(next(cosine, 0), 5000);
    ck_assert_int_eq(next(cosine, 5000), 10000);
    ck_assert_int_eq(next(cosine, 15000), -1);
    ck_assert_int_eq(next(linear, 0), -1);
    ck_assert_int_eq(next(make(&tables[7], 1, 0), 0), -1);
}
END_TEST

/* With adjust_step: where the curve itself falls to 0 and climbs again. */
START_TEST(test_next_restart_adjusted)
{
    relora_schedule *s = make(&tables[2], 1, 0);
    const int64_t want[] = {8000, 13000, 18000, -1};
    int64_t step = 0;
    for (int i = 0; i < 4; i++) {
        int64_t n = next(s, step);
        ck_assert_int_eq(n, want[i]);
        if (n > 0) ck_assert_double_eq(rate(s, n), 0);
        step = n;
    }
}
END_TEST

/* LINEAR with nothing but warmup, one step in all: no division by 0. */
START_TEST(test_degenerate)
{
    const struct table all_warmup = {RELORA_SCHEDULE_LINEAR, 10, 10, 0, 0, 0, {{-1, 0}}};
    const struct table one_step = {RELORA_SCHEDULE_COSINE, 1, 0, 0, 0, 0, {{-1, 0}}};
    relora_schedule *s = make(&all_warmup, 1, 0), *c = make(&one_step, 1, 0);
    ck_assert_double_eq(rate(s, 9), 0.9);
    ck_assert_double_eq(rate(s, 10), 0);
    ck_assert_double_eq(rate(c, 0), 1);
    ck_assert_double_eq(rate(c, 2), 0.1);
}
END_TEST

/* A floor of 0: the same curve less its floor, down to 0 itself, and never below. */
START_TEST(test_floor_of_zero)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1;
    o.total_steps = 400;
    o.warmup_steps = 10;
    o.restart_every = 100;
    for (int kind = RELORA_SCHEDULE_COSINE; kind <= RELORA_SCHEDULE_COSINE_RESTARTS; kind++) {
        o.kind = kind;
        o.restart_every = kind == RELORA_SCHEDULE_COSINE ? 0 : 100;
        o.min_lr_ratio = 0;
        relora_schedule *zero = new_schedule(&o);
        o.min_lr_ratio = 0.5;
        relora_schedule *half = new_schedule(&o);
        for (int64_t t = 10; t < 400; t++) {
            ck_assert_double_ge(rate(zero, t), 0);
            if (kind == RELORA_SCHEDULE_COSINE || t % 100) /* the jags climb from 0 in both */
                ck_assert_double_eq_tol(rate(half, t), 0.5 + 0.5 * rate(zero, t), 1e-14);
        }
        ck_assert_double_eq(rate(zero, 400), 0);
        ck_assert_double_eq(rate(zero, 401), 0);
        ck_assert_double_eq(rate(zero, 40000), 0);
    }
}
END_TEST

/* What the authors' code refuses: a warmup or a shift that reaches into the first restart. */
START_TEST(test_refuses)
{
    struct table t = tables[0];
    relora_schedule_options o;
    relora_schedule *s;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1;
    o.total_steps = t.total;
    o.restart_every = t.every;
    o.warmup_steps = 5001;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), "warmup_steps", "5001", "5000");
    o.warmup_steps = 500;
    o.adjust_step = 4501;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), "adjust_step", "4501");
    o.kind = RELORA_SCHEDULE_COSINE;
    o.adjust_step = 1;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), "adjust_step", "1");
}
END_TEST

Suite *unit_schedule(void)
{
    Suite *s = suite_create("schedule");
    TCase *tc = env_case(s, "schedule", 20);
    tcase_add_loop_test(tc, test_tables, 0, TABLES);
    tcase_add_loop_test(tc, test_pure, 0, TABLES);
    tcase_add_loop_test(tc, test_past_the_end, 0, TABLES);
    tcase_add_test(tc, test_floor_of_zero);
    tcase_add_test(tc, test_jag_joins);
    tcase_add_loop_test(tc, test_one_cycle, 0, 2);
    tcase_add_test(tc, test_next_restart);
    tcase_add_test(tc, test_next_restart_adjusted);
    tcase_add_test(tc, test_degenerate);
    tcase_add_test(tc, test_refuses);
    return s;
}
