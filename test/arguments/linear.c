/* The calls of linear.h on a live layer with wrong arguments: no output, no gradient and no weight may
 * change. */
#include "arguments/arguments.h"

enum { ROWS = 4, IN = 5, OUT = 3, RANK = 2 };

struct bench {
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
    struct stranger s;
    relora_tensor *watched[8];
    void *was[8];
    int n;
};

static void watch(struct bench *b, relora_tensor *t)
{
    b->watched[b->n] = t;
    b->was[b->n++] = snapshot(t);
}

static struct bench new_bench(void)
{
    struct bench b = {0};
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS;
    b.l = new_filled_linear(&o, &r);
    b.x = new_matrix(RELORA_F32, ROWS, IN);
    b.y = new_matrix(RELORA_F32, ROWS, OUT);
    b.dy = new_matrix(RELORA_F32, ROWS, OUT);
    b.dx = new_matrix(RELORA_F32, ROWS, IN);
    b.s = new_stranger();
    put_normal(b.x, &r, 1);
    put_normal(b.dy, &r, 1);
    put_all(b.y, 7);
    put_all(b.dx, 7);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
        watch(&b, relora_linear_param(b.l, p));
    watch(&b, b.y);
    watch(&b, b.dx);
    watch(&b, relora_linear_grad(b.l, RELORA_PARAM_A));
    watch(&b, relora_linear_grad(b.l, RELORA_PARAM_B));
    return b;
}

static void untouched(struct bench *b)
{
    for (int i = 0; i < b->n; i++) UNCHANGED(b->watched[i], b->was[i]);
}

START_TEST(test_forward)
{
    struct bench b = new_bench();
    relora_tensor *x37 = new_matrix(RELORA_F32, ROWS, 37), *y41 = new_matrix(RELORA_F32, ROWS, 41);
    relora_tensor *y19 = new_matrix(RELORA_F32, 19, OUT), *xb = new_matrix(RELORA_BF16, ROWS, IN);
    relora_tensor *yb = new_matrix(RELORA_BF16, ROWS, OUT);
    relora_tensor *far = stranger_matrix(&b.s, RELORA_F32, ROWS, IN);
    relora_tensor *yfar = stranger_matrix(&b.s, RELORA_F32, ROWS, OUT);
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(NULL, env.st, b.x, b.y, 0, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(NULL, NULL, NULL, b.y, 0, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, NULL, b.x, b.y, 0, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, env.st, NULL, b.y, 0, 0), "x");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, env.st, b.x, NULL, 0, 0), "y");
    FAILS(RELORA_E_SHAPE, relora_linear_forward(b.l, env.st, x37, b.y, 0, 0), "x", "37", "5");
    FAILS(RELORA_E_SHAPE, relora_linear_forward(b.l, env.st, b.x, y41, 0, 0), "y", "41", "3");
    FAILS(RELORA_E_SHAPE, relora_linear_forward(b.l, env.st, b.x, y19, 0, 0), "19", "4");
    FAILS(RELORA_E_DTYPE, relora_linear_forward(b.l, env.st, xb, b.y, 0, 0), "x");
    FAILS(RELORA_E_DTYPE, relora_linear_forward(b.l, env.st, b.x, yb, 0, 0), "y");
    FAILS(RELORA_E_CONTEXT, relora_linear_forward(b.l, b.s.st, b.x, b.y, 0, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_forward(b.l, env.st, far, b.y, 0, 0), "x");
    FAILS(RELORA_E_CONTEXT, relora_linear_forward(b.l, env.st, b.x, yfar, 0, 0), "y");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, env.st, b.x, b.y, 0, 16), "flags", "0x10");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, env.st, b.x, b.y, 0, RELORA_ACCUMULATE_DX), "flags",
          "0x4");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(b.l, env.st, b.x, b.y, 0, RELORA_OVERWRITE), "flags");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_forward(NULL, NULL, NULL, NULL, 0, 0));
    untouched(&b);
}
END_TEST

