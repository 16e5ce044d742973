/* Adapters as PEFT reads them: keys, shapes and values of the tensors, fields of the configuration. */
#include <errno.h>
#include <jansson.h>
#include "checkpoint/checkpoint.h"

static relora_linear *layer_of(int64_t in, int64_t out, int64_t rank, double alpha, uint32_t flags)
{
    struct rnd rnd = rnd_seed((uint64_t)(in * 100 + out));
    relora_linear_options o = layer_options(RELORA_MODE_LORA, in, out, rank);
    o.alpha = alpha;
    o.dropout = 0.125;
    o.flags = flags;
    return new_filled_linear(&o, &rnd);
}

static void release_json(void *p) { json_decref(p); }

static json_t *config(void)
{
    json_error_t error;
    json_t *c = json_load_file(at("adapter_config.json"), JSON_REJECT_DUPLICATES, &error);
    if (!c) ck_abort_msg("adapter_config.json: %s", error.text);
    defer(release_json, c);
    return c;
}

static void has_string(json_t *c, const char *key, const char *value)
{
    const char *got = json_string_value(json_object_get(c, key));
    ck_assert_msg(got && !strcmp(got, value), "%s is %s", key, got ? got : "no string");
}

static void has_integer(json_t *c, const char *key, json_int_t value)
{
    json_t *got = json_object_get(c, key);
    ck_assert_msg(json_is_integer(got) && json_integer_value(got) == value, "%s", key);
}

static void has_factors(const relora_reader *r, const char *a, const char *b, relora_linear *l)
{
    relora_tensor *ta = relora_linear_param(l, RELORA_PARAM_A), *tb = relora_linear_param(l, RELORA_PARAM_B);
    int64_t sa[] = {relora_tensor_dim(ta, 0), relora_tensor_dim(ta, 1)};
    int64_t sb[] = {relora_tensor_dim(tb, 0), relora_tensor_dim(tb, 1)};
    has_tensor(r, a, "F32", 2, sa, snapshot(ta), bytes_of(ta));
    has_tensor(r, b, "F32", 2, sb, snapshot(tb), bytes_of(tb));
}

/* Two layers alike: all that PEFT asks for, and nothing in the patterns. Other parts of the state have no
 * place in an adapter. */
