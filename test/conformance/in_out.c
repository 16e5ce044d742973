/* W as [in, out]: what a layer over the transposed copy gives, in every mode, type and order of products. */
#include "conformance/suites.h"

enum { ROWS = 9, IN = 12, OUT = 10, RANK = 4, TALL = 701 };

static const struct kind {
    relora_linear_mode mode;
    relora_dtype dtype;
    double dropout;
    relora_order forward, backward;
    uint32_t flags;
    int64_t in; /* past one slice of rows of W, if it is TALL */
} kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, 0, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, RELORA_LINEAR_TRAINABLE_SCALE,
     IN},
    {RELORA_MODE_LORA, RELORA_F32, 0, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD, RELORA_LINEAR_BIAS, IN},
    {RELORA_MODE_LORA, RELORA_F32, 0, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH, RELORA_LINEAR_KEEP_DELTA,
     TALL},
    {RELORA_MODE_LORA, RELORA_F32, 0.5, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, 0, IN},
    {RELORA_MODE_LORA, RELORA_BF16, 0, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, RELORA_LINEAR_BIAS, IN},
    {RELORA_MODE_LORA, RELORA_BF16, 0, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH, RELORA_LINEAR_KEEP_DELTA,
     TALL},
    {RELORA_MODE_FULL, RELORA_F32, 0, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, RELORA_LINEAR_BIAS, IN},
    {RELORA_MODE_FULL, RELORA_BF16, 0, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, 0, IN},
    {RELORA_MODE_LOWRANK, RELORA_F32, 0, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, 0, IN},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static double *transposed(const double *values, int64_t rows, int64_t cols)
{
    double *t = doubles(rows * cols);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) t[j * rows + i] = values[i * cols + j];
    return t;
}

static void put_whole(relora_tensor *t, struct rnd *r) /* small, so that every sum is exact */
{
    double *values = doubles(relora_tensor_count(t));
    for (int64_t i = 0; i < relora_tensor_count(t); i++) values[i] = floor(rnd_uniform(r, -1, 2));
    put(t, values);
}

struct pass {
    relora_linear *l;
    relora_tensor *y, *dx;
};

/* The same numbers in each; with `whole` they are whole. */
static struct pass run(const struct kind *k, uint32_t in_out, int whole)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(k->mode, k->in, OUT, RANK);
    o.dtype = k->dtype, o.dropout = k->dropout, o.flags = k->flags | in_out, o.alpha = 2;
    struct pass p = {new_linear(&o), new_matrix(k->dtype, ROWS, OUT), new_matrix(k->dtype, ROWS, k->in)};
    relora_tensor *x = new_matrix(k->dtype, ROWS, k->in), *dy = new_matrix(k->dtype, ROWS, OUT);
    relora_tensor *w = new_matrix(k->dtype, OUT, k->in), *turned = new_matrix(k->dtype, k->in, OUT);
    relora_tensor *all[] = {x, dy, w, relora_linear_param(p.l, RELORA_PARAM_A),
                            relora_linear_param(p.l, RELORA_PARAM_B)};
    for (int i = 0; i < 5; i++) {
        if (!all[i]) continue;
        if (whole) put_whole(all[i], &r);
        else put_normal(all[i], &r, 1);
    }
    put(turned, transposed(get(w), OUT, k->in));
    if (k->mode != RELORA_MODE_LOWRANK) OK(relora_linear_set_weight(p.l, in_out ? turned : w, NULL));
    OK(relora_linear_set_order(p.l, k->forward, k->backward));
    OK(relora_linear_forward(p.l, env.st, x, p.y, 1, RELORA_TRAIN));
    OK(relora_linear_backward(p.l, env.st, x, dy, p.dx, 1, RELORA_TRAIN | RELORA_OVERWRITE));
    if (k->mode == RELORA_MODE_LORA) OK(relora_linear_merge(p.l, env.st, 1, NULL));
    return p;
}

static void near(const relora_tensor *got, double *want, double share)
{
    int64_t n = relora_tensor_count(got);
    CLOSE(get(got), want, n, share * largest(want, n));
}

static void compare(const struct kind *k, int whole)
{
    struct pass usual = run(k, 0, whole), turned = run(k, RELORA_LINEAR_IN_OUT, whole);
    double share = whole ? 0 : k->dtype == RELORA_F32 ? 1e-5 : 0.05;
    near(turned.y, get(usual.y), share);
    near(turned.dx, get(usual.dx), share);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++) {
        const relora_tensor *both[][2] = {{relora_linear_param(usual.l, p), relora_linear_param(turned.l, p)},
                                          {relora_linear_grad(usual.l, p), relora_linear_grad(turned.l, p)}};
        int turns = p == RELORA_PARAM_WEIGHT || p == RELORA_PARAM_DELTA;
        for (int i = 0; i < 2; i++) {
            const relora_tensor *want = both[i][0], *got = both[i][1];
            ck_assert_int_eq(!want, !got);
            if (!want) continue;
            ck_assert_int_eq(relora_tensor_dim(got, 0), relora_tensor_dim(want, turns));
            near(got, turns ? transposed(get(want), OUT, k->in) : get(want), share);
        }
    }
}

/* Whole numbers have exact sums in any order: the bits. But a trainable scale is a tanh. */
START_TEST(test_bits)
{
    struct kind k = kinds[_i];
    k.flags &= ~(uint32_t)RELORA_LINEAR_TRAINABLE_SCALE;
    compare(&k, 1);
}
END_TEST

START_TEST(test_values) { compare(&kinds[_i], 0); }
END_TEST

/* A group takes the sizes from the right axes, a warm start ends, a cycle restarts. */
START_TEST(test_group)
{
    struct rnd r = rnd_seed(2);
    relora_group *g = new_group();
    relora_linear *l;
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 0, 0, RANK);
    relora_tensor *w = new_matrix(RELORA_F32, IN, OUT), *x = new_matrix(RELORA_F32, ROWS, IN);
    relora_tensor *y = new_matrix(RELORA_F32, ROWS, OUT);
    put_normal(w, &r, 1);
    put_normal(x, &r, 1);
    o.flags = RELORA_LINEAR_IN_OUT | RELORA_LINEAR_KEEP_DELTA;
    OK(relora_group_wrap(g, "l", w, new_vector(RELORA_F32, OUT), &o, &l));
    put_all(relora_linear_param(l, RELORA_PARAM_BIAS), 0);
    ck_assert_int_eq(relora_tensor_dim(relora_linear_grad(l, RELORA_PARAM_WEIGHT), 0), IN);
    OK(relora_group_set_mode(g, env.st, RELORA_MODE_LORA));
    put_normal(relora_linear_param(l, RELORA_PARAM_B), &r, 1);
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    double *before = get(y);
    OK(relora_group_merge(g, env.st, 1, NULL));
    OK(relora_group_reset(g, env.st, 1));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    near(y, before, 1e-5);
    o.in_features = OUT;
    FAILS(RELORA_E_SHAPE, relora_group_wrap(g, "m", new_matrix(RELORA_F32, IN, OUT), NULL, &o, NULL),
          "in_features", "10", "[12, 10]");
}
END_TEST

Suite *in_out_suite(void)
{
    Suite *s = suite_create("weight as [in, out]");
    TCase *tc = env_case(s, "in_out", 20);
    tcase_add_loop_test(tc, test_bits, 0, KINDS);
    tcase_add_loop_test(tc, test_values, 0, KINDS);
    tcase_add_test(tc, test_group);
    return s;
}
