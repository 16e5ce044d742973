#include "threads/numbers.h"
#include <stdio.h>
#include "cpu/cpu.h"
#include "float_mode.h"
#include "stream.h"

static void add(uint64_t *sum, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (uint16_t pair; size >= sizeof pair; b += sizeof pair, size -= sizeof pair) {
        memcpy(&pair, b, sizeof pair);
        *sum = (*sum ^ pair) * 1099511628211u;
    }
}

/* ---- products ---- */

static const int64_t shapes[][3] = {
    /* rows, columns, depth: tiny, one piece, cut both ways, tall, deep */
    {1, 1, 1}, {7, 90, 33}, {150, 107, 99}, {725, 40, 36}, {48, 64, 400},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, VARIANTS = 12, LARGEST = 40000 };

static struct view fill_view(void *memory, int64_t rows, int64_t cols, relora_dtype dtype, double scale,
                             struct rnd *r)
{
    struct view v = {memory, rows, cols, cols, dtype};
    fenv_t host = float_mode_enter(); /* the same inputs in every mode */
    uint64_t word = rnd_bits(r) | 1;
    for (int64_t i = 0; i < rows * cols; i++) {
        word = word * 6364136223846793005u + 1442695040888963407u;
        float value = (float)(scale * ((double)(word >> 40) / (1 << 23) - 1));
        if (dtype == RELORA_F32) ((float *)memory)[i] = value;
        else ((uint16_t *)memory)[i] = bf16_of(value);
    }
    float_mode_leave(&host);
    return v;
}

static relora_status portable_product(struct queue *q, const struct gemm *g)
{
    fenv_t host = float_mode_enter();
    relora_status status = cpu_gemm_portable(q, g);
    float_mode_leave(&host);
    return status;
}

/* ta and tb in each, then F32, BF16 into F32, BF16 into BF16; accumulate and bias come and go. */
static relora_status multiply(struct queue *q, const int64_t *s, int variant, double scale, float *memory[4],
                              uint64_t sums[2])
{
    struct rnd r = rnd_seed((uint64_t)variant);
    relora_dtype type = variant / 4 ? RELORA_BF16 : RELORA_F32;
    struct gemm g = {.ta = variant & 1, .tb = variant >> 1 & 1, .accumulate = variant % 3 == 1};
    g.a = g.ta ? fill_view(memory[0], s[2], s[0], type, scale, &r)
               : fill_view(memory[0], s[0], s[2], type, scale, &r);
    g.b = g.tb ? fill_view(memory[1], s[1], s[2], type, scale, &r)
               : fill_view(memory[1], s[2], s[1], type, scale, &r);
    if (variant % 5 < 2) g.bias = fill_view(memory[3], 1, s[1], RELORA_F32, scale, &r).data;
    for (int portable = 0; portable < 2; portable++) { /* what is never written stays as it was */
        struct rnd same = rnd_seed(77);
        g.c = fill_view(memory[2], s[0], s[1], variant / 4 == 2 ? RELORA_BF16 : RELORA_F32, scale, &same);
        TRY(portable ? portable_product(q, &g) : backend_cpu.gemm(q, &g));
        add(&sums[portable], memory[2], (size_t)(s[0] * s[1]) * (variant / 4 == 2 ? 2 : 4));
    }
    return RELORA_OK;
}

static relora_status multiply_all(relora_stream *st, double scale, struct numbers *n)
{
    float *memory[4];
    uint64_t sums[2] = {1, 1};
    relora_status status = RELORA_OK;
    for (int i = 0; i < 4; i++) memory[i] = malloc(LARGEST * sizeof(float));
    for (int i = 0; i < SHAPES && status >= 0; i++)
        for (int v = 0; v < VARIANTS && status >= 0; v++)
            status = multiply(st->queue, shapes[i], v, scale, memory, sums);
    for (int i = 0; i < 4; i++) free(memory[i]);
    n->products = sums[0];
    n->portable = sums[1];
    return status;
}

