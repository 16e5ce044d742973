/* The direction of a gradient against U V^T by a singular value decomposition in double (make_polar.py). */
#include "golden/golden_suites.h"
#include <stdio.h>

static const char *const cases[] = {"equal",  "hundred",   "wide", "tall",
                                    "lonely", "deficient", "row",  "column"};

START_TEST(test_direction)
{
    struct golden *g = open_golden("polar.safetensors");
    char name[32];
    snprintf(name, sizeof name, "%s_uv", cases[_i]);
    const double *want = golden_values(g, name, NULL);
    int64_t rows = golden_dim(g, name, 0), cols = golden_dim(g, name, 1), n = rows * cols;
    relora_tensor *w = new_matrix(RELORA_F32, rows, cols), *grad = new_matrix(RELORA_F32, rows, cols);
    put(grad, golden_values(g, cases[_i], NULL));
    put_all(w, 0);
    double step = 0.01 * 0.2 * sqrt((double)(rows > cols ? rows : cols));
    OK(relora_full_rank_step(env.st, w, grad, 0.01, NULL, NULL));
    double *direction = get(grad), *moved = get(w), *expected = doubles(n), *error = doubles(n);
    for (int64_t i = 0; i < n; i++) expected[i] = -step * direction[i], error[i] = direction[i] - want[i];
    /* the header has each singular value within 0.003 */
    ck_assert_double_le(norm2(error, n), 0.003 * sqrt((double)(rows < cols ? rows : cols)));
    CLOSE(moved, expected, n, close_tolerance(0, RELORA_F32, step, 4));
}
END_TEST

Suite *golden_polar(void)
{
    Suite *s = suite_create("golden polar factor");
    TCase *tc = env_case(s, "polar factor", 20);
    tcase_add_loop_test(tc, test_direction, 0, sizeof cases / sizeof *cases);
    return s;
}
