/* Magnitude pruning with an exact count, the default: floor(ratio * n) elements go, the smallest, among
 * equals the ones of highest index. T7, T9 */
#include "conformance/suites.h"
#include <stdlib.h>

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
    relora_reset_options o = reset_options(RELORA_RESET_MAGNITUDE, ratio, flags);
    relora_reset_report report = {.struct_size = sizeof report};
    OK(relora_adam_reset(w->adam, env.st, &w->index, 1, &o, &report));
    return report;
}

struct ranked {
    double magnitude;
    int64_t index;
};

static int smaller_first(const void *a, const void *b)
{
    const struct ranked *p = a, *q = b;
    if (p->magnitude != q->magnitude) return p->magnitude < q->magnitude ? -1 : 1;
    return p->index > q->index ? -1 : 1; /* among equals the lowest index is kept */
}

/* Which elements survive, by sorting: a NaN counts as the largest. */
static int *survivors(const double *values, int64_t n, int64_t zeroed)
{
    struct ranked *order = scratch((size_t)n * sizeof *order);
    int *keep = scratch((size_t)n * sizeof *keep);
    for (int64_t i = 0; i < n; i++)
        order[i] = (struct ranked){isnan(values[i])   ? INFINITY
                                   : isinf(values[i]) ? 1e300
                                                      : fabs(values[i]),
                                   i};
    qsort(order, (size_t)n, sizeof *order, smaller_first);
    for (int64_t i = zeroed; i < n; i++) keep[order[i].index] = 1;
    return keep;
}

static void masked(const relora_tensor *t, const double *was, const int *keep, int64_t n)
{
    double *want = doubles(n);
    for (int64_t i = 0; i < n; i++) want[i] = keep[i] ? was[i] : 0;
    ck_assert_double_eq(distance(get(t), want, n), 0);
}

static const double ratios[] = {0, 0.001, 0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1};
static const int64_t sizes[] = {1, 2, 3, 7, 10, 33, 64, 100, 257, 1000, 4099};

/* Every ratio with every size: the count, the elements, both moments with one mask. The product is made
 * in double: 0.7 of 10 is 7, 0.99 of 100 is 99. */
START_TEST(test_counts)
{
    int64_t n = sizes[_i];
    struct rnd r = rnd_seed((uint64_t)n);
    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++) {
        struct world w = new_world(n);
        put_normal(w.m, &r, 1);
        put_normal(w.v, &r, 1);
        double *m = get(w.m), *v = get(w.v);
        int64_t zeroed = (int64_t)floor(ratios[k] * (double)n);
        int *keep = survivors(m, n, zeroed);
        relora_reset_report report = reset(&w, ratios[k], 0);
        masked(w.m, m, keep, n);
        masked(w.v, v, keep, n);
        ck_assert_int_eq(report.zeroed_first, zeroed);
        ck_assert_int_eq(report.zeroed_second, zeroed);
        ck_assert_int_eq(report.unpaired, 0);
        ck_assert_int_eq(report.params, 1);
        ck_assert_int_eq(report.elements, n);
    }
}
END_TEST

/* Never all of it below ratio 1, though ratio * n rounds to n. */
START_TEST(test_never_empty)
{
    static const int64_t lengths[] = {1, 2, 3, 10, 1000, 70001};
    struct world w = new_world(lengths[_i]);
    put_all(w.m, 1);
    put_all(w.v, 1);
    relora_reset_report report = reset(&w, nextafter(1, 0), 0);
    ck_assert_int_le(report.zeroed_first, lengths[_i] - 1);
    ck_assert_double_eq(get(w.m)[0], 1); /* of equals the lowest index */
    report = reset(&w, 1, 0);
    ck_assert_int_eq(report.zeroed_first, lengths[_i]);
}
END_TEST

/* Ties: the lowest indices are kept, also where the limit runs through several groups of equals. */
START_TEST(test_ties)
{
    enum { N = 5000 };
    static const double qs[] = {0.1, 0.5, 0.75, 0.9, 0.99};
    struct world w = new_world(N);
    double *values = doubles(N);
    for (int i = 0; i < N; i++) values[i] = (i % 2 ? -1 : 1) * (double)(1 + i % 4);
    put(w.m, values);
    put(w.v, values);
    reset(&w, qs[_i], 0);
    masked(w.m, values, survivors(values, N, (int64_t)floor(qs[_i] * N)), N);
}
END_TEST

/* Equals counted over more than one of the pieces of 65536 that the work is cut into. */
START_TEST(test_ties_of_many)
{
    enum { N = 200000 };
    struct world w = new_world(N);
    double *values = doubles(N);
    for (int i = 0; i < N; i++) values[i] = 1 + i % 3; /* 66667, 66667, 66666 of 1, 2, 3 */
    put(w.m, values);
    put_all(w.v, 1);
    relora_reset_report report = reset(&w, 0.6, 0); /* all ones and the last 53333 twos go */
    ck_assert_int_eq(report.zeroed_first, 120000);
    masked(w.m, values, survivors(values, N, 120000), N);
}
END_TEST

START_TEST(test_all_equal)
{
    struct world w = new_world(10);
    put_all(w.m, -3);
    put_all(w.v, 2);
    relora_reset_report report = reset(&w, 0.7, 0);
    double *m = get(w.m), *v = get(w.v);
    for (int i = 0; i < 10; i++) {
        ck_assert_double_eq(m[i], i < 3 ? -3 : 0);
        ck_assert_double_eq(v[i], i < 3 ? 2 : 0);
    }
    ck_assert_int_eq(report.zeroed_first, 7);
}
END_TEST

