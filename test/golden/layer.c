/* linear_0 to linear_5: one layer of the authors' code, forward, backward and merge. */
#include "golden/golden_suites.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct layer {
    struct golden *file;
    relora_linear *linear;
    relora_tensor *x, *y, *dy, *dx;
    int trainable;
};

static relora_tensor *load(struct golden *g, const char *name)
{
    relora_tensor *t = new_matrix(RELORA_F32, golden_dim(g, name, 0), golden_dim(g, name, 1));
    put(t, golden_values(g, name, NULL));
    return t;
}

static struct layer open_layer(int number)
{
    struct layer l;
    char name[64];
    snprintf(name, sizeof name, "linear_%d.safetensors", number);
    struct golden *g = l.file = open_golden(name);
    relora_linear_options o =
        layer_options(RELORA_MODE_LORA, (int64_t)golden_number(g, "in_features"),
                      (int64_t)golden_number(g, "out_features"), (int64_t)golden_number(g, "rank"));
    l.trainable = strcmp(golden_text(g, "trainable_scaling"), "True") == 0;
    o.alpha = golden_number(g, "alpha");
    if (l.trainable) o.flags |= RELORA_LINEAR_TRAINABLE_SCALE;
    if (golden_has(g, "bias")) o.flags |= RELORA_LINEAR_BIAS;
    l.linear = new_linear(&o);
    OK(relora_linear_set_weight(l.linear, load(g, "weight"), NULL));
    put(relora_linear_param(l.linear, RELORA_PARAM_A), golden_values(g, "lora_A", NULL));
    put(relora_linear_param(l.linear, RELORA_PARAM_B), golden_values(g, "lora_B", NULL));
    if (golden_has(g, "bias"))
        put(relora_linear_param(l.linear, RELORA_PARAM_BIAS), golden_values(g, "bias", NULL));
    if (l.trainable)
        put(relora_linear_param(l.linear, RELORA_PARAM_SCALE), golden_values(g, "scaling", NULL));
    l.x = load(g, "x");
    l.dy = load(g, "dy");
    l.y = new_matrix(RELORA_F32, golden_dim(g, "y", 0), golden_dim(g, "y", 1));
    l.dx = new_matrix(RELORA_F32, golden_dim(g, "dx", 0), golden_dim(g, "dx", 1));
    return l;
}

static void same(struct layer *l, const char *name, const relora_tensor *got)
{
    int64_t n;
    const double *want = golden_values(l->file, name, &n);
    ck_assert_ptr_nonnull(got);
    ck_assert_int_eq(relora_tensor_count(got), n);
    ck_assert_double_gt(largest(want, n), 0);
    /* README: 1e-5 of the largest value; two F32 programs that sum in another order */
    close_check(get(got), want, n, 1e-5 * largest(want, n), name, __FILE__, __LINE__);
}

START_TEST(test_forward_backward)
{
    struct layer l = open_layer(_i);
    OK(relora_linear_forward(l.linear, env.st, l.x, l.y, 0, 0));
    same(&l, "y", l.y);
    OK(relora_linear_backward(l.linear, env.st, l.x, l.dy, l.dx, 0, RELORA_OVERWRITE));
    same(&l, "dx", l.dx);
    same(&l, "dA", relora_linear_grad(l.linear, RELORA_PARAM_A));
    same(&l, "dB", relora_linear_grad(l.linear, RELORA_PARAM_B));
    if (golden_has(l.file, "dbias")) same(&l, "dbias", relora_linear_grad(l.linear, RELORA_PARAM_BIAS));
    if (l.trainable) same(&l, "dscaling", relora_linear_grad(l.linear, RELORA_PARAM_SCALE));
}
END_TEST

/* The same without a layer. */
START_TEST(test_merge_tensors)
{
    struct layer l = open_layer(_i);
    relora_tensor *w = load(l.file, "weight"), *a = load(l.file, "lora_A"), *b = load(l.file, "lora_B");
    relora_merge_options o;
    OK(relora_merge_options_init(&o, sizeof o));
    o.scale = l.trainable ? tanh(*golden_values(l.file, "scaling", NULL))
                          : golden_number(l.file, "alpha") / golden_number(l.file, "rank");
    OK(relora_merge(env.st, w, a, b, &o, NULL));
    same(&l, "merged_weight", w);
}
END_TEST

START_TEST(test_merge)
{
    struct layer l = open_layer(_i);
    OK(relora_linear_merge(l.linear, env.st, 1, NULL));
    same(&l, "merged_weight", relora_linear_param(l.linear, RELORA_PARAM_WEIGHT));
}
END_TEST

/* The bound of the authors' Kaiming draw is ours: 1/sqrt(in). */
START_TEST(test_bound)
{
    struct layer l = open_layer(_i);
    double bound = golden_number(l.file, "kaiming_bound");
    OK(relora_linear_reset(l.linear, env.st, 1));
    relora_tensor *a = relora_linear_param(l.linear, RELORA_PARAM_A);
    double most = largest(get(a), relora_tensor_count(a));
    ck_assert_double_le(most, bound * (1 + 1e-6));
    ck_assert_double_gt(most, 0.75 * bound); /* 14 or more draws: below it with probability 0.75^14 = 2 % at
                                                worst; the draw is fixed by the seed, so it is so or not */
}
END_TEST

Suite *golden_layer(void)
{
    Suite *s = suite_create("golden layer");
    TCase *tc = env_case(s, "layer", 20);
    tcase_add_loop_test(tc, test_forward_backward, 0, 6);
    tcase_add_loop_test(tc, test_merge, 0, 6);
    tcase_add_loop_test(tc, test_merge_tensors, 0, 6);
    tcase_add_loop_test(tc, test_bound, 0, 6);
    return s;
}
