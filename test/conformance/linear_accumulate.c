/* How gradients are stored, added and split: RELORA_OVERWRITE, RELORA_ACCUMULATE_DX, micro-batches. */
#include "conformance/suites.h"

enum { ROWS = 48, IN = 13, OUT = 11, RANK = 3 };

struct run {
    relora_linear *l;
    relora_tensor *x, *dy, *dx;
};

static struct run new_run(relora_linear_mode mode, double dropout)
{
    struct rnd r = rnd_seed(31);
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    o.dropout = dropout;
    struct run run = {new_filled_linear(&o, &r), new_matrix(RELORA_F32, ROWS, IN),
                      new_matrix(RELORA_F32, ROWS, OUT), new_matrix(RELORA_F32, ROWS, IN)};
    put_normal(run.x, &r, 1);
    put_normal(run.dy, &r, 1);
    return run;
}

static void backward(struct run *run, relora_tensor *dx, uint32_t flags)
{
    OK(relora_linear_backward(run->l, env.st, run->x, run->dy, dx, 4, flags));
}

struct grads {
    double *of[6];
    int64_t n[6];
};

static struct grads grads(struct run *run)
{
    struct grads g = {{0}, {0}};
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
        relora_tensor *t = relora_linear_grad(run->l, p);
        if (!t) continue;
        g.of[p] = get(t);
        g.n[p] = relora_tensor_count(t);
        ck_assert_double_gt(largest(g.of[p], g.n[p]), 0);
    }
    return g;
}

/* `got` is `factor` times `want`, to some eps of the largest */
static void compare(struct grads *got, struct grads *want, double factor, int64_t k)
{
    for (int p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
        double *scaled = doubles(want->n[p]);
        ck_assert_int_eq(got->n[p], want->n[p]);
        for (int64_t i = 0; i < want->n[p]; i++) scaled[i] = factor * want->of[p][i];
        double tolerance = k ? close_tolerance(0, RELORA_F32, largest(scaled, want->n[p]) + 1, k) : 0;
        CLOSE(got->of[p], scaled, want->n[p], tolerance);
    }
}

START_TEST(test_overwrite_and_add)
{
    struct run run = new_run(_i + 1, 0);
    backward(&run, NULL, RELORA_OVERWRITE);
    struct grads once = grads(&run);
    backward(&run, NULL, RELORA_OVERWRITE);
    struct grads again = grads(&run);
    compare(&again, &once, 1, 0);
    backward(&run, NULL, 0);
    struct grads twice = grads(&run);
    compare(&twice, &once, 2, 4);
    backward(&run, NULL, RELORA_OVERWRITE);
    again = grads(&run);
    compare(&again, &once, 1, 0);
}
END_TEST

START_TEST(test_zero_grad)
{
    struct run run = new_run(_i + 1, 0);
    backward(&run, NULL, 0);
    struct grads once = grads(&run);
    OK(relora_linear_zero_grad(run.l, env.st));
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
        relora_tensor *g = relora_linear_grad(run.l, p);
        if (g) ck_assert_double_eq(largest(get(g), relora_tensor_count(g)), 0);
    }
    backward(&run, NULL, 0);
    struct grads again = grads(&run);
    compare(&again, &once, 1, 0);
}
END_TEST

/* dx absent, stored, added: the parameter gradients are the same, and so is dx up to what was in it. */
START_TEST(test_dx)
{
    struct run run = new_run(_i + 1, 0.25);
    backward(&run, NULL, RELORA_TRAIN | RELORA_OVERWRITE);
    struct grads without = grads(&run);
    put_all(run.dx, NAN);
    backward(&run, run.dx, RELORA_TRAIN | RELORA_OVERWRITE);
    struct grads with = grads(&run);
    compare(&with, &without, 1, 2);
    double *stored = get(run.dx), *want = doubles(ROWS * IN);
    put_all(run.dx, 2);
    backward(&run, run.dx, RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX);
    for (int i = 0; i < ROWS * IN; i++) want[i] = stored[i] + 2;
    ck_assert_double_gt(largest(stored, ROWS * IN), 0.1);
    CLOSE(get(run.dx), want, ROWS * IN, close_tolerance(0, RELORA_F32, largest(want, ROWS * IN), OUT));
}
END_TEST

static relora_tensor *rows_of(const relora_tensor *t, int64_t from, int64_t to)
{
    int64_t cols = relora_tensor_dim(t, 1);
    relora_tensor *part = new_matrix(RELORA_F32, to - from, cols);
    put(part, get(t) + from * cols);
    return part;
}

/* Any split of the rows gives the gradient of the whole, up to rounding. */
START_TEST(test_micro_batches)
{
    static const int64_t splits[][5] = {
        {0, ROWS / 2, ROWS, ROWS, ROWS}, {0, 1, 2, 3, ROWS}, {0, 17, 17, 30, ROWS}};
    struct run run = new_run(_i % 3 + 1, 0);
    const int64_t *at = splits[_i / 3];
    backward(&run, run.dx, RELORA_OVERWRITE);
    struct grads whole = grads(&run);
    double *dx = get(run.dx);
    OK(relora_linear_zero_grad(run.l, env.st));
    for (int i = 0; i < 4; i++) {
        relora_tensor *x = rows_of(run.x, at[i], at[i + 1]), *dy = rows_of(run.dy, at[i], at[i + 1]);
        relora_tensor *part = new_matrix(RELORA_F32, at[i + 1] - at[i], IN);
        OK(relora_linear_backward(run.l, env.st, x, dy, part, (uint64_t)i, 0));
        CLOSE(get(part), dx + at[i] * IN, (at[i + 1] - at[i]) * IN,
              close_tolerance(0, RELORA_F32, largest(dx, ROWS * IN), OUT));
    }
    struct grads sum = grads(&run);
    compare(&sum, &whole, 1, ROWS);
}
END_TEST

/* Training allocates nothing after its first step: the workspace of the stream stays. (style.md B6) */
START_TEST(test_no_allocation_after_the_first_step)
{
    struct run run = new_run(_i + 1, 0.25);
    relora_tensor *y = new_matrix(RELORA_F32, ROWS, OUT);
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add_linear(adam, "l", run.l));
    int64_t requests = 0;
    for (int step = 0; step < 3; step++) {
        OK(relora_linear_forward(run.l, env.st, run.x, y, 4, RELORA_TRAIN));
        backward(&run, run.dx, RELORA_TRAIN | RELORA_OVERWRITE);
        OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
        if (step == 0) requests = env.mem.requests;
    }
    ck_assert_int_eq(env.mem.requests, requests);
}
END_TEST

Suite *linear_accumulate(void)
{
    Suite *s = suite_create("linear accumulate");
    TCase *tc = env_case(s, "accumulate", 20);
    tcase_add_loop_test(tc, test_overwrite_and_add, 0, 3);
    tcase_add_loop_test(tc, test_zero_grad, 0, 3);
    tcase_add_loop_test(tc, test_dx, 0, 3);
    tcase_add_loop_test(tc, test_micro_batches, 0, 9);
    tcase_add_loop_test(tc, test_no_allocation_after_the_first_step, 0, 3);
    return s;
}