START_TEST(test_backward)
{
    struct bench b = new_bench();
    relora_tensor *x37 = new_matrix(RELORA_F32, ROWS, 37), *dy41 = new_matrix(RELORA_F32, ROWS, 41);
    relora_tensor *dy19 = new_matrix(RELORA_F32, 19, OUT), *dx19 = new_matrix(RELORA_F32, 19, IN);
    relora_tensor *dyb = new_matrix(RELORA_BF16, ROWS, OUT), *dxb = new_matrix(RELORA_BF16, ROWS, IN);
    relora_tensor *far = stranger_matrix(&b.s, RELORA_F32, ROWS, OUT);
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(NULL, env.st, b.x, b.dy, b.dx, 0, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(NULL, NULL, NULL, b.dy, NULL, 0, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(NULL, NULL, NULL, NULL, b.dx, 0, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, NULL, b.x, b.dy, b.dx, 0, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, env.st, NULL, b.dy, b.dx, 0, 0), "x");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, env.st, b.x, NULL, b.dx, 0, 0), "dy");
    FAILS(RELORA_E_SHAPE, relora_linear_backward(b.l, env.st, x37, b.dy, b.dx, 0, 0), "x", "37", "5");
    FAILS(RELORA_E_SHAPE, relora_linear_backward(b.l, env.st, b.x, dy41, b.dx, 0, 0), "dy", "41", "3");
    FAILS(RELORA_E_SHAPE, relora_linear_backward(b.l, env.st, b.x, dy19, b.dx, 0, 0), "19", "4");
    FAILS(RELORA_E_SHAPE, relora_linear_backward(b.l, env.st, b.x, b.dy, dx19, 0, 0), "19", "4");
    FAILS(RELORA_E_DTYPE, relora_linear_backward(b.l, env.st, b.x, dyb, b.dx, 0, 0), "dy");
    FAILS(RELORA_E_DTYPE, relora_linear_backward(b.l, env.st, b.x, b.dy, dxb, 0, 0), "dx");
    FAILS(RELORA_E_CONTEXT, relora_linear_backward(b.l, env.st, b.x, far, b.dx, 0, 0), "dy");
    FAILS(RELORA_E_CONTEXT, relora_linear_backward(b.l, b.s.st, b.x, b.dy, b.dx, 0, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, env.st, b.x, b.dy, b.dx, 0, 8), "flags", "8");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, env.st, b.x, b.dy, b.dx, 0, 48), "flags", "0x30",
          "0x17");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(b.l, env.st, b.x, b.dy, b.x, 0, 0), "overlap");
    untouched(&b);
}
END_TEST

START_TEST(test_weight_grad)
{
    struct bench b = new_bench();
    relora_linear *l = b.l;
    relora_stream *st = env.st;
    relora_tensor *x37 = new_matrix(RELORA_F32, ROWS, 37), *dy41 = new_matrix(RELORA_F32, ROWS, 41);
    relora_tensor *dy19 = new_matrix(RELORA_F32, 19, OUT), *dyb = new_matrix(RELORA_BF16, ROWS, OUT);
    relora_tensor *dw = new_matrix(RELORA_F32, OUT, IN), *turned = new_matrix(RELORA_F32, IN, OUT);
    relora_tensor *dwb = new_matrix(RELORA_BF16, OUT, IN);
    relora_tensor *far = stranger_matrix(&b.s, RELORA_F32, OUT, IN);
    put_all(dw, 5);
    const void *was = snapshot(dw);
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(NULL, st, b.x, b.dy, dw, 0), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(NULL, NULL, NULL, NULL, dw, 0), "linear");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_weight_grad(NULL, NULL, NULL, NULL, NULL, 0));
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, NULL, b.x, b.dy, dw, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_weight_grad(l, b.s.st, b.x, b.dy, dw, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, st, NULL, b.dy, dw, 0), "x");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, st, b.x, NULL, dw, 0), "dy");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, st, b.x, b.dy, NULL, 0), "dw");
    FAILS(RELORA_E_SHAPE, relora_linear_weight_grad(l, st, x37, b.dy, dw, 0), "x", "37", "5");
    FAILS(RELORA_E_SHAPE, relora_linear_weight_grad(l, st, b.x, dy41, dw, 0), "dy", "41", "3");
    FAILS(RELORA_E_SHAPE, relora_linear_weight_grad(l, st, b.x, dy19, dw, 0), "dy", "19", "4");
    FAILS(RELORA_E_SHAPE, relora_linear_weight_grad(l, st, b.x, b.dy, turned, 0), "dw", "5", "3");
    FAILS(RELORA_E_DTYPE, relora_linear_weight_grad(l, st, b.x, dyb, dw, 0), "dy");
    FAILS(RELORA_E_DTYPE, relora_linear_weight_grad(l, st, b.x, b.dy, dwb, 0), "dw", "BF16", "F32");
    FAILS(RELORA_E_CONTEXT, relora_linear_weight_grad(l, st, b.x, b.dy, far, 0), "dw");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, st, b.x, b.dy, dw, RELORA_TRAIN), "flags", "0x1");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, st, b.x, b.dy, dw, 16), "flags", "0x10");
    FAILS(RELORA_E_ARGUMENT,
          relora_linear_weight_grad(l, st, b.x, b.dy, relora_linear_param(l, RELORA_PARAM_WEIGHT), 0), "dw",
          "overlap", "weight");
    UNCHANGED(dw, was);
    untouched(&b);
}
END_TEST

