/* relora_linear_weight_grad: dy^T x in double, and the bits that FULL accumulates. */
#include "conformance/suites.h"

enum { ROWS = 21, IN = 13, OUT = 11, RANK = 3, WIDE = 17, KINDS = 12 };

struct bench {
    relora_linear_options options;
    relora_linear *l;
    relora_tensor *x, *dy, *dw;
};

/* The first columns of a matrix that has more. */
static relora_tensor *block(relora_tensor *whole, int64_t rows, int64_t cols)
{
    const int64_t shape[] = {rows, cols}, strides[] = {relora_tensor_dim(whole, 1), 1};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, relora_tensor_dtype(whole), 2, shape, strides,
                            relora_tensor_data(whole), NULL, NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    return t;
}

static struct bench new_bench(int kind, struct rnd *r)
{
    struct bench b = {.options = layer_options(kind / 4 + 1, IN, OUT, RANK)};
    b.options.dtype = kind % 2 ? RELORA_BF16 : RELORA_F32;
    b.options.flags = kind / 2 % 2 ? RELORA_LINEAR_IN_OUT : 0;
    b.options.dropout = 0.5; /* takes no part */
    b.l = new_filled_linear(&b.options, r);
    b.x = new_matrix(b.options.dtype, ROWS, WIDE);
    b.dy = new_matrix(b.options.dtype, ROWS, WIDE);
    b.dw = new_matrix(RELORA_F32, kind / 2 % 2 ? IN : OUT, kind / 2 % 2 ? OUT : IN);
    put_normal(b.x, r, 1);
    put_normal(b.dy, r, 1);
    return b;
}

static double *want(const struct bench *b)
{
    int turn = (b->options.flags & RELORA_LINEAR_IN_OUT) != 0;
    double *x = get(b->x), *dy = get(b->dy), *sum = doubles(IN * OUT);
    for (int t = 0; t < ROWS; t++)
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < IN; i++)
                sum[turn ? i * OUT + o : o * IN + i] += dy[t * WIDE + o] * x[t * WIDE + i];
    return sum;
}

/* Stored, then added, of columns of wider matrices. */
START_TEST(test_values)
{
    struct rnd r = rnd_seed(1);
    struct bench b = new_bench(_i, &r);
    relora_tensor *x = block(b.x, ROWS, IN), *dy = block(b.dy, ROWS, OUT);
    double *once = want(&b), *twice = doubles(IN * OUT);
    double tolerance = close_tolerance(0, RELORA_F32, largest(once, IN * OUT), ROWS);
    put_all(b.dw, 5);
    OK(relora_linear_weight_grad(b.l, env.st, x, dy, b.dw, RELORA_OVERWRITE));
    CLOSE(get(b.dw), once, IN * OUT, tolerance);
    OK(relora_linear_weight_grad(b.l, env.st, x, dy, b.dw, 0));
    for (int i = 0; i < IN * OUT; i++) twice[i] = 2 * once[i];
    CLOSE(get(b.dw), twice, IN * OUT, 2 * tolerance);
    relora_tensor *none_x = block(b.x, 0, IN), *none_dy = block(b.dy, 0, OUT);
    OK(relora_linear_weight_grad(b.l, env.st, none_x, none_dy, b.dw, 0));
    CLOSE(get(b.dw), twice, IN * OUT, 2 * tolerance);
    OK(relora_linear_weight_grad(b.l, env.st, none_x, none_dy, b.dw, RELORA_OVERWRITE));
    ck_assert_double_eq(largest(get(b.dw), IN * OUT), 0);
}
END_TEST

/* Rows of dw that lie apart; what is between them stays. */
START_TEST(test_gaps)
{
    struct rnd r = rnd_seed(2);
    struct bench b = new_bench(_i, &r);
    int64_t rows = relora_tensor_dim(b.dw, 0), cols = relora_tensor_dim(b.dw, 1);
    relora_tensor *x = block(b.x, ROWS, IN), *dy = block(b.dy, ROWS, OUT);
    relora_tensor *whole = new_matrix(RELORA_F32, rows, WIDE);
    put_all(whole, 99);
    OK(relora_linear_weight_grad(b.l, env.st, x, dy, b.dw, RELORA_OVERWRITE));
    OK(relora_linear_weight_grad(b.l, env.st, x, dy, block(whole, rows, cols), RELORA_OVERWRITE));
    double *got = get(whole), *dw = get(b.dw);
    for (int64_t i = 0; i < rows * WIDE; i++)
        ck_assert_double_eq(got[i], i % WIDE < cols ? dw[i / WIDE * cols + i % WIDE] : 99);
}
END_TEST

/* What a layer in FULL accumulates over two micro-batches, bit for bit; the layer itself does not change. */
START_TEST(test_full)
{
    struct rnd r = rnd_seed(3);
    struct bench b = new_bench(_i, &r);
    relora_tensor *x = block(b.x, ROWS, IN), *dy = block(b.dy, ROWS, OUT);
    b.options.mode = RELORA_MODE_FULL;
    relora_linear *full = new_filled_linear(&b.options, &r);
    void *grads[RELORA_PARAM_SCALE + 1] = {NULL};
    OK(relora_linear_backward(b.l, env.st, x, dy, NULL, 7, RELORA_OVERWRITE));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_grad(b.l, p)) grads[p] = snapshot(relora_linear_grad(b.l, p));
    for (uint32_t flags = RELORA_OVERWRITE; flags <= RELORA_OVERWRITE; flags -= RELORA_OVERWRITE) {
        OK(relora_linear_backward(full, env.st, x, dy, NULL, 7, flags));
        OK(relora_linear_weight_grad(b.l, env.st, x, dy, b.dw, flags));
    }
    UNCHANGED(b.dw, snapshot(relora_linear_grad(full, RELORA_PARAM_WEIGHT)));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        if (grads[p]) UNCHANGED(relora_linear_grad(b.l, p), grads[p]);
}
END_TEST

Suite *weight_grad_suite(void)
{
    Suite *s = suite_create("gradient of W alone");
    TCase *tc = env_case(s, "weight grad", 20);
    tcase_add_loop_test(tc, test_values, 0, KINDS);
    tcase_add_loop_test(tc, test_gaps, 0, KINDS);
    tcase_add_loop_test(tc, test_full, 0, KINDS);
    return s;
}
