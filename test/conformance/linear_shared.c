/* Layers that share their input: the bits of separate calls, or their results within rounding where a device makes one
 * product of several; and all arguments looked at before any work. */
#include "conformance/suites.h"
#include "support/close.h"
#include "support/fixture.h"
#include "support/objects.h"
#include "support/random.h"

enum { ROWS = 5, IN = 7, LAYERS = 3 };
static const int64_t outs[LAYERS] = {4, 9, 6};

struct group {
    relora_linear *linear[LAYERS];
    relora_tensor *x, *dx, *y[LAYERS];
    relora_tensor *dy[LAYERS];
};

static relora_tensor *filled(relora_dtype dtype, int64_t cols, struct rnd *r)
{
    relora_tensor *t = new_matrix(dtype, ROWS, cols);
    put_normal(t, r, 1);
    return t;
}

static struct group make(relora_dtype dtype, double dropout)
{
    struct group g;
    struct rnd r = rnd_seed(3);
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, outs[i], 2);
        o.dtype = dtype;
        o.dropout = dropout;
        o.layer = (uint64_t)i;
        g.linear[i] = new_filled_linear(&o, &r);
        g.y[i] = new_matrix(dtype, ROWS, outs[i]);
        g.dy[i] = filled(dtype, outs[i], &r);
    }
    g.x = filled(dtype, IN, &r);
    g.dx = new_matrix(dtype, ROWS, IN);
    OK(relora_tensor_fill(g.dx, env.st, 0.5));
    return g;
}

static void same(const relora_tensor *a, const relora_tensor *b) { UNCHANGED(a, snapshot(b)); }

START_TEST(test_same_as_separate)
{
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    uint32_t add = _i & 2 ? RELORA_ACCUMULATE_DX : 0;
    struct group a = make(dtype, _i & 4 ? 0.3 : 0), b = make(dtype, _i & 4 ? 0.3 : 0);
    OK(relora_linear_forward_shared(a.linear, LAYERS, env.st, a.x, a.y, 8, RELORA_TRAIN));
    OK(relora_linear_backward_shared(a.linear, LAYERS, env.st, a.x, a.dy, a.dx, 8, RELORA_TRAIN | add));
    for (int i = 0; i < LAYERS; i++) {
        OK(relora_linear_forward(b.linear[i], env.st, b.x, b.y[i], 8, RELORA_TRAIN));
        OK(relora_linear_backward(b.linear[i], env.st, b.x, b.dy[i], b.dx, 8,
                                  RELORA_TRAIN | add | (i ? RELORA_ACCUMULATE_DX : 0)));
    }
    same(a.dx, b.dx);
    for (int i = 0; i < LAYERS; i++) {
        same(a.y[i], b.y[i]);
        same(relora_linear_grad(a.linear[i], RELORA_PARAM_A),
             relora_linear_grad(b.linear[i], RELORA_PARAM_A));
        same(relora_linear_grad(a.linear[i], RELORA_PARAM_B),
             relora_linear_grad(b.linear[i], RELORA_PARAM_B));
    }
    OK(relora_linear_backward_shared(a.linear, LAYERS, env.st, a.x, a.dy, NULL, 8, RELORA_TRAIN));
}
END_TEST

/* ---- products that a device stacks: layers in BF16 whose ranks are multiples of 8 ---- */

enum { STACKED = 6, STACKED_IN = 24, STACKED_ROWS = 21 }; /* more layers than are made at a time */