START_TEST(test_alike)
{
    relora_linear *q = layer_of(5, 3, 2, 16, RELORA_LINEAR_BIAS), *v = layer_of(6, 4, 2, 16, 0);
    relora_linear_options full = layer_options(RELORA_MODE_FULL, 5, 3, 0);
    relora_linear_options low = layer_options(RELORA_MODE_LOWRANK, 5, 3, 2);
    struct rnd rnd = rnd_seed(2);
    relora_state *s = new_state();
    OK(relora_state_add_tensor(s, "model.norm.weight", new_vector(RELORA_F32, 3)));
    OK(relora_state_add_linear(s, "lm_head", new_filled_linear(&full, &rnd)));
    OK(relora_state_add_linear(s, "low", new_filled_linear(&low, &rnd)));
    OK(relora_state_add_linear(s, "model.layers.0.self_attn.q_proj", q));
    OK(relora_state_add_linear(s, "model.layers.0.self_attn.v_proj", v));
    OK(relora_state_export_adapter(s, env.st, at(""), "org/größe"));
    ck_assert_int_eq(files(), 2);
    relora_reader *r = open_path(at("adapter_model.safetensors"));
    ck_assert_int_eq(relora_reader_count(r), 4);
    has_factors(r, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", q);
    has_factors(r, "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight",
                "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", v);
    ck_assert_str_eq(relora_reader_metadata(r, "format"), "pt");
    json_t *c = config(), *modules = json_object_get(c, "target_modules");
    has_string(c, "peft_type", "LORA");
    has_string(c, "task_type", "CAUSAL_LM");
    has_string(c, "base_model_name_or_path", "org/größe");
    has_string(c, "bias", "none");
    has_integer(c, "r", 2);
    has_integer(c, "lora_alpha", 16);
    ck_assert(json_is_false(json_object_get(c, "fan_in_fan_out")));
    ck_assert(json_is_false(json_object_get(c, "use_rslora")));
    ck_assert(json_is_true(json_object_get(c, "inference_mode")));
    ck_assert(json_is_true(json_object_get(c, "init_lora_weights")));
    ck_assert(json_is_null(json_object_get(c, "modules_to_save")));
    ck_assert_double_eq(json_number_value(json_object_get(c, "lora_dropout")), 0.125);
    ck_assert(json_is_object(json_object_get(c, "rank_pattern")));
    ck_assert(json_is_object(json_object_get(c, "alpha_pattern")));
    ck_assert_uint_eq(json_object_size(json_object_get(c, "rank_pattern")), 0);
    ck_assert_uint_eq(json_object_size(json_object_get(c, "alpha_pattern")), 0);
    ck_assert_uint_eq(json_array_size(modules), 2);
    ck_assert_str_eq(json_string_value(json_array_get(modules, 0)), "model.layers.0.self_attn.q_proj");
    ck_assert_str_eq(json_string_value(json_array_get(modules, 1)), "model.layers.0.self_attn.v_proj");
}
END_TEST

/* PEFT has one word for all layers of a model. */
START_TEST(test_in_out)
{
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "a", layer_of(5, 3, 2, 16, RELORA_LINEAR_IN_OUT)));
    OK(relora_state_export_adapter(s, env.st, at(""), "gpt2"));
    ck_assert(json_is_true(json_object_get(config(), "fan_in_fan_out")));
    OK(relora_state_add_linear(s, "b", layer_of(6, 3, 2, 16, 0)));
    FAILS(RELORA_E_UNSUPPORTED, relora_state_export_adapter(s, env.st, at(""), "gpt2"), "IN_OUT",
          "fan_in_fan_out");
}
END_TEST

/* Ranks and alphas that differ from the first layer's, and only those, are in the patterns. */
START_TEST(test_patterns)
{
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "a", layer_of(5, 3, 2, 16, 0)));
    OK(relora_state_add_linear(s, "b", layer_of(5, 3, 4, 16, 0)));
    OK(relora_state_add_linear(s, "c", layer_of(5, 3, 2, 8.5, 0)));
    OK(relora_state_add_linear(s, "d", layer_of(5, 3, 7, 1, 0)));
    OK(relora_state_add_linear(s, "e", layer_of(5, 3, 1, 32, 0)));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    json_t *c = config(), *ranks = json_object_get(c, "rank_pattern");
    json_t *alphas = json_object_get(c, "alpha_pattern");
    has_string(c, "base_model_name_or_path", "");
    has_integer(c, "r", 2);
    has_integer(c, "lora_alpha", 16);
    ck_assert_uint_eq(json_object_size(ranks), 3);
    has_integer(ranks, "b", 4);
    has_integer(ranks, "d", 7);
    has_integer(ranks, "e", 1);
    ck_assert_uint_eq(json_object_size(alphas), 3);
    has_integer(alphas, "e", 32);
    ck_assert_double_eq(json_real_value(json_object_get(alphas, "c")), 8.5);
    has_integer(alphas, "d", 1);
}
END_TEST

/* PEFT multiplies by alpha / r: so that is tanh(scale), to the digits an F32 has. */
START_TEST(test_trainable_scale)
{
    relora_linear *first = layer_of(5, 3, 4, 99, RELORA_LINEAR_TRAINABLE_SCALE);
    relora_linear *second = layer_of(5, 3, 2, 99, RELORA_LINEAR_TRAINABLE_SCALE);
    relora_state *s = new_state();
    put_all(relora_linear_param(first, RELORA_PARAM_SCALE), 0.3);
    put_all(relora_linear_param(second, RELORA_PARAM_SCALE), -0.7);
    OK(relora_state_add_linear(s, "first", first));
    OK(relora_state_add_linear(s, "second", second));
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    json_t *c = config();
    double alpha = json_number_value(json_object_get(c, "lora_alpha"));
    double other = json_number_value(json_object_get(json_object_get(c, "alpha_pattern"), "second"));
    ck_assert_double_eq_tol(alpha / 4, tanh((double)0.3f), 1e-9);
    ck_assert_double_eq_tol(other / 2, tanh((double)-0.7f), 1e-9);
    has_integer(json_object_get(c, "rank_pattern"), "second", 2);
    ck_assert_int_eq(relora_reader_count(open_path(at("adapter_model.safetensors"))), 4); /* no scale */
}
END_TEST

