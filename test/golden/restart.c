/* A from a gradient, and moments of B that go with A, against NumPy (make_restart.py). */
#include "golden/golden_suites.h"
#include <stdio.h>

static const char *const cases[] = {"small", "square", "wide"};

static relora_tensor *stored(struct golden *g, const char *of, const char *what)
{
    char name[32];
    snprintf(name, sizeof name, "%s_%s", of, what);
    relora_tensor *t = new_matrix(RELORA_F32, golden_dim(g, name, 0), golden_dim(g, name, 1));
    put(t, golden_values(g, name, NULL));
    return t;
}

static void check(relora_tensor *got, relora_tensor *want, double relative)
{
    double *values = get(want);
    int64_t n = relora_tensor_count(want);
    CLOSE(get(got), values, n, relative * largest(values, n));
}

START_TEST(test_gradient)
{
    struct golden *g = open_golden("restart.safetensors");
    relora_tensor *a = stored(g, cases[_i], "old"), *gradient = stored(g, cases[_i], "gradient");
    relora_tensor *b = new_matrix(RELORA_F32, 4, relora_tensor_dim(a, 0));
    relora_factors_options o;
    OK(relora_factors_options_init(&o, sizeof o));
    o.init = RELORA_INIT_GRADIENT;
    OK(relora_factors_renew(env.st, a, b, gradient, &o, NULL));
    check(a, stored(g, cases[_i], "new"), 1e-6); /* both in double, and rounded once */
}
END_TEST

START_TEST(test_moments)
{
    struct golden *g = open_golden("restart.safetensors");
    relora_tensor *first = stored(g, cases[_i], "first"), *second = stored(g, cases[_i], "second");
    char name[32];
    snprintf(name, sizeof name, "%s_steps", cases[_i]);
    OK(relora_moments_project(env.st, first, second, stored(g, cases[_i], "old"), stored(g, cases[_i], "new"),
                              0.9, 0.99, (int64_t)*golden_values(g, name, NULL)));
    check(first, stored(g, cases[_i], "first_new"), 1e-6); /* likewise, and A_new was rounded before */
    check(second, stored(g, cases[_i], "second_new"), 1e-6);
}
END_TEST

Suite *golden_restart(void)
{
    Suite *s = suite_create("golden restart");
    TCase *tc = env_case(s, "restart", 20);
    tcase_add_loop_test(tc, test_gradient, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tc, test_moments, 0, sizeof cases / sizeof *cases);
    return s;
}
