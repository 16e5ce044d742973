/* Layers on the CPU and on the device. What is random is the same to the bit: dropout, the draw of A, the
 * rounding of merges and folds. To see only that, the numbers here are such that every product and every sum
 * is exact in F32, whatever its order. */
#include "cuda/both.h"
#include "cuda/suites.h"

/* Multiples of 1/`parts`, at most `most` in size. */
static void put_coarse(relora_tensor *t, struct rnd *r, double most, double parts)
{
    int64_t n = relora_tensor_count(t);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = floor(rnd_uniform(r, -most * parts, most * parts + 1)) / parts;
    put(t, values);
}

static void put_identity(relora_tensor *t)
{
    int64_t rows = relora_tensor_dim(t, 0), cols = relora_tensor_dim(t, 1);
    double *values = doubles(rows * cols);
    for (int64_t i = 0; i < rows && i < cols; i++) values[i * cols + i] = 1;
    put(t, values);
}

/* ---- dropout: of A = B = 1 in place of matrices, y = x + drop(x) and dx = dy + drop'(dy) ---- */

enum { WIDE = 129, ROWS = 37 };

static void dropout(struct results *out, int variant)
{
    static const double rates[] = {0.1, 0.5, 0.9};
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, WIDE, WIDE, WIDE);
    o.dtype = variant % 2 ? RELORA_BF16 : RELORA_F32;
    o.dropout = rates[variant / 2];
    o.alpha = WIDE;
    o.seed = 3;
    o.layer = UINT64_C(1) << 40;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(o.dtype, ROWS, WIDE), *y = new_matrix(o.dtype, ROWS, WIDE);
    relora_tensor *dy = new_matrix(o.dtype, ROWS, WIDE), *dx = new_matrix(o.dtype, ROWS, WIDE);
    put_identity(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    put_identity(relora_linear_param(l, RELORA_PARAM_A));
    put_identity(relora_linear_param(l, RELORA_PARAM_B));
    put_normal(x, &r, 1);
    put_normal(dy, &r, 1);
    for (uint64_t call = 0; call < 3; call++) {
        OK(relora_linear_forward(l, env.st, x, y, call << 33, RELORA_TRAIN));
        OK(relora_linear_backward(l, env.st, x, dy, dx, call << 33, RELORA_TRAIN | RELORA_OVERWRITE));
        keep(out, "y", y);
        keep(out, "dx", dx);
    }
}

START_TEST(test_dropout) { same_on_both(dropout, _i); }
END_TEST

/* ---- the draw of A ---- */

static void draw(struct results *out, int variant)
{
    static const int64_t shapes[][2] = {{1, 1}, {7, 3}, {1031, 5}, {4096, 64}}; /* in, rank */
    const int64_t *shape = shapes[variant % 4];
    relora_linear_options o = layer_options(RELORA_MODE_FULL, shape[0], 9, shape[1]);
    o.flags = variant / 4 ? RELORA_LINEAR_FREEZE_B : 0;
    o.seed = 5;
    o.layer = 6;
    relora_linear *wrapped = new_linear(&o);
    OK(relora_linear_set_weight(wrapped, new_matrix(RELORA_F32, 9, o.in_features), NULL));
    OK(relora_linear_set_mode(wrapped, env.st, RELORA_MODE_LORA));
    keep(out, "A of set_mode", relora_linear_param(wrapped, RELORA_PARAM_A));
    keep(out, "B of set_mode", relora_linear_param(wrapped, RELORA_PARAM_B));
    for (relora_linear_mode mode = RELORA_MODE_LORA; mode <= RELORA_MODE_LOWRANK; mode++) {
        o.mode = mode;
        relora_linear *l = new_linear(&o);
        keep(out, "A", relora_linear_param(l, RELORA_PARAM_A));
        OK(relora_linear_reset(l, env.st, UINT64_C(3) << 32));
        keep(out, "A of a cycle", relora_linear_param(l, RELORA_PARAM_A));
        keep(out, "B of a cycle", relora_linear_param(l, RELORA_PARAM_B));
    }
}

START_TEST(test_draw) { same_on_both(draw, _i); }
END_TEST

/* ---- a new A that is made of what there is, and moments that go with it ---- */

