/* A step in full rank: U V^T against matrices that were made from known factors, what it does to W, and what it
 * leaves alone. */
#include "conformance/suites.h"

/* ---- matrices with known singular values ---- */

struct known {
    int64_t rows, cols, rank;
    double *values, *direction; /* U S V^T and U V^T, [rows, cols] */
};

/* `count` orthonormal vectors of `size` elements, by Gram and Schmidt, twice. */
static double *orthonormal(struct rnd *r, int64_t count, int64_t size)
{
    double *q = doubles(count * size);
    for (int64_t i = 0; i < count; i++) {
        double *v = q + i * size;
        rnd_fill_normal(r, v, size, 1);
        for (int64_t j = 0; j < 2 * i; j++) {
            const double *u = q + j % i * size;
            double dot = 0;
            for (int64_t k = 0; k < size; k++) dot += u[k] * v[k];
            for (int64_t k = 0; k < size; k++) v[k] -= dot * u[k];
        }
        double length = norm2(v, size);
        for (int64_t k = 0; k < size; k++) v[k] /= length;
    }
    return q;
}

/* Singular values from `most` down to `most` / `condition`, as far from one another as can be, or all but the last
 * the same. */
static struct known make_known(int64_t rows, int64_t cols, double most, double condition, int equal)
{
    struct rnd r = rnd_seed(5);
    struct known k = {rows, cols, rows < cols ? rows : cols, doubles(rows * cols), doubles(rows * cols)};
    double *u = orthonormal(&r, k.rank, rows), *v = orthonormal(&r, k.rank, cols);
    for (int64_t i = 0; i < k.rank; i++) {
        double share = k.rank > 1 ? (double)i / (double)(k.rank - 1) : 0;
        double s = most * pow(condition, -(equal ? floor(share) : share));
        for (int64_t a = 0; a < rows; a++)
            for (int64_t b = 0; b < cols; b++) {
                double term = u[i * rows + a] * v[i * cols + b];
                k.values[a * cols + b] += s * term;
                k.direction[a * cols + b] += term;
            }
    }
    return k;
}

static relora_tensor *matrix_of(int64_t rows, int64_t cols, const double *values)
{
    relora_tensor *t = new_matrix(RELORA_F32, rows, cols);
    put(t, values);
    return t;
}

static double *difference(const double *a, const double *b, int64_t n)
{
    double *d = doubles(n);
    for (int64_t i = 0; i < n; i++) d[i] = a[i] - b[i];
    return d;
}

/* ---- the direction ---- */

static const int64_t shapes[][2] = {
    {1, 1}, {1, 9}, {9, 1}, {16, 16}, {24, 40}, {40, 24}, {7, 600}, {600, 7}, {90, 300}, {300, 90},
};
static const double conditions[] = {1, 1e2, 1e4};
enum { SHAPES = sizeof shapes / sizeof *shapes, CONDITIONS = 3 };

/* What the header says: every singular value is 1 within 0.003, where that of the gradient is at least 1e-4 of the
 * largest. The gradient itself is rounded to F32, and what that adds to the smallest counts as much as its direction. */
START_TEST(test_direction)
{
    const int64_t *shape = shapes[_i % SHAPES];
    double condition = conditions[_i / SHAPES % CONDITIONS];
    struct known k = make_known(shape[0], shape[1], 0.37, condition, _i / SHAPES / CONDITIONS);
    int64_t n = k.rows * k.cols;
    relora_tensor *grad = matrix_of(k.rows, k.cols, k.values), *w = new_matrix(RELORA_F32, k.rows, k.cols);
    put_all(w, 0.5);
    OK(relora_full_rank_step(env.st, w, grad, 0.01, NULL, NULL));
    double *got = get(grad), *moved = get(w), *want = doubles(n);
    double step = 0.01 * 0.2 * sqrt((double)(k.rows > k.cols ? k.rows : k.cols));
    double tolerance = 0.003 + condition * close_eps(RELORA_F32);
    ck_assert_double_le(norm2(difference(got, k.direction, n), n), tolerance * sqrt((double)k.rank));
    for (int64_t i = 0; i < n; i++) want[i] = 0.5 - step * got[i];
    CLOSE(moved, want, n, close_tolerance(0, RELORA_F32, 1 + step, 1));
}
END_TEST

