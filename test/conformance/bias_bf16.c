/* A BF16 bias: the passes of an F32 bias with the same values, and a training that rounds as the layer says. */
#include "conformance/orders.h"

static const struct kind {
    relora_linear_mode mode;
    uint32_t flags;
    double dropout;
} kinds[] = {
    {RELORA_MODE_FULL, 0, 0},
    {RELORA_MODE_LORA, 0, 0},
    {RELORA_MODE_LORA, RELORA_LINEAR_TRAINABLE_SCALE, 0.3},
    {RELORA_MODE_LORA, RELORA_LINEAR_IN_OUT, 0},
    {RELORA_MODE_LOWRANK, 0, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds, CASES = KINDS * ORDERS };

static relora_tensor *narrow_of(const relora_tensor *wide)
{
    relora_tensor *t = new_vector(RELORA_BF16, relora_tensor_count(wide));
    put(t, get(wide));
    return t;
}

/* The same numbers twice; the bias of the second is BF16, that of the first has the same values in F32. */
static void new_pair(struct bench pair[2], const relora_linear_options *o, int64_t rows)
{
    for (int i = 0; i < 2; i++) pair[i] = new_bench(o, rows, 3);
    relora_tensor *narrow = narrow_of(relora_linear_param(pair[1].l, RELORA_PARAM_BIAS));
    put(relora_linear_param(pair[0].l, RELORA_PARAM_BIAS), get(narrow));
    OK(relora_linear_set_param(pair[1].l, RELORA_PARAM_BIAS, narrow));
    ck_assert_ptr_eq(relora_linear_param(pair[1].l, RELORA_PARAM_BIAS), narrow);
    ck_assert_int_eq(relora_tensor_dtype(relora_linear_grad(pair[1].l, RELORA_PARAM_BIAS)), RELORA_F32);
}

static relora_linear_options options_of(const struct kind *k, const int64_t *shape)
{
    relora_linear_options o = order_options(k->mode, shape, RELORA_BF16, k->flags | RELORA_LINEAR_BIAS);
    o.dropout = k->dropout;
    return o;
}

/* Every order of products, in every shape. */
START_TEST(test_passes)
{
    const struct kind *k = &kinds[_i / ORDERS];
    const relora_order *order = orders[_i % ORDERS];
    for (int i = 0; i < ORDER_SHAPES; i++) {
        relora_linear_options o = options_of(k, order_shapes[i]);
        struct bench pair[2];
        struct bits bits[2];
        new_pair(pair, &o, order_shapes[i][0]);
        for (int j = 0; j < 2; j++) bits[j] = bits_of(&pair[j], order[0], order[1], RELORA_TRAIN);
        same_bits(&bits[0], &bits[1]);
    }
}
END_TEST

/* On pointers, adding to y, and together with a layer that has another bias. */
START_TEST(test_other_passes)
{
    relora_linear_options o = options_of(&kinds[_i], order_shapes[7]);
    int64_t rows = order_shapes[7][0], in = o.in_features, out = o.out_features;
    struct bench pair[2];
    void *y[2];
    new_pair(pair, &o, rows);
    for (int i = 0; i < 2; i++) {
        put_all(pair[i].y, 1);
        OK(relora_linear_forward_at(pair[i].l, env.st, rows, relora_tensor_data(pair[i].x), in,
                                    relora_tensor_data(pair[i].y), out, 11, RELORA_ACCUMULATE_Y));
        y[i] = snapshot(pair[i].y);
    }
    SAME_BYTES(y[0], y[1], bytes_of(pair[0].y));
    relora_linear *both[] = {pair[0].l, pair[1].l};
    relora_tensor *ys[] = {pair[0].y, pair[1].y};
    OK(relora_linear_forward_shared(both, 2, env.st, pair[0].x, ys, 11, 0));
    SAME_BYTES(snapshot(ys[0]), snapshot(ys[1]), bytes_of(ys[0]));
}
END_TEST

/* ---- training ---- */

enum { MANY = 4096 };

struct training {
    relora_linear *l;
    relora_tensor *bias;
};

/* One step of a layer of one column with W = bias and dW = dbias. The optimizer's own rounding is the other one. */
static struct training train(relora_dtype bias, relora_rounding rounding, uint64_t layer, uint64_t adam_seed)
{
    struct rnd r = rnd_seed(5);
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 1, MANY, 0);
    relora_adam_options ao = adam_options();
    o.dtype = RELORA_BF16, o.rounding = rounding, o.layer = layer, o.flags = RELORA_LINEAR_BIAS;
    ao.rounding = rounding == RELORA_ROUND_NEAREST ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST;
    ao.seed = adam_seed;
    struct training t = {new_linear(&o), new_vector(bias, MANY)};
    relora_tensor *w = new_matrix(RELORA_BF16, MANY, 1), *dy = new_matrix(RELORA_BF16, 1, MANY);
    relora_tensor *x = new_matrix(RELORA_BF16, 1, 1);
    put_normal(w, &r, 1);
    put(t.bias, get(w));
    put_normal(dy, &r, 1);
    put_all(x, 1);
    OK(relora_linear_set_weight(t.l, w, t.bias));
    OK(relora_linear_backward(t.l, env.st, x, dy, NULL, 0, RELORA_OVERWRITE));
    relora_adam *adam = new_adam(&ao);
    if (adam_seed) add_vector(adam, "before", 4, &r, NULL, NULL); /* indices differ, too */
    OK(relora_adam_add_linear(adam, "l", t.l));
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    return t;
}

