/* Forward and backward on pointers, and RELORA_ACCUMULATE_Y. */
#include "conformance/suites.h"

enum { ROWS = 21, IN = 13, OUT = 11, RANK = 3 };

static const struct kind {
    relora_linear_mode mode;
    relora_dtype dtype;
    double dropout;
    relora_order order;
} kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, 0, RELORA_ORDER_SPLIT},
    {RELORA_MODE_LORA, RELORA_F32, 0, RELORA_ORDER_FOLD},
    {RELORA_MODE_LORA, RELORA_F32, 0.3, RELORA_ORDER_AUTO},
    {RELORA_MODE_LORA, RELORA_BF16, 0, RELORA_ORDER_SPLIT},
    {RELORA_MODE_LORA, RELORA_BF16, 0, RELORA_ORDER_FOLD},
    {RELORA_MODE_FULL, RELORA_F32, 0, RELORA_ORDER_AUTO},
    {RELORA_MODE_LOWRANK, RELORA_F32, 0, RELORA_ORDER_AUTO},
    {RELORA_MODE_LOWRANK, RELORA_BF16, 0.3, RELORA_ORDER_AUTO},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static relora_linear *new_layer(const struct kind *k, struct rnd *r)
{
    relora_linear_options o = layer_options(k->mode, IN, OUT, RANK);
    o.dtype = k->dtype, o.dropout = k->dropout;
    o.flags = RELORA_LINEAR_BIAS;
    relora_linear *l = new_filled_linear(&o, r);
    OK(relora_linear_set_order(l, k->order, k->order));
    OK(relora_linear_zero_grad(l, env.st));
    return l;
}

static void *at(relora_tensor *t, int64_t element)
{
    return (unsigned char *)relora_tensor_data(t) + element * (relora_tensor_dtype(t) == RELORA_F32 ? 4 : 2);
}

static relora_tensor *block(relora_tensor *whole, int64_t rows, int64_t cols)
{
    const int64_t shape[] = {rows, cols}, strides[] = {relora_tensor_dim(whole, 1), 1};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, relora_tensor_dtype(whole), 2, shape, strides, at(whole, 2), NULL,
                            NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    return t;
}

/* Blocks of columns of wider arrays, by tensors and by pointers, and some other number of rows in between. */
START_TEST(test_pointers)
{
    struct rnd r = rnd_seed(1);
    relora_linear *l = new_layer(&kinds[_i], &r);
    relora_dtype dtype = kinds[_i].dtype;
    enum { WIDE = 17 };
    relora_tensor *x = new_matrix(dtype, ROWS, WIDE), *dy = new_matrix(dtype, ROWS, WIDE);
    relora_tensor *y[2], *dx[2];
    void *grads[2];
    uint32_t flags = RELORA_TRAIN | RELORA_OVERWRITE;
    relora_param p = kinds[_i].mode == RELORA_MODE_FULL ? RELORA_PARAM_WEIGHT : RELORA_PARAM_A;
    put_normal(x, &r, 1);
    put_normal(dy, &r, 1);
    for (int i = 0; i < 2; i++) {
        put_all(y[i] = new_matrix(dtype, ROWS, WIDE), 5);
        put_all(dx[i] = new_matrix(dtype, ROWS, WIDE), 5);
    }
    relora_tensor *bx = block(x, ROWS, IN), *bdy = block(dy, ROWS, OUT);
    OK(relora_linear_forward(l, env.st, bx, block(y[0], ROWS, OUT), 3, RELORA_TRAIN));
    OK(relora_linear_backward(l, env.st, bx, bdy, block(dx[0], ROWS, IN), 3, flags));
    grads[0] = snapshot(relora_linear_grad(l, p));
    OK(relora_linear_forward_at(l, env.st, 2, at(x, 2), WIDE, at(y[1], 2), WIDE, 3, RELORA_TRAIN));
    OK(relora_linear_forward_at(l, env.st, ROWS, at(x, 2), WIDE, at(y[1], 2), WIDE, 3, RELORA_TRAIN));
    OK(relora_linear_backward_at(l, env.st, 2, at(x, 2), WIDE, at(dy, 2), WIDE, NULL, 0, 3, flags));
    OK(relora_linear_backward_at(l, env.st, ROWS, at(x, 2), WIDE, at(dy, 2), WIDE, at(dx[1], 2), WIDE, 3,
                                 flags));
    UNCHANGED(relora_linear_grad(l, p), grads[0]);
    UNCHANGED(y[1], snapshot(y[0]));
    UNCHANGED(dx[1], snapshot(dx[0]));
    OK(relora_linear_forward_at(l, env.st, 0, NULL, IN, NULL, OUT, 3, 0));
    OK(relora_linear_backward_at(l, env.st, 0, NULL, IN, NULL, OUT, NULL, 0, 3, 0));
    UNCHANGED(relora_linear_grad(l, p), grads[0]);
}
END_TEST