/* Powers of 2, to the ends of the range, change no bit of the direction, and nothing overflows on the way. */
START_TEST(test_scale)
{
    static const int powers[] = {-140, -120, -100, 60, 125};
    struct known k = make_known(12, 20, 1, 1e2, 0);
    int64_t n = k.rows * k.cols;
    relora_tensor *w = new_matrix(RELORA_F32, k.rows, k.cols), *grad = matrix_of(k.rows, k.cols, k.values);
    relora_full_rank_report one = {.struct_size = sizeof one}, other = {.struct_size = sizeof other};
    if (powers[_i] < -100) /* no more bits than a denormal number has */
        for (int64_t i = 0; i < n; i++) k.values[i] = floor(k.values[i] * 256 + 0.5) / 256;
    put_all(w, 0);
    put(grad, k.values);
    OK(relora_full_rank_step(env.st, w, grad, 1, NULL, &one));
    const void *want = snapshot(grad);
    for (int64_t i = 0; i < n; i++) k.values[i] = ldexp(k.values[i], powers[_i]);
    put(grad, k.values);
    OK(relora_full_rank_step(env.st, w, grad, 1, NULL, &other));
    double *a = get(grad), *b = doubles(n);
    if (powers[_i] > -126) UNCHANGED(grad, want);
    for (int64_t i = 0; i < n; i++) b[i] = (double)((const float *)want)[i];
    CLOSE(a, b, n, 1e-5); /* the scale of a denormal one is not made good for entirely */
    ck_assert_double_eq_tol(other.grad_norm, ldexp(one.grad_norm, powers[_i]), 1e-6 * other.grad_norm);
    ck_assert_double_eq_tol(other.grad_rank, one.grad_rank, 1e-5 * one.grad_rank);
}
END_TEST

START_TEST(test_zero)
{
    struct rnd r = rnd_seed(1);
    relora_full_rank_report report = {.struct_size = sizeof report};
    relora_tensor *w = new_matrix(_i ? RELORA_BF16 : RELORA_F32, 5, 8), *grad = new_matrix(RELORA_F32, 5, 8);
    put_normal(w, &r, 1);
    put_all(grad, 0);
    const void *was = snapshot(w), *zeros = snapshot(grad);
    OK(relora_full_rank_step(env.st, w, grad, 1, NULL, &report));
    UNCHANGED(w, was);
    UNCHANGED(grad, zeros);
    ck_assert_double_eq(report.delta_norm, 0);
    ck_assert_double_eq(report.grad_norm, 0);
    ck_assert_double_eq(report.grad_rank, 0);
    ck_assert_double_gt(report.weight_norm, 0);
}
END_TEST

/* [in, out] takes the same step, with sums in another order. */
START_TEST(test_turned)
{
    struct known k = make_known(30, 50, 2, 10, 0);
    double *turned = doubles(30 * 50), *want = doubles(30 * 50);
    for (int i = 0; i < 30; i++)
        for (int j = 0; j < 50; j++) turned[j * 30 + i] = k.values[i * 50 + j];
    relora_tensor *w = new_matrix(RELORA_F32, 30, 50), *grad = matrix_of(30, 50, k.values);
    relora_tensor *other = new_matrix(RELORA_F32, 50, 30), *other_grad = matrix_of(50, 30, turned);
    put_all(w, 0), put_all(other, 0);
    OK(relora_full_rank_step(env.st, w, grad, 1, NULL, NULL));
    OK(relora_full_rank_step(env.st, other, other_grad, 1, NULL, NULL));
    double *got = get(w);
    for (int i = 0; i < 30; i++)
        for (int j = 0; j < 50; j++) want[j * 30 + i] = got[i * 50 + j];
    CLOSE(get(other), want, 30 * 50, 1e-4 * largest(want, 30 * 50));
}
END_TEST

