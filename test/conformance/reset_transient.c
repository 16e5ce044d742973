/* T10: how far an update goes after a reset, in units of the learning rate. Table 4.3 of method.md: a
 * constant unit gradient, moments at their limits, the counter at about 5000. */
#include "conformance/suites.h"

struct row {
    double beta2;
    int keep_m, restart;
    struct {
        int step;
        double size;
    } at[8]; /* step 0 ends the list */
    double most;
};

static const struct row rows[] = {
    {.999,
     0,
     0,
     {{1, 3.15}, {2, 4.24}, {5, 5.78}, {10, 6.51}, {20, 6.22}, {50, 4.49}, {100, 3.23}, {200, 2.34}},
     6.55},
    {.99,
     0,
     0,
     {{1, 1.00}, {2, 1.35}, {5, 1.85}, {10, 2.11}, {20, 2.06}, {50, 1.58}, {100, 1.26}, {200, 1.08}},
     2.13},
    {.95,
     0,
     0,
     {{1, .45}, {2, .61}, {5, .86}, {10, 1.03}, {20, 1.10}, {50, 1.04}, {100, 1.00}, {200, 1.00}},
     1.10},
    {.999, 1, 0, {{1, 31.5}, {2, 22.3}, {5, 14.1}, {10, 10.0}, {50, 4.49}, {100, 3.23}}, 31.5},
    {.999, 0, 1, {{1, 1.0}, {2, 1.0}, {10, 1.0}, {50, 1.0}, {200, 1.0}}, 1.0},
    {.95, 0, 1, {{1, 1.0}, {2, 1.0}, {10, 1.0}, {50, 1.0}, {200, 1.0}}, 1.0},
};

struct world {
    relora_adam *adam;
    relora_tensor *p, *g;
};

static struct world new_world(double beta2)
{
    struct world w;
    relora_adam_options o = adam_options();
    o.beta2 = beta2;
    w.adam = new_adam(&o);
    w.g = new_vector(RELORA_F32, 1);
    w.p = new_vector(RELORA_F32, 1);
    put_all(w.p, 0);
    put_all(w.g, 1);
    OK(relora_adam_add(w.adam, "p", w.p, w.g, NULL));
    put_all(relora_adam_moment(w.adam, 0, RELORA_MOMENT_FIRST), 1);
    put_all(relora_adam_moment(w.adam, 0, RELORA_MOMENT_SECOND), 1);
    OK(relora_adam_set_steps(w.adam, env.st, 0, 5000));
    return w;
}

static double update(struct world *w)
{
    put_all(w->p, 0);
    OK(relora_adam_step(w->adam, env.st, 1, 1, NULL));
    return -*get(w->p);
}

START_TEST(test_table)
{
    const struct row *row = &rows[_i];
    struct world w = new_world(row->beta2);
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 1, row->restart ? RELORA_RESET_STEP_COUNT : 0);
    int32_t index = 0, next = 0;
    double most = 0;
    ck_assert_double_eq_tol(update(&w), 1, 5e-3); /* before; 1 - .999^5001 is 0.9933, its root 0.9966 */
    if (row->keep_m) put_all(relora_adam_moment(w.adam, 0, RELORA_MOMENT_SECOND), 0);
    else OK(relora_adam_reset(w.adam, env.st, &index, 1, &o, NULL));
    for (int step = 1; step <= 200; step++) {
        double size = update(&w);
        most = fmax(most, size);
        if (next >= 8 || step != row->at[next].step) continue;
        /* the table has three digits; its counter is "about 5000" */
        double want = row->at[next++].size;
        ck_assert_msg(fabs(size - want) <= 0.006 * want + 0.005, "step %d moves %g, not %g", step, size,
                      want);
    }
    ck_assert_double_eq_tol(most, row->most, 0.006 * row->most);
    if (row->restart) ck_assert_double_le(most, 1 + 1e-5); /* 1.0 x lr, never more */
}
END_TEST

/* A first moment without its second, as two independent masks leave it: how far the next step goes in learning rates.
 * Only a constant gradient gives 31; right after a restart the gradient of A is 0. docs/method.md has these numbers. */
START_TEST(test_unpaired)
{
    static const struct {
        double m, g, size;
    } unpaired[] = {{1, 1, 31.5}, {1, 1e-3, 28359}, {1e-3, 0, 90000}};
    struct world w = new_world(.999);
    put_all(relora_adam_moment(w.adam, 0, RELORA_MOMENT_FIRST), unpaired[_i].m);
    put_all(relora_adam_moment(w.adam, 0, RELORA_MOMENT_SECOND), 0);
    put_all(w.g, unpaired[_i].g);
    ck_assert_double_eq_tol(update(&w), unpaired[_i].size, 1e-3 * unpaired[_i].size);
}
END_TEST

Suite *reset_transient(void)
{
    Suite *s = suite_create("reset transient");
    TCase *tc = env_case(s, "transient", 20);
    tcase_add_loop_test(tc, test_table, 0, sizeof rows / sizeof *rows);
    tcase_add_loop_test(tc, test_unpaired, 0, 3);
    return s;
}
