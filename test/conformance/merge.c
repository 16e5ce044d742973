/* W += s B A. T2, T3, T21, T23, the report, and what a NaN may not do. */
#include "conformance/suites.h"

enum { ROWS = 21, IN = 37, OUT = 29, RANK = 5 };

static relora_linear_options options(uint32_t flags, relora_dtype dtype)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = flags;
    o.dtype = dtype;
    o.alpha = 3; /* s = 0.6, not 1 */
    return o;
}

static relora_tensor *weight(relora_linear *l) { return relora_linear_param(l, RELORA_PARAM_WEIGHT); }

static double s_of(const relora_linear_options *o, relora_linear *l)
{
    if (o->flags & RELORA_LINEAR_TRAINABLE_SCALE)
        return tanh(*get(relora_linear_param(l, RELORA_PARAM_SCALE)));
    return o->alpha / (double)o->rank;
}

/* T3, T21: W is W + s B A; s is really applied. The factors stay. */
START_TEST(test_value)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = options((uint32_t)_i, RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    double *want = oracle_merged(l, s_of(&o, l));
    void *a = snapshot(relora_linear_param(l, RELORA_PARAM_A)),
         *b = snapshot(relora_linear_param(l, RELORA_PARAM_B));
    OK(relora_linear_merge(l, env.st, 1, NULL));
    CLOSE(get(weight(l)), want, OUT * IN, close_tolerance(0, RELORA_F32, largest(want, OUT * IN), RANK));
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_A), a);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_B), b);
    want = oracle_merged(l, s_of(&o, l)); /* once more: twice the product */
    OK(relora_linear_merge(l, env.st, 2, NULL));
    CLOSE(get(weight(l)), want, OUT * IN, close_tolerance(0, RELORA_F32, largest(want, OUT * IN), RANK));
}
END_TEST

/* More rows than a merge takes at a time: every slice arrives, and stochastic draws do not repeat in it. */
START_TEST(test_tall)
{
    enum { TALL = 701, NARROW = 3, SLICE = (TALL + 1) / 2 }; /* a slice and a shorter one */
    struct rnd r = rnd_seed(9);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, NARROW, TALL, 2);
    o.dtype = _i ? RELORA_BF16 : RELORA_F32;
    o.alpha = 1;
    relora_linear *l = new_filled_linear(&o, &r);
    double *want = oracle_merged(l, 0.5);
    OK(relora_linear_merge(l, env.st, 1, NULL));
    double *got = get(weight(l)), most = largest(want, TALL * NARROW);
    CLOSE(got, want, TALL * NARROW, close_tolerance(0, o.dtype, most, 1));
    if (!_i) return;
    /* 1 + eps/2 everywhere: up or down at random; rows a slice apart agree in half of their elements, +- 0.014 */
    put_all(weight(l), 1);
    put_all(relora_linear_param(l, RELORA_PARAM_A), 1);
    put_all(relora_linear_param(l, RELORA_PARAM_B), 0x1p-8);
    OK(relora_linear_merge(l, env.st, 2, NULL));
    double same = 0, n = (TALL - SLICE) * NARROW;
    got = get(weight(l));
    for (int i = SLICE * NARROW; i < TALL * NARROW; i++) same += got[i] == got[i - SLICE * NARROW];
    ck_assert_double_lt(fabs(same / n - 0.5), 0.07);
}
END_TEST

/* T2: merge and reset together leave y where it was; F32 to 1e-5 relative, BF16 to its own eps. */
START_TEST(test_output_kept)
{
    struct rnd r = rnd_seed(2);
    relora_linear_options o = options((uint32_t)_i % 4, _i < 4 ? RELORA_F32 : RELORA_BF16);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(o.dtype, ROWS, IN), *y = new_matrix(o.dtype, ROWS, OUT);
    put_normal(x, &r, 1);
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    double *before = get(y);
    OK(relora_linear_merge(l, env.st, 1, NULL));
    OK(relora_linear_reset(l, env.st, 1));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    double most = largest(before, ROWS * OUT);
    /* BF16: each of IN weights is rounded by up to an eps of itself (stochastic), and y twice */
    double tolerance = o.dtype == RELORA_F32 ? 1e-5 * most : 0x1p-7 * (most + 0.6 * sqrt(IN) * 3);
    CLOSE(get(y), before, ROWS * OUT, tolerance);
}
END_TEST

