/* Magnitude pruning by the rule of torch.quantile, RELORA_RESET_QUANTILE. T7: table 4.1 of method.md and
 * its edge cases. The authors' own files are in golden/prune.c. */
#include "conformance/suites.h"

enum { MOST = 11 };

struct row {
    int n;
    double in[MOST], ratio, out[MOST];
};

static const struct row rows[] = {
    {10, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, .9, {0, 0, 0, 0, 0, 0, 0, 0, 0, 10}},
    {2, {1, 2}, .9, {0, 2}},
    {4, {-4, 3, -2, 1}, .5, {-4, 3, -0.0, 0}},
    {4, {1, 2, NAN, 4}, .5, {0, 0, NAN, 0}}, /* a NaN clears the rest */
    {4, {1, 2, INFINITY, -4}, .5, {0, 0, INFINITY, -4}},
    {5, {1, 1, 1, 5, 5}, .5, {0, 0, 0, 5, 5}}, /* ties all go */
    {10, {3, 3, 3, 3, 3, 3, 3, 3, 3, 3}, .9, {0}},
    {1, {7}, 0, {0}}, /* n = 1: nothing exceeds itself */
    {1, {7}, .5, {0}},
    {1, {7}, 1, {0}},
    {2, {1, 2}, 0, {0, 2}}, /* ratio 0 drops what equals the minimum */
    {3, {2, 1, 1}, 0, {2, 0, 0}},
    {3, {1, 2, 3}, 1, {0, 0, 0}},
    {10, {0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, .5, {0, 0, 0, 0, 0, 0, 0, 0, 0, 5}},
    {2, {1, INFINITY}, .9, {0, NAN}}, /* multiplied by 0, an infinity becomes NaN */
    {4, {-1, -2, -3, -4}, .5, {-0.0, -0.0, -3, -4}},
    /* The rank in F32 is 9, and so the quantile is 10. In F64, as PyTorch has it since 2.14, it is a little less than 9,
     * and the quantile 9.999998: 10 would stay. */
    {11,
     {.001, .002, .003, .004, .005, .006, .007, .008, .009, 10, 20},
     .9,
     {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20}},
    /* Neighbours without a number between them: the quantile is rounded to the one above, which goes. */
    {2, {1, 1 + 0x1p-23}, .75, {0, 0}},
    {2, {1, 1 + 0x1p-23}, .25, {0, 1 + 0x1p-23}},
};

struct world {
    relora_adam *adam;
    int32_t index;
    relora_tensor *m, *v;
};

static struct world new_world(int64_t n)
{
    struct world w;
    w.adam = new_adam(NULL);
    OK(relora_adam_add(w.adam, "p", new_vector(RELORA_F32, n), new_vector(RELORA_F32, n), &w.index));
    w.m = relora_adam_moment(w.adam, w.index, RELORA_MOMENT_FIRST);
    w.v = relora_adam_moment(w.adam, w.index, RELORA_MOMENT_SECOND);
    return w;
}

static relora_reset_report reset(struct world *w, double ratio, uint32_t flags)
{
    relora_reset_options o = reset_options(RELORA_RESET_MAGNITUDE, ratio, RELORA_RESET_QUANTILE | flags);
    relora_reset_report report = {.struct_size = sizeof report};
    OK(relora_adam_reset(w->adam, env.st, &w->index, 1, &o, &report));
    return report;
}

static void is_row(const relora_tensor *t, const struct row *row)
{
    double *got = get(t);
    ck_assert_double_eq(distance(got, row->out, row->n), 0);
    for (int i = 0; i < row->n; i++)
        if (!isnan(got[i])) ck_assert_msg(!signbit(got[i]) == !signbit(row->out[i]), "sign of element %d", i);
}

START_TEST(test_table)
{
    const struct row *row = &rows[_i];
    struct world w = new_world(row->n);
    put(w.m, row->in);
    put(w.v, row->in);
    reset(&w, row->ratio, RELORA_RESET_INDEPENDENT);
    is_row(w.m, row);
    is_row(w.v, row);
}
END_TEST

/* Without INDEPENDENT the mask of the first moment is that of both. */
START_TEST(test_joint)
{
    struct world w = new_world(4);
    put(w.m, (double[]){4, 3, 2, 1});
    put(w.v, (double[]){1, 2, 3, 4});
    relora_reset_report report = reset(&w, 0.5, 0);
    ck_assert_double_eq(distance(get(w.m), (double[]){4, 3, 0, 0}, 4), 0);
    ck_assert_double_eq(distance(get(w.v), (double[]){1, 2, 0, 0}, 4), 0);
    ck_assert_int_eq(report.unpaired, 0);
    ck_assert_int_eq(report.zeroed_first, 2);
    ck_assert_int_eq(report.zeroed_second, 2);
}
END_TEST

/* The kept count for distinct values is n - 1 - floor(rank), rank = ratio * (n - 1) in F32. */
START_TEST(test_kept)
{
    static const double qs[] = {0, .1, .3, .5, .7, .9, .99, 1};
    for (int n = 2; n < 400; n = n * 3 / 2 + 1) {
        struct world w = new_world(n);
        double *values = doubles(n);
        for (int i = 0; i < n; i++) values[i] = 1 + (i * 7919) % 100003; /* distinct: 7919 is prime to it */
        for (size_t k = 0; k < sizeof qs / sizeof *qs; k++) {
            float rank = (float)qs[k] * (float)(n - 1);
            put(w.m, values);
            put(w.v, values);
            relora_reset_report report = reset(&w, qs[k], RELORA_RESET_INDEPENDENT);
            ck_assert_msg(n - report.zeroed_first == n - 1 - (int64_t)floorf(rank), "n=%d q=%g: %lld zero", n,
                          qs[k], (long long)report.zeroed_first);
        }
    }
}
END_TEST

/* Where ratio * (n - 1) is a whole number, but not in F32: 0.84 * 75 is 62.999996 there, and the value of
 * rank 63 is kept, which in double would be the threshold itself. */
START_TEST(test_rank_just_below)
{
    static const struct {
        double ratio;
        int n, kept;
    } cases[] = {{.84, 76, 13}, {.53, 101, 48}, {.59, 101, 42}, {.42, 151, 88}};
    int n = cases[_i].n;
    struct world w = new_world(n);
    double *values = doubles(n);
    for (int i = 0; i < n; i++) values[i] = 1 + i;
    put(w.m, values);
    relora_reset_report report = reset(&w, cases[_i].ratio, RELORA_RESET_INDEPENDENT);
    ck_assert_int_eq(n - report.zeroed_first, cases[_i].kept);
}
END_TEST

/* The rank is made in F32: n = 5000003 at .99 gives 4950002.0, in double 4950001.98. */
START_TEST(test_rank_is_f32)
{
    const int64_t n = 5000003;
    struct world w = new_world(n);
    float *m = scratch((size_t)n * sizeof *m);
    for (int64_t i = 0; i < n; i++) m[i] = (float)((i * 7) % n + 1); /* distinct, below 2^24 */
    OK(relora_tensor_write(w.m, env.st, m, (size_t)n * sizeof *m));
    relora_reset_report report = reset(&w, 0.99, RELORA_RESET_INDEPENDENT);
    ck_assert_int_eq(n - report.zeroed_first, 50000);
}
END_TEST

Suite *reset_quantile(void)
{
    Suite *s = suite_create("reset by quantile");
    TCase *tc = env_case(s, "quantile", 60);
    tcase_add_loop_test(tc, test_table, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tc, test_joint);
    tcase_add_test(tc, test_kept);
    tcase_add_loop_test(tc, test_rank_just_below, 0, 4);
    tcase_add_test(tc, test_rank_is_f32);
    return s;
}
