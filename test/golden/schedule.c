/* schedule.csv: every row, to 1e-12 relative; the cosine of two C libraries may differ in the last bit. T6 */
#include "golden/golden_suites.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#ifndef RELORA_TEST_DATA
#define RELORA_TEST_DATA "test"
#endif

struct row {
    char kind[32];
    relora_schedule_options options;
    long long step;
    double factor;
};

static int parse(const char *line, struct row *r)
{
    long long total, warmup, rewarm, every, adjust;
    double ratio;
    int n = sscanf(line, "%31[^,],%lld,%lld,%lld,%lld,%lf,%lld,%lld,%lf", r->kind, &total, &warmup, &rewarm,
                   &every, &ratio, &adjust, &r->step, &r->factor);
    if (n != 9) return 0;
    OK(relora_schedule_options_init(&r->options, sizeof r->options));
    int restarts = strcmp(r->kind, "cosine_restarts") == 0;
    r->options.kind = restarts ? RELORA_SCHEDULE_COSINE_RESTARTS : RELORA_SCHEDULE_COSINE;
    r->options.lr = 1;
    r->options.total_steps = total;
    r->options.warmup_steps = warmup;
    r->options.restart_warmup_steps = rewarm;
    r->options.restart_every = every;
    r->options.min_lr_ratio = ratio;
    r->options.adjust_step = adjust;
    return 1;
}

static void check_row(const struct row *r, double peak, long long first)
{
    relora_schedule_options o = r->options;
    relora_schedule *s;
    double lr;
    o.lr = peak;
    o.first_step = first;
    OK(relora_schedule_create(&s, env.ctx, &o));
    OK(relora_schedule_lr(s, r->step + first, &lr));
    ck_assert_msg(fabs(lr - peak * r->factor) <= 1e-12 * peak * r->factor,
                  "%s N=%lld at %lld: %.17g, expected %.17g", r->kind, (long long)o.total_steps, r->step, lr,
                  peak * r->factor);
    relora_schedule_release(s);
}

static void each_row(double peak, long long first)
{
    char line[256];
    int rows = 0;
    struct row r;
    FILE *f = fopen(RELORA_TEST_DATA "/golden/schedule.csv", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        if (!parse(line, &r)) continue;
        check_row(&r, peak, first);
        rows++;
    }
    fclose(f);
    ck_assert_int_eq(rows, 236);
}

START_TEST(test_factor) { each_row(1, 0); }
END_TEST

START_TEST(test_peak_and_first_step) { each_row(0.0035, 5000); }
END_TEST

Suite *golden_schedule(void)
{
    Suite *s = suite_create("golden schedule");
    TCase *tc = env_case(s, "schedule", 20);
    tcase_add_test(tc, test_factor);
    tcase_add_test(tc, test_peak_and_first_step);
    return s;
}
