/* Merging into BF16. T19: stochastic rounding is right on average and keeps small updates; nearest loses
 * most of them. */
#include "conformance/suites.h"

enum { N = 128, RANK = 4 };

static relora_linear *new_layer(relora_rounding rounding, uint64_t seed, uint64_t layer)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, N, N, RANK);
    o.dtype = RELORA_BF16;
    o.rounding = rounding;
    o.alpha = RANK;
    o.seed = seed;
    o.layer = layer;
    relora_linear *l = new_linear(&o);
    OK(relora_linear_set_weight(l, new_matrix(RELORA_BF16, N, N), NULL));
    return l;
}

static relora_tensor *weight(relora_linear *l) { return relora_linear_param(l, RELORA_PARAM_WEIGHT); }

/* B A = `delta` in every element, exactly: one column of A and B, powers of two elsewhere 0. */
static void constant_product(relora_linear *l, double delta)
{
    double *a = doubles(RANK * N), *b = doubles(N * RANK);
    for (int i = 0; i < N; i++) {
        a[i] = 1;
        b[i * RANK] = delta;
    }
    put(relora_linear_param(l, RELORA_PARAM_A), a);
    put(relora_linear_param(l, RELORA_PARAM_B), b);
}

/* W = 1 plus a quarter of the distance to the next BF16: up in 1/4 of the elements, and never elsewhere. */
START_TEST(test_share)
{
    static const double parts[] = {0.25, 0.5, 0.8125};
    double part = parts[_i], n = N * N, up = 0;
    relora_linear *l = new_layer(RELORA_ROUND_STOCHASTIC, 1, 0);
    put_all(weight(l), 1);
    constant_product(l, part * 0x1p-7);
    OK(relora_linear_merge(l, env.st, 1, NULL));
    double *w = get(weight(l));
    for (int i = 0; i < N * N; i++) {
        ck_assert(w[i] == 1 || w[i] == 1 + 0x1p-7);
        up += w[i] > 1;
    }
    ck_assert_double_lt(fabs(up - part * n), 5 * sqrt(n * part * (1 - part))); /* 5 standard deviations */
}
END_TEST

/* What BF16 can hold is stored as it is, in both roundings. */
START_TEST(test_exact_values)
{
    relora_linear *l = new_layer(_i ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST, 1, 0);
    put_all(weight(l), -1.5);
    constant_product(l, 0x1p-6);
    OK(relora_linear_merge(l, env.st, 1, NULL));
    double *w = get(weight(l));
    for (int i = 0; i < N * N; i++) ck_assert_double_eq(w[i], -1.5 + 0x1p-6);
}
END_TEST

/* Nearest is the rule itself, ties to even: 1 + eps/2 goes down to 1, 1 + 3/2 eps up to 1 + 2 eps. */
START_TEST(test_nearest)
{
    static const double parts[] = {0.25, 0.5, 0.75, 1.5}, want[] = {0, 0, 1, 2};
    relora_linear *l = new_layer(RELORA_ROUND_NEAREST, 1, 0);
    put_all(weight(l), 1);
    constant_product(l, parts[_i] * 0x1p-7);
    OK(relora_linear_merge(l, env.st, 1, NULL));
    double *w = get(weight(l));
    for (int i = 0; i < N * N; i++) ck_assert_double_eq(w[i], 1 + want[_i] * 0x1p-7);
}
END_TEST

static void *rounded_with(uint64_t seed, uint64_t layer, uint64_t cycle)
{
    relora_linear *l = new_layer(RELORA_ROUND_STOCHASTIC, seed, layer);
    put_all(weight(l), 1);
    constant_product(l, 0.5 * 0x1p-7);
    OK(relora_linear_merge(l, env.st, cycle, NULL));
    return snapshot(weight(l));
}

/* The draw is a function of (seed, layer, cycle), and of each of them. */
START_TEST(test_key)
{
    void *w = rounded_with(1, 2, 3);
    SAME_BYTES(w, rounded_with(1, 2, 3), 2 * N * N);
    ck_assert_int_ne(memcmp(w, rounded_with(9, 2, 3), 2 * N * N), 0);
    ck_assert_int_ne(memcmp(w, rounded_with(1, 9, 3), 2 * N * N), 0);
    ck_assert_int_ne(memcmp(w, rounded_with(1, 2, 9), 2 * N * N), 0);
}
END_TEST