/* ---- training ---- */

enum { N_IN = 272, N_OUT = 208, N_RANK = 16, N_ROWS = 144, N_HIGH = 264, N_WIDE = 250, N_PITCH = 253 };

struct things {
    relora_stream *st;
    relora_tensor *w, *bias, *x, *y, *dy, *dx, *dw;
    relora_tensor *whole, *param, *grad; /* the parameter is the first columns of `whole` */
    relora_linear *l;
    relora_adam *adam;
};

static relora_status fill_tensor(relora_tensor *t, double scale, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    fill_view(relora_tensor_data(t), 1, relora_tensor_count(t), relora_tensor_dtype(t), scale, &r);
    return RELORA_OK;
}

static relora_status open_things(struct things *k, relora_device *dev, relora_dtype dtype, double scale)
{
    relora_linear_options o;
    TRY(relora_linear_options_init(&o, sizeof o));
    o.flags = RELORA_LINEAR_BIAS;
    o.dtype = dtype;
    o.in_features = N_IN;
    o.out_features = N_OUT;
    o.rank = N_RANK;
    TRY(relora_stream_create(&k->st, dev));
    TRY(relora_tensor_create(&k->w, dev, dtype, 2, (int64_t[]){N_OUT, N_IN}));
    TRY(relora_tensor_create(&k->x, dev, dtype, 2, (int64_t[]){N_ROWS, N_IN}));
    TRY(relora_tensor_create(&k->y, dev, dtype, 2, (int64_t[]){N_ROWS, N_OUT}));
    TRY(relora_tensor_create(&k->dy, dev, dtype, 2, (int64_t[]){N_ROWS, N_OUT}));
    TRY(relora_tensor_create(&k->dx, dev, dtype, 2, (int64_t[]){N_ROWS, N_IN}));
    TRY(relora_tensor_create(&k->dw, dev, RELORA_F32, 2, (int64_t[]){N_OUT, N_IN}));
    TRY(relora_tensor_create(&k->bias, dev, dtype, 1, (int64_t[]){N_OUT}));
    TRY(relora_tensor_create(&k->whole, dev, dtype, 2, (int64_t[]){N_HIGH, N_PITCH}));
    TRY(relora_tensor_create(&k->grad, dev, RELORA_F32, 2, (int64_t[]){N_HIGH, N_WIDE}));
    TRY(relora_tensor_borrow(&k->param, dev, dtype, 2, (int64_t[]){N_HIGH, N_WIDE}, (int64_t[]){N_PITCH, 1},
                             relora_tensor_data(k->whole), NULL, NULL));
    TRY(fill_tensor(k->w, scale, 1));
    TRY(fill_tensor(k->whole, scale, 2));
    TRY(fill_tensor(k->bias, scale, 3));
    TRY(relora_linear_create(&k->l, dev, &o));
    TRY(relora_linear_set_weight(k->l, k->w, k->bias));
    TRY(relora_adam_create(&k->adam, dev, NULL));
    TRY(relora_adam_add_linear(k->adam, "l", k->l));
    return relora_adam_add(k->adam, "p", k->param, k->grad, NULL);
}

static void close_things(struct things *k)
{
    relora_adam_release(k->adam);
    relora_linear_release(k->l);
    relora_tensor *const all[] = {k->w,  k->bias, k->x,     k->y,     k->dy,
                                  k->dx, k->dw,   k->param, k->whole, k->grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) relora_tensor_release(all[i]);
    relora_stream_release(k->st);
}

static void add_tensor(uint64_t *sum, const relora_tensor *t)
{
    if (t)
        add(sum, relora_tensor_data(t),
            (size_t)relora_tensor_count(t) * (relora_tensor_dtype(t) == RELORA_F32 ? 4 : 2));
}