START_TEST(test_report)
{
    struct known k = make_known(10, 14, 3, 50, 0);
    struct rnd r = rnd_seed(2);
    int64_t n = k.rows * k.cols;
    double squares = 0, fourths = 0;
    for (int i = 0; i < 10; i++) {
        double s = 3 * pow(50, -i / 9.0);
        squares += s * s, fourths += s * s * s * s;
    }
    relora_full_rank_report report = {.struct_size = sizeof report};
    relora_tensor *w = new_matrix(_i ? RELORA_BF16 : RELORA_F32, 10, 14), *grad = matrix_of(10, 14, k.values);
    put_normal(w, &r, 1);
    double *before = get(w);
    OK(relora_full_rank_step(env.st, w, grad, 0.1, NULL, &report));
    double *after = get(w);
    ck_assert_double_eq_tol(report.delta_norm, norm2(difference(after, before, n), n), 1e-12);
    ck_assert_double_eq_tol(report.weight_norm, norm2(after, n), 1e-12);
    ck_assert_double_eq_tol(report.grad_norm, sqrt(squares), 1e-6);
    ck_assert_double_eq_tol(report.grad_rank, squares * squares / fourths, 1e-5);
    ck_assert_int_eq(report.reserved, 0);
}
END_TEST

/* ---- W ---- */

enum { IN = 37, OUT = 29, RANK = 5 };

