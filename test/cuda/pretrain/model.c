/* Loss, logits and every gradient. */
#include "cuda/pretrain/pretrain.h"

struct model_case {
    int64_t vocab, hidden, heads, ffn, batch, seq;
    int lora, recompute;
    double dropout;
};

/* Odd sizes of everything: rows that are no multiple of 16 bytes, heads that are none of a tensor core's
 * tile, sequences shorter and longer than a tile, one sequence. */
static const struct model_case cases[] = {
    {37, 20, 2, 26, 1, 5, 0, 0, 0},     {37, 48, 2, 52, 1, 7, 1, 0, 0},    {40, 64, 2, 72, 2, 33, 1, 2, 0.25},
    {64, 128, 2, 61, 1, 70, 0, 1, 0},   {64, 96, 2, 40, 2, 65, 1, 0, 0.5}, {33, 96, 1, 48, 1, 64, 0, 0, 0},
    {48, 128, 1, 40, 1, 67, 1, 0, 0.1}, {37, 20, 6, 26, 2, 66, 1, 1, 0.1}, {64, 64, 4, 72, 2, 33, 0, 2, 0},
    {40, 48, 4, 40, 1, 65, 1, 0, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

/* What the last of them have from a config.json. */
static const struct {
    int64_t kv_heads, head_dim;
    int tied;
    double eps;
    struct rope rope;
} forms[CASES] = {[CASES - 3] = {2, 8, 1, 0.1, {ROPE_LLAMA3, 500, 4, 0.3, 1.5, 12}},
                  [CASES - 2] = {1, 24, 1, 0, {ROPE_LINEAR, 100, 2, 0, 0, 0}},
                  [CASES - 1] = {2, 0, 0, 1e-3, {ROPE_DEFAULT, 500, 0, 0, 0, 0}}};

static struct twin *twin_with(const struct model_case *m, int recompute, relora_dtype dtype)
{
    const struct model_config c = {.vocab = m->vocab,
                                   .hidden = m->hidden,
                                   .ffn = m->ffn,
                                   .heads = m->heads,
                                   .kv_heads = forms[m - cases].kv_heads,
                                   .head_dim = forms[m - cases].head_dim,
                                   .tied = forms[m - cases].tied,
                                   .norm_eps = forms[m - cases].eps,
                                   .rope = forms[m - cases].rope,
                                   .layers = 2,
                                   .dtype = dtype,
                                   .mode = RELORA_MODE_FULL,
                                   .rank = 8,
                                   .alpha = 16,
                                   .dropout = m->dropout,
                                   .order = RELORA_ORDER_SPLIT,
                                   .recompute = (enum recompute)recompute,
                                   .init_std = 0.15,
                                   .seed = 5,
                                   .threads = 1};
    struct twin *t = new_twin(&c, m->batch, m->seq, m->lora);
    stir(t, 3);
    return t;
}

static struct twin *twin_of(const struct model_case *m, relora_dtype dtype)
{
    return twin_with(m, m->recompute, dtype);
}

static void backward(struct twin *t, double loss[SIDES])
{
    for (int side = CPU; side < SIDES; side++) {
        OK(relora_group_zero_grad(model_group(t->model[side]), stream_of(side)));
        OK(model_forward(t->model[side], t->acts[side], stream_of(side), t->tokens, t->targets, 7,
                         MODEL_GRADIENT | MODEL_DROPOUT));
        OK(model_backward(t->model[side], t->acts[side], stream_of(side), NULL));
        OK(model_take_loss(t->model[side], stream_of(side), &loss[side]));
    }
}

/* What is made again has the bits it had, and MODEL_FIRST leaves nothing of what was in the gradients. */
START_TEST(test_recompute)
{
    struct model_param p, want;
    struct twin *first = NULL;
    for (int recompute = RECOMPUTE_NONE; recompute <= RECOMPUTE_LIGHT; recompute++) {
        struct twin *t =
            twin_with(&cases[_i / 2 ? CASES - 3 : 4], recompute, _i % 2 ? RELORA_BF16 : RELORA_F32);
        for (int side = CPU; side < SIDES; side++) {
            for (int i = 0; model_param_get(t->model[side], i, &p); i++)
                OK(relora_tensor_fill(p.grad, stream_of(side), recompute ? NAN : 0));
            OK(model_forward(t->model[side], t->acts[side], stream_of(side), t->tokens, t->targets, 7,
                             MODEL_GRADIENT | MODEL_DROPOUT | (recompute ? MODEL_FIRST : 0)));
            OK(model_backward(t->model[side], t->acts[side], stream_of(side), NULL));
            for (int i = 0; first && model_param_get(first->model[side], i, &want); i++) {
                ck_assert(model_param_get(t->model[side], i, &p));
                near(values_of(p.grad, side), values_of(want.grad, side), p.rows * p.cols, 0, p.name);
            }
        }
        if (!first) first = t;
    }
}
END_TEST

START_TEST(test_gradients)
{
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    struct twin *t = twin_of(&cases[_i / 2], dtype);
    double loss[SIDES];
    struct model_param want, got;
    backward(t, loss);
    /* F32: other orders of summing. BF16: what is rounded in between may fall to the other side. The worst
     * that was seen of a gradient, on the emulated device: 6e-6 and 3.2e-2. */
    near(&loss[GPU], &loss[CPU], 1, dtype == RELORA_F32 ? 1e-6 : 2e-3, "loss");
    for (int i = 0; model_param_get(t->model[CPU], i, &want); i++) {
        ck_assert(model_param_get(t->model[GPU], i, &got));
        near(values_of(got.grad, GPU), values_of(want.grad, CPU), want.rows * want.cols,
             dtype == RELORA_F32 ? 2e-5 : 6e-2, want.name);
    }
}
END_TEST

START_TEST(test_initial_weights)
{
    struct twin *t = twin_of(&cases[1], _i % 2 ? RELORA_BF16 : RELORA_F32);
    struct model_param want, got;
    for (int i = 0; model_param_get(t->model[CPU], i, &want); i++) {
        ck_assert(model_param_get(t->model[GPU], i, &got));
        SAME_BYTES(values_of(got.value, GPU), values_of(want.value, CPU),
                   (size_t)(want.rows * want.cols) * sizeof(double));
    }
}
END_TEST

START_TEST(test_next)
{
    const struct model_case *m = &cases[2];
    struct twin *t = twin_of(m, _i % 2 ? RELORA_BF16 : RELORA_F32);
    float logits[SIDES][64];
    double wide[SIDES][64];
    for (int64_t position = 0; position < m->seq; position += 16) {
        for (int side = CPU; side < SIDES; side++) {
            OK(model_next(t->model[side], t->acts[side], stream_of(side), t->tokens, position, logits[side]));
            for (int64_t i = 0; i < m->vocab; i++) wide[side][i] = (double)logits[side][i];
        }
        near(wide[GPU], wide[CPU], m->vocab, _i % 2 ? 3e-2 : 1e-5, "logits");
    }
}
END_TEST

/* What a kernel cannot do is refused before anything is queued. */
START_TEST(test_unsupported)
{
    const struct model_config c = {.vocab = 8,
                                   .hidden = 160,
                                   .ffn = 8,
                                   .heads = 1,
                                   .layers = 1,
                                   .dtype = RELORA_F32,
                                   .mode = RELORA_MODE_FULL,
                                   .alpha = 1,
                                   .device = RELORA_DEVICE_CUDA,
                                   .threads = 1};
    struct model *model;
    struct activations *acts = NULL;
    OK(model_create(&model, env.ctx, gpu, &c));
    ck_assert_int_eq(activations_create(&acts, model, gpu, 1, 4), RELORA_E_UNSUPPORTED);
    ck_assert_ptr_null(acts);
    model_destroy(model);
}
END_TEST

Suite *model_suite(void)
{
    Suite *s = suite_create("model on a device");
    TCase *tc = both_case(s, "model");
    tcase_add_loop_test(tc, test_gradients, 0, 2 * CASES);
    tcase_add_loop_test(tc, test_recompute, 0, 4);
    tcase_add_loop_test(tc, test_initial_weights, 0, 2);
    tcase_add_loop_test(tc, test_next, 0, 2);
    tcase_add_test(tc, test_unsupported);
    return s;
}
