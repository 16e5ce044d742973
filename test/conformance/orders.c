#include "conformance/orders.h"

const int64_t order_shapes[ORDER_SHAPES][4] = {
    {1, 1, 1, 1},     {0, 7, 5, 2},
    {5, 7, 3, 2},     {13, 3, 11, 8}, /* rank above in */
    {31, 29, 1, 4},   {3, 1, 300, 2},
    {65, 65, 65, 65}, {17, 31, 257, 5},
    {9, 301, 513, 3},                                    /* two slices of a fold */
    {300, 20, 24, 4}, /* AUTO folds */ {400, 16, 16, 16} /* AUTO goes through g^T x */
};

const relora_order orders[ORDERS][2] = {
    {RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
    {RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
    {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH},
    {RELORA_ORDER_AUTO, RELORA_ORDER_AUTO},
};

relora_linear_options order_options(relora_linear_mode mode, const int64_t *shape, relora_dtype dtype,
                                    uint32_t flags)
{
    relora_linear_options o = layer_options(mode, shape[1], shape[2], shape[3]);
    o.dtype = dtype;
    o.flags = flags;
    o.alpha = 2 * (double)shape[3];
    o.seed = 5;
    o.layer = 3;
    return o;
}

struct bench new_bench(const relora_linear_options *o, int64_t rows, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    struct bench b = {.options = *o, .l = new_filled_linear(o, &r)};
    if (relora_linear_param(b.l, RELORA_PARAM_SCALE))
        put_all(relora_linear_param(b.l, RELORA_PARAM_SCALE), 0.6);
    b.x = new_matrix(o->dtype, rows, o->in_features);
    b.dx = new_matrix(o->dtype, rows, o->in_features);
    b.y = new_matrix(o->dtype, rows, o->out_features);
    b.dy = new_matrix(o->dtype, rows, o->out_features);
    put_normal(b.x, &r, 1);
    put_normal(b.dy, &r, 1);
    return b;
}

void bench_forward(const struct bench *b, uint32_t flags)
{
    OK(relora_linear_forward(b->l, env.st, b->x, b->y, 11, flags));
}

void bench_backward(const struct bench *b, relora_tensor *dx, uint32_t flags)
{
    OK(relora_linear_backward(b->l, env.st, b->x, b->dy, dx, 11, flags));
}

relora_plan_report bench_plan(const struct bench *b, uint32_t flags)
{
    relora_plan_report r = {.struct_size = sizeof r};
    OK(relora_linear_plan(b->l, relora_tensor_dim(b->x, 0), flags, &r));
    return r;
}

static void keep(struct bits *bits, const relora_tensor *t)
{
    if (!t) return;
    bits->size[bits->n] = bytes_of(t);
    bits->of[bits->n++] = snapshot(t);
}

struct bits bits_of(const struct bench *b, relora_order forward, relora_order backward, uint32_t flags)
{
    struct bits bits = {.n = 0};
    OK(relora_linear_set_order(b->l, forward, backward));
    bench_forward(b, flags);
    bench_backward(b, b->dx, flags | RELORA_OVERWRITE);
    keep(&bits, b->y);
    keep(&bits, b->dx);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        keep(&bits, relora_linear_grad(b->l, p));
    return bits;
}

void same_bits(const struct bits *a, const struct bits *b)
{
    ck_assert_int_eq(a->n, b->n);
    for (int i = 0; i < a->n; i++) SAME_BYTES(a->of[i], b->of[i], a->size[i]);
}

int bits_differ(const struct bits *a, const struct bits *b, int which)
{
    return memcmp(a->of[which], b->of[which], a->size[which]) != 0;
}