/* No number that JSON could hold: nothing is written. */
START_TEST(test_scale_not_finite)
{
    relora_linear *l = layer_of(5, 3, 2, 99, RELORA_LINEAR_TRAINABLE_SCALE);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", l));
    for (int i = 0; i < 2; i++) {
        put_all(relora_linear_param(l, RELORA_PARAM_SCALE), i ? INFINITY : NAN);
        FAILS(RELORA_E_NOT_FINITE, relora_state_export_adapter(s, env.st, at(""), ""), "scale");
        ck_assert_int_eq(files(), 0);
    }
}
END_TEST

/* The adapter beside the present W is the layer: y = x (W + s B A)^T, by the numbers in the files. */
START_TEST(test_what_it_is_worth)
{
    relora_linear *l = layer_of(5, 3, 2, 3, RELORA_LINEAR_TRAINABLE_SCALE);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    relora_state *s = new_state();
    put_all(relora_linear_param(l, RELORA_PARAM_SCALE), 0.6);
    OK(relora_state_add_linear(s, "l", l));
    errno = EDOM; /* the host's: that there were no files before must not show */
    OK(relora_state_export_adapter(s, env.st, at(""), ""));
    ck_assert_int_eq(errno, EDOM);
    OK(relora_state_export_merged(s, env.st, at("merged")));
    relora_reader *r = open_path(at("adapter_model.safetensors")), *m = open_path(at("merged"));
    relora_tensor *a = new_matrix(RELORA_F32, 2, 5), *b = new_matrix(RELORA_F32, 3, 2);
    relora_tensor *merged = new_matrix(RELORA_F32, 3, 5);
    OK(relora_reader_read(r, env.st, "base_model.model.l.lora_A.weight", a, 0));
    OK(relora_reader_read(r, env.st, "base_model.model.l.lora_B.weight", b, 0));
    OK(relora_reader_read(m, env.st, "l.weight", merged, 0));
    json_t *c = config();
    double scale =
        json_number_value(json_object_get(c, "lora_alpha")) / json_number_value(json_object_get(c, "r"));
    double *va = get(a), *vb = get(b), *want = get(w);
    for (int i = 0; i < 15; i++)
        for (int k = 0; k < 2; k++) want[i] += scale * vb[i / 5 * 2 + k] * va[k * 5 + i % 5];
    CLOSE(get(merged), want, 15, 1e-6);
}
END_TEST

/* An older adapter is replaced; other files of the folder stay. */
START_TEST(test_replaced)
{
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", layer_of(5, 3, 2, 16, 0)));
    spit(at("README.md"), "mine", 4);
    spit(at("adapter_config.json"), "old", 3);
    spit(at("adapter_model.safetensors"), "old", 3);
    OK(relora_state_export_adapter(s, env.st, at(""), "base"));
    ck_assert_int_eq(files(), 3);
    holds(at("README.md"), "mine", 4);
    has_string(config(), "base_model_name_or_path", "base");
    ck_assert_int_eq(relora_reader_count(open_path(at("adapter_model.safetensors"))), 2);
}
END_TEST

Suite *exports_adapter(void)
{
    Suite *s = suite_create("adapters");
    TCase *tc = env_case(s, "adapters", 20);
    tcase_add_test(tc, test_alike);
    tcase_add_test(tc, test_in_out);
    tcase_add_test(tc, test_patterns);
    tcase_add_test(tc, test_trainable_scale);
    tcase_add_test(tc, test_scale_not_finite);
    tcase_add_test(tc, test_what_it_is_worth);
    tcase_add_test(tc, test_replaced);
    return s;
}