static const struct kind {
    relora_dtype dtype;
    relora_rounding rounding;
    uint32_t flags;
} kinds[] = {
    {RELORA_F32, RELORA_ROUND_STOCHASTIC, 0},
    {RELORA_BF16, RELORA_ROUND_STOCHASTIC, RELORA_LINEAR_KEEP_DELTA},
    {RELORA_BF16, RELORA_ROUND_NEAREST, RELORA_LINEAR_KEEP_DELTA},
    {RELORA_F32, RELORA_ROUND_STOCHASTIC, RELORA_LINEAR_KEEP_DELTA | RELORA_LINEAR_IN_OUT},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct case_of_step {
    relora_linear *layer;
    relora_tensor *w, *grad; /* the layer's; a gradient */
    relora_tensor *copy, *copy_grad;
    relora_merge_options options; /* that are the layer's */
} make_case(const struct kind *kind)
{
    struct rnd r = rnd_seed(1);
    struct case_of_step c;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = kind->dtype, o.rounding = kind->rounding, o.flags = kind->flags;
    o.seed = 3, o.layer = 4;
    c.layer = new_filled_linear(&o, &r);
    c.w = relora_linear_param(c.layer, RELORA_PARAM_WEIGHT);
    int64_t rows = relora_tensor_dim(c.w, 0), cols = relora_tensor_dim(c.w, 1);
    c.grad = new_matrix(RELORA_F32, rows, cols);
    put_normal(c.grad, &r, 1);
    c.copy = new_matrix(kind->dtype, rows, cols);
    put(c.copy, get(c.w));
    c.copy_grad = matrix_of(rows, cols, get(c.grad));
    OK(relora_merge_options_init(&c.options, sizeof c.options));
    c.options.seed = 3, c.options.layer = 4, c.options.cycle = 9, c.options.rounding = kind->rounding;
    return c;
}

START_TEST(test_is_the_layers)
{
    struct case_of_step c = make_case(&kinds[_i]);
    relora_full_rank_report want = {.struct_size = sizeof want}, got = {.struct_size = sizeof got};
    const void *a = snapshot(relora_linear_param(c.layer, RELORA_PARAM_A));
    const void *b = snapshot(relora_linear_param(c.layer, RELORA_PARAM_B));
    double *before = get(c.w);
    OK(relora_linear_full_rank_step(c.layer, env.st, c.grad, 0.02, 9, &want));
    OK(relora_full_rank_step(env.st, c.copy, c.copy_grad, 0.02, &c.options, &got));
    UNCHANGED(c.copy, snapshot(c.w));
    UNCHANGED(c.copy_grad, snapshot(c.grad));
    SAME_BYTES(&got, &want, sizeof got);
    UNCHANGED(relora_linear_param(c.layer, RELORA_PARAM_A), a);
    UNCHANGED(relora_linear_param(c.layer, RELORA_PARAM_B), b);
    relora_tensor *delta = relora_linear_param(c.layer, RELORA_PARAM_DELTA);
    if (!delta) return; /* each change is exact: its two numbers are near one another */
    CLOSE(get(delta), difference(get(c.w), before, IN * OUT), IN * OUT,
          kinds[_i].dtype == RELORA_F32 ? 1e-7 : 0);
}
END_TEST

/* Nearest is the F32 sum rounded; what is stochastic is one of the two neighbours. */
START_TEST(test_rounding)
{
    struct case_of_step c = make_case(&kinds[1 + _i]);
    double *before = get(c.w);
    OK(relora_linear_full_rank_step(c.layer, env.st, c.grad, 0.02, 9, NULL));
    double *after = get(c.w), *direction = get(c.grad);
    int differ = 0;
    for (int i = 0; i < IN * OUT; i++) {
        float step = (float)(-0.02 * (0.2 * sqrt(IN))), sum = (float)before[i] + step * (float)direction[i];
        double apart = fabs(after[i] - (double)sum);
        ck_assert_double_le(apart, fabs((double)sum) * close_eps(RELORA_BF16) *
                                       (kinds[1 + _i].rounding == RELORA_ROUND_NEAREST ? 0.5 : 1));
        differ += after[i] < before[i] || after[i] > before[i];
    }
    ck_assert_int_gt(differ, IN * OUT / 8);
}
END_TEST

/* Seed, layer and step each choose other random numbers; a merge has others still. */
START_TEST(test_key)
{
    struct case_of_step c = make_case(&kinds[1]), same = make_case(&kinds[1]);
    OK(relora_full_rank_step(env.st, same.copy, same.grad, 0.02, &same.options, NULL));
    *(_i == 0 ? &c.options.seed : _i == 1 ? &c.options.layer : &c.options.cycle) += 1;
    OK(relora_full_rank_step(env.st, c.copy, c.grad, 0.02, &c.options, NULL));
    ck_assert_double_gt(distance(get(c.copy), get(same.copy), OUT * IN), 0);
}
END_TEST

/* `scale` times lr is what counts, and IN_OUT does not. */
START_TEST(test_options)
{
    struct case_of_step c = make_case(&kinds[0]), same = make_case(&kinds[0]);
    OK(relora_full_rank_step(env.st, same.copy, same.grad, 0.25, NULL, NULL));
    c.options.scale = 0.5;
    c.options.flags = RELORA_MERGE_IN_OUT;
    OK(relora_full_rank_step(env.st, c.copy, c.grad, 0.5, &c.options, NULL));
    UNCHANGED(c.copy, snapshot(same.copy));
}
END_TEST

/* Blocks of columns of larger arrays: the same bits, and nothing beside them. */
START_TEST(test_blocks)
{
    enum { WIDE = IN + 3 };
    const int64_t shape[] = {OUT, IN}, strides[] = {WIDE, 1};
    struct case_of_step c = make_case(&kinds[0]);
    relora_tensor *block[2], *whole[2];
    for (int i = 0; i < 2; i++) {
        float *memory = new_floats(OUT * WIDE);
        whole[i] = new_borrowed(OUT * WIDE, memory);
        put_all(whole[i], 7);
        OK(relora_tensor_borrow(&block[i], env.dev, RELORA_F32, 2, shape, strides, memory + 2, NULL, NULL));
        defer((void (*)(void *))relora_tensor_release, block[i]);
        OK(relora_tensor_copy(block[i], i ? c.grad : c.w, env.st));
    }
    OK(relora_full_rank_step(env.st, block[0], block[1], 0.02, NULL, NULL));
    OK(relora_full_rank_step(env.st, c.copy, c.copy_grad, 0.02, NULL, NULL));
    CLOSE(get(block[0]), get(c.copy), OUT * IN, 1e-6);
    CLOSE(get(block[1]), get(c.copy_grad), OUT * IN, 1e-5);
    for (int i = 0; i < 2 * OUT * WIDE; i++)
        if (i % WIDE < 2 || i % WIDE == WIDE - 1)
            ck_assert_double_eq(get(whole[i / (OUT * WIDE)])[i % (OUT * WIDE)], 7);
}
END_TEST

/* An optimizer of A and B steps on, where a new W would stop it. */
START_TEST(test_optimizer)
{
    struct case_of_step c = make_case(&kinds[_i]);
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add_linear(adam, "l", c.layer));
    OK(relora_linear_zero_grad(c.layer, env.st));
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    OK(relora_linear_full_rank_step(c.layer, env.st, c.grad, 0.02, 9, NULL));
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    OK(relora_linear_merge(c.layer, env.st, 1, NULL));
    OK(relora_linear_reset(c.layer, env.st, 1));
}
END_TEST

