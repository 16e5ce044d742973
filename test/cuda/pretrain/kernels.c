/* Attention and the loss alone, from the same numbers on both sides. */
#include <stdio.h>
#include "cuda/pretrain/pretrain.h"

struct attention_case {
    int64_t batch, seq, heads, head_dim, kv_heads;
};
static const struct attention_case cases[] = {
    {1, 2, 1, 2, 1},    {1, 7, 2, 24, 2},   {2, 64, 1, 32, 1},  {1, 65, 3, 52, 3},  {1, 130, 2, 64, 2},
    {2, 33, 2, 48, 2},  {1, 97, 1, 96, 1},  {1, 70, 2, 128, 2}, {1, 66, 1, 100, 1}, {3, 20, 2, 14, 2},
    {2, 65, 4, 32, 2},  {1, 130, 3, 64, 1}, {2, 33, 6, 14, 2},  {1, 70, 4, 128, 1}, {1, 97, 2, 96, 1},
    {1, 200, 2, 32, 1}, {1, 161, 1, 40, 1}, {1, 135, 2, 80, 2}, {2, 193, 2, 64, 1},
};
enum { CASES = sizeof cases / sizeof *cases, OUT = 3, DOUT, DQ, DK, DV, ARRAYS };
static const char *const names[] = {"q", "k", "v", "out", "dout", "dq", "dk", "dv"};

struct machine {
    struct engine engine;
    enum side side;
};

static void close_engine(void *p)
{
    struct machine *m = p;
    m->engine.ops->close(&m->engine);
}

static struct machine *new_machine(enum side side)
{
    struct machine *m = scratch(sizeof *m);
    m->side = side;
    m->engine.device = device_of(side);
    m->engine.threads = 2;
    m->engine.ops = model_ops(side == GPU ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU);
    OK(m->engine.ops->open(&m->engine, stream_of(side)));
    defer(close_engine, m);
    return m;
}

static void free_tensor(void *p) { relora_tensor_release(p); }

static relora_tensor *new_array(const struct machine *m, relora_dtype dtype, int64_t n, const double *values)
{
    relora_tensor *t;
    OK(relora_tensor_create(&t, m->engine.device, dtype, 1, &n));
    defer(free_tensor, t);
    if (values) set_values(t, m->side, values);
    else OK(relora_tensor_fill(t, stream_of(m->side), NAN)); /* what is not written shows */
    return t;
}

/* Has an array as many heads as k and v? */
static int is_narrow(int array) { return array == 1 || array == 2 || array == DK || array == DV; }

struct result {
    double *array[ARRAYS], *log_sum;
};

static struct result run(const struct machine *m, const struct attention_case *c, relora_dtype dtype)
{
    int64_t n = c->batch * c->seq * c->heads * c->head_dim, half = c->head_dim / 2,
            rows = c->batch * c->heads * c->seq;
    int64_t kv_n = n / c->heads * c->kv_heads;
    struct attention a = {.engine = &m->engine,
                          .batch = c->batch,
                          .seq = c->seq,
                          .heads = c->heads,
                          .kv_heads = c->kv_heads,
                          .head_dim = c->head_dim,
                          .dtype = dtype,
                          .factor = 1.0f / sqrtf((float)c->head_dim)};
    struct rnd r = rnd_seed(9);
    double *angles = doubles(2 * c->seq * half), *values = doubles(n);
    relora_tensor *t[ARRAYS], *log_sum = new_array(m, RELORA_F32, rows, NULL);
    for (int64_t i = 0; i < c->seq * half; i++) {
        angles[i] = cos(0.1 * (double)i);
        angles[c->seq * half + i] = sin(0.1 * (double)i);
    }
    relora_tensor *rotary = new_array(m, RELORA_F32, 2 * c->seq * half, angles);
    struct shape hidden = {c->batch * c->seq, c->heads * c->head_dim, dtype, &m->engine};
    int64_t floats = m->engine.ops->scratch_floats(hidden, &a);
    ck_assert_int_gt(floats, 0);
    a.scratch = relora_tensor_data(new_array(m, RELORA_F32, floats, NULL));
    a.cosine = relora_tensor_data(rotary);
    a.sine = a.cosine + c->seq * half;
    for (int i = 0; i < ARRAYS; i++) {
        int64_t count = is_narrow(i) ? kv_n : n;
        rnd_fill_normal(&r, values, count, i < 2 ? 2.0 : 1.0);
        t[i] = new_array(m, dtype, count, i < OUT || i == DOUT ? values : NULL);
    }
    const struct attention_pass pass = {relora_tensor_data(t[0]), relora_tensor_data(t[1]),
                                        relora_tensor_data(t[2]), relora_tensor_data(t[OUT]),
                                        relora_tensor_data(log_sum)};
    const struct attention_gradient gradient = {relora_tensor_data(t[DOUT]), relora_tensor_data(t[DQ]),
                                                relora_tensor_data(t[DK]), relora_tensor_data(t[DV])};
    m->engine.ops->rotate(&a, relora_tensor_data(t[0]), relora_tensor_data(t[1]));
    m->engine.ops->attention_forward(&a, &pass);
    m->engine.ops->attention_backward(&a, &pass, &gradient);
    OK(m->engine.ops->status(&m->engine));
    struct result result;
    for (int i = 0; i < ARRAYS; i++) result.array[i] = values_of(t[i], m->side);
    result.log_sum = values_of(log_sum, m->side);
    return result;
}

