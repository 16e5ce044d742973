/* Random pruning: each element with probability ratio, a function of (seed, parameter index, cycle). */
#include "conformance/suites.h"

enum { N = 40000 };

struct world {
    relora_adam *adam;
    int32_t count;
};

static struct world new_world(int32_t count)
{
    static const char *const names[] = {"a", "b", "c"};
    struct world w = {new_adam(NULL), count};
    struct rnd r = rnd_seed(1);
    for (int32_t i = 0; i < count; i++) add_vector(w.adam, names[i], N, &r, NULL, NULL);
    return w;
}

static relora_tensor *moment(struct world *w, int32_t index, relora_moment m)
{
    return relora_adam_moment(w->adam, index, m);
}

/* Fill with ones, reset, return the first (second) moment of `index`: 1 kept, 0 gone. */
static double *mask(struct world *w, int32_t index, relora_moment which, const relora_reset_options *o,
                    relora_reset_report *report)
{
    for (int32_t i = 0; i < w->count; i++)
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            put_all(moment(w, i, m), 1);
    OK(relora_adam_reset(w->adam, env.st, &index, 1, o, report));
    return get(moment(w, index, which));
}

static relora_reset_options options(double ratio, uint32_t flags, uint64_t seed, uint64_t cycle)
{
    relora_reset_options o = reset_options(RELORA_RESET_RANDOM, ratio, flags);
    o.seed = seed;
    o.cycle = cycle;
    return o;
}

static double share_of_zeros(const double *values)
{
    double zeros = 0;
    for (int i = 0; i < N; i++) zeros += values[i] == 0;
    return zeros / N;
}

/* The share of zeros is the ratio within 5 standard deviations; the report says the exact number. */
START_TEST(test_share)
{
    static const double qs[] = {0.001, 0.3, 0.5, 0.9, 0.99, 0.999};
    double q = qs[_i];
    struct world w = new_world(1);
    relora_reset_report report = {.struct_size = sizeof report};
    relora_reset_options o = options(q, 0, 7, 1);
    double *kept = mask(&w, 0, RELORA_MOMENT_FIRST, &o, &report), zeros = share_of_zeros(kept);
    ck_assert_double_le(fabs(zeros - q), 5 * sqrt(q * (1 - q) / N));
    ck_assert_int_eq(report.zeroed_first, (int64_t)lround(zeros * N));
    ck_assert_int_eq(report.zeroed_second, report.zeroed_first);
    ck_assert_int_eq(report.unpaired, 0);
    ck_assert_double_eq(distance(kept, get(moment(&w, 0, RELORA_MOMENT_SECOND)), N), 0); /* joint */
}
END_TEST

START_TEST(test_all_and_none)
{
    struct world w = new_world(1);
    relora_reset_options none = options(0, 0, 7, 1), all = options(1, 0, 7, 1);
    ck_assert_double_eq(share_of_zeros(mask(&w, 0, RELORA_MOMENT_FIRST, &none, NULL)), 0);
    ck_assert_double_eq(share_of_zeros(mask(&w, 0, RELORA_MOMENT_SECOND, &all, NULL)), 1);
}
END_TEST

static double disagreement(const double *a, const double *b)
{
    double count = 0;
    for (int i = 0; i < N; i++) count += a[i] != b[i];
    return count / N;
}

/* The same key, the same mask; any other is independent: 0.5 of the elements, +- 6 * 0.0025 */
START_TEST(test_key)
{
    struct world w = new_world(2), again = new_world(2);
    relora_reset_options o = options(0.5, 0, 7, 1), seed = options(0.5, 0, 8, 1),
                         cycle = options(0.5, 0, 7, 2);
    double *a = mask(&w, 0, RELORA_MOMENT_FIRST, &o, NULL);
    ck_assert_double_eq(disagreement(a, mask(&w, 0, RELORA_MOMENT_FIRST, &o, NULL)), 0);
    ck_assert_double_eq(disagreement(a, mask(&again, 0, RELORA_MOMENT_FIRST, &o, NULL)), 0);
    ck_assert_double_lt(fabs(disagreement(a, mask(&w, 0, RELORA_MOMENT_FIRST, &seed, NULL)) - 0.5), 0.015);
    ck_assert_double_lt(fabs(disagreement(a, mask(&w, 0, RELORA_MOMENT_FIRST, &cycle, NULL)) - 0.5), 0.015);
    ck_assert_double_lt(fabs(disagreement(a, mask(&w, 1, RELORA_MOMENT_FIRST, &o, NULL)) - 0.5), 0.015);
}
END_TEST

/* The mask of a parameter does not depend on which others are listed with it, nor on the order. */
START_TEST(test_order_of_calls)
{
    struct world w = new_world(3);
    relora_reset_options o = options(0.5, 0, 7, 1);
    double *alone = mask(&w, 2, RELORA_MOMENT_FIRST, &o, NULL);
    const int32_t listed[] = {2, 0, 1};
    for (int32_t i = 0; i < 3; i++) put_all(moment(&w, i, RELORA_MOMENT_FIRST), 1);
    OK(relora_adam_reset(w.adam, env.st, listed, 3, &o, NULL));
    ck_assert_double_eq(disagreement(alone, get(moment(&w, 2, RELORA_MOMENT_FIRST))), 0);
}
END_TEST

/* INDEPENDENT: two masks, of which each keeps half: 1/4 of the elements lose v and keep m. */
START_TEST(test_independent)
{
    struct world w = new_world(1);
    relora_reset_report report = {.struct_size = sizeof report};
    relora_reset_options o = options(0.5, RELORA_RESET_INDEPENDENT, 7, 1);
    double *m = mask(&w, 0, RELORA_MOMENT_FIRST, &o, &report), *v = get(moment(&w, 0, RELORA_MOMENT_SECOND));
    int64_t unpaired = 0;
    for (int i = 0; i < N; i++) unpaired += m[i] != 0 && v[i] == 0;
    ck_assert_int_eq(report.unpaired, unpaired);
    ck_assert_double_lt(fabs((double)unpaired / N - 0.25), 5 * sqrt(0.25 * 0.75 / N));
    ck_assert_double_lt(fabs(share_of_zeros(v) - 0.5), 5 * sqrt(0.25 / N));
}
END_TEST

Suite *reset_random(void)
{
    Suite *s = suite_create("reset at random");
    TCase *tc = env_case(s, "random", 20);
    tcase_add_loop_test(tc, test_share, 0, 6);
    tcase_add_test(tc, test_all_and_none);
    tcase_add_test(tc, test_key);
    tcase_add_test(tc, test_order_of_calls);
    tcase_add_test(tc, test_independent);
    return s;
}