/* To nearest as the layer says, though the optimizer rounds at random. */
START_TEST(test_nearest)
{
    double *wide = get(train(RELORA_F32, RELORA_ROUND_NEAREST, 0, 0).bias);
    double *narrow = get(train(RELORA_BF16, RELORA_ROUND_NEAREST, 0, 0).bias);
    for (int i = 0; i < MANY; i++) ck_assert_double_eq(narrow[i], bf16_round(wide[i]));
}
END_TEST

/* At random, though the optimizer rounds to nearest: a neighbour, and on average the number. */
START_TEST(test_stochastic)
{
    double *wide = get(train(RELORA_F32, RELORA_ROUND_STOCHASTIC, 0, 0).bias);
    double *narrow = get(train(RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0, 0).bias);
    double sum = 0, variance = 0;
    for (int i = 0; i < MANY; i++) {
        double ulp = fabs(wide[i]) > 0 ? ldexp(1, ilogb(wide[i]) - 7) : 0, error = narrow[i] - wide[i];
        ck_assert_double_lt(fabs(error), ulp * 1.0000001);
        sum += error / ulp;
        variance += 0.25; /* of a coin, at most */
    }
    ck_assert_double_lt(fabs(sum), 5 * sqrt(variance));
}
END_TEST

/* A function of the layer's seed and number, not of the optimizer; and other numbers than those of W. */
START_TEST(test_draw)
{
    struct training t = train(RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0, 0);
    struct training again = train(RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0, 9);
    struct training other = train(RELORA_BF16, RELORA_ROUND_STOCHASTIC, 1, 0);
    size_t bytes = bytes_of(t.bias);
    SAME_BYTES(snapshot(t.bias), snapshot(again.bias), bytes);
    ck_assert_int_ne(memcmp(snapshot(t.bias), snapshot(other.bias), bytes), 0);
    ck_assert_int_ne(memcmp(snapshot(t.bias), snapshot(relora_linear_param(t.l, RELORA_PARAM_WEIGHT)), bytes),
                     0);
}
END_TEST

/* A group takes one with a weight, and a warm start ends with it. */
START_TEST(test_group)
{
    struct rnd r = rnd_seed(2);
    relora_group *g = new_group();
    relora_linear *l;
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 0, 0, 3);
    relora_tensor *w = new_matrix(RELORA_BF16, 8, 6), *bias = new_vector(RELORA_BF16, 8);
    put_normal(w, &r, 1);
    put_normal(bias, &r, 1);
    OK(relora_group_wrap(g, "l", w, bias, &o, &l));
    ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_BIAS), bias);
    OK(relora_group_set_mode(g, env.st, RELORA_MODE_LORA));
    ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_BIAS), bias);
    FAILS(RELORA_E_DTYPE, relora_group_wrap(g, "m", new_matrix(RELORA_F32, 8, 6), bias, &o, NULL), "bias",
          "BF16", "F32");
}
END_TEST

Suite *bias_bf16(void)
{
    Suite *s = suite_create("bias in BF16");
    TCase *tc = env_case(s, "bias_bf16", 30);
    tcase_add_loop_test(tc, test_passes, 0, CASES);
    tcase_add_loop_test(tc, test_other_passes, 0, KINDS);
    tcase_add_test(tc, test_nearest);
    tcase_add_test(tc, test_stochastic);
    tcase_add_test(tc, test_draw);
    tcase_add_test(tc, test_group);
    return s;
}
