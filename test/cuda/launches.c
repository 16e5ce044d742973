/* What the passes of a transformer's layers cost a device beside the products with W: launches, and bytes that products
 * read. Only the emulator counts them. */
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"
#ifdef EMULATED_CUDA
#include "emulator.h"
#define skip_unless_emulated() skip_if(0)
#else
#define skip_unless_emulated() skip_if(1)
#endif

enum { TOKENS = 48, WIDTH = 64, INNER = 88, RANK = 8, GROUPS = 4, MOST = 3 };
static const int sizes[GROUPS] = {3, 1, 2, 1}; /* query, key and value; output; gate and up; down */

struct group {
    int count;
    relora_linear *linear[MOST];
    relora_tensor *x, *dx, *y[MOST], *dy[MOST];
};

static relora_tensor *filled(int64_t cols, struct rnd *r)
{
    relora_tensor *t = new_matrix(RELORA_BF16, TOKENS, cols);
    put_normal(t, r, 1);
    return t;
}

static struct group new_group_of(int kind, relora_order order, double dropout)
{
    struct group g = {.count = sizes[kind]};
    struct rnd r = rnd_seed((uint64_t)kind + 1);
    int64_t in = kind == 3 ? INNER : WIDTH, out = kind == 2 ? INNER : WIDTH;
    for (int i = 0; i < g.count; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, in, out, RANK);
        o.dtype = RELORA_BF16;
        o.rounding = RELORA_ROUND_STOCHASTIC;
        o.layer = 4 * (uint64_t)kind + (uint64_t)i;
        o.dropout = dropout;
        g.linear[i] = new_filled_linear(&o, &r);
        OK(relora_linear_set_order(g.linear[i], order, order));
        g.y[i] = filled(out, &r);
        g.dy[i] = filled(out, &r);
    }
    g.x = filled(in, &r);
    g.dx = filled(in, &r);
    return g;
}

static void forward(const struct group *g)
{
    OK(relora_linear_forward_shared(g->linear, g->count, env.st, g->x, g->y, 1, RELORA_TRAIN));
}

static void backward(const struct group *g)
{
    OK(relora_linear_backward_shared(g->linear, g->count, env.st, g->x, g->dy, g->dx, 1, RELORA_TRAIN));
}

static int64_t kernels(void)
{
#ifdef EMULATED_CUDA
    OK(relora_stream_synchronize(env.st));
    return emulated_cuda_kernels();
#else
    return 0;
#endif
}

static int64_t product_bytes(void)
{
#ifdef EMULATED_CUDA
    OK(relora_stream_synchronize(env.st));
    return (int64_t)emulated_cuda_product_bytes();
#else
    return 0;
#endif
}

/* The casts of a group are one launch. Without dropout, u is one for all its layers, and so is dA, with one more that
 * adds its rows to the gradient of each. */
START_TEST(test_launches)
{
    static const struct {
        relora_order order;
        double dropout;
        int group[2], layer[2], sum; /* launches of a group and of each of its layers, both ways */
    } cases[] = {
        {RELORA_ORDER_FOLD, 0, {1, 3}, {3, 5}, 1},  /* B A, fold, y; h, dB, B A, fold, dx */
        {RELORA_ORDER_SPLIT, 0, {2, 3}, {2, 4}, 1}, /* y twice; h, dB, dx twice */
        {RELORA_ORDER_SPLIT,
         0.1,
         {1, 1},
         {4, 8},
         0}, /* drop(x), u, y twice; drop(x), u, h, dA, dB, dx twice, its drop */
    };
    skip_unless_emulated();
    for (int kind = 0; kind < GROUPS; kind++) {
        struct group g = new_group_of(kind, cases[_i].order, cases[_i].dropout);
        void (*const passes[])(const struct group *) = {forward, backward};
        for (int way = 0; way < 2; way++) {
            int64_t want = cases[_i].group[way] + g.count * cases[_i].layer[way];
            if (way && g.count > 1) want += cases[_i].sum;
            int64_t before = kernels();
            passes[way](&g);
            ck_assert_int_eq(kernels() - before, want);
        }
    }
}
END_TEST

/* Layers that a host has tied add to one gradient of A, and may not do so at the same time. */
START_TEST(test_tied)
{
    skip_unless_emulated();
    struct group g = new_group_of(0, RELORA_ORDER_FOLD, 0);
    for (int i = 0; i < 2; i++) {
        relora_tensor *a = relora_linear_param(g.linear[2], RELORA_PARAM_A);
        OK(relora_linear_set_param(g.linear[0], RELORA_PARAM_A, a));
        if (i)
            OK(relora_linear_set_grad(g.linear[0], RELORA_PARAM_A,
                                      relora_linear_grad(g.linear[2], RELORA_PARAM_A)));
        int64_t before = kernels();
        backward(&g);
        ck_assert_int_eq(kernels() - before, i ? 20 : 19); /* three dA, or one and what adds it */
    }
}
END_TEST

/* Products read what those of separate calls read, but x once a group for u, and once for dA. The emulator sums each
 * element alone, so the bits are the same. */
START_TEST(test_bytes)
{
    skip_unless_emulated();
    for (int kind = 0; kind < GROUPS; kind++) {
        struct group g = new_group_of(kind, RELORA_ORDER_FOLD, 0),
                     h = new_group_of(kind, RELORA_ORDER_FOLD, 0);
        int64_t start = product_bytes();
        backward(&g);
        int64_t together = product_bytes() - start;
        start = product_bytes();
        for (int i = 0; i < g.count; i++) {
            uint32_t add = i ? RELORA_ACCUMULATE_DX : 0;
            OK(relora_linear_backward(h.linear[i], env.st, h.x, h.dy[i], h.dx, 1, RELORA_TRAIN | add));
        }
        ck_assert_int_eq(product_bytes() - start - together, 2 * (g.count - 1) * (int64_t)bytes_of(g.x));
        UNCHANGED(g.dx, snapshot(h.dx));
        for (int i = 0; i < g.count; i++)
            for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
                UNCHANGED(relora_linear_grad(g.linear[i], p), snapshot(relora_linear_grad(h.linear[i], p)));
    }
}
END_TEST

Suite *launches(void)
{
    Suite *s = suite_create("launches");
    TCase *tc = env_case(s, "launches", 60);
    tcase_add_loop_test(tc, test_launches, 0, 3);
    tcase_add_test(tc, test_tied);
    tcase_add_test(tc, test_bytes);
    return s;
}