/* Outputs that lie over inputs, by one element and by all. */
START_TEST(test_overlaps)
{
    struct rnd r = rnd_seed(3);
    float *memory = new_floats(100);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 4, 4, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_borrowed(4, memory), *same = new_borrowed(4, memory),
                  *next = new_borrowed(4, memory + 4);
    relora_tensor *shifted = new_borrowed(4, memory + 3), *dy = new_borrowed(4, memory + 50);
    relora_tensor *under_dy = new_borrowed(4, memory + 53);
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(l, env.st, x, x, 0, 0), "overlap");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(l, env.st, x, same, 0, 0), "overlap");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward(l, env.st, x, shifted, 0, 0), "overlap");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(l, env.st, x, dy, shifted, 0, 0), "overlap");
    FAILS(RELORA_E_ARGUMENT, relora_linear_backward(l, env.st, x, dy, under_dy, 0, 0), "overlap");
    relora_tensor *over_x = NULL, *over_dy = NULL;
    OK(relora_tensor_borrow_matrix(&over_x, env.dev, RELORA_F32, 4, 4, memory + 3));
    defer((void (*)(void *))relora_tensor_release, over_x);
    OK(relora_tensor_borrow_matrix(&over_dy, env.dev, RELORA_F32, 4, 4, memory + 53));
    defer((void (*)(void *))relora_tensor_release, over_dy);
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, env.st, x, dy, over_x, 0), "dw", "overlap", "x");
    FAILS(RELORA_E_ARGUMENT, relora_linear_weight_grad(l, env.st, x, dy, over_dy, 0), "dw", "overlap", "dy");
    ck_assert_double_eq(largest(get(new_borrowed(100, memory)), 100), 0);
    OK(relora_linear_forward(l, env.st, x, next, 0, 0)); /* side by side is no overlap */
}
END_TEST

START_TEST(test_set_weight)
{
    struct bench b = new_bench();
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    relora_linear *lowrank = new_linear(&o);
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN), *turned = new_matrix(RELORA_F32, 41, 37);
    relora_tensor *wb = new_matrix(RELORA_BF16, OUT, IN), *bias = new_vector(RELORA_F32, OUT);
    relora_tensor *long_bias = new_vector(RELORA_F32, 43), *bb = new_vector(RELORA_BF16, OUT);
    relora_tensor *far = stranger_matrix(&b.s, RELORA_F32, OUT, IN);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_set_weight(NULL, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_weight(NULL, w, NULL), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_weight(b.l, NULL, NULL), "weight");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_weight(lowrank, w, NULL), "weight");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_weight(lowrank, NULL, bias), "bias");
    FAILS(RELORA_E_SHAPE, relora_linear_set_weight(b.l, turned, NULL), "weight", "41", "37", "3", "5");
    FAILS(RELORA_E_SHAPE, relora_linear_set_weight(b.l, w, long_bias), "bias", "43", "3");
    FAILS(RELORA_E_DTYPE, relora_linear_set_weight(b.l, wb, NULL), "weight");
    FAILS(RELORA_E_DTYPE, relora_linear_set_weight(b.l, w, bb), "bias");
    FAILS(RELORA_E_CONTEXT, relora_linear_set_weight(b.l, far, NULL), "weight");
    float *memory = new_floats(OUT * IN + OUT);
    relora_tensor *inside = new_borrowed(OUT, memory + OUT * IN - 1), *around;
    OK(relora_tensor_borrow_matrix(&around, env.dev, RELORA_F32, OUT, IN, memory));
    defer((void (*)(void *))relora_tensor_release, around);
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_weight(b.l, around, inside), "bias", "weight", "memory");
    ck_assert_ptr_eq(relora_linear_param(b.l, RELORA_PARAM_WEIGHT), b.watched[0]);
    ck_assert_ptr_eq(relora_linear_param(b.l, RELORA_PARAM_BIAS), b.watched[1]);
    untouched(&b);
}
END_TEST