/* One merge of a fresh random product of 1e-3 of the norm of W; the intended change is added up. */
static void small_merge(relora_linear *l, double weight_norm, uint64_t cycle, double *intended, struct rnd *r)
{
    relora_tensor *a = relora_linear_param(l, RELORA_PARAM_A), *b = relora_linear_param(l, RELORA_PARAM_B);
    put_normal(a, r, 1);
    put_normal(b, r, 1);
    /* an element of B A has variance RANK; the product of F32 factors is the intention */
    double *bv = get(b), *zero = get(weight(l)), scale = 1e-3 * weight_norm / (N * sqrt(RANK));
    for (int i = 0; i < N * RANK; i++) bv[i] *= scale;
    put(b, bv);
    double *merged = oracle_merged(l, 1);
    for (int i = 0; i < N * N; i++) intended[i] += merged[i] - zero[i];
    OK(relora_linear_merge(l, env.st, cycle, NULL));
}

struct kept {     /* of the sum of all intended updates */
    double along; /* projection of what was achieved on it */
    double exact; /* 1 - |achieved - intended| / |intended| */
};

static struct kept retention(relora_rounding rounding)
{
    struct rnd r = rnd_seed(8);
    relora_linear *l = new_layer(rounding, 1, 0);
    put_normal(weight(l), &r, 0.02);
    double *first = get(weight(l)), *intended = doubles(N * N);
    double along = 0, total = 0, missed = 0;
    double weight_norm = norm2(first, N * N);
    for (uint64_t cycle = 1; cycle <= 100; cycle++) small_merge(l, weight_norm, cycle, intended, &r);
    double *last = get(weight(l));
    for (int i = 0; i < N * N; i++) {
        along += (last[i] - first[i]) * intended[i];
        total += intended[i] * intended[i];
        missed += pow(last[i] - first[i] - intended[i], 2);
    }
    return (struct kept){along / total, 1 - sqrt(missed / total)};
}

/* What 100 merges of 1e-3 each have achieved. */
START_TEST(test_retention)
{
    struct kept stochastic = retention(RELORA_ROUND_STOCHASTIC);
    struct kept nearest = retention(RELORA_ROUND_NEAREST);
    /* the noise of 100 roundings is about 3 times the signal and spread over 16384 elements: it
     * turns the projection by 3 / 128 = 0.024 */
    ck_assert_msg(stochastic.along > 0.95 && stochastic.along < 1.1, "stochastic keeps %g", stochastic.along);
    /* small elements of W, whose grid is fine, take the update whole, large ones none of it: near half of
     * the projection comes from a fifth of the elements (next test), and four fifths of the sum is missed */
    ck_assert_msg(nearest.along > 0.45 && nearest.along < 0.7, "nearest keeps %g", nearest.along);
    ck_assert_msg(nearest.exact > 0.15 && nearest.exact < 0.25, "nearest keeps %g", nearest.exact);
}
END_TEST

/* At 1e-3 of the norm about 78 % of the elements of W do not change at all in one merge to nearest
 * (style.md B1), and about as many as the roundings' odds say in a stochastic one: E min(1, |d| / ulp). */
START_TEST(test_share_that_moves)
{
    struct rnd r = rnd_seed(8);
    relora_linear *l = new_layer(_i ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST, 1, 0);
    put_normal(weight(l), &r, 0.02);
    double *was = get(weight(l)), *intended = doubles(N * N), moved = 0, odds = 0;
    small_merge(l, norm2(was, N * N), 1, intended, &r);
    double *now = get(weight(l));
    for (int i = 0; i < N * N; i++) {
        double ulp = ldexp(1, ilogb(was[i]) - 7);
        moved += now[i] != was[i];
        odds += fmin(1, fabs(intended[i]) / ulp);
    }
    if (_i) ck_assert_double_eq_tol(moved / (N * N), odds / (N * N), 0.02); /* 5 deviations of 0.004 */
    else ck_assert_double_eq_tol(moved / (N * N), 0.22, 0.03);
}
END_TEST

Suite *merge_rounding(void)
{
    Suite *s = suite_create("merge rounding");
    TCase *tc = env_case(s, "BF16", 60);
    tcase_add_loop_test(tc, test_share, 0, 3);
    tcase_add_loop_test(tc, test_exact_values, 0, 2);
    tcase_add_loop_test(tc, test_nearest, 0, 4);
    tcase_add_test(tc, test_key);
    tcase_add_test(tc, test_retention);
    tcase_add_loop_test(tc, test_share_that_moves, 0, 2);
    return s;
}