START_TEST(test_attention)
{
    const struct attention_case *c = &cases[_i / 2];
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    int64_t n = c->batch * c->seq * c->heads * c->head_dim;
    struct result want = run(new_machine(CPU), c, dtype), got = run(new_machine(GPU), c, dtype);
    /* A BF16 number is right to 2^-9, and weights and slopes are rounded to it inside too. */
    near(got.log_sum, want.log_sum, c->batch * c->heads * c->seq, 2e-6, "log_sum");
    for (int i = 0; i < ARRAYS; i++)
        near(got.array[i], want.array[i], is_narrow(i) ? n / c->heads * c->kv_heads : n,
             i < OUT               ? 1e-7 + (dtype == RELORA_BF16) * 2e-4
             : dtype == RELORA_F32 ? 3e-6
                                   : 8e-3,
             names[i]);
}
END_TEST

/* Blocks and their threads come in any order, and the bits are the same. */
START_TEST(test_attention_repeats)
{
    static const struct attention_case c = {2, 140, 2, 64, 1};
    int64_t n = c.batch * c.seq * c.heads * c.head_dim;
    struct result want = run(new_machine(GPU), &c, _i ? RELORA_BF16 : RELORA_F32),
                  got = run(new_machine(GPU), &c, _i ? RELORA_BF16 : RELORA_F32);
    for (int i = OUT; i < ARRAYS; i++)
        ck_assert_mem_eq(got.array[i], want.array[i], (size_t)(is_narrow(i) ? n / 2 : n) * sizeof(double));
}
END_TEST

/* The emulated device, if it is that, counts; the program is the same for a GPU. */
extern void emulated_cuda_matrices(uint64_t *products, uint64_t *loads, uint64_t *passes)
    __attribute__((weak));

/* Most products of fragments find one factor in registers and load the other once for two: heads of 64, and 128, where a
 * warp has 16 rows. No two rows meet in a bank of shared memory. */
START_TEST(test_attention_loads)
{
    static const struct attention_case c[] = {{1, 256, 1, 64, 1}, {1, 128, 1, 128, 1}};
    uint64_t products = 0, loads = 0, passes = 0;
    if (skip_if(!emulated_cuda_matrices)) return;
    struct machine *m = new_machine(GPU);
    emulated_cuda_matrices(&products, &loads, &passes);
    run(m, &c[_i], RELORA_BF16);
    emulated_cuda_matrices(&products, &loads, &passes);
    if (getenv("VERBOSE")) printf("%.2f products for each load\n", (double)products / (double)loads);
    ck_assert_uint_eq(passes, 4 * loads);
    ck_assert_uint_gt(10 * products, (_i ? 17U : 29U) * loads);
}
END_TEST