/* What is different of one of the layers, or of all; some of it means that nothing is stacked. */
static const struct oddity {
    relora_order order;
    uint32_t of_one, of_all; /* flags of layers */
    int full, dropout, thin;
    uint32_t flags; /* of backward */
} oddities[] = {
    {.order = RELORA_ORDER_SPLIT},
    {.order = RELORA_ORDER_FOLD},                                           /* a fold */
    {.order = RELORA_ORDER_FOLD, .flags = RELORA_OVERWRITE},                /* a fold, overwriting */
    {.order = RELORA_ORDER_SPLIT, .flags = RELORA_ACCUMULATE_DX},           /* added to dx */
    {.order = RELORA_ORDER_FOLD, .of_all = RELORA_LINEAR_TRAINABLE_SCALE},  /* trained scales */
    {.order = RELORA_ORDER_SPLIT, .of_one = RELORA_LINEAR_TRAINABLE_SCALE}, /* a trained scale */
    {.order = RELORA_ORDER_SPLIT, .of_one = RELORA_LINEAR_FREEZE_A},        /* a frozen A */
    {.order = RELORA_ORDER_FOLD, .of_one = RELORA_LINEAR_FREEZE_B},         /* a frozen B */
    {.order = RELORA_ORDER_FOLD, .of_one = RELORA_LINEAR_IN_OUT},           /* W as [in, out] */
    {.order = RELORA_ORDER_THROUGH},                                        /* through G */
    {.order = RELORA_ORDER_SPLIT, .full = 1},                               /* a layer in FULL */
    {.order = RELORA_ORDER_SPLIT, .dropout = 1},                            /* dropout */
    {.order = RELORA_ORDER_SPLIT, .thin = 1},                               /* a rank of 3 */
};
enum { ODDITIES = sizeof oddities / sizeof *oddities };

struct stacked {
    relora_linear *linear[STACKED];
    relora_tensor *x, *dx, *y[STACKED], *dy[STACKED];
};

static relora_tensor *bf16(int64_t cols, struct rnd *r)
{
    relora_tensor *t = new_matrix(RELORA_BF16, STACKED_ROWS, cols);
    put_normal(t, r, 1);
    return t;
}

static relora_linear *stacked_layer(const struct oddity *odd, int i, int64_t out, struct rnd *r)
{
    int one = i == 2;
    relora_linear_options o = layer_options(one && odd->full ? RELORA_MODE_FULL : RELORA_MODE_LORA,
                                            STACKED_IN, out, 8 * (1 + i % 2));
    if (one && odd->thin) o.rank = 3;
    o.dtype = RELORA_BF16;
    o.rounding = RELORA_ROUND_STOCHASTIC;
    o.layer = (uint64_t)i;
    o.alpha = 5 + i; /* scales that differ */
    o.flags |= odd->of_all | (one ? odd->of_one : 0);
    if (one && odd->dropout) o.dropout = 0.3;
    relora_linear *l = new_filled_linear(&o, r);
    relora_order forward = odd->order == RELORA_ORDER_THROUGH ? RELORA_ORDER_FOLD : odd->order;
    OK(relora_linear_set_order(l, forward, odd->order));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_grad(l, p)) put_normal(relora_linear_grad(l, p), r, 1);
    return l;
}

static struct stacked new_stacked(const struct oddity *odd)
{
    struct stacked s;
    struct rnd r = rnd_seed(5);
    for (int i = 0; i < STACKED; i++) {
        int64_t out = 8 + 5 * i;
        s.linear[i] = stacked_layer(odd, i, out, &r);
        s.y[i] = bf16(out, &r);
        s.dy[i] = bf16(out, &r);
    }
    s.x = bf16(STACKED_IN, &r);
    s.dx = bf16(STACKED_IN, &r);
    return s;
}

/* Another order of F32 sums may round an element of u or h, which is in BF16, to its neighbour. */
static void near(const relora_tensor *a, const relora_tensor *b)
{
    int64_t n = relora_tensor_count(b);
    const double *want = get(b);
    CLOSE(get(a), want, n, close_tolerance(0, RELORA_BF16, largest(want, n), 4));
}

START_TEST(test_stacked)
{
    const struct oddity *odd = &oddities[_i];
    struct stacked a = new_stacked(odd), b = new_stacked(odd);
    uint32_t flags = RELORA_TRAIN | odd->flags;
    OK(relora_linear_forward_shared(a.linear, STACKED, env.st, a.x, a.y, 8, RELORA_TRAIN));
    OK(relora_linear_backward_shared(a.linear, STACKED, env.st, a.x, a.dy, a.dx, 8, flags));
    for (int i = 0; i < STACKED; i++) {
        OK(relora_linear_forward(b.linear[i], env.st, b.x, b.y[i], 8, RELORA_TRAIN));
        OK(relora_linear_backward(b.linear[i], env.st, b.x, b.dy[i], b.dx, 8,
                                  flags | (i ? RELORA_ACCUMULATE_DX : 0)));
        near(a.y[i], b.y[i]);
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
            if (relora_linear_grad(a.linear[i], p))
                near(relora_linear_grad(a.linear[i], p), relora_linear_grad(b.linear[i], p));
    }
    near(a.dx, b.dx);
}
END_TEST

