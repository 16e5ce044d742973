/* Layers that share their input: the bits of separate calls, and all arguments looked at before any work. */
#include "conformance/suites.h"
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
    tcase_add_test(tc, test_wrong_arguments);
    return s;
}