/* T23: a merge does not know dropout, nor training from evaluation. */
START_TEST(test_dropout_is_irrelevant)
{
    relora_linear *layers[2];
    for (int i = 0; i < 2; i++) {
        struct rnd r = rnd_seed(3);
        relora_linear_options o = options(0, RELORA_F32);
        o.dropout = i ? 0.5 : 0;
        layers[i] = new_filled_linear(&o, &r);
        relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
        put_normal(x, &r, 1);
        OK(relora_linear_forward(layers[i], env.st, x, y, (uint64_t)i, i ? RELORA_TRAIN : 0));
        OK(relora_linear_merge(layers[i], env.st, 1, NULL));
    }
    UNCHANGED(weight(layers[0]), snapshot(weight(layers[1])));
}
END_TEST

START_TEST(test_b_zero_is_the_identity)
{
    struct rnd r = rnd_seed(4);
    relora_linear_options o = options(0, _i ? RELORA_BF16 : RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_merge_report report = {.struct_size = sizeof report, .delta_norm = 7};
    put_all(relora_linear_param(l, RELORA_PARAM_B), 0);
    void *was = snapshot(weight(l));
    OK(relora_linear_merge(l, env.st, 1, &report));
    UNCHANGED(weight(l), was);
    ck_assert_double_eq(report.delta_norm, 0);
    ck_assert_int_eq(report.layers, 1);
}
END_TEST

/* The norms are those of W as it was stored: compared with a count on the host. */
START_TEST(test_report)
{
    struct rnd r = rnd_seed(5);
    relora_linear_options o = options(0, _i ? RELORA_BF16 : RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_merge_report report = {.struct_size = sizeof report};
    double *was = get(weight(l)), *delta = doubles(OUT * IN);
    OK(relora_linear_merge(l, env.st, 1, &report));
    double *now = get(weight(l));
    for (int i = 0; i < OUT * IN; i++) delta[i] = now[i] - was[i];
    ck_assert_int_eq(report.layers, 1);
    ck_assert_uint_eq(report.struct_size, sizeof report);
    ck_assert_double_gt(norm2(delta, OUT * IN), 0.1);
    /* sums of squares in double of values exact in F32: only the square root's last bits; the change may
     * be taken in F32, one rounding each */
    ck_assert_double_eq_tol(report.delta_norm, norm2(delta, OUT * IN), 1e-6 * report.delta_norm);
    ck_assert_double_eq_tol(report.weight_norm, norm2(now, OUT * IN), 1e-6 * report.weight_norm);
}
END_TEST

/* A caller with a shorter report gets no more than that; a longer one gets zeros behind. */
START_TEST(test_report_sizes)
{
    struct rnd r = rnd_seed(6);
    relora_linear_options o = options(0, RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    _Alignas(8) unsigned char bytes[64];
    memset(bytes, 0xee, sizeof bytes);
    uint32_t size = 8;
    memcpy(bytes, &size, sizeof size);
    OK(relora_linear_merge(l, env.st, 1, (void *)bytes));
    ck_assert_uint_eq(bytes[4], 1); /* layers */
    for (size_t i = 8; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xee);
    size = 40;
    memcpy(bytes, &size, sizeof size);
    OK(relora_linear_merge(l, env.st, 2, (void *)bytes));
    for (size_t i = sizeof(relora_merge_report); i < 40; i++) ck_assert_uint_eq(bytes[i], 0);
    ck_assert_uint_eq(bytes[40], 0xee);
}
END_TEST

/* A NaN or an infinity in a factor: W keeps every byte. */
START_TEST(test_not_finite)
{
    static const relora_param params[] = {RELORA_PARAM_A, RELORA_PARAM_B, RELORA_PARAM_SCALE};
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    struct rnd r = rnd_seed(7);
    relora_linear_options o = options(RELORA_LINEAR_TRAINABLE_SCALE, _i / 9 ? RELORA_BF16 : RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *t = relora_linear_param(l, params[_i % 3]);
    double *values = get(t);
    values[relora_tensor_count(t) - 1] = (double)poisons[_i / 3 % 3]; /* the last element is easy to miss */
    put(t, values);
    void *was = snapshot(weight(l));
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "factor");
    UNCHANGED(weight(l), was);
}
END_TEST

/* ---- sums beyond the range: factors that are finite, each by itself ---- */

static const struct beyond {
    relora_dtype dtype;
    double w, a, b, b_sign; /* all elements; every other column of B has the sign */
    double scale;           /* s; 0: trainable, and nearly 1 */
    int merges;             /* or must nothing move? */
} beyonds[] = {
    {RELORA_F32, 1, 1e30, 1e30, 1, 1, 0},  /* the product is infinite, */
    {RELORA_F32, 1, 1e30, 1e30, -1, 1, 0}, /* or a NaN */
    {RELORA_BF16, 1, 1e30, 1e30, -1, 1, 0},
    {RELORA_F32, 1, 1e19, 3e18, 1, 1, 1}, /* 1.5e38 */
    {RELORA_BF16, 1, 1e19, 3e18, 1, 1, 1},
    {RELORA_F32, 1, 1e19, 3e18, 1, 4, 0},      /* but four times that is too much, */
    {RELORA_F32, 3e38, 1e19, 3e18, 1, 1, 0},   /* and so is what W adds, */
    {RELORA_F32, -3e38, 1e19, 3e18, 1, 1, 1},  /* unless it has the other sign */
    {RELORA_F32, 1, 1e19, 1e19, -1, 0.125, 1}, /* of both signs, no sum of which is beyond */
    {RELORA_F32, 1, 1e30, 1e30, 1, 0, 0},
    {RELORA_F32, 3.4e38, 1e-3, 1e-3, 1, 1, 1},   /* the largest numbers take a small update */
    {RELORA_F32, 3.39e38, 1e18, 1e17, 1, 1, 1},  /* 3.395e38: F32 has it, */
    {RELORA_BF16, 3.38e38, 1e18, 5e17, 1, 1, 0}, /* BF16 ends at 3.3895e38 */
    {RELORA_BF16, 3.38e38, 1e-3, 1e-3, 1, 1, 1},
};
enum { BEYONDS = sizeof beyonds / sizeof *beyonds };

static relora_linear *beyond(const struct beyond *c, uint32_t flags)
{
    struct rnd r = rnd_seed(8);
    relora_linear_options o = options(flags | (c->scale > 0 ? 0 : RELORA_LINEAR_TRAINABLE_SCALE), c->dtype);
    if (c->scale > 0) o.alpha = c->scale * RANK;
    relora_linear *l = new_filled_linear(&o, &r);
    double *b = doubles(OUT * RANK);
    for (int i = 0; i < OUT * RANK; i++) b[i] = i % 2 ? c->b * c->b_sign : c->b;
    put_all(weight(l), c->w);
    put_all(relora_linear_param(l, RELORA_PARAM_A), c->a);
    put(relora_linear_param(l, RELORA_PARAM_B), b);
    if (c->scale <= 0) put_all(relora_linear_param(l, RELORA_PARAM_SCALE), 20);
    return l;
}

START_TEST(test_beyond_the_range)
{
    const struct beyond *c = &beyonds[_i];
    relora_linear *l = beyond(c, 0);
    void *was = snapshot(weight(l));
    if (c->merges) {
        OK(relora_linear_merge(l, env.st, 1, NULL));
    } else {
        FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "beyond the range",
              "nothing was merged", c->dtype == RELORA_BF16 ? "BF16" : "F32");
        UNCHANGED(weight(l), was);
    }
    double *now = get(weight(l));
    for (int i = 0; i < OUT * IN; i++) ck_assert(isfinite(now[i]));
}
END_TEST

/* Large elements that never meet: the bound by the largest of each factor does not clear them, and the sums do. */
START_TEST(test_large_but_fine)
{
    struct rnd r = rnd_seed(11);
    relora_linear_options o = options(0, _i ? RELORA_BF16 : RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *a = relora_linear_param(l, RELORA_PARAM_A), *b = relora_linear_param(l, RELORA_PARAM_B);
    double *va = get(a), *vb = get(b);
    for (int j = 0; j < IN; j++) va[j] = 0, va[IN + j] = 1e25; /* ranks 0 and 1 */
    for (int i = 0; i < OUT; i++) vb[i * RANK] = 1e25, vb[i * RANK + 1] = 0;
    put(a, va);
    put(b, vb);
    double *want = oracle_merged(l, s_of(&o, l));
    OK(relora_linear_merge(l, env.st, 1, NULL));
    CLOSE(get(weight(l)), want, OUT * IN, close_tolerance(0, o.dtype, largest(want, OUT * IN), 2 * RANK));
}
END_TEST

/* The sum of all merges is not to be ruined, either. */
START_TEST(test_delta_beyond)
{
    struct beyond c = {RELORA_F32, -3e38, 1e19, 3e18, 1, 1, 1};
    relora_linear *l = beyond(&c, RELORA_LINEAR_KEEP_DELTA);
    relora_tensor *delta = relora_linear_param(l, RELORA_PARAM_DELTA);
    put_all(delta, 3e38);
    void *was = snapshot(weight(l)), *sum = snapshot(delta);
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "beyond the range");
    UNCHANGED(weight(l), was);
    UNCHANGED(delta, sum);
    put_all(delta, 1);
    OK(relora_linear_merge(l, env.st, 1, NULL));
}
END_TEST

/* A weight that is none: said of the weight, not of a factor. */
START_TEST(test_weight_not_finite)
{
    struct rnd r = rnd_seed(12);
    relora_linear_options o = options(0, _i ? RELORA_BF16 : RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &r);
    double *w = get(weight(l));
    w[OUT * IN - 1] = (double)NAN;
    put(weight(l), w);
    void *was = snapshot(weight(l));
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "the weight of layer 0");
    UNCHANGED(weight(l), was);
}
END_TEST

/* By slices, the last of which is the one. */
START_TEST(test_tall_beyond)
{
    enum { TALL = 701, NARROW = 3 };
    struct rnd r = rnd_seed(13);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, NARROW, TALL, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *a = relora_linear_param(l, RELORA_PARAM_A), *b = relora_linear_param(l, RELORA_PARAM_B);
    double *vb = get(b);
    put_all(a, 1e25);
    vb[TALL * 2 - 1] = 1e25;
    put(b, vb);
    void *was = snapshot(weight(l));
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "beyond the range");
    UNCHANGED(weight(l), was);
}
END_TEST

Suite *merge_suite(void)
{
    Suite *s = suite_create("merge");
    TCase *tc = env_case(s, "merge", 20);
    tcase_add_loop_test(tc, test_value, 0, 4);
    tcase_add_loop_test(tc, test_tall, 0, 2);
    tcase_add_loop_test(tc, test_output_kept, 0, 8);
    tcase_add_test(tc, test_dropout_is_irrelevant);
    tcase_add_loop_test(tc, test_b_zero_is_the_identity, 0, 2);
    tcase_add_loop_test(tc, test_report, 0, 2);
    tcase_add_test(tc, test_report_sizes);
    tcase_add_loop_test(tc, test_not_finite, 0, 18);
    tcase_add_loop_test(tc, test_beyond_the_range, 0, BEYONDS);
    tcase_add_loop_test(tc, test_large_but_fine, 0, 2);
    tcase_add_test(tc, test_delta_beyond);
    tcase_add_loop_test(tc, test_weight_not_finite, 0, 2);
    tcase_add_test(tc, test_tall_beyond);
    return s;
}
