/* The parts of a restart as functions: the bits of a layer and of an optimizer, and W the other way round. */
#include "conformance/suites.h"

enum { IN = 37, OUT = 29, RANK = 5, TALL = 701, MOMENT = 5003 };

struct factors { /* the host's */
    relora_tensor *w, *a, *b;
};

static relora_tensor *copy_of(relora_tensor *t, relora_dtype dtype)
{
    relora_tensor *copy = new_matrix(dtype, relora_tensor_dim(t, 0), relora_tensor_dim(t, 1));
    put(copy, get(t));
    return copy;
}

static struct factors factors_of(relora_linear *l)
{
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    return (struct factors){copy_of(w, relora_tensor_dtype(w)),
                            copy_of(relora_linear_param(l, RELORA_PARAM_A), RELORA_F32),
                            copy_of(relora_linear_param(l, RELORA_PARAM_B), RELORA_F32)};
}

static relora_merge_options merge_options(double scale)
{
    relora_merge_options o;
    OK(relora_merge_options_init(&o, sizeof o));
    o.scale = scale;
    o.seed = 3, o.layer = 4, o.cycle = 5;
    return o;
}

static const struct kind {
    relora_dtype dtype;
    relora_rounding rounding;
    int64_t out;
} kinds[] = {
    {RELORA_F32, RELORA_ROUND_STOCHASTIC, OUT},   {RELORA_BF16, RELORA_ROUND_STOCHASTIC, OUT},
    {RELORA_BF16, RELORA_ROUND_NEAREST, OUT},     {RELORA_F32, RELORA_ROUND_STOCHASTIC, TALL},
    {RELORA_BF16, RELORA_ROUND_STOCHASTIC, TALL},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static relora_linear *layer_of(const struct kind *k)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, k->out, RANK);
    o.dtype = k->dtype, o.rounding = k->rounding;
    o.alpha = 3;
    o.seed = 3, o.layer = 4;
    return new_filled_linear(&o, &r);
}

START_TEST(test_merge_is_the_layers)
{
    relora_linear *l = layer_of(&kinds[_i]);
    struct factors f = factors_of(l);
    void *a = snapshot(f.a), *b = snapshot(f.b);
    relora_merge_options o = merge_options(3.0 / RANK);
    relora_merge_report want = {.struct_size = sizeof want}, got = {.struct_size = sizeof got};
    o.rounding = kinds[_i].rounding;
    OK(relora_linear_merge(l, env.st, 5, &want));
    OK(relora_merge(env.st, f.w, f.a, f.b, &o, &got));
    UNCHANGED(f.w, snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT)));
    UNCHANGED(f.a, a);
    UNCHANGED(f.b, b);
    SAME_BYTES(&got, &want, sizeof got);
}
END_TEST

/* Seed, layer and cycle each choose other random numbers. */
START_TEST(test_merge_key)
{
    relora_linear *l = layer_of(&kinds[1]);
    struct factors f = factors_of(l), same = factors_of(l);
    relora_merge_options o = merge_options(3.0 / RANK);
    OK(relora_merge(env.st, same.w, same.a, same.b, &o, NULL));
    *(_i == 0 ? &o.seed : _i == 1 ? &o.layer : &o.cycle) += 1;
    OK(relora_merge(env.st, f.w, f.a, f.b, &o, NULL));
    ck_assert_double_gt(distance(get(f.w), get(same.w), OUT * IN), 0);
}
END_TEST

/* A block of columns of a larger array, and no options. */
START_TEST(test_merge_in_a_block)
{
    enum { WIDE = IN + 3 };
    const int64_t shape[] = {OUT, IN}, strides[] = {WIDE, 1};
    relora_linear *l = layer_of(&kinds[0]);
    struct factors f = factors_of(l), whole = factors_of(l);
    float *memory = new_floats(OUT * WIDE);
    relora_tensor *block, *all = new_borrowed(OUT * WIDE, memory);
    OK(relora_tensor_borrow(&block, env.dev, RELORA_F32, 2, shape, strides, memory + 2, NULL, NULL));
    defer((void (*)(void *))relora_tensor_release, block);
    put_all(all, 7);
    OK(relora_tensor_copy(block, f.w, env.st));
    OK(relora_merge(env.st, block, f.a, f.b, NULL, NULL));
    OK(relora_merge(env.st, whole.w, whole.a, whole.b, NULL, NULL));
    CLOSE(get(block), get(whole.w), OUT * IN, 0);
    double *around = get(all);
    for (int i = 0; i < OUT * WIDE; i++)
        if (i % WIDE < 2 || i % WIDE == WIDE - 1) ck_assert_double_eq(around[i], 7);
}
END_TEST