/* A host may tie the A of its layers: their one gradient is the sum. */
START_TEST(test_tied)
{
    struct stacked s = new_stacked(&oddities[0]), apart = new_stacked(&oddities[0]);
    relora_tensor *a = relora_linear_param(s.linear[0], RELORA_PARAM_A);
    relora_tensor *da = relora_linear_grad(s.linear[0], RELORA_PARAM_A);
    relora_linear *two[] = {s.linear[0], s.linear[2]};
    relora_tensor *dy[] = {s.dy[0], s.dy[2]};
    OK(relora_linear_set_param(two[1], RELORA_PARAM_A, a));
    OK(relora_linear_set_grad(two[1], RELORA_PARAM_A, da));
    OK(relora_tensor_fill(da, env.st, 0));
    OK(relora_linear_backward_shared(two, 2, env.st, s.x, dy, s.dx, 8, RELORA_TRAIN));
    double *sum = doubles((int)relora_tensor_count(da));
    for (int i = 0; i < 4; i += 2) {
        relora_linear *l = apart.linear[i];
        if (i) OK(relora_linear_set_param(l, RELORA_PARAM_A, a));
        OK(relora_linear_backward(l, env.st, s.x, s.dy[i], NULL, 8, RELORA_TRAIN | RELORA_OVERWRITE));
        const double *part = get(relora_linear_grad(l, RELORA_PARAM_A));
        for (int64_t k = 0; k < relora_tensor_count(da); k++) sum[k] += part[k];
    }
    CLOSE(get(da), sum, relora_tensor_count(da), close_tolerance(0, RELORA_F32, 1000, 1));
}
END_TEST

/* A wrong argument of the last layer is found before the first has done anything. */
START_TEST(test_wrong_arguments)
{
    struct group g = make(RELORA_F32, 0);
    relora_linear *twice[] = {g.linear[0], g.linear[1], g.linear[0]}, *hole[] = {g.linear[0], NULL};
    relora_tensor *small = new_matrix(RELORA_F32, ROWS, 2), *overlap[] = {g.y[0], g.y[1], small};
    relora_tensor *one_y[] = {g.y[2], g.y[2]};
    relora_linear *like[] = {g.linear[2], NULL};
    relora_tensor *dy[] = {g.dy[0], g.dy[1], NULL};
    const char *forward = "relora_linear_forward_shared", *backward = "relora_linear_backward_shared";
    struct rnd r = rnd_seed(4);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, outs[2], 2);
    like[1] = new_filled_linear(&o, &r);
    OK(relora_tensor_fill(g.y[0], env.st, 3));
    FAILS(RELORA_E_SHAPE, relora_linear_forward_shared(g.linear, LAYERS, env.st, g.x, overlap, 0, 0), forward,
          "y[2]");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(like, 2, env.st, g.x, one_y, 0, 0), forward, "y[0]",
          "y[1]");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(g.linear, 0, env.st, g.x, g.y, 0, 0), forward,
          "count");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(NULL, 1, env.st, g.x, g.y, 0, 0), forward,
          "linears");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(g.linear, 1, NULL, g.x, g.y, 0, 0), forward,
          "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(g.linear, 1, env.st, g.x, NULL, 0, 0), forward,
          "y");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(hole, 2, env.st, g.x, g.y, 0, 0), forward,
          "linears[1]");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_shared(twice, 3, env.st, g.x, g.y, 0, 0), forward,
          "linears[0]", "linears[2]");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward_shared(g.linear, LAYERS, env.st, g.x, dy, g.dx, 0, 0),
          backward, "dy[2]");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward_shared(g.linear, LAYERS, env.st, g.x, NULL, g.dx, 0, 0),
          backward, "dy");
    ck_assert_double_eq(*get(g.y[0]), 3);
    ck_assert_double_eq(*get(g.dx), 0.5);
}
END_TEST

Suite *linear_shared(void)
{
    Suite *s = suite_create("linear shared");
    TCase *tc = env_case(s, "linear shared", 20);
    tcase_add_loop_test(tc, test_same_as_separate, 0, 8);
    tcase_add_loop_test(tc, test_stacked, 0, ODDITIES);
    tcase_add_test(tc, test_tied);
    tcase_add_test(tc, test_wrong_arguments);
    return s;
}
