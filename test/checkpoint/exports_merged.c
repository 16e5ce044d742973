/* Plain weights: W + s B A as a merge would have made it, rounded to nearest, and the layers as before. */
#include "checkpoint/checkpoint.h"
#include "support/oracle.h"

enum { IN = 7, OUT = 520, RANK = 3 }; /* two slices */

struct kind {
    relora_linear_mode mode;
    relora_dtype dtype;
    uint32_t flags;
};
static const struct kind kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_KEEP_DELTA},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_BIAS},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_TRAINABLE_SCALE},
    {RELORA_MODE_LOWRANK, RELORA_F32, RELORA_LINEAR_BIAS},
    {RELORA_MODE_LOWRANK, RELORA_BF16, RELORA_LINEAR_TRAINABLE_SCALE},
    {RELORA_MODE_FULL, RELORA_F32, RELORA_LINEAR_BIAS},
    {RELORA_MODE_FULL, RELORA_BF16, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static relora_linear *layer_of(const struct kind *k)
{
    struct rnd rnd = rnd_seed(11);
    relora_linear_options o = layer_options(k->mode, IN, OUT, RANK);
    o.dtype = k->dtype;
    o.flags = k->flags;
    o.rounding = RELORA_ROUND_STOCHASTIC; /* which an export does not follow */
    o.alpha = 5;
    relora_linear *l = new_filled_linear(&o, &rnd);
    if (relora_linear_param(l, RELORA_PARAM_SCALE)) put_all(relora_linear_param(l, RELORA_PARAM_SCALE), 0.4);
    return l;
}

/* Bytes of every parameter, one after the other. */
static struct raw everything(relora_linear *l)
{
    struct raw all = {scratch((size_t)OUT * (2 * IN + RANK + 1) * 4 + RANK * IN * 4 + 4), 0};
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++) {
        relora_tensor *t = relora_linear_param(l, p);
        if (!t) continue;
        memcpy(all.bytes + all.size, snapshot(t), bytes_of(t));
        all.size += bytes_of(t);
    }
    return all;
}

/* s B A, plus W where there is one, in double. */
static double *merged(relora_linear *l, double s)
{
    double *a = get(relora_linear_param(l, RELORA_PARAM_A)), *b = get(relora_linear_param(l, RELORA_PARAM_B));
    double *sum = doubles(OUT * IN);
    if (relora_linear_param(l, RELORA_PARAM_WEIGHT)) return oracle_merged(l, s);
    for (int i = 0; i < OUT * IN; i++)
        for (int k = 0; k < RANK; k++) sum[i] += s * b[i / IN * RANK + k] * a[k * IN + i % IN];
    return sum;
}

/* Against W + s B A in double: within rounding in F32, and in BF16 the nearest unless on the edge. */
static void near_oracle(const relora_reader *r, relora_linear *l, const struct kind *k)
{
    const void *data;
    size_t bytes;
    const int64_t shape[] = {OUT, IN};
    double s = k->flags & RELORA_LINEAR_TRAINABLE_SCALE ? tanh(0.4) : 5.0 / RANK;
    double *want =
        k->mode == RELORA_MODE_FULL ? get(relora_linear_param(l, RELORA_PARAM_WEIGHT)) : merged(l, s);
    relora_tensor *t = new_matrix(k->dtype, OUT, IN);
    OK(relora_reader_bytes(r, "model.l.weight", &data, &bytes));
    has_tensor(r, "model.l.weight", k->dtype == RELORA_BF16 ? "BF16" : "F32", 2, shape, data, bytes);
    OK(relora_tensor_write(t, env.st, data, bytes));
    double *got = get(t);
    for (int i = 0; i < OUT * IN; i++) {
        double step = k->dtype == RELORA_BF16 ? ldexp(1, ilogb(want[i]) - 7) : 0;
        ck_assert_msg(fabs(got[i] - want[i]) <= step / 2 * 1.001 + 1e-5, "element %d: %g, not %g", i, got[i],
                      want[i]);
    }
}