/* ---- looking ---- */

START_TEST(test_look)
{
    relora_linear *l = layer_of(&kinds[_i]);
    struct factors f = factors_of(l);
    relora_merge_options o = merge_options(1);
    relora_merge_report report = {.struct_size = sizeof report, .layers = 7, .delta_norm = 7};
    void *was = snapshot(f.w);
    o.flags = RELORA_MERGE_LOOK;
    OK(relora_merge(env.st, f.w, f.a, f.b, &o, &report));
    ck_assert_int_eq(report.layers, 0);
    ck_assert_double_eq(report.delta_norm, 0);
    put_all(f.a, 1e30);
    put_all(f.b, 1e30);
    FAILS(RELORA_E_NOT_FINITE, relora_merge(env.st, f.w, f.a, f.b, &o, NULL), "layer 4", "beyond the range");
    UNCHANGED(f.w, was);
}
END_TEST

START_TEST(test_not_finite)
{
    relora_linear *l = layer_of(&kinds[_i / 3]);
    struct factors f = factors_of(l);
    relora_tensor *t = _i % 3 == 0 ? f.w : _i % 3 == 1 ? f.a : f.b;
    double *values = get(t);
    values[relora_tensor_count(t) - 1] = (double)NAN;
    put(t, values);
    void *was = snapshot(f.w);
    relora_merge_options o = merge_options(1);
    FAILS(RELORA_E_NOT_FINITE, relora_merge(env.st, f.w, f.a, f.b, &o, NULL), _i % 3 ? "factor" : "weight",
          "layer 4");
    UNCHANGED(f.w, was);
}
END_TEST

/* ---- W as [in, out] ---- */

static double *transposed(const double *values, int64_t rows, int64_t cols)
{
    double *t = doubles(rows * cols);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) t[j * rows + i] = values[i * cols + j];
    return t;
}

static struct factors turned(struct factors f, int64_t out)
{
    relora_tensor *w = new_matrix(relora_tensor_dtype(f.w), IN, out);
    put(w, transposed(get(f.w), out, IN));
    f.w = w;
    return f;
}

/* Whole numbers, whose products and sums are exact in any order: the transposed bits. */
START_TEST(test_in_out_exact)
{
    const struct kind *k = &kinds[_i];
    struct rnd r = rnd_seed(2);
    struct factors f = factors_of(layer_of(k));
    relora_tensor *all[] = {f.w, f.a, f.b};
    for (int i = 0; i < 3; i++) {
        int64_t n = relora_tensor_count(all[i]);
        double *values = doubles(n);
        for (int64_t j = 0; j < n; j++) values[j] = floor(rnd_uniform(&r, -3, 4));
        put(all[i], values);
    }
    struct factors t = turned(f, k->out);
    relora_merge_options o = merge_options(1);
    relora_merge_report want = {.struct_size = sizeof want}, got = {.struct_size = sizeof got};
    OK(relora_merge(env.st, f.w, f.a, f.b, &o, &want));
    o.flags = RELORA_MERGE_IN_OUT;
    OK(relora_merge(env.st, t.w, t.a, t.b, &o, &got));
    CLOSE(get(t.w), transposed(get(f.w), k->out, IN), k->out * IN, 0);
    SAME_BYTES(&got, &want, sizeof got);
}
END_TEST

START_TEST(test_in_out)
{
    const struct kind *k = &kinds[_i];
    struct factors f = factors_of(layer_of(k)), t = turned(f, k->out);
    relora_merge_options o = merge_options(0.6);
    OK(relora_merge(env.st, f.w, f.a, f.b, &o, NULL));
    o.flags = RELORA_MERGE_IN_OUT;
    OK(relora_merge(env.st, t.w, t.a, t.b, &o, NULL));
    double *want = transposed(get(f.w), k->out, IN), most = largest(want, k->out * IN);
    /* two sums of RANK terms; in BF16 each may be rounded to another side */
    double tolerance = close_tolerance(0, k->dtype, most, k->dtype == RELORA_F32 ? RANK : 1);
    CLOSE(get(t.w), want, k->out * IN, tolerance);
}
END_TEST

