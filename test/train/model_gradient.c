/* The model of examples/pretrain: loss, logits and every gradient against an independent forward pass in
 * double (llama.c), with central differences there. */
#include "train/suites.h"
#include "train/llama.h"

enum { VOCAB = 13, HIDDEN = 16, FFN = 26, LAYERS = 2, RANK = 3, BATCH = 2, SEQ = 7 };

/* What config.json of a Llama folder may say, alone and together. With the seed 5 the fourth form would be a
 * bad example: a second derivative of more than 1,000 by an element of the embedding shows every ulp of it. */
static const struct form {
    int64_t heads, kv_heads, head_dim;
    int tied;
    double eps;
    struct rope rope;
    uint64_t seed;
} forms[] = {
    {2, 0, 0, 0, 0, {0}, 5},
    {4, 2, 0, 0, 0, {0}, 6}, /* grouped */
    {4, 1, 6, 0, 0, {0}, 6}, /* one head of k and v; heads wider than hidden */
    {2, 0, 4, 1, 0, {0}, 6}, /* narrower; tied */
    {2, 0, 0, 0, 0.1, {ROPE_DEFAULT, 50, 0, 0, 0, 0}, 6},
    {2, 0, 0, 0, 0, {ROPE_LINEAR, 100, 2.5, 0, 0, 0}, 6},
    {6, 3, 8, 1, 0.01, {ROPE_LLAMA3, 500, 4, 0.3, 1.5, 12}, 6}, /* pairs that are kept, smoothed, slowed */
};
enum { FORMS = sizeof forms / sizeof *forms, KINDS = 3 };

struct bench {
    struct model *model;
    struct activations *acts;
    struct llama *l;
    int32_t tokens[BATCH * SEQ], targets[BATCH * SEQ];
};

static void free_model(void *p) { model_destroy(p); }
static void free_activations(void *p) { activations_destroy(p); }

static struct model_config config(relora_linear_mode mode, const struct form *f)
{
    /* clang-format off */
    return (struct model_config){.vocab = VOCAB, .hidden = HIDDEN, .ffn = FFN, .heads = f->heads,
                                 .kv_heads = f->kv_heads, .head_dim = f->head_dim, .tied = f->tied,
                                 .norm_eps = f->eps, .rope = f->rope, .layers = LAYERS,
                                 .dtype = RELORA_F32, .mode = mode, .rank = RANK, .alpha = 2 * RANK,
                                 .dropout = 0, .init_std = 0.3, .full_rank = 1, .seed = f->seed, .threads = 1};
    /* clang-format on */
}

/* Norms off 1 and factors off 0, so that every gradient is alive. */
static void stir(struct model *model, struct rnd *r)
{
    struct model_param p;
    for (int i = 0; model_param_get(model, i, &p); i++) {
        double *data = get(p.value);
        int norm = strstr(p.name, "norm") != NULL, factor = strstr(p.name, "lora_") != NULL;
        for (int64_t k = 0; (norm || factor) && k < p.rows * p.cols; k++)
            data[k] = norm ? rnd_uniform(r, 0.5, 1.5) : 0.3 * rnd_normal(r);
        put(p.value, data);
    }
}

/* 0: FULL, 1: LORA after a warm start, 2: LOWRANK; of the first form, then of the second, ... */
static struct bench *new_bench(int which)
{
    int kind = which % KINDS;
    struct bench *b = scratch(sizeof *b);
    struct rnd r = rnd_seed(3);
    struct model_config c = config(kind == 2 ? RELORA_MODE_LOWRANK : RELORA_MODE_FULL, &forms[which / KINDS]);
    OK(model_create(&b->model, env.ctx, env.st, &c));
    defer(free_model, b->model);
    if (kind == 1) OK(model_set_lora(b->model, env.st));
    stir(b->model, &r);
    OK(activations_create(&b->acts, b->model, env.st, BATCH, SEQ));
    defer(free_activations, b->acts);
    for (int i = 0; i < BATCH * SEQ; i++) {
        b->tokens[i] = (int32_t)(rnd_bits(&r) % VOCAB);
        b->targets[i] = i % 5 == 3 ? -1 : (int32_t)(rnd_bits(&r) % VOCAB); /* -1: none */
    }
    b->l = llama_read(b->model, BATCH, SEQ, b->tokens, b->targets);
    return b;
}