/* A NaN counts as the largest magnitude, an infinity as the next; neither spreads. */
START_TEST(test_not_finite)
{
    double values[] = {1, NAN, -INFINITY, 4, -5, 0.5, NAN, 3};
    struct world w = new_world(8);
    put(w.m, values);
    put_all(w.v, 1);
    relora_reset_report report = reset(&w, 0.5, 0);
    masked(w.m, values, survivors(values, 8, 4), 8);
    ck_assert_int_eq(report.zeroed_first, 4);
    reset(&w, 0.75, 0);
    masked(w.m, values, survivors(values, 8, 6), 8); /* both NaN are left */
    reset(&w, 0.875, 0);
    masked(w.m, values, survivors(values, 8, 7), 8); /* the NaN of lower index */
}
END_TEST

/* Already empty for the larger part: the zeros are what goes, nothing else. */
START_TEST(test_sparse)
{
    enum { N = 1000 };
    struct world w = new_world(N);
    double *values = doubles(N);
    for (int i = 0; i < N; i += 10) values[i] = 1 + i;
    put(w.m, values);
    put(w.v, values);
    void *was = snapshot(w.m);
    relora_reset_report report = reset(&w, 0.5, 0);
    UNCHANGED(w.m, was);
    UNCHANGED(w.v, was);
    ck_assert_int_eq(report.zeroed_first, 900); /* zero afterwards, whenever it became so */
    ck_assert_int_eq(report.zeroed_second, 900);
}
END_TEST

/* INDEPENDENT: each moment by its own magnitude, to the same exact count; unpaired is counted. */
START_TEST(test_independent)
{
    enum { N = 3000 };
    struct rnd r = rnd_seed(5);
    struct world w = new_world(N);
    put_normal(w.m, &r, 1);
    put_normal(w.v, &r, 1);
    double *m = get(w.m), *v = get(w.v);
    relora_reset_report report = reset(&w, 0.9, RELORA_RESET_INDEPENDENT);
    masked(w.m, m, survivors(m, N, 2700), N);
    masked(w.v, v, survivors(v, N, 2700), N);
    int64_t unpaired = 0;
    m = get(w.m);
    v = get(w.v);
    for (int i = 0; i < N; i++) unpaired += m[i] != 0 && v[i] == 0;
    ck_assert_int_gt(unpaired, 200); /* about 0.9 * 300: why the joint mask is the default */
    ck_assert_int_eq(report.unpaired, unpaired);
    ck_assert_int_eq(report.zeroed_first, 2700);
    ck_assert_int_eq(report.zeroed_second, 2700);
}
END_TEST

/* Sizes near the powers of two that a radix selection splits by, with values of every exponent. */
START_TEST(test_exponents)
{
    static const int64_t lengths[] = {255, 256, 65535, 65537};
    int64_t n = lengths[_i];
    struct rnd r = rnd_seed(6);
    struct world w = new_world(n);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = ldexp(rnd_uniform(&r, -1, 1), (int)rnd_uniform(&r, -140, 120));
    put(w.m, values);
    put_all(w.v, 1);
    values = get(w.m);
    reset(&w, 0.9, 0);
    masked(w.m, values, survivors(values, n, (int64_t)floor(0.9 * (double)n)), n);
}
END_TEST

/* T7: above 2^24 elements, where the authors' quantile fails. The values are 0 to 2^24, shuffled. */
static struct world large_world(int64_t n)
{
    struct world w = new_world(n);
    float *m = scratch((size_t)n * sizeof *m);
    for (int64_t i = 0; i < n - 1; i++) m[i] = (float)((i * 5 + 3) & 0xffffff);
    m[n - 1] = 0x1p24f;
    OK(relora_tensor_write(w.m, env.st, m, (size_t)n * sizeof *m));
    OK(relora_tensor_copy(w.v, w.m, env.st));
    return w;
}

START_TEST(test_2_to_the_24_plus_1)
{
    const int64_t n = (1 << 24) + 1;
    struct world w = large_world(n);
    relora_reset_report report = reset(&w, _i ? 0.5 : 0.99, _i ? RELORA_RESET_QUANTILE : 0);
    const float *m = snapshot(w.m);
    /* exact count: the 0.99 * n smallest are the values below it. Quantile: rank 2^23 is the value 2^23 */
    double limit = _i ? 0x1p23 + 1 : floor(0.99 * (double)n);
    for (int64_t i = 0; i < n; i++) {
        double was = i == n - 1 ? 0x1p24 : (double)((i * 5 + 3) & 0xffffff);
        if ((double)m[i] != (was >= limit ? was : 0))
            ck_abort_msg("element %lld is %g, was %g", (long long)i, (double)m[i], was);
    }
    ck_assert_int_eq(report.zeroed_first, (int64_t)limit);
    ck_assert_int_eq(report.zeroed_second, (int64_t)limit);
}
END_TEST

Suite *reset_magnitude(void)
{
    Suite *s = suite_create("reset by magnitude");
    TCase *tc = env_case(s, "exact count", 60);
    tcase_add_loop_test(tc, test_counts, 0, sizeof sizes / sizeof *sizes);
    tcase_add_loop_test(tc, test_never_empty, 0, 6);
    tcase_add_loop_test(tc, test_ties, 0, 5);
    tcase_add_test(tc, test_ties_of_many);
    tcase_add_test(tc, test_all_equal);
    tcase_add_test(tc, test_not_finite);
    tcase_add_test(tc, test_sparse);
    tcase_add_test(tc, test_independent);
    tcase_add_loop_test(tc, test_exponents, 0, 4);
    tcase_add_loop_test(tc, test_2_to_the_24_plus_1, 0, 2);
    return s;
}