START_TEST(test_value)
{
    const struct kind *k = &kinds[_i];
    relora_linear *l = layer_of(k);
    relora_tensor *norm = new_vector(RELORA_BF16, 3), *bias = relora_linear_param(l, RELORA_PARAM_BIAS);
    relora_state *s = new_state();
    put_all(norm, 1.5);
    OK(relora_state_add_linear(s, "model.l", l));
    OK(relora_state_add_tensor(s, "model.norm.weight", norm));
    struct raw was = everything(l);
    OK(relora_state_export_merged(s, env.st, at("plain")));
    struct raw after = everything(l);
    ck_assert_uint_eq(was.size, after.size);
    SAME_BYTES(was.bytes, after.bytes, was.size);
    relora_reader *r = open_path(at("plain"));
    near_oracle(r, l, k);
    has_tensor(r, "model.norm.weight", "BF16", 1, (int64_t[]){3}, snapshot(norm), 6);
    if (bias) has_tensor(r, "model.l.bias", "F32", 1, (int64_t[]){OUT}, snapshot(bias), OUT * 4);
    ck_assert_int_eq(relora_reader_count(r), bias ? 3 : 2);
    ck_assert_str_eq(relora_reader_metadata(r, "format"), "pt");
    ck_assert_int_eq(relora_reader_metadata_count(r), 1);
}
END_TEST

/* In LORA exactly what a merge to nearest makes of W, [in, out] included. */
START_TEST(test_as_a_merge)
{
    const struct kind *k = &kinds[_i % 4];
    int turned = _i / 4;
    struct rnd rnd = rnd_seed(12);
    relora_linear_options o = layer_options(k->mode, IN, OUT, RANK);
    o.dtype = k->dtype;
    o.flags = k->flags | (turned ? RELORA_LINEAR_IN_OUT : 0);
    o.rounding = RELORA_ROUND_NEAREST;
    relora_linear *l = new_filled_linear(&o, &rnd);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    relora_state *s = new_state();
    const void *before = snapshot(w);
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_export_merged(s, env.st, at("plain")));
    OK(relora_linear_merge(l, env.st, 0, NULL));
    ck_assert_int_ne(memcmp(before, snapshot(w), bytes_of(w)), 0);
    has_tensor(open_path(at("plain")), "l.weight", k->dtype == RELORA_BF16 ? "BF16" : "F32", 2,
               (int64_t[]){turned ? IN : OUT, turned ? OUT : IN}, snapshot(w), bytes_of(w));
}
END_TEST

/* A W that is a block of columns of a larger array, as a host may hold it. */
START_TEST(test_strided_weight)
{
    enum { ROWS = 6, COLS = 4, PITCH = 9 };
    struct rnd rnd = rnd_seed(13);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, COLS, ROWS, 2);
    relora_linear *l = new_linear(&o);
    float memory[ROWS * PITCH], dense[ROWS * COLS];
    relora_tensor *w, *d;
    for (int i = 0; i < ROWS * PITCH; i++) memory[i] = (float)rnd_normal(&rnd);
    for (int i = 0; i < ROWS * COLS; i++) dense[i] = memory[i / COLS * PITCH + i % COLS];
    const int64_t shape[] = {ROWS, COLS}, strides[] = {PITCH, 1};
    OK(relora_tensor_borrow(&w, env.dev, RELORA_F32, 2, shape, strides, memory, NULL, NULL));
    OK(relora_linear_set_weight(l, w, NULL));
    relora_tensor_release(w);
    put_normal(relora_linear_param(l, RELORA_PARAM_B), &rnd, 1);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_export_merged(s, env.st, at("strided")));
    OK(relora_state_save(s, env.st, at("state"), 0));
    has_tensor(open_path(at("state")), "l.weight", "F32", 2, (int64_t[]){ROWS, COLS}, dense, sizeof dense);
    d = new_matrix(RELORA_F32, ROWS, COLS);
    OK(relora_tensor_write(d, env.st, dense, sizeof dense));
    OK(relora_linear_set_weight(l, d, NULL));
    OK(relora_state_export_merged(s, env.st, at("dense")));
    size_t size;
    void *bytes = slurp(at("dense"), &size);
    holds(at("strided"), bytes, size);
}
END_TEST

Suite *exports_merged(void)
{
    Suite *s = suite_create("plain weights");
    TCase *tc = env_case(s, "merged", 20);
    tcase_add_loop_test(tc, test_value, 0, KINDS);
    tcase_add_loop_test(tc, test_as_a_merge, 0, 8);
    tcase_add_test(tc, test_strided_weight);
    return s;
}