/* y += what a plain forward stores, up to the roundings of one more sum. */
START_TEST(test_accumulate)
{
    struct rnd r = rnd_seed(2);
    relora_linear *l = new_layer(&kinds[_i], &r);
    relora_dtype dtype = kinds[_i].dtype;
    relora_tensor *x = new_matrix(dtype, ROWS, IN), *y = new_matrix(dtype, ROWS, OUT),
                  *sum = new_matrix(dtype, ROWS, OUT);
    put_normal(x, &r, 1);
    put_normal(sum, &r, 1);
    double *before = get(sum);
    OK(relora_linear_forward(l, env.st, x, y, 3, RELORA_TRAIN));
    OK(relora_linear_forward(l, env.st, x, sum, 3, RELORA_TRAIN | RELORA_ACCUMULATE_Y));
    double *want = get(y), most = largest(want, ROWS * OUT);
    for (int i = 0; i < ROWS * OUT; i++) want[i] += before[i];
    most += largest(before, ROWS * OUT);
    CLOSE(get(sum), want, ROWS * OUT, close_tolerance(0, dtype, most, dtype == RELORA_F32 ? IN : 2));
}
END_TEST

/* A host that multiplies by its own W, in whatever form it has it, with the branch beside it: the layer LORA. */
START_TEST(test_branch)
{
    struct rnd r = rnd_seed(3);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *whole = new_filled_linear(&o, &r);
    o.mode = RELORA_MODE_FULL;
    relora_linear *hosts = new_linear(&o); /* stands for the host's product */
    o.mode = RELORA_MODE_LOWRANK;
    relora_linear *branch = new_linear(&o);
    relora_tensor *w = relora_linear_param(whole, RELORA_PARAM_WEIGHT);
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN),
                  *y[2] = {new_matrix(RELORA_F32, ROWS, OUT), new_matrix(RELORA_F32, ROWS, OUT)};
    put_normal(x, &r, 1);
    OK(relora_linear_set_weight(hosts, w, NULL));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        OK(relora_linear_set_param(branch, p, relora_linear_param(whole, p)));
    OK(relora_linear_forward(whole, env.st, x, y[0], 0, 0));
    OK(relora_linear_forward(hosts, env.st, x, y[1], 0, 0));
    OK(relora_linear_forward(branch, env.st, x, y[1], 0, RELORA_ACCUMULATE_Y));
    double *want = get(y[0]);
    CLOSE(get(y[1]), want, ROWS * OUT, close_tolerance(0, RELORA_F32, largest(want, ROWS * OUT), IN));
    relora_merge_options m;
    OK(relora_merge_options_init(&m, sizeof m));
    m.scale = o.alpha / RANK;
    OK(relora_merge(env.st, w, relora_linear_param(branch, RELORA_PARAM_A),
                    relora_linear_param(branch, RELORA_PARAM_B), &m, NULL));
    OK(relora_linear_reset(branch, env.st, 1));
    OK(relora_linear_forward(hosts, env.st, x, y[1], 0, 0));
    OK(relora_linear_forward(branch, env.st, x, y[1], 0, RELORA_ACCUMULATE_Y));
    CLOSE(get(y[1]), want, ROWS * OUT, 1e-5 * largest(want, ROWS * OUT));
}
END_TEST

Suite *linear_at(void)
{
    Suite *s = suite_create("linear on pointers");
    TCase *tc = env_case(s, "pointers", 20);
    tcase_add_loop_test(tc, test_pointers, 0, KINDS);
    tcase_add_loop_test(tc, test_accumulate, 0, KINDS);
    tcase_add_test(tc, test_branch);
    return s;
}
