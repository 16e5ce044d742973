/* Dropout: a function of (seed, layer, call) on the input of the low-rank branch and nowhere else. */
#include "conformance/suites.h"
#include <stdlib.h>

enum { ROWS = 200, IN = 60 };

static relora_linear_options options(double p, uint64_t seed, uint64_t layer)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, 8, 4);
    o.dropout = p;
    o.seed = seed;
    o.layer = layer;
    return o;
}

static double *keep(double p, uint64_t seed, uint64_t layer, uint64_t call)
{
    relora_linear_options o = options(p, seed, layer);
    return oracle_keep(&o, ROWS, call);
}

/* Each element is 0 or 1 / (1 - p); the share of zeros is p within 5 standard deviations. */
START_TEST(test_values_and_share)
{
    static const double ps[] = {0.1, 0.5, 0.9};
    double p = ps[_i], zeros = 0, n = ROWS * IN;
    double *k = keep(p, 1, 2, 3);
    for (int i = 0; i < ROWS * IN; i++) {
        zeros += k[i] == 0;
        ck_assert_msg(k[i] == 0 || fabs(k[i] - 1 / (1 - p)) < 1e-6 / (1 - p), "%g", k[i]);
    }
    ck_assert_double_lt(fabs(zeros - p * n), 5 * sqrt(n * p * (1 - p)));
}
END_TEST

static double disagreement(const double *a, const double *b)
{
    double count = 0;
    for (int i = 0; i < ROWS * IN; i++) count += (a[i] == 0) != (b[i] == 0);
    return count / (ROWS * IN);
}

/* The same key: the same mask. Any other seed, layer or call: an independent one, which disagrees on
 * 2 p (1 - p) = 0.5 of the elements, standard deviation 0.0046; 0.03 is over 6 of them. */
START_TEST(test_key)
{
    double *k = keep(0.5, 1, 2, 3);
    ck_assert_double_eq(disagreement(k, keep(0.5, 1, 2, 3)), 0);
    ck_assert_double_lt(fabs(disagreement(k, keep(0.5, 9, 2, 3)) - 0.5), 0.03);
    ck_assert_double_lt(fabs(disagreement(k, keep(0.5, 1, 9, 3)) - 0.5), 0.03);
    ck_assert_double_lt(fabs(disagreement(k, keep(0.5, 1, 2, 9)) - 0.5), 0.03);
    ck_assert_double_lt(fabs(disagreement(k, keep(0.5, 1, 2, UINT64_C(3) << 40)) - 0.5), 0.03);
    ck_assert_double_lt(fabs(disagreement(k, keep(0.5, UINT64_C(1) << 40, 2, 3)) - 0.5), 0.03);
}
END_TEST

/* Rows do not repeat the mask of other rows, nor columns that of other columns. */
START_TEST(test_rows_differ)
{
    double *k = keep(0.5, 1, 2, 3), same_row = 0, same_col = 0;
    for (int i = 0; i < ROWS - 1; i++)
        for (int j = 0; j < IN - 1; j++) {
            same_row += k[i * IN + j] == k[(i + 1) * IN + j];
            same_col += k[i * IN + j] == k[i * IN + j + 1];
        }
    double n = (ROWS - 1) * (IN - 1); /* 0.5 +- 0.0046 */
    ck_assert_double_lt(fabs(same_row / n - 0.5), 0.03);
    ck_assert_double_lt(fabs(same_col / n - 0.5), 0.03);
}
END_TEST

struct run {
    relora_linear *l;
    relora_tensor *x, *y;
};

static struct run new_run(double p)
{
    struct rnd r = rnd_seed(4);
    relora_linear_options o = options(p, 1, 2);
    struct run run = {new_filled_linear(&o, &r), new_matrix(RELORA_F32, ROWS, IN),
                      new_matrix(RELORA_F32, ROWS, 8)};
    put_normal(run.x, &r, 1);
    return run;
}

static double *forward(struct run *run, uint64_t call, uint32_t flags)
{
    OK(relora_linear_forward(run->l, env.st, run->x, run->y, call, flags));
    return get(run->y);
}

/* Wide rows: random words are made 256 at a time, and the mask does not start over with each batch. */
START_TEST(test_columns_differ)
{
    enum { FEW = 30, WIDE = 600 };
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, WIDE, 1, 1);
    o.dropout = 0.5;
    double *k = oracle_keep(&o, FEW, 3), same = 0, n = FEW * (WIDE - 256);
    for (int i = 0; i < FEW; i++)
        for (int j = 0; j < WIDE - 256; j++) same += k[i * WIDE + j] == k[i * WIDE + j + 256];
    ck_assert_double_lt(fabs(same / n - 0.5), 0.03); /* 6 deviations of 0.005 */
}
END_TEST

/* The mask does not depend on the number of threads; 200 x 300 is enough for two to share the work. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    enum { WIDE = 300 };
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, WIDE, WIDE, WIDE);
    o.dropout = 0.3;
    double *one, *kept = malloc(ROWS * WIDE * sizeof *kept);
    memcpy(kept, oracle_keep(&o, ROWS, 5), ROWS * WIDE * sizeof *kept);
    env_close();
    env_open_threads(2);
    one = oracle_keep(&o, ROWS, 5);
    int64_t off = 0;
    for (int i = 0; i < ROWS * WIDE; i++) off += (one[i] == 0) != (kept[i] == 0);
    free(kept);
    ck_assert_int_eq(off, 0);
}
END_TEST

/* Without RELORA_TRAIN there is none, whatever the call. T23 */
START_TEST(test_eval)
{
    struct run run = new_run(0.5), plain = new_run(0);
    int64_t n = ROWS * 8;
    double *eval = forward(&run, 3, 0);
    ck_assert_double_eq(distance(eval, forward(&run, 4, 0), n), 0);
    ck_assert_double_eq(distance(eval, forward(&plain, 3, RELORA_TRAIN), n), 0);
    ck_assert_double_gt(distance(eval, forward(&run, 3, RELORA_TRAIN), n), 0.1);
    ck_assert_double_eq(distance(forward(&run, 3, RELORA_TRAIN), forward(&run, 3, RELORA_TRAIN), n), 0);
    ck_assert_double_gt(distance(forward(&run, 3, RELORA_TRAIN), forward(&run, 4, RELORA_TRAIN), n), 0.1);
}
END_TEST

/* With B = 0 the branch is silent, so dropout changes nothing: W's path has none. */
START_TEST(test_not_on_the_weight_path)
{
    struct run run = new_run(0.9);
    put_all(relora_linear_param(run.l, RELORA_PARAM_B), 0);
    double *eval = forward(&run, 3, 0);
    ck_assert_double_eq(distance(eval, forward(&run, 3, RELORA_TRAIN), ROWS * 8), 0);
}
END_TEST

Suite *linear_dropout(void)
{
    Suite *s = suite_create("linear dropout");
    TCase *tc = env_case(s, "dropout", 20);
    tcase_add_loop_test(tc, test_values_and_share, 0, 3);
    tcase_add_test(tc, test_key);
    tcase_add_test(tc, test_rows_differ);
    tcase_add_test(tc, test_columns_differ);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_eval);
    tcase_add_test(tc, test_not_on_the_weight_path);
    return s;
}
