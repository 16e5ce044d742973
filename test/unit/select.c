/* The k-th smallest magnitude, against a sort: few and many elements, many of one value, and arrays whose
 * sampled elements are not like the others. */
#include "unit/suites.h"
#include <stdlib.h>
#include "cpu/cpu.h"
#include "stream.h"

enum { KINDS = 7, SIZES = 5, SAMPLED_FROM = 1 << 16 }; /* the last as in cpu_select.c */
static const int64_t sizes[SIZES] = {1, 1000, SAMPLED_FROM - 1, SAMPLED_FROM, 3 * SAMPLED_FROM + 5};

/* The element of piece i that cpu_select() samples. */
static int64_t place(int64_t i, int64_t piece)
{
    return i * piece + (int64_t)(((uint64_t)i * 0x9E3779B97F4A7C15u >> 32) * (uint64_t)piece >> 32);
}

static float *make(int kind, int64_t n, struct rnd *r)
{
    float *x = scratch((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        double z = rnd_normal(r), u = rnd_uniform(r, 0, 1);
        x[i] = (float)(kind == 1 ? floor(4 * z) : kind == 2 && u < 0.9 ? 0 : kind == 3 ? exp(20 * z) : z);
        if (kind == 4 && u < 0.1) x[i] = u < 0.05 ? NAN : INFINITY;
    }
    for (int64_t i = 0; i < n / 64; i++) {
        if (kind == 5) x[place(i, 64)] = (float)rnd_uniform(r, 1e-20, 2e-20); /* the answer is outside */
        if (kind == 6) x[place(i, 64)] = i % 2 ? 1e20f : 1e-20f;              /* everything is inside */
    }
    return x;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t *sorted(const float *x, int64_t n)
{
    uint32_t *keys = scratch((size_t)n * sizeof *keys);
    memcpy(keys, x, (size_t)n * sizeof *keys);
    for (int64_t i = 0; i < n; i++) keys[i] &= 0x7FFFFFFFu;
    qsort(keys, (size_t)n, sizeof *keys, compare);
    return keys;
}

START_TEST(test_select)
{
    static const double shares[] = {0, 0.001, 0.3, 0.5, 0.9, 0.99, 1};
    int kind = _i % KINDS;
    int64_t n = sizes[_i / KINDS];
    struct rnd r = rnd_seed((uint64_t)_i);
    float *x = make(kind, n, &r);
    uint32_t *keys = sorted(x, n);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        int64_t k = (int64_t)(shares[i] * (double)(n - 1)), below = k, end = k;
        while (below > 0 && keys[below - 1] == keys[k]) below--;
        while (end < n && keys[end] == keys[k]) end++;
        struct rank rank;
        ck_assert_int_eq(cpu_select(env.st->queue, x, n, k, &rank), RELORA_OK);
        ck_assert_msg(rank.magnitude == keys[k], "kind %d, rank %lld of %lld: %x, not %x", kind, (long long)k,
                      (long long)n, rank.magnitude, keys[k]);
        ck_assert_int_eq(rank.below, below);
        ck_assert_int_eq(rank.equal, end - below);
    }
}
END_TEST

static void open_three(void) { env_open_threads(3); }

Suite *unit_select(void)
{
    Suite *s = suite_create("select");
    TCase *tc = env_case(s, "one_thread", 60), *threads = tcase_create("three_threads");
    tcase_add_loop_test(tc, test_select, 0, KINDS * SIZES);
    tcase_add_checked_fixture(threads, open_three, env_close);
    tcase_set_timeout(threads, 60);
    tcase_add_loop_test(threads, test_select, 0, KINDS * SIZES);
    suite_add_tcase(s, threads);
    return s;
}