enum { MANY = 300, FEW = 170 }; /* products that are worth several threads */

static void step_with(int32_t threads, float *direction, float *moved)
{
    struct rnd r = rnd_seed(6);
    env_close();
    env_open_threads(threads);
    relora_tensor *w = new_matrix(RELORA_F32, MANY, FEW), *grad = new_matrix(RELORA_F32, MANY, FEW);
    put_normal(w, &r, 1), put_normal(grad, &r, 1);
    OK(relora_full_rank_step(env.st, w, grad, 0.1, NULL, NULL));
    OK(relora_tensor_read(grad, env.st, direction, MANY * FEW * sizeof *direction));
    OK(relora_tensor_read(w, env.st, moved, MANY * FEW * sizeof *moved));
}

/* With the library's own products the same bits on any number of threads. Others are cut into other pieces. */
START_TEST(test_threads)
{
    static float direction[2][MANY * FEW], moved[2][MANY * FEW];
    int own = strstr(relora_build_info(), "gemm=own") != NULL;
    if (cpu_only()) return;
    step_with(1, direction[0], moved[0]);
    for (int32_t threads = 2; threads < 6; threads++) {
        step_with(threads, direction[1], moved[1]);
        if (own) {
            SAME_BYTES(direction[0], direction[1], sizeof direction[0]);
            SAME_BYTES(moved[0], moved[1], sizeof moved[0]);
        }
        for (int i = 0; i < MANY * FEW; i++) ck_assert_float_eq_tol(direction[0][i], direction[1][i], 1e-4f);
    }
}
END_TEST

/* ---- what is refused ---- */

START_TEST(test_look)
{
    struct case_of_step c = make_case(&kinds[_i]);
    relora_full_rank_report report = {.struct_size = sizeof report, .delta_norm = 7, .grad_rank = 7};
    const void *w = snapshot(c.copy), *grad = snapshot(c.grad);
    c.options.flags = RELORA_MERGE_LOOK;
    OK(relora_full_rank_step(env.st, c.copy, c.grad, 1, &c.options, &report));
    ck_assert_double_eq(report.delta_norm, 0);
    ck_assert_double_eq(report.grad_rank, 0);
    FAILS(RELORA_E_NOT_FINITE, relora_full_rank_step(env.st, c.copy, c.grad, 2.78e38, &c.options, NULL),
          "layer 4", "leave the range", kinds[_i].dtype == RELORA_F32 ? "F32" : "BF16");
    UNCHANGED(c.copy, w);
    UNCHANGED(c.grad, grad);
}
END_TEST

