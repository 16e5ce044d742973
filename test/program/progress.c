/* The bar at every width, with numbers small and large. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../../examples/pretrain/progress.h"
#include "program/suites.h"

static const struct progress cases[] = {
    {.total = 1, .loss = -1},
    {.total = 960, .step = 480, .loss = 1.555, .lr = 3e-3, .tokens_per_s = 22500},
    {.total = 960, .step = 960, .loss = 1.555, .lr = 0, .tokens_per_s = 22500},
    {.total = 4000000000, .step = 3999999999, .loss = 123456.789, .lr = 1e-300, .tokens_per_s = 1e12},
    {.total = 10, .step = 12, .loss = 1}, /* more than all: not to be seen, and no harm */
};
static const double left[] = {0, 59.9, 3599, 86399, 1e8, 1e300, HUGE_VAL, NAN};
enum { CASES = sizeof cases / sizeof *cases, TIMES = sizeof left / sizeof *left };

START_TEST(test_fits)
{
    char text[264];
    for (int columns = 1; columns < 1000; columns++)
        for (int t = 0; t < TIMES; t++) {
            progress_draw(&cases[_i], columns, left[t], text, sizeof text);
            ck_assert_uint_lt(strlen(text), (size_t)columns);
        }
}
END_TEST

/* What people look for is there at the usual width. */
START_TEST(test_tells)
{
    char text[264];
    progress_draw(&cases[1], 80, 100, text, sizeof text);
    ck_assert_int_eq(text[0], '[');
    ck_assert_ptr_nonnull(strstr(text, "] 480/960  loss 1.555"));
    ck_assert_ptr_nonnull(strstr(text, "1:40 left"));
    progress_draw(&cases[1], 40, 100, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "480/960  loss 1.555"));
    progress_draw(&cases[1], 120, 100, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "lr 3.00e-03  22500 tokens/s  1:40 left"));
}
END_TEST

Suite *program_progress(void)
{
    Suite *s = suite_create("progress");
    TCase *tc = tcase_create("progress");
    tcase_add_loop_test(tc, test_fits, 0, CASES);
    tcase_add_test(tc, test_tells);
    suite_add_tcase(s, tc);
    return s;
}