START_TEST(test_in_out_not_finite)
{
    struct factors t = turned(factors_of(layer_of(&kinds[3])), TALL);
    relora_merge_options o = merge_options(1);
    double *b = get(t.b);
    put_all(t.a, 1e25);
    b[TALL * RANK - 1] = 1e25;
    put(t.b, b);
    void *was = snapshot(t.w);
    o.flags = RELORA_MERGE_IN_OUT;
    FAILS(RELORA_E_NOT_FINITE, relora_merge(env.st, t.w, t.a, t.b, &o, NULL), "beyond the range");
    UNCHANGED(t.w, was);
}
END_TEST

/* ---- factors and moments ---- */

START_TEST(test_draw)
{
    relora_linear *l = layer_of(&kinds[0]);
    struct factors f = factors_of(l);
    for (uint64_t cycle = 0; cycle < 3; cycle++) {
        put_all(f.b, 3);
        OK(relora_linear_reset(l, env.st, cycle));
        OK(relora_factors_draw(env.st, f.a, f.b, 3, 4, cycle));
        UNCHANGED(f.a, snapshot(relora_linear_param(l, RELORA_PARAM_A)));
        UNCHANGED(f.b, snapshot(relora_linear_param(l, RELORA_PARAM_B)));
    }
}
END_TEST

static const struct {
    relora_reset_mode mode;
    uint32_t flags;
} resets[] = {
    {RELORA_RESET_ZERO, 0},
    {RELORA_RESET_RANDOM, 0},
    {RELORA_RESET_RANDOM, RELORA_RESET_INDEPENDENT},
    {RELORA_RESET_MAGNITUDE, 0},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_INDEPENDENT},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_QUANTILE},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_INDEPENDENT | RELORA_RESET_QUANTILE},
};
enum { RESETS = sizeof resets / sizeof *resets };

START_TEST(test_moments)
{
    struct rnd r = rnd_seed(4);
    relora_adam *adam = new_adam(NULL);
    relora_tensor *mine[2], *its[2];
    relora_reset_options o = reset_options(resets[_i].mode, 0.9, resets[_i].flags);
    relora_reset_report want = {.struct_size = sizeof want}, got = {.struct_size = sizeof got};
    add_vector(adam, "first", 3, &r, NULL, NULL);
    int32_t index = add_vector(adam, "p", MOMENT, &r, NULL, NULL);
    o.seed = 8, o.cycle = 9;
    for (int i = 0; i < 2; i++) {
        its[i] = relora_adam_moment(adam, index, i ? RELORA_MOMENT_SECOND : RELORA_MOMENT_FIRST);
        put_normal(its[i], &r, 1);
        mine[i] = new_vector(RELORA_F32, MOMENT);
        put(mine[i], get(its[i]));
    }
    OK(relora_adam_reset(adam, env.st, &index, 1, &o, &want));
    OK(relora_moments_reset(env.st, mine[0], mine[1], (uint64_t)index, &o, &got));
    for (int i = 0; i < 2; i++) UNCHANGED(mine[i], snapshot(its[i]));
    SAME_BYTES(&got, &want, sizeof got);
    ck_assert_int_eq(got.params, 1);
    ck_assert_int_eq(got.elements, MOMENT);
    ck_assert_int_gt(got.zeroed_first, MOMENT / 2);
}
END_TEST

Suite *restart_suite(void)
{
    Suite *s = suite_create("restart without objects");
    TCase *tc = env_case(s, "restart", 20);
    tcase_add_loop_test(tc, test_merge_is_the_layers, 0, KINDS);
    tcase_add_loop_test(tc, test_merge_key, 0, 3);
    tcase_add_test(tc, test_merge_in_a_block);
    tcase_add_loop_test(tc, test_look, 0, KINDS);
    tcase_add_loop_test(tc, test_not_finite, 0, 6);
    tcase_add_loop_test(tc, test_in_out_exact, 0, KINDS);
    tcase_add_loop_test(tc, test_in_out, 0, KINDS);
    tcase_add_test(tc, test_in_out_not_finite);
    tcase_add_test(tc, test_draw);
    tcase_add_loop_test(tc, test_moments, 0, RESETS);
    return s;
}