static double forward(struct bench *b, unsigned flags)
{
    double loss = -1;
    OK(model_forward(b->model, b->acts, env.st, b->tokens, b->targets, 0, flags));
    OK(model_take_loss(b->model, env.st, &loss));
    return loss;
}

START_TEST(test_loss)
{
    if (cpu_only()) return; /* the model's buffers are the host's */
    struct bench *b = new_bench(_i);
    /* F32, with a polynomial for exp of some 1e-7 */
    ck_assert_double_eq_tol(forward(b, 0), llama_loss(b->l), 2e-6 * llama_loss(b->l));
}
END_TEST

START_TEST(test_next)
{
    if (cpu_only()) return; /* the model's buffers are the host's */
    struct bench *b = new_bench(_i);
    float got[VOCAB];
    llama_loss(b->l);
    for (int64_t position = 0; position < SEQ; position++) {
        double wide[VOCAB], *want = b->l->logits + position * VOCAB;
        OK(model_next(b->model, b->acts, env.st, b->tokens, position, got));
        for (int i = 0; i < VOCAB; i++) wide[i] = (double)got[i];
        CLOSE(wide, want, VOCAB, 1e-5 * largest(want, VOCAB));
    }
}
END_TEST

/* Central differences in double with h = 1e-5: h^2 of truncation, 1e-16 / h of rounding, both below 1e-9
 * of a loss near 3. What remains is the model's own F32. */
static double difference(const struct bench *b, double *value)
{
    const double h = 1e-5, was = *value;
    *value = was + h;
    double high = llama_loss(b->l);
    *value = was - h;
    double low = llama_loss(b->l);
    *value = was;
    return (high - low) / (2 * h);
}

static void check_param(struct bench *b, const struct model_param *p)
{
    int64_t n = p->rows * p->cols;
    double *values = llama_find(b->l, p->name), *want = doubles(n), *got = get(p->grad);
    for (int64_t k = 0; k < n; k++) want[k] = difference(b, &values[k]);
    ck_assert_msg(largest(want, n) > 1e-4, "%s has no gradient worth the name", p->name);
    /* F32 through two blocks and back: measured 2.4e-5 of the largest at worst */
    close_check(got, want, n, 6e-5 * largest(want, n) + 1e-8, p->name, __FILE__, __LINE__);
}

START_TEST(test_gradients)
{
    if (cpu_only()) return; /* the model's buffers are the host's */
    struct bench *b = new_bench(_i);
    int count = 2 + 2 * LAYERS + (_i % KINDS ? 14 : 7) * LAYERS + !forms[_i / KINDS].tied;
    struct model_param p;
    OK(relora_group_zero_grad(model_group(b->model), env.st));
    forward(b, MODEL_GRADIENT);
    OK(model_backward(b->model, b->acts, env.st, NULL));
    ck_assert_int_eq(model_param_count(b->model), count);
    int seen = 0;
    for (; model_param_get(b->model, seen, &p); seen++) check_param(b, &p);
    ck_assert_int_eq(seen, count);
}
END_TEST

/* Backward adds: twice gives twice. */
START_TEST(test_gradients_add)
{
    if (cpu_only()) return; /* the model's buffers are the host's */
    struct bench *b = new_bench(1);
    struct model_param p;
    double once[64];
    OK(relora_group_zero_grad(model_group(b->model), env.st));
    for (int pass = 0; pass < 2; pass++) {
        forward(b, MODEL_GRADIENT);
        OK(model_backward(b->model, b->acts, env.st, NULL));
        for (int i = 0; model_param_get(b->model, i, &p); i++) {
            ck_assert_int_lt(i, 64);
            double value = get(p.grad)[p.rows * p.cols / 2];
            if (pass) ck_assert_double_le(fabs(value - 2 * once[i]), 1e-5 * fabs(value) + 1e-8);
            else once[i] = value;
        }
    }
}
END_TEST

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* W has moved along U V^T of its gradient, by central differences. Of all matrices of norm 1 it has the largest product
 * with the gradient, however small singular values come out. */
