/* The sum of all merges: W is what it was when it became frozen, plus this. */
#include "checkpoint/checkpoint.h"

enum { IN = 9, OUT = 300, RANK = 2, MERGES = 5 };

static relora_linear *layer_of(relora_dtype dtype, relora_linear_mode mode, relora_rounding rounding)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.dtype = dtype;
    o.flags = RELORA_LINEAR_KEEP_DELTA;
    o.rounding = rounding;
    o.alpha = 1;
    relora_linear *l = new_linear(&o);
    struct rnd rnd = rnd_seed(31);
    relora_tensor *w = new_matrix(dtype, OUT, IN);
    double *v = doubles(OUT * IN);
    for (int i = 0; i < OUT * IN; i++) v[i] = rnd_uniform(&rnd, 0.25, 2); /* differences fit an F32 */
    put(w, v);
    OK(relora_linear_set_weight(l, w, NULL));
    return l;
}

static void merge_often(relora_linear *l, int merges)
{
    struct rnd rnd = rnd_seed(32);
    for (int i = 0; i < merges; i++) {
        put_normal(relora_linear_param(l, RELORA_PARAM_B), &rnd, 0.1);
        OK(relora_linear_merge(l, env.st, (uint64_t)i, NULL));
        OK(relora_linear_reset(l, env.st, (uint64_t)i + 1));
    }
}

/* The file holds [OUT, IN] floats; they come back as doubles. */
static double *exported(relora_linear *l)
{
    relora_state *s = new_state();
    relora_tensor *t = new_matrix(RELORA_F32, OUT, IN);
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_export_delta(s, env.st, at("delta")));
    relora_reader *r = open_path(at("delta"));
    ck_assert_int_eq(relora_reader_count(r), 1);
    OK(relora_reader_read(r, env.st, "l.weight", t, 0));
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_DELTA), snapshot(t));
    return get(t);
}

/* Exactly in BF16, whichever the rounding; in F32 within the rounding of the sums. */
START_TEST(test_sum_of_merges)
{
    relora_dtype dtype = _i ? RELORA_BF16 : RELORA_F32;
    relora_rounding rounding = _i == 2 ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC;
    relora_linear *l = layer_of(dtype, RELORA_MODE_LORA, rounding);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    double *start = get(w), *want = doubles(OUT * IN), moved = 0;
    CLOSE(exported(l), want, OUT * IN, 0); /* 0 at first */
    merge_often(l, MERGES);
    double *end = get(w);
    for (int i = 0; i < OUT * IN; i++) {
        want[i] = end[i] - start[i];
        moved = fmax(moved, fabs(want[i]));
    }
    ck_assert_double_gt(moved, 0.05);
    CLOSE(exported(l), want, OUT * IN, _i ? 0 : MERGES * 0x1p-23);
}
END_TEST

/* Kept from the moment W is frozen: what the warm start did is not in it. */
START_TEST(test_kept_from_set_mode)
{
    relora_linear *l = layer_of(RELORA_BF16, RELORA_MODE_FULL, RELORA_ROUND_NEAREST);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    relora_state *s = new_state();
    double *want = doubles(OUT * IN);
    OK(relora_state_add_linear(s, "l", l));
    ck_assert_ptr_null(relora_linear_param(l, RELORA_PARAM_DELTA));
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_delta(s, env.st, at("delta")), "");
    put_all(w, 1.25); /* training */
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    ck_assert_ptr_nonnull(relora_linear_param(l, RELORA_PARAM_DELTA));
    ck_assert_ptr_null(relora_linear_grad(l, RELORA_PARAM_DELTA));
    CLOSE(exported(l), want, OUT * IN, 0);
    double *start = get(w);
    merge_often(l, 2);
    double *end = get(w);
    for (int i = 0; i < OUT * IN; i++) want[i] = end[i] - start[i];
    CLOSE(exported(l), want, OUT * IN, 0);
}
END_TEST

/* Merging makes the same W with and without it. */
START_TEST(test_changes_nothing_else)
{
    relora_linear *with = layer_of(RELORA_BF16, RELORA_MODE_LORA, RELORA_ROUND_STOCHASTIC);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = RELORA_BF16;
    o.alpha = 1;
    relora_linear *without = new_linear(&o);
    relora_tensor *w = new_matrix(RELORA_BF16, OUT, IN);
    OK(relora_tensor_copy(w, relora_linear_param(with, RELORA_PARAM_WEIGHT), env.st));
    OK(relora_linear_set_weight(without, w, NULL));
    merge_often(with, 3);
    merge_often(without, 3);
    UNCHANGED(w, snapshot(relora_linear_param(with, RELORA_PARAM_WEIGHT)));
    ck_assert_ptr_null(relora_linear_param(without, RELORA_PARAM_DELTA));
}
END_TEST

/* Only layers that keep one are in the file. */
START_TEST(test_some_layers)
{
    relora_linear_options plain = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    struct rnd rnd = rnd_seed(1);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "plain", new_filled_linear(&plain, &rnd)));
    OK(relora_state_add_linear(s, "kept", layer_of(RELORA_F32, RELORA_MODE_LORA, RELORA_ROUND_NEAREST)));
    OK(relora_state_add_tensor(s, "norm", new_vector(RELORA_F32, 3)));
    OK(relora_state_export_delta(s, env.st, at("delta")));
    relora_reader *r = open_path(at("delta"));
    ck_assert_int_eq(relora_reader_count(r), 1);
    ck_assert_str_eq(relora_reader_name(r, 0), "kept.weight");
    ck_assert_str_eq(relora_reader_dtype(r, "kept.weight"), "F32");
}
END_TEST

Suite *exports_delta(void)
{
    Suite *s = suite_create("sums of merges");
    TCase *tc = env_case(s, "deltas", 20);
    tcase_add_loop_test(tc, test_sum_of_merges, 0, 3);
    tcase_add_test(tc, test_kept_from_set_mode);
    tcase_add_test(tc, test_changes_nothing_else);
    tcase_add_test(tc, test_some_layers);
    return s;
}