START_TEST(test_set_mode)
{
    struct rnd r = rnd_seed(2);
    struct bench b = new_bench();
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    relora_linear *full = new_filled_linear(&o, &r);
    o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    relora_linear *lowrank = new_linear(&o);
    o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *bare = new_linear(&o);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_set_mode(NULL, NULL, RELORA_MODE_LORA));
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_mode(NULL, env.st, RELORA_MODE_LORA), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_mode(full, NULL, RELORA_MODE_LORA), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_mode(full, env.st, 0), "mode", "0");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_mode(full, env.st, 9), "mode", "9");
    FAILS(RELORA_E_CONTEXT, relora_linear_set_mode(full, b.s.st, RELORA_MODE_LORA), "stream");
    FAILS(RELORA_E_STATE, relora_linear_set_mode(full, env.st, RELORA_MODE_LORA), "rank");
    FAILS(RELORA_E_STATE, relora_linear_set_mode(b.l, env.st, RELORA_MODE_LORA), "LORA");
    FAILS(RELORA_E_UNSUPPORTED, relora_linear_set_mode(full, env.st, RELORA_MODE_LOWRANK), "mode");
    FAILS(RELORA_E_UNSUPPORTED, relora_linear_set_mode(b.l, env.st, RELORA_MODE_LOWRANK), "mode");
    FAILS(RELORA_E_UNSUPPORTED, relora_linear_set_mode(lowrank, env.st, RELORA_MODE_FULL), "mode");
    FAILS(RELORA_E_STATE, relora_linear_set_mode(lowrank, env.st, RELORA_MODE_LOWRANK), "LOWRANK");
    FAILS(RELORA_E_STATE, relora_linear_set_mode(bare, env.st, RELORA_MODE_FULL), "weight");
    FAILS(RELORA_E_UNSUPPORTED, relora_linear_set_mode(lowrank, env.st, RELORA_MODE_LORA), "mode");
    ck_assert_int_eq(relora_linear_get_mode(full), RELORA_MODE_FULL);
    ck_assert_int_eq(relora_linear_get_mode(b.l), RELORA_MODE_LORA);
    ck_assert_int_eq(relora_linear_get_mode(lowrank), RELORA_MODE_LOWRANK);
    ck_assert_int_eq(relora_linear_get_mode(bare), RELORA_MODE_LORA);
    untouched(&b);
}
END_TEST