static void renew(struct results *out, int variant)
{
    static const int64_t shapes[][2] = {{5, 70}, {70, 5}, {33, 1500}}; /* rank, in */
    const int64_t rank = shapes[variant / 3][0], in = shapes[variant / 3][1], rows = 9;
    struct rnd r = rnd_seed(8);
    relora_merge_report report = {.struct_size = sizeof report};
    relora_factors_options o;
    relora_tensor *old = new_matrix(RELORA_F32, rank, in), *a = new_matrix(RELORA_F32, rank, in);
    relora_tensor *gradient = new_matrix(RELORA_F32, rank, in), *b = new_matrix(RELORA_F32, rows, rank);
    relora_tensor *m = new_matrix(RELORA_F32, rows, rank), *v = new_matrix(RELORA_F32, rows, rank);
    relora_tensor *filled[] = {old, b, gradient, m, v};
    for (int i = 0; i < 5; i++) put_normal(filled[i], &r, 1);
    put(a, get(old));
    OK(relora_factors_options_init(&o, sizeof o));
    o.init = RELORA_INIT_MATCHED + variant % 3, o.seed = 5, o.layer = 6, o.cycle = UINT64_C(3) << 32;
    OK(relora_factors_renew(env.st, a, b, gradient, &o, &report));
    OK(relora_moments_project(env.st, m, v, old, a, 0.9, 0.99, 7));
    keep(out, "A", a);
    keep(out, "B", b);
    keep(out, "m", m);
    keep(out, "v", v);
    keep_bytes(out, "report", &report, sizeof report);
}

START_TEST(test_renew) { same_on_both(renew, _i); }
END_TEST

/* ---- merges and folds ---- */

enum { IN = 301, OUT = 213, RANK = 5 };

static relora_linear *exact_layer(relora_dtype dtype, relora_rounding rounding, uint32_t flags)
{
    struct rnd r = rnd_seed(2);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = dtype;
    o.rounding = rounding;
    o.flags = flags;
    o.alpha = RANK * 0.25;
    o.seed = 7;
    relora_linear *l = new_filled_linear(&o, &r);
    put_coarse(relora_linear_param(l, RELORA_PARAM_WEIGHT), &r, 2, 128);
    put_coarse(relora_linear_param(l, RELORA_PARAM_A), &r, 1, 32);
    put_coarse(relora_linear_param(l, RELORA_PARAM_B), &r, 0x1p-4, 0x1p10);
    return l;
}

static void merge(struct results *out, int variant)
{
    relora_rounding rounding = variant & 2 ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC;
    relora_linear *l =
        exact_layer(variant & 1 ? RELORA_F32 : RELORA_BF16, rounding, RELORA_LINEAR_KEEP_DELTA);
    relora_merge_report report = {.struct_size = sizeof report};
    for (uint64_t cycle = 1; cycle < 4; cycle++) {
        OK(relora_linear_merge(l, env.st, cycle, &report));
        keep(out, "W", relora_linear_param(l, RELORA_PARAM_WEIGHT));
        keep(out, "delta", relora_linear_param(l, RELORA_PARAM_DELTA));
    }
    keep_bytes(out, "report", &report, sizeof report); /* the squares of such numbers add up exactly too */
}

START_TEST(test_merge) { same_on_both(merge, _i); }
END_TEST

/* The identity shows V to the bit. */
static void fold(struct results *out, int variant)
{
    relora_linear *l = exact_layer(RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0);
    relora_tensor *x = new_matrix(RELORA_BF16, IN, IN), *y = new_matrix(RELORA_BF16, IN, OUT);
    relora_tensor *dy = new_matrix(RELORA_BF16, OUT, OUT), *dx = new_matrix(RELORA_BF16, OUT, IN);
    relora_tensor *zero = new_matrix(RELORA_BF16, OUT, IN);
    put_identity(x);
    put_identity(dy);
    put_all(zero, 0);
    OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, variant ? RELORA_ORDER_THROUGH : RELORA_ORDER_FOLD));
    for (uint64_t call = 0; call < 3; call++) {
        OK(relora_linear_forward(l, env.st, x, y, call, RELORA_TRAIN));
        OK(relora_linear_backward(l, env.st, zero, dy, dx, call, RELORA_TRAIN));
        keep(out, "y", y);
        keep(out, "dx", dx);
    }
}

START_TEST(test_fold) { same_on_both(fold, _i); }
END_TEST

/* ---- a layer with everything, of numbers of any kind ---- */