/* A NaN or an infinity in W, in the delta or in the gradient. */
START_TEST(test_not_finite)
{
    struct case_of_step c = make_case(&kinds[3]);
    relora_tensor *delta = relora_linear_param(c.layer, RELORA_PARAM_DELTA), *all[] = {c.w, delta, c.grad};
    double *values = get(all[_i % 3]);
    values[IN * OUT - 1] = _i / 3 ? (double)NAN : (double)-INFINITY;
    put(all[_i % 3], values);
    const void *was[] = {snapshot(c.w), snapshot(delta), snapshot(c.grad)};
    FAILS(RELORA_E_NOT_FINITE, relora_linear_full_rank_step(c.layer, env.st, c.grad, 0.02, 9, NULL),
          "layer 4", _i % 3 == 2 ? "gradient" : "weight", "nothing was changed");
    for (int i = 0; i < 3; i++) UNCHANGED(all[i], was[i]);
}
END_TEST

/* The most memory that a stream has had at once for a step. */
static int64_t peak_of(int64_t rows, int64_t cols)
{
    struct rnd r = rnd_seed(3);
    relora_tensor *w = new_matrix(RELORA_F32, rows, cols), *grad = new_matrix(RELORA_F32, rows, cols);
    put_all(w, 0);
    put_normal(grad, &r, 1);
    relora_stream *fresh;
    int64_t before = env.mem.bytes;
    track_peak(&env.mem);
    OK(relora_stream_create(&fresh, env.dev));
    OK(relora_full_rank_step(fresh, w, grad, 0, NULL, NULL));
    relora_stream_release(fresh);
    return env.mem.peak - before;
}

/* Nothing of the size of W: with the longer side the workspace grows by 16 bytes for each row, and no more. */
START_TEST(test_workspace)
{
    enum { SHORT = 20, LONG = 700, LONGER = 30000 };
    if (cpu_only()) return; /* where a workspace comes from the host's allocator */
    int64_t less = _i ? peak_of(LONG, SHORT) : peak_of(SHORT, LONG);
    int64_t more = _i ? peak_of(LONGER, SHORT) : peak_of(SHORT, LONGER);
    ck_assert_int_ge(less, 4 * (2 * SHORT * SHORT + 256 * SHORT / 2));
    int64_t products = 4 * SHORT * LONGER / 10; /* they are other ones, whose packing takes some too */
    ck_assert_int_le(more, less + 16 * (_i ? LONGER : 0) + products);
}
END_TEST

Suite *full_rank_suite(void)
{
    Suite *s = suite_create("steps in full rank");
    TCase *tc = env_case(s, "full rank", 30);
    tcase_add_loop_test(tc, test_direction, 0, 2 * SHAPES * CONDITIONS);
    tcase_add_loop_test(tc, test_scale, 0, 5);
    tcase_add_loop_test(tc, test_zero, 0, 2);
    tcase_add_test(tc, test_turned);
    tcase_add_loop_test(tc, test_report, 0, 2);
    tcase_add_loop_test(tc, test_is_the_layers, 0, KINDS);
    tcase_add_loop_test(tc, test_rounding, 0, 2);
    tcase_add_loop_test(tc, test_key, 0, 3);
    tcase_add_test(tc, test_options);
    tcase_add_test(tc, test_blocks);
    tcase_add_loop_test(tc, test_optimizer, 0, KINDS);
    tcase_add_test(tc, test_threads);
    tcase_add_loop_test(tc, test_look, 0, KINDS);
    tcase_add_loop_test(tc, test_not_finite, 0, 6);
    tcase_add_loop_test(tc, test_workspace, 0, 2);
    return s;
}