START_TEST(test_merge_reset_zero_grad)
{
    struct rnd r = rnd_seed(4);
    struct bench b = new_bench();
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    relora_linear *full = new_filled_linear(&o, &r);
    o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    relora_linear *lowrank = new_filled_linear(&o, &r);
    relora_merge_report bad = {.struct_size = 3};
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_merge(NULL, NULL, 1, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_linear_merge(NULL, env.st, 1, NULL), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_merge(b.l, NULL, 1, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_merge(b.l, b.s.st, 1, NULL), "stream");
    FAILS(RELORA_E_STRUCT_SIZE, relora_linear_merge(b.l, env.st, 1, &bad), "report");
    FAILS(RELORA_E_STATE, relora_linear_merge(full, env.st, 1, NULL), "mode");
    FAILS(RELORA_E_STATE, relora_linear_merge(lowrank, env.st, 1, NULL), "mode");
    FAILS(RELORA_E_ARGUMENT, relora_linear_reset(NULL, env.st, 1), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_reset(b.l, NULL, 1), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_reset(b.l, b.s.st, 1), "stream");
    FAILS(RELORA_E_STATE, relora_linear_reset(full, env.st, 1), "mode");
    FAILS(RELORA_E_ARGUMENT, relora_linear_zero_grad(NULL, env.st), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_zero_grad(b.l, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_zero_grad(b.l, b.s.st), "stream");
    untouched(&b);
}
END_TEST

START_TEST(test_full_rank)
{
    struct rnd r = rnd_seed(4);
    struct bench b = new_bench();
    relora_linear *l = b.l;
    relora_stream *st = env.st;
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    relora_linear *full = new_filled_linear(&o, &r);
    o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    relora_linear *lowrank = new_filled_linear(&o, &r);
    o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_KEEP_DELTA;
    relora_linear *keeps = new_filled_linear(&o, &r);
    relora_full_rank_report bad = {.struct_size = 3};
    relora_tensor *g = new_matrix(RELORA_F32, OUT, IN), *turned = new_matrix(RELORA_F32, IN, OUT);
    relora_tensor *bf16 = new_matrix(RELORA_BF16, OUT, IN), *far = stranger_matrix(&b.s, RELORA_F32, OUT, IN);
    put_all(g, 5);
    const void *was = snapshot(g);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_full_rank_step(NULL, NULL, NULL, 1, 1, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_linear_full_rank_step(NULL, NULL, g, 1, 1, NULL), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_full_rank_step(NULL, st, g, 1, 1, NULL), "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_full_rank_step(l, NULL, g, 1, 1, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_full_rank_step(l, b.s.st, g, 1, 1, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_full_rank_step(l, st, NULL, 1, 1, NULL), "grad is NULL");
    FAILS(RELORA_E_CONTEXT, relora_linear_full_rank_step(l, st, far, 1, 1, NULL), "grad");
    FAILS(RELORA_E_DTYPE, relora_linear_full_rank_step(l, st, bf16, 1, 1, NULL), "grad", "BF16", "F32");
    FAILS(RELORA_E_SHAPE, relora_linear_full_rank_step(l, st, turned, 1, 1, NULL), "grad", "[5, 3]");
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p += 5)
        FAILS(RELORA_E_ARGUMENT,
              relora_linear_full_rank_step(keeps, st, relora_linear_param(keeps, p), 1, 1, NULL), "overlap",
              p == RELORA_PARAM_DELTA ? "delta" : "weight");
    FAILS(RELORA_E_ARGUMENT, relora_linear_full_rank_step(l, st, g, -1, 1, NULL), "lr is -1");
    FAILS(RELORA_E_STRUCT_SIZE, relora_linear_full_rank_step(l, st, g, 1, 1, &bad), "report");
    FAILS(RELORA_E_STATE, relora_linear_full_rank_step(full, st, g, 1, 1, NULL), "mode FULL", "frozen");
    FAILS(RELORA_E_STATE, relora_linear_full_rank_step(lowrank, st, g, 1, 1, NULL), "mode LOWRANK");
    UNCHANGED(g, was);
    untouched(&b);
}
END_TEST

/* Without W nothing can be computed or merged, and the layer says so. */
START_TEST(test_weight_missing)
{
    struct bench b = new_bench();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *l = new_linear(&o);
    FAILS(RELORA_E_STATE, relora_linear_forward(l, env.st, b.x, b.y, 0, 0), "weight");
    FAILS(RELORA_E_STATE, relora_linear_backward(l, env.st, b.x, b.dy, b.dx, 0, 0), "weight");
    FAILS(RELORA_E_STATE, relora_linear_merge(l, env.st, 1, NULL), "weight");
    FAILS(RELORA_E_STATE,
          relora_linear_full_rank_step(l, env.st, new_matrix(RELORA_F32, OUT, IN), 1, 1, NULL), "weight");
    untouched(&b);
}
END_TEST

/* A batch whose shape is possible but whose product x A^T no memory could hold: nothing is read of it. */
START_TEST(test_rows_that_overflow)
{
    const int64_t rows = INT64_C(1) << 60;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 1, 1, 16);
    struct rnd r = rnd_seed(2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x, *y;
    OK(relora_tensor_borrow(&x, env.dev, RELORA_F32, 2, (int64_t[]){rows, 1}, NULL, (void *)64, NULL, NULL));
    OK(relora_tensor_borrow(&y, env.dev, RELORA_F32, 2, (int64_t[]){rows, 1}, NULL,
                            (void *)(UINTPTR_MAX / 2 + 1), NULL, NULL));
    /* a fold needs no memory for rows */
    OK(relora_linear_set_order(l, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT));
    FAILS(RELORA_E_OVERFLOW, relora_linear_forward(l, env.st, x, y, 0, RELORA_TRAIN), "64 bits");
    relora_tensor_release(x);
    relora_tensor_release(y);
}
END_TEST

Suite *linear_arguments(void)
{
    Suite *s = suite_create("arguments of linear");
    TCase *tc = env_case(s, "linear", 20);
    tcase_add_test(tc, test_forward);
    tcase_add_test(tc, test_backward);
    tcase_add_test(tc, test_weight_grad);
    tcase_add_test(tc, test_overlaps);
    tcase_add_test(tc, test_set_weight);
    tcase_add_test(tc, test_set_mode);
    tcase_add_test(tc, test_full_rank);
    tcase_add_test(tc, test_merge_reset_zero_grad);
    tcase_add_test(tc, test_weight_missing);
    tcase_add_test(tc, test_rows_that_overflow);
    return s;
}