static void whole(struct results *out, int variant)
{
    struct rnd r = rnd_seed(4);
    static const uint32_t frozen[] = {0, RELORA_LINEAR_FREEZE_A, RELORA_LINEAR_FREEZE_B};
    relora_linear_options o = layer_options(1 + variant / 2 % 3, IN, OUT, RANK);
    o.dtype = variant % 2 ? RELORA_BF16 : RELORA_F32;
    o.flags = RELORA_LINEAR_BIAS | frozen[variant / 6] | (variant / 6 ? 0 : RELORA_LINEAR_TRAINABLE_SCALE);
    o.dropout = 0.25;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(o.dtype, ROWS, IN), *y = new_matrix(o.dtype, ROWS, OUT);
    relora_tensor *dy = new_matrix(o.dtype, ROWS, OUT), *dx = new_matrix(o.dtype, ROWS, IN);
    put_normal(x, &r, 1);
    put_normal(dy, &r, 1);
    OK(relora_linear_forward(l, env.st, x, y, 9, RELORA_TRAIN));
    OK(relora_linear_backward(l, env.st, x, dy, dx, 9, RELORA_TRAIN));
    relora_tensor *dw = new_matrix(RELORA_F32, OUT, IN);
    put_normal(dw, &r, 1);
    OK(relora_linear_weight_grad(l, env.st, x, dy, dw, 0));
    keep(out, "y", y);
    keep(out, "dx", dx);
    keep(out, "dw", dw);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_grad(l, p)) keep(out, "a gradient", relora_linear_grad(l, p));
}

/* Each element is a sum of at most IN + RANK terms, some of which, as u and h, are such sums themselves: in the
 * gradient of the scale two in each of ROWS times RANK products. So four times what one sum may be off. BF16 rounds
 * u and h on the way, where a sum that ends near the middle may go either way: an eps in a term. */
START_TEST(test_whole) { near_on_both(whole, _i, 16 * (IN + RANK)); }
END_TEST

/* U V^T, and the W that moved along it: wide, tall, with slices. */
static void full_rank(struct results *out, int variant)
{
    static const int64_t shapes[][2] = {{64, 96}, {96, 64}, {20, 700}, {700, 20}};
    const int64_t rows = shapes[variant][0], cols = shapes[variant][1];
    struct rnd r = rnd_seed(6);
    relora_full_rank_report report = {.struct_size = sizeof report};
    relora_tensor *w = new_matrix(RELORA_F32, rows, cols), *grad = new_matrix(RELORA_F32, rows, cols);
    relora_tensor *norms = new_vector(RELORA_F32, 4);
    put_normal(w, &r, 1);
    put_normal(grad, &r, 1e-3);
    OK(relora_full_rank_step(env.st, w, grad, 0.1, NULL, &report));
    put(norms, (double[]){report.delta_norm, report.weight_norm, report.grad_norm, report.grad_rank});
    keep(out, "W", w);
    keep(out, "U V^T", grad);
    keep(out, "report", norms);
}

/* What the sums of a step are off by is multiplied by the largest singular value over the one it falls on: up to a
 * hundred here. */
START_TEST(test_full_rank) { near_on_both(full_rank, _i, 700 * 100 * 100); }
END_TEST

static void rough(struct results *out, int variant)
{
    struct rnd r = rnd_seed(4);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_TF32;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
    put_normal(x, &r, 1);
    OK(relora_linear_forward(l, env.st, x, y, (uint64_t)variant, 0));
    keep(out, "y", y);
}

/* TF32, where it is asked for: 2^13 times the eps of F32, and the root of 2^26 terms is as much. */
START_TEST(test_tf32) { near_on_both(rough, 0, (int64_t)(IN + RANK) << 26); }
END_TEST

Suite *same_layer(void)
{
    Suite *s = suite_create("CPU and device: layers");
    TCase *tc = env_case(s, "layers", 60);
    tcase_set_tags(tc, "sanitize");
    tcase_add_loop_test(tc, test_dropout, 0, 6);
    tcase_add_loop_test(tc, test_draw, 0, 8);
    tcase_add_loop_test(tc, test_merge, 0, 4);
    tcase_add_loop_test(tc, test_full_rank, 0, 4);
    tcase_add_loop_test(tc, test_fold, 0, 2);
    tcase_add_loop_test(tc, test_whole, 0, 18);
    tcase_add_test(tc, test_tf32);
    tc = env_case(s, "a new A", 60);
    tcase_set_tags(tc, "sanitize");
    tcase_add_loop_test(tc, test_renew, 0, 9);
    return s;
}
