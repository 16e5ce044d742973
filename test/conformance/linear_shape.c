/* Shapes and layouts of one layer: the test vector of method.md 3.1, views with gaps, three axes, no
 * rows. T22 */
#include "conformance/suites.h"

static void put_list(relora_tensor *t, const double *values)
{
    ck_assert_ptr_nonnull(t);
    put(t, values);
}

static void is_list(const relora_tensor *t, const double *want)
{
    int64_t n = relora_tensor_count(t);
    /* exact in decimal, not in binary: some eps of the largest value */
    CLOSE(get(t), want, n, close_tolerance(0, RELORA_F32, largest(want, n), 16));
}

START_TEST(test_vector)
{
    static const double w[] = {0, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 1.1};
    static const double a[] = {.1, -.2, .3, -.4, .5, .6, -.7, .8}, b[] = {1, -1, .5, 2, -.25, 0};
    static const double bias[] = {.1, .2, .3}, x[] = {1, 2, 3, 4}, g[] = {1, -2, .5};
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 4, 3, 2); /* alpha 32: s = 16 */
    o.flags = RELORA_LINEAR_BIAS;
    relora_linear *l = new_linear(&o);
    relora_tensor *weight = new_matrix(RELORA_F32, 3, 4), *tx = new_matrix(RELORA_F32, 1, 4);
    relora_tensor *y = new_matrix(RELORA_F32, 1, 3), *dy = new_matrix(RELORA_F32, 1, 3);
    relora_tensor *dx = new_matrix(RELORA_F32, 1, 4);
    put(weight, w);
    put(tx, x);
    put(dy, g);
    OK(relora_linear_set_weight(l, weight, NULL));
    put_list(relora_linear_param(l, RELORA_PARAM_A), a);
    put_list(relora_linear_param(l, RELORA_PARAM_B), b);
    put_list(relora_linear_param(l, RELORA_PARAM_BIAS), bias);
    OK(relora_linear_forward(l, env.st, tx, y, 0, 0));
    OK(relora_linear_backward(l, env.st, tx, dy, dx, 0, 0));
    is_list(y, (double[]){-58.7, 87.8, 14.3});
    is_list(dx, (double[]){-40.6, -48.05, 54.9, -63.75});
    is_list(relora_linear_grad(l, RELORA_PARAM_A), (double[]){-2, -4, -6, -8, -80, -160, -240, -320});
    is_list(relora_linear_grad(l, RELORA_PARAM_B), (double[]){-16, 44.8, 32, -89.6, -8, 22.4});
    is_list(relora_linear_grad(l, RELORA_PARAM_BIAS), (double[]){1, -2, .5});
    OK(relora_linear_merge(l, env.st, 1, NULL));
    is_list(weight, (double[]){-6.4, -12.7, 16.2, -18.9, 17.2, 18.1, -19.4, 23.1, .4, 1.7, -.2, 2.7});
}
END_TEST

/* A view of the first `cols` columns of something wider; the other columns hold 99 and must keep it. */
struct view {
    relora_tensor *t, *whole;
    int64_t rows, cols, ld;
};

static void release_tensor(void *p) { relora_tensor_release(p); }

static struct view new_view(relora_dtype dtype, int64_t rows, int64_t cols, int64_t gap, struct rnd *r)
{
    struct view v = {
        .rows = rows, .cols = cols, .ld = cols + gap, .whole = new_matrix(dtype, rows, cols + gap)};
    double *values = doubles(rows * v.ld);
    for (int64_t i = 0; i < rows * v.ld; i++) values[i] = i % v.ld < cols ? rnd_normal(r) : 99;
    put(v.whole, values);
    OK(relora_tensor_borrow(&v.t, env.dev, dtype, 2, (int64_t[]){rows, cols}, (int64_t[]){v.ld, 1},
                            relora_tensor_data(v.whole), NULL, NULL));
    defer(release_tensor, v.t);
    return v;
}

static void gaps_kept(const struct view *v)
{
    double *values = get(v->whole);
    for (int64_t i = 0; i < v->rows * v->ld; i++)
        if (i % v->ld >= v->cols) ck_assert_double_eq(values[i], 99);
}

static relora_tensor *dense_copy(const struct view *v, relora_dtype dtype)
{
    relora_tensor *t = new_matrix(dtype, v->rows, v->cols);
    OK(relora_tensor_copy(t, v->t, env.st));
    return t;
}

static void same_values(const struct view *v, const relora_tensor *dense)
{
    CLOSE(get(v->t), get(dense), v->rows * v->cols, 0);
}

/* Strided x, dy, y, dx and W give the bits of dense ones in every order, and nothing between the rows is written.
 * The portable product sums in the same order; oneDNN may choose another kernel: then a few eps. */