/* Rows of any width, with logits of any size, one that is sure, and one without a target. */
START_TEST(test_cross_entropy)
{
    static const int64_t widths[] = {3, 8, 37, 1000, 4104};
    int64_t rows = 5, width = widths[_i / 2];
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    double *logits[SIDES], *losses[SIDES], total[SIDES] = {0};
    for (int side = CPU; side < SIDES; side++) {
        struct machine *m = new_machine(side);
        struct shape s = {rows, width, dtype, &m->engine};
        struct rnd r = rnd_seed(1);
        double *values = doubles(rows * width);
        int32_t targets[5];
        rnd_fill_normal(&r, values, rows * width, 20);
        values[width] = 300;
        for (int i = 0; i < rows; i++) targets[i] = (int32_t)(rnd_bits(&r) % (uint64_t)width);
        targets[3] = -1;
        relora_tensor *x = new_array(m, dtype, rows * width, values),
                      *loss = new_array(m, RELORA_F32, rows, NULL);
        relora_tensor *on_device = new_array(m, RELORA_F32, rows, NULL),
                      *sum = new_array(m, RELORA_F32, 2, total);
        m->engine.ops->upload(&m->engine, relora_tensor_data(on_device), targets, rows, 0);
        m->engine.ops->cross_entropy(s, relora_tensor_data(x), relora_tensor_data(on_device),
                                     relora_tensor_data(loss), 0.2f);
        m->engine.ops->add_mean(&m->engine, relora_tensor_data(sum), relora_tensor_data(loss), rows);
        OK(m->engine.ops->status(&m->engine));
        logits[side] = values_of(x, side);
        losses[side] = values_of(loss, side);
        OK(relora_tensor_read(sum, stream_of(side), &total[side], sizeof(double)));
    }
    near(losses[GPU], losses[CPU], rows, 1e-6, "losses");
    near(&total[GPU], &total[CPU], 1, 1e-6, "mean");
    near(logits[GPU], logits[CPU], rows * width, dtype == RELORA_F32 ? 1e-6 : 2e-3, "gradient");
}
END_TEST

/* Tokens that are there once, a few times, as often as a block adds up, and very often; what was in the table stays. */
START_TEST(test_embedding_backward)
{
    static const int often[] = {1, 3, 31, 32, 33, 64, 65, 200};
    enum { TOKENS = sizeof often / sizeof *often, ROWS = 429, VOCAB = TOKENS + 1 };
    int64_t width = _i ? 36 : 34;
    double *gradient[SIDES], *values = doubles(ROWS * width);
    int32_t tokens[ROWS], row = 0, left[TOKENS];
    memcpy(left, often, sizeof left);
    for (int i = 0; row < ROWS; i = (i + 1) % TOKENS)
        if (left[i]-- > 0) tokens[row++] = i;
    for (int side = CPU; side < SIDES; side++) {
        struct machine *m = new_machine(side);
        const struct ops *ops = m->engine.ops;
        struct shape s = {ROWS, width, RELORA_F32, &m->engine};
        struct rnd r = rnd_seed(4);
        rnd_fill_normal(&r, values, ROWS * width, 1);
        relora_tensor *dx = new_array(m, RELORA_F32, ROWS * width, values),
                      *table = new_array(m, RELORA_F32, VOCAB * width, values),
                      *places = new_array(m, RELORA_F32, ops->tokens_floats(ROWS), NULL);
        ops->upload(&m->engine, relora_tensor_data(places), tokens, ROWS, VOCAB);
        ops->embedding_backward(s, relora_tensor_data(table), relora_tensor_data(dx),
                                relora_tensor_data(places));
        OK(ops->status(&m->engine));
        gradient[side] = values_of(table, side);
    }
    for (int token = 0; token < VOCAB; token++)
        near(gradient[GPU] + token * width, gradient[CPU] + token * width, width, 1e-6, "row of the table");
}
END_TEST

Suite *kernels_suite(void)
{
    Suite *s = suite_create("kernels of examples/pretrain");
    TCase *tc = both_case(s, "kernels");
    tcase_add_loop_test(tc, test_attention, 0, 2 * CASES);
    tcase_add_loop_test(tc, test_attention_repeats, 0, 2);
    tcase_add_loop_test(tc, test_attention_loads, 0, 2);
    tcase_add_loop_test(tc, test_embedding_backward, 0, 2);
    tcase_add_loop_test(tc, test_cross_entropy, 0, 10);
    return s;
}
