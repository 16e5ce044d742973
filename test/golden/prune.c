/* prune_magnitude: the authors' magnitude pruning, bit for bit, in the mode that has their rule. T7 */
#include "golden/golden_suites.h"
#include <stdio.h>

static const char *const cases[] = {"m0", "m1", "m2", "m3", "m4", "m5", "m6", "t0", "t1", "t2", "t3"};

START_TEST(test_exact)
{
    struct golden *g = open_golden("prune_magnitude.safetensors");
    char name[32];
    int64_t n;
    struct rnd r = rnd_seed(1);
    snprintf(name, sizeof name, "%s_in", cases[_i]);
    const double *in = golden_values(g, name, &n);
    snprintf(name, sizeof name, "%s_out", cases[_i]);
    const double *out = golden_values(g, name, NULL);
    snprintf(name, sizeof name, "%s_ratio", cases[_i]);
    double ratio = *golden_values(g, name, NULL);

    relora_adam *adam = new_adam(NULL);
    int32_t index = add_vector(adam, "p", n, &r, NULL, NULL);
    relora_tensor *want = new_vector(RELORA_F32, n);
    put(want, out);
    void *bytes = snapshot(want);
    relora_reset_options o =
        reset_options(RELORA_RESET_MAGNITUDE, ratio, RELORA_RESET_QUANTILE | RELORA_RESET_INDEPENDENT);
    for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
        put(relora_adam_moment(adam, index, m), in);
    OK(relora_adam_reset(adam, env.st, &index, 1, &o, NULL));
    for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
        UNCHANGED(relora_adam_moment(adam, index, m), bytes);

    relora_tensor *moments[2];
    for (int i = 0; i < 2; i++) { /* without an optimizer */
        moments[i] = new_vector(RELORA_F32, n);
        put(moments[i], in);
    }
    OK(relora_moments_reset(env.st, moments[0], moments[1], 0, &o, NULL));
    for (int i = 0; i < 2; i++) UNCHANGED(moments[i], bytes);
}
END_TEST

Suite *golden_prune(void)
{
    Suite *s = suite_create("golden prune");
    TCase *tc = env_case(s, "prune", 20);
    tcase_add_loop_test(tc, test_exact, 0, sizeof cases / sizeof *cases);
    return s;
}