/* Each order of products in turn, with dropout where that leaves a choice. */
static relora_status step(struct things *k, uint64_t i, double scale, uint64_t *sum)
{
    static const relora_order orders[][2] = {{RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
                                             {RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
                                             {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH}};
    uint32_t flags = i == 0 ? RELORA_TRAIN : 0;
    TRY(relora_linear_set_order(k->l, orders[i][0], orders[i][1]));
    TRY(fill_tensor(k->x, scale, 10 + i));
    TRY(fill_tensor(k->dy, scale, 20 + i));
    TRY(fill_tensor(k->grad, scale, 30 + i));
    TRY(relora_linear_forward(k->l, k->st, k->x, k->y, i, flags));
    TRY(relora_linear_backward(k->l, k->st, k->x, k->dy, k->dx, i, flags | RELORA_OVERWRITE));
    TRY(relora_adam_step(k->adam, k->st, 0.01, 1, NULL));
    add_tensor(sum, k->y);
    add_tensor(sum, k->dx);
    return RELORA_OK;
}

/* A frozen A, and what it is renewed from. */
static relora_status renew_frozen(struct things *k, relora_device *dev, relora_dtype dtype, uint64_t *sum)
{
    relora_linear_options o;
    relora_linear *l;
    TRY(relora_linear_options_init(&o, sizeof o));
    o.flags = RELORA_LINEAR_FREEZE_A, o.init = RELORA_INIT_GRADIENT, o.rank = N_RANK, o.dtype = dtype;
    TRY(relora_linear_wrap(&l, dev, k->w, NULL, &o));
    relora_status status = relora_linear_backward(l, k->st, k->x, k->dy, k->dx, 9, RELORA_SKETCH);
    add_tensor(sum, relora_linear_param(l, RELORA_PARAM_SKETCH));
    if (status >= 0) status = relora_linear_reset(l, k->st, 1);
    add_tensor(sum, relora_linear_param(l, RELORA_PARAM_A));
    relora_linear_release(l);
    return status;
}

/* The same once more, as a host without objects does it. */
static relora_status restart_tensors(struct things *k, const relora_reset_options *reset, double scale,
                                     uint64_t *sum)
{
    relora_tensor *a = relora_linear_param(k->l, RELORA_PARAM_A),
                  *b = relora_linear_param(k->l, RELORA_PARAM_B);
    relora_merge_options o;
    relora_factors_options f;
    relora_merge_report r = {.struct_size = sizeof r};
    TRY(relora_merge_options_init(&o, sizeof o));
    o.cycle = 2;
    TRY(fill_tensor(b, 1, 40));
    TRY(relora_merge(k->st, k->w, a, b, &o, NULL));
    TRY(relora_factors_options_init(&f, sizeof f));
    f.init = RELORA_INIT_GRADIENT;
    TRY(relora_factors_renew(k->st, a, b, relora_linear_grad(k->l, RELORA_PARAM_A), &f, &r));
    add_tensor(sum, a);
    add(sum, &r.overlap, sizeof r.overlap);
    TRY(relora_moments_project(k->st, relora_adam_moment(k->adam, 1, RELORA_MOMENT_FIRST),
                               relora_adam_moment(k->adam, 1, RELORA_MOMENT_SECOND),
                               relora_linear_grad(k->l, RELORA_PARAM_A), a, 0.9, 0.99, 3));
    add_tensor(sum, relora_adam_moment(k->adam, 1, RELORA_MOMENT_SECOND));
    TRY(fill_tensor(k->dw, scale, 50));
    TRY(relora_full_rank_step(k->st, k->w, k->dw, 0.01, &o, NULL));
    TRY(relora_factors_draw(k->st, a, b, 1, 2, 3));
    return relora_moments_reset(k->st, relora_adam_moment(k->adam, 3, RELORA_MOMENT_FIRST),
                                relora_adam_moment(k->adam, 3, RELORA_MOMENT_SECOND), 3, reset, NULL);
}

static relora_status train_all(relora_context *ctx, relora_dtype dtype, double scale, uint64_t *sum)
{
    struct things k = {0};
    relora_reset_options half;
    static const int32_t everything[] = {0, 1, 2, 3}; /* A, B, the bias, the other one */
    relora_status status = open_things(&k, relora_device_get(ctx, RELORA_DEVICE_CPU, 0), dtype, scale);
    *sum = 1;
    for (uint64_t i = 0; i < 3 && status >= 0; i++) status = step(&k, i, scale, sum);
    if (status >= 0) status = relora_reset_options_init(&half, sizeof half);
    half.ratio = 0.5;
    if (status >= 0) status = relora_linear_merge(k.l, k.st, 1, NULL);
    if (status >= 0) status = relora_linear_reset(k.l, k.st, 1);
    if (status >= 0) status = relora_adam_reset(k.adam, k.st, everything, 4, &half, NULL);
    if (status >= 0) status = restart_tensors(&k, &half, scale, sum);
    if (status >= 0) status = renew_frozen(&k, relora_device_get(ctx, RELORA_DEVICE_CPU, 0), dtype, sum);
    for (int32_t i = 0; status >= 0 && i < relora_adam_count(k.adam); i++) {
        add_tensor(sum, relora_adam_moment(k.adam, i, RELORA_MOMENT_FIRST));
        add_tensor(sum, relora_adam_moment(k.adam, i, RELORA_MOMENT_SECOND));
    }
    for (relora_param p = RELORA_PARAM_WEIGHT; status >= 0 && p <= RELORA_PARAM_B; p++)
        add_tensor(sum, relora_linear_param(k.l, p));
    add_tensor(sum, k.dw);
    add_tensor(sum, k.whole);
    close_things(&k);
    return status;
}

static relora_status rates(relora_context *ctx, uint64_t *sum)
{
    relora_schedule *s;
    relora_schedule_options o;
    TRY(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1e-3;
    o.total_steps = 1000;
    o.warmup_steps = 30;
    o.restart_every = 250;
    o.restart_warmup_steps = 10;
    TRY(relora_schedule_create(&s, ctx, &o));
    *sum = 1;
    for (int64_t step = 0; step < 1000; step++) {
        double lr = 0;
        relora_schedule_lr(s, step, &lr);
        add(sum, &lr, sizeof lr);
    }
    relora_schedule_release(s);
    return RELORA_OK;
}

/* ---- all of it ---- */

static relora_status compute(relora_context *ctx, double scale, struct numbers *n)
{
    relora_stream *st;
    TRY(relora_stream_create(&st, relora_device_get(ctx, RELORA_DEVICE_CPU, 0)));
    relora_status status = multiply_all(st, scale, n);
    relora_stream_release(st);
    TRY(status);
    TRY(train_all(ctx, RELORA_F32, scale, &n->trained[0]));
    TRY(train_all(ctx, RELORA_BF16, scale, &n->trained[1]));
    return rates(ctx, &n->lr);
}

struct numbers numbers_with(int32_t threads, double scale)
{
    struct numbers n = {0};
    relora_context *ctx = NULL;
    relora_context_options o;
    relora_context_options_init(&o, sizeof o);
    o.threads = threads;
    n.status = relora_context_create(&ctx, &o);
    if (n.status >= 0) n.status = compute(ctx, scale, &n);
    relora_context_release(ctx);
    return n;
}

int numbers_differ(const struct numbers *a, const struct numbers *b) { return memcmp(a, b, sizeof *a) != 0; }

const char *numbers_text(const struct numbers *n, char text[160])
{
    snprintf(text, 160, "%d %016llx %016llx %016llx %016llx %016llx", n->status,
             (unsigned long long)n->products, (unsigned long long)n->portable,
             (unsigned long long)n->trained[0], (unsigned long long)n->trained[1], (unsigned long long)n->lr);
    return text;
}
