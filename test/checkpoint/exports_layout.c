/* Exports in the other layout: the same numbers as in the layer's own, transposed bit for bit. */
#include <jansson.h>
#include "checkpoint/checkpoint.h"

static const struct kind {
    relora_linear_mode mode;
    relora_dtype dtype, bias;
    uint32_t flags;
    int64_t in,
        out; /* one row, one column, several slices and pieces, and a column that exceeds the buffer */
} kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, RELORA_F32, RELORA_LINEAR_KEEP_DELTA, 301, 700},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_BF16, RELORA_LINEAR_KEEP_DELTA, 7, 520},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_BF16, RELORA_LINEAR_IN_OUT | RELORA_LINEAR_KEEP_DELTA, 520, 7},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE, 1, 9},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_F32, 0, 9, 1},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_F32, 0, 3, 131075},
    {RELORA_MODE_FULL, RELORA_F32, RELORA_F32, 0, 5, 6},
    {RELORA_MODE_FULL, RELORA_BF16, RELORA_F32, RELORA_LINEAR_IN_OUT, 5, 6},
    {RELORA_MODE_LOWRANK, RELORA_F32, RELORA_F32, 0, 300, 5},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* W lies in rows with gaps, which are no part of a file. */
static relora_linear *layer_of(const struct kind *k)
{
    enum { GAP = 2 };
    struct rnd rnd = rnd_seed(21);
    relora_linear_options o = layer_options(k->mode, k->in, k->out, 1);
    int turned = (k->flags & RELORA_LINEAR_IN_OUT) != 0;
    int64_t rows = turned ? k->in : k->out, cols = turned ? k->out : k->in;
    relora_tensor *bias = new_vector(k->bias, k->out), *w = NULL;
    o.dtype = k->dtype, o.flags = k->flags | RELORA_LINEAR_BIAS;
    relora_linear *l = new_linear(&o);
    if (k->mode != RELORA_MODE_LOWRANK) {
        OK(relora_tensor_borrow(&w, env.dev, k->dtype, 2, (int64_t[]){rows, cols}, (int64_t[]){cols + GAP, 1},
                                new_floats(rows * (cols + GAP)), NULL, NULL));
        defer((void (*)(void *))relora_tensor_release, w);
        put_normal(w, &rnd, 0.5);
    }
    put_normal(bias, &rnd, 1);
    OK(relora_linear_set_weight(l, w, bias));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        if (relora_linear_param(l, p)) put_normal(relora_linear_param(l, p), &rnd, 1);
    if (k->mode == RELORA_MODE_LORA)
        OK(relora_linear_merge(l, env.st, 1, NULL)); /* so that there is a delta */
    return l;
}

static void is_transpose(const relora_reader *own, const relora_reader *other, const char *name)
{
    const unsigned char *a, *b;
    size_t bytes, same;
    int64_t shape[2], turned[2];
    int32_t ndim;
    OK(relora_reader_shape(own, name, &ndim, shape, 2));
    OK(relora_reader_shape(other, name, &ndim, turned, 2));
    ck_assert_int_eq(ndim, 2);
    ck_assert_int_eq(shape[0], turned[1]);
    ck_assert_int_eq(shape[1], turned[0]);
    ck_assert_str_eq(relora_reader_dtype(own, name), relora_reader_dtype(other, name));
    OK(relora_reader_bytes(own, name, (const void **)&a, &bytes));
    OK(relora_reader_bytes(other, name, (const void **)&b, &same));
    ck_assert_uint_eq(bytes, same);
    size_t item = bytes / (size_t)(shape[0] * shape[1]);
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            if (memcmp(a + (size_t)(i * shape[1] + j) * item, b + (size_t)(j * shape[0] + i) * item, item))
                ck_abort_msg("element [%d, %d] differs", (int)i, (int)j);
}

static void is_same(const relora_reader *own, const relora_reader *other, const char *name)
{
    const void *data;
    size_t bytes;
    int64_t shape[2];
    int32_t ndim;
    OK(relora_reader_shape(own, name, &ndim, shape, 2));
    OK(relora_reader_bytes(own, name, &data, &bytes));
    has_tensor(other, name, relora_reader_dtype(own, name), ndim, shape, data, bytes);
}

