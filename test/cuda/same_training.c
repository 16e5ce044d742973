/* A warm start and three restarts, with dropout, clipping and resets by magnitude, on the CPU and on the device:
 * the same curve, though products are summed in another order. */
#include <stdlib.h>
#include "cuda/both.h"
#include "cuda/suites.h"
#include "train/toy.h"

START_TEST(test_curve)
{
    int64_t count;
    env_close();
    env_open_on(RELORA_DEVICE_CPU, 1);
    const double *losses = toy_losses(&count);
    double *want = malloc((size_t)count * sizeof *want);
    memcpy(want, losses, (size_t)count * sizeof *want);
    env_close();
    env_open();
    defer(free, want);
    const double *got = toy_losses(&count);
    ck_assert_double_lt(want[count - 1], 0.8 * want[0]);
    /* roundings grow from step to step, and a mask may part with one element more or less: 1e-3 is what
     * golden/README.md allows two programs over as many updates */
    for (int64_t i = 0; i < count; i++) ck_assert_double_eq_tol(got[i], want[i], 1e-3 * want[i]);
}
END_TEST

Suite *same_training(void)
{
    Suite *s = suite_create("CPU and device: training");
    TCase *tc = env_case(s, "training", 120);
    tcase_add_test(tc, test_curve);
    return s;
}
