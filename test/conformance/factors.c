/* A and B as relora_linear_reset() makes them. T4, and T12 as far as one process can show it. */
#include "conformance/suites.h"
#include <stdlib.h>

enum { IN = 300, OUT = 20, RANK = 16, N = RANK * IN };

static relora_linear *new_layer(uint64_t seed, uint64_t layer)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.seed = seed;
    o.layer = layer;
    return new_linear(&o);
}

static relora_tensor *a_of(relora_linear *l) { return relora_linear_param(l, RELORA_PARAM_A); }
static relora_tensor *b_of(relora_linear *l) { return relora_linear_param(l, RELORA_PARAM_B); }

static double *drawn(uint64_t seed, uint64_t layer, uint64_t cycle)
{
    relora_linear *l = new_layer(seed, layer);
    OK(relora_linear_reset(l, env.st, cycle));
    return get(a_of(l));
}

/* T4: uniform in +-1/sqrt(in): range, mean, std 1/sqrt(3 in), and the two outer quarters filled alike. */
START_TEST(test_distribution)
{
    double bound = 1 / sqrt(IN), *a = drawn(1, 2, (uint64_t)_i), mean = 0, square = 0, outer = 0;
    for (int i = 0; i < N; i++) {
        ck_assert_double_le(fabs(a[i]), bound * (1 + 1e-6));
        mean += a[i] / N;
        square += a[i] * a[i] / N;
        outer += fabs(a[i]) > bound / 2;
    }
    double std = bound / sqrt(3); /* each bound below: 5 standard deviations of the estimate */
    ck_assert_double_lt(fabs(mean), 5 * std / sqrt(N));
    ck_assert_double_lt(fabs(sqrt(square) - std), 5 * std * sqrt(0.2 / N)); /* kurtosis of a uniform is 1.8 */
    ck_assert_double_lt(fabs(outer - 0.5 * N), 5 * sqrt(0.25 * N));
    ck_assert_double_gt(largest(a, N), 0.99 * bound);
}
END_TEST

/* Largest |correlation| a pair of independent draws may show: 6 / sqrt(N) */
static void unrelated(const double *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < N; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    ck_assert_double_lt(fabs(ab) / sqrt(aa * bb), 6 / sqrt(N));
}

/* T4: a function of (seed, layer, cycle), of all of each, and of nothing else. */
START_TEST(test_key)
{
    double *a = drawn(1, 2, 3);
    ck_assert_double_eq(distance(a, drawn(1, 2, 3), N), 0);
    unrelated(a, drawn(1, 2, 4));
    unrelated(a, drawn(1, 3, 3));
    unrelated(a, drawn(2, 2, 3));
    unrelated(a, drawn(1, 2, 3 + (UINT64_C(1) << 32)));
    unrelated(a, drawn(1, 2 + (UINT64_C(1) << 32), 3));
    unrelated(a, drawn(1 + (UINT64_C(1) << 32), 2, 3));
}
END_TEST

/* T4: what was in A and B before is gone; B is +0 in every bit, at creation and after every reset. */
START_TEST(test_reset)
{
    relora_linear *l = new_layer(1, 2);
    void *zeros = scratch(bytes_of(b_of(l)));
    UNCHANGED(b_of(l), zeros);
    double *last = get(a_of(l));
    ck_assert_double_eq(distance(last, drawn(1, 2, 0), N), 0); /* creation is cycle 0 */
    for (uint64_t cycle = 1; cycle < 4; cycle++) {
        put_all(b_of(l), -3);
        OK(relora_linear_reset(l, env.st, cycle));
        UNCHANGED(b_of(l), zeros);
        double *now = get(a_of(l));
        unrelated(last, now);
        ck_assert_double_eq(distance(now, drawn(1, 2, cycle), N), 0);
        last = now;
    }
}
END_TEST

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* No part of A repeats another: of 4800 draws out of 2^24 values fewer than one pair is equal on average,
 * and more than eight never. */
START_TEST(test_no_repetition)
{
    double *a = drawn(1, 2, 3);
    int equal = 0;
    qsort(a, N, sizeof *a, ascending);
    for (int i = 1; i < N; i++) equal += a[i] == a[i - 1];
    ck_assert_int_le(equal, 8);
}
END_TEST

START_TEST(test_gradients_are_left)
{
    relora_linear *l = new_layer(1, 2);
    put_all(relora_linear_grad(l, RELORA_PARAM_A), 5);
    put_all(relora_linear_grad(l, RELORA_PARAM_B), 6);
    OK(relora_linear_reset(l, env.st, 1));
    ck_assert_double_eq(get(relora_linear_grad(l, RELORA_PARAM_A))[N - 1], 5);
    ck_assert_double_eq(get(relora_linear_grad(l, RELORA_PARAM_B))[OUT * RANK - 1], 6);
}
END_TEST

/* T12: in a context of another number of threads the same bits come out. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    double *one = doubles(N);
    memcpy(one, drawn(1, 2, 3), N * sizeof *one);
    relora_context *ctx;
    relora_context_options c;
    relora_stream *st;
    relora_linear *l;
    OK(relora_context_options_init(&c, sizeof c));
    c.threads = 2;
    OK(relora_context_create(&ctx, &c));
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&st, dev));
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.seed = 1;
    o.layer = 2;
    OK(relora_linear_create(&l, dev, &o));
    OK(relora_linear_reset(l, st, 3));
    const float *two = relora_tensor_data(a_of(l));
    for (int i = 0; i < N; i++) ck_assert_double_eq((double)two[i], one[i]);
    relora_context_release(ctx); /* in the wrong order, on purpose */
    relora_stream_release(st);
    relora_linear_release(l);
}
END_TEST

Suite *factors_suite(void)
{
    Suite *s = suite_create("factors");
    TCase *tc = env_case(s, "A and B", 20);
    tcase_add_loop_test(tc, test_distribution, 0, 4);
    tcase_add_test(tc, test_key);
    tcase_add_test(tc, test_reset);
    tcase_add_test(tc, test_no_repetition);
    tcase_add_test(tc, test_gradients_are_left);
    tcase_add_test(tc, test_threads);
    return s;
}