START_TEST(test_merged)
{
    const struct kind *k = &kinds[_i];
    relora_linear *l = layer_of(k);
    relora_layout own = k->flags & RELORA_LINEAR_IN_OUT ? RELORA_LAYOUT_IN_OUT : RELORA_LAYOUT_OUT_IN;
    relora_layout other = own == RELORA_LAYOUT_IN_OUT ? RELORA_LAYOUT_OUT_IN : RELORA_LAYOUT_IN_OUT;
    relora_tensor *norm = new_matrix(RELORA_F32, 2, 3);
    relora_state *s = new_state();
    size_t size;
    put_all(norm, 1.5);
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_add_tensor(s, "norm", norm));
    OK(relora_state_export_merged(s, env.st, at("own")));
    OK(relora_state_set_export_layout(s, other));
    OK(relora_state_export_merged(s, env.st, at("other")));
    OK(relora_state_set_export_layout(s, own));
    OK(relora_state_export_merged(s, env.st, at("same")));
    void *bytes = slurp(at("own"), &size);
    holds(at("same"), bytes, size);
    relora_reader *a = open_path(at("own")), *b = open_path(at("other"));
    is_transpose(a, b, "l.weight");
    is_same(a, b, "l.bias");
    is_same(a, b, "norm");
}
END_TEST

START_TEST(test_delta)
{
    const struct kind *k = &kinds[_i];
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", layer_of(k)));
    OK(relora_state_export_delta(s, env.st, at("own")));
    OK(relora_state_set_export_layout(s, k->flags & RELORA_LINEAR_IN_OUT ? RELORA_LAYOUT_OUT_IN
                                                                         : RELORA_LAYOUT_IN_OUT));
    OK(relora_state_export_delta(s, env.st, at("other")));
    is_transpose(open_path(at("own")), open_path(at("other")), "l.weight");
}
END_TEST

static int fan_in_fan_out(void)
{
    json_t *config = json_load_file(at("adapter_config.json"), 0, NULL);
    int is = json_is_true(json_object_get(config, "fan_in_fan_out"));
    json_decref(config);
    return is;
}

/* The factors are the same in each; the configuration says what the base model is like. */
START_TEST(test_adapter)
{
    relora_linear *own = layer_of(&kinds[1]), *turned = layer_of(&kinds[2]);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", own));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    ck_assert_int_eq(fan_in_fan_out(), 0);
    size_t size;
    void *bytes = slurp(at("adapter_model.safetensors"), &size);
    OK(relora_state_set_export_layout(s, RELORA_LAYOUT_IN_OUT));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    ck_assert_int_eq(fan_in_fan_out(), 1);
    holds(at("adapter_model.safetensors"), bytes, size);
    OK(relora_state_add_linear(s, "m", turned));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    OK(relora_state_set_export_layout(s, RELORA_LAYOUT_OUT_IN));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    ck_assert_int_eq(fan_in_fan_out(), 0);
    OK(relora_state_set_export_layout(s, RELORA_LAYOUT_OWN));
    FAILS(RELORA_E_UNSUPPORTED, relora_state_export_adapter(s, env.st, at(""), ""), "fan_in_fan_out",
          "set_export_layout");
}
END_TEST

/* A state's own file has W as the layer has it, gaps and a BF16 bias aside, and gives it back. */
START_TEST(test_state)
{
    const struct kind *k = &kinds[_i];
    relora_linear *l = layer_of(k);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT),
                  *b = relora_linear_param(l, RELORA_PARAM_BIAS);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_set_export_layout(s, RELORA_LAYOUT_IN_OUT));
    OK(relora_state_save(s, env.st, at("state"), 0));
    void *weight = w ? snapshot(w) : NULL, *bias = snapshot(b);
    if (w) put_all(w, 7);
    put_all(b, 7);
    OK(relora_state_load(s, env.st, open_path(at("state"))));
    if (w) UNCHANGED(w, weight);
    UNCHANGED(b, bias);
}
END_TEST

START_TEST(test_arguments)
{
    relora_state *s = new_state();
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_state_set_export_layout(NULL, RELORA_LAYOUT_OWN));
    FAILS(RELORA_E_ARGUMENT, relora_state_set_export_layout(s, 0), "layout", "0");
    FAILS(RELORA_E_ARGUMENT, relora_state_set_export_layout(s, 4), "layout", "4");
}
END_TEST

Suite *exports_layout(void)
{
    Suite *s = suite_create("exports in another layout");
    TCase *tc = env_case(s, "layout", 20);
    tcase_add_loop_test(tc, test_merged, 0, KINDS);
    tcase_add_loop_test(tc, test_delta, 0, 3);
    tcase_add_test(tc, test_adapter);
    tcase_add_loop_test(tc, test_state, 0, KINDS);
    tcase_add_test(tc, test_arguments);
    return s;
}