static void check_direction(const struct bench *b, int index, const double *before)
{
    struct llama_linear *w = &b->l->blocks[index / LL_PROJECTIONS].p[index % LL_PROJECTIONS];
    int64_t n = w->out * w->in;
    relora_tensor *weight = new_matrix(RELORA_F32, w->out, w->in),
                  *grad = new_matrix(RELORA_F32, w->out, w->in);
    double *gradient = doubles(n), *moved = doubles(n);
    double *after = get(relora_linear_param(model_projection(b->model, index), RELORA_PARAM_WEIGHT));
    double step = 0.2 * sqrt((double)(w->out > w->in ? w->out : w->in));
    for (int64_t k = 0; k < n; k++) gradient[k] = difference(b, &w->w[k]);
    put_all(weight, 0);
    put(grad, gradient);
    OK(relora_full_rank_step(env.st, weight, grad, 1, NULL, NULL));
    for (int64_t k = 0; k < n; k++) moved[k] = (before[k] - after[k]) / step;
    double most = dot(get(grad), gradient, n);
    ck_assert_double_gt(most, 0);
    ck_assert_double_eq_tol(dot(moved, gradient, n), most, 0.01 * most);
}

/* The frozen matrices move on the way back, and no gradient of A, B and the rest changes by a bit. */
START_TEST(test_full_rank)
{
    enum { GRADS = 64, LAYERS_OF_MODEL = LL_PROJECTIONS * LAYERS };
    if (cpu_only()) return;                 /* the model's buffers are the host's */
    struct bench *b = new_bench(KINDS + 1); /* LORA, grouped */
    struct model_param p;
    struct full_rank step = {.lr = 1, .number = 3};
    const void *grads[GRADS];
    double *before[LAYERS_OF_MODEL];
    for (int i = 0; i < LAYERS_OF_MODEL; i++)
        before[i] = get(relora_linear_param(model_projection(b->model, i), RELORA_PARAM_WEIGHT));
    OK(relora_group_zero_grad(model_group(b->model), env.st));
    forward(b, MODEL_GRADIENT);
    OK(model_backward(b->model, b->acts, env.st, NULL));
    for (int i = 0; model_param_get(b->model, i, &p); i++) grads[i] = snapshot(p.grad);
    OK(relora_group_zero_grad(model_group(b->model), env.st));
    forward(b, MODEL_GRADIENT);
    OK(model_backward(b->model, b->acts, env.st, &step));
    for (int i = 0; model_param_get(b->model, i, &p); i++) UNCHANGED(p.grad, grads[i]);
    ck_assert_int_eq(step.layers, LAYERS_OF_MODEL);
    ck_assert_double_gt(step.changed, 0);
    ck_assert_double_gt(step.weight, 0);
    ck_assert_double_ge(step.rank, LAYERS_OF_MODEL);
    for (int i = 0; i < LAYERS_OF_MODEL; i++) check_direction(b, i, before[i]);
}
END_TEST

/* The end of a warm start changes no bit of the loss. */
START_TEST(test_set_lora)
{
    if (cpu_only()) return; /* the model's buffers are the host's */
    struct bench *b = new_bench(0);
    double before = forward(b, 0);
    OK(model_set_lora(b->model, env.st));
    ck_assert_double_eq(forward(b, 0), before);
    ck_assert_double_eq(forward(b, MODEL_DROPOUT), before);
}
END_TEST

Suite *train_model(void)
{
    Suite *s = suite_create("model of examples/pretrain");
    TCase *tc = env_case(s, "model", 240);
    tcase_add_loop_test(tc, test_loss, 0, KINDS * FORMS);
    tcase_add_loop_test(tc, test_next, 0, KINDS * FORMS);
    tcase_add_loop_test(tc, test_gradients, 0, KINDS * FORMS);
    tcase_add_test(tc, test_gradients_add);
    tcase_add_test(tc, test_full_rank);
    tcase_add_test(tc, test_set_lora);
    return s;
}