START_TEST(test_views)
{
    static const relora_order orders[][2] = {{RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
                                             {RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
                                             {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH}};
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    struct rnd r = rnd_seed(9);
    enum { ROWS = 19, IN = 23, OUT = 17, RANK = 3 };
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = dtype;
    o.alpha = RANK;
    relora_linear *strided = new_filled_linear(&o, &r), *dense = new_linear(&o);
    struct view w = new_view(dtype, OUT, IN, 9, &r), x = new_view(dtype, ROWS, IN, 5, &r);
    struct view y = new_view(dtype, ROWS, OUT, 1, &r), dy = new_view(dtype, ROWS, OUT, 4, &r);
    struct view dx = new_view(dtype, ROWS, IN, 7, &r);
    relora_tensor *wd = dense_copy(&w, dtype), *xd = dense_copy(&x, dtype), *yd = dense_copy(&y, dtype);
    relora_tensor *dyd = dense_copy(&dy, dtype), *dxd = dense_copy(&dx, dtype);
    same_values(&w, wd);
    OK(relora_linear_set_weight(strided, w.t, NULL));
    OK(relora_linear_set_weight(dense, wd, NULL));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        OK(relora_tensor_copy(relora_linear_param(dense, p), relora_linear_param(strided, p), env.st));
    OK(relora_linear_set_order(strided, orders[_i / 2][0], orders[_i / 2][1]));
    OK(relora_linear_set_order(dense, orders[_i / 2][0], orders[_i / 2][1]));
    OK(relora_linear_forward(strided, env.st, x.t, y.t, 0, 0));
    OK(relora_linear_forward(dense, env.st, xd, yd, 0, 0));
    OK(relora_linear_backward(strided, env.st, x.t, dy.t, dx.t, 0, 0));
    OK(relora_linear_backward(dense, env.st, xd, dyd, dxd, 0, 0));
    OK(relora_linear_merge(strided, env.st, 1, NULL));
    OK(relora_linear_merge(dense, env.st, 1, NULL));
    CLOSE(get(y.t), get(yd), ROWS * OUT, close_tolerance(0, dtype, largest(get(yd), ROWS * OUT), 2));
    CLOSE(get(dx.t), get(dxd), ROWS * IN, close_tolerance(0, dtype, largest(get(dxd), ROWS * IN), 2));
    CLOSE(get(w.t), get(wd), OUT * IN, close_tolerance(0, dtype, largest(get(wd), OUT * IN), 1));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++) {
        relora_tensor *g = relora_linear_grad(strided, p);
        double *want = get(relora_linear_grad(dense, p));
        int64_t n = relora_tensor_count(g);
        CLOSE(get(g), want, n, close_tolerance(0, dtype, largest(want, n), 4));
    }
    gaps_kept(&w), gaps_kept(&x), gaps_kept(&y), gaps_kept(&dy), gaps_kept(&dx);
}
END_TEST

/* [a, b, c] is [a * b, c]. */
START_TEST(test_three_axes)
{
    struct rnd r = rnd_seed(10);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 7, 5, 3);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x3 = new_tensor(RELORA_F32, 3, (int64_t[]){2, 3, 7}), *x = new_matrix(RELORA_F32, 6, 7);
    relora_tensor *y3 = new_tensor(RELORA_F32, 3, (int64_t[]){2, 3, 5}), *y = new_matrix(RELORA_F32, 6, 5);
    put_normal(x3, &r, 1);
    put(x, get(x3));
    OK(relora_linear_forward(l, env.st, x3, y3, 0, 0));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    SAME_BYTES(snapshot(y3), snapshot(y), bytes_of(y));
    ck_assert_double_gt(largest(get(y), 30), 0.1);
}
END_TEST

/* An empty batch adds nothing to a gradient; stored, it stores zeros. */
START_TEST(test_no_rows)
{
    struct rnd r = rnd_seed(11);
    relora_linear_options o = layer_options(_i + 1, 7, 5, 3);
    o.flags = RELORA_LINEAR_BIAS;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(RELORA_F32, 0, 7), *y = new_matrix(RELORA_F32, 0, 5);
    relora_tensor *dx = new_matrix(RELORA_F32, 0, 7);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
        if (relora_linear_grad(l, p)) put_all(relora_linear_grad(l, p), 3);
    OK(relora_linear_forward(l, env.st, x, y, 0, RELORA_TRAIN));
    OK(relora_linear_backward(l, env.st, x, y, dx, 0, RELORA_TRAIN));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
        if (relora_linear_grad(l, p)) ck_assert_double_eq(*get(relora_linear_grad(l, p)), 3);
    OK(relora_linear_backward(l, env.st, x, y, NULL, 0, RELORA_OVERWRITE));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++) {
        relora_tensor *g = relora_linear_grad(l, p);
        if (g) ck_assert_double_eq(largest(get(g), relora_tensor_count(g)), 0);
    }
}
END_TEST

Suite *linear_shape(void)
{
    Suite *s = suite_create("linear shape");
    TCase *tc = env_case(s, "shape", 20);
    tcase_add_test(tc, test_vector);
    tcase_add_loop_test(tc, test_views, 0, 6);
    tcase_add_test(tc, test_three_axes);
    tcase_add_loop_test(tc, test_no_rows, 0, 3);
    return s;
}
