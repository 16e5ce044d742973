/* A weight whose rows have gaps, in training: the bits of one without, and nothing between the rows is touched. */
#include "conformance/suites.h"

enum { ROWS = 5, RANK = 4, GAP = 3, STEPS = 9 };

static const struct kind {
    relora_dtype dtype;
    relora_rounding rounding;
    int64_t in, out; /* more than one chunk of the optimizer, which ends in the middle of a row; or few */
    uint32_t flags;
} kinds[] = {
    {RELORA_F32, RELORA_ROUND_NEAREST, 251, 300, 0},
    {RELORA_BF16, RELORA_ROUND_STOCHASTIC, 251, 300, RELORA_LINEAR_BIAS},
    {RELORA_BF16, RELORA_ROUND_NEAREST, 7, 5, 0},
    {RELORA_F32, RELORA_ROUND_NEAREST, 1, 9, RELORA_LINEAR_KEEP_DELTA},
    {RELORA_F32, RELORA_ROUND_NEAREST, 9, 1, 0},
    {RELORA_F32, RELORA_ROUND_NEAREST, 12, 10, RELORA_LINEAR_IN_OUT},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct run {
    relora_linear *l;
    relora_tensor *w, *whole; /* W, and the matrix of which it is the first columns */
    relora_tensor *x, *dy, *y;
};

/* A matrix in which `gap` elements of -7 follow each row. */
static relora_tensor *gapped(relora_dtype dtype, int64_t rows, int64_t cols, int64_t gap,
                             relora_tensor **whole)
{
    relora_tensor *t;
    const int64_t shape[] = {rows, cols}, strides[] = {cols + gap, 1};
    *whole = new_matrix(dtype, rows, cols + gap);
    put_all(*whole, -7);
    OK(relora_tensor_borrow(&t, env.dev, dtype, 2, shape, strides, relora_tensor_data(*whole), NULL, NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    return t;
}

static struct run new_run(const struct kind *k, int64_t gap)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_FULL, k->in, k->out, RANK);
    o.dtype = k->dtype, o.rounding = k->rounding, o.flags = k->flags;
    int turned = (k->flags & RELORA_LINEAR_IN_OUT) != 0;
    struct run run = {.l = new_linear(&o)};
    run.w = gapped(k->dtype, turned ? k->in : k->out, turned ? k->out : k->in, gap, &run.whole);
    run.x = new_matrix(k->dtype, ROWS, k->in);
    run.y = new_matrix(k->dtype, ROWS, k->out), run.dy = new_matrix(k->dtype, ROWS, k->out);
    put_normal(run.w, &r, 0.5);
    put_normal(run.x, &r, 1);
    put_normal(run.dy, &r, 1);
    OK(relora_linear_set_weight(run.l, run.w, NULL));
    return run;
}

static void train(struct run *run)
{
    relora_adam_options o = adam_options();
    o.max_norm = 1, o.weight_decay = 0.1;
    relora_adam *adam = new_adam(&o);
    OK(relora_adam_add_linear(adam, "l", run->l));
    for (uint64_t step = 0; step < STEPS; step++) {
        OK(relora_linear_forward(run->l, env.st, run->x, run->y, step, RELORA_TRAIN));
        OK(relora_linear_backward(run->l, env.st, run->x, run->dy, NULL, step,
                                  RELORA_TRAIN | RELORA_OVERWRITE));
        OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    }
}

static void check_gaps(const struct run *run)
{
    double *all = get(run->whole);
    int64_t rows = relora_tensor_dim(run->whole, 0), cols = relora_tensor_dim(run->whole, 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = cols - GAP; j < cols; j++) ck_assert_double_eq(all[i * cols + j], -7);
}

static void same(const struct run *gaps, const struct run *dense)
{
    SAME_BYTES(snapshot(gaps->w), snapshot(dense->w), bytes_of(dense->w));
    int64_t n = relora_tensor_count(dense->y);
    double *want = get(dense->y); /* a product may sum in another order */
    CLOSE(
        get(gaps->y), want, n,
        close_tolerance(0, relora_tensor_dtype(dense->y), largest(want, n), relora_tensor_dim(dense->x, 1)));
    check_gaps(gaps);
}

/* A warm start, its end, and a cycle. */
START_TEST(test_training)
{
    struct run gaps = new_run(&kinds[_i], GAP), dense = new_run(&kinds[_i], 0);
    struct run *both[] = {&gaps, &dense};
    void *before = snapshot(dense.w);
    for (int i = 0; i < 2; i++) train(both[i]);
    ck_assert_int_ne(memcmp(before, snapshot(dense.w), bytes_of(dense.w)), 0);
    same(&gaps, &dense);
    for (int i = 0; i < 2; i++) {
        OK(relora_linear_set_mode(both[i]->l, env.st, RELORA_MODE_LORA));
        train(both[i]);
        OK(relora_linear_merge(both[i]->l, env.st, 1, NULL));
        OK(relora_linear_reset(both[i]->l, env.st, 1));
        OK(relora_linear_forward(both[i]->l, env.st, both[i]->x, both[i]->y, 99, 0));
    }
    same(&gaps, &dense);
}
END_TEST

/* Any other parameter, with a step that is skipped, a rate on the device, and an update that leaves it in place. */
START_TEST(test_parameter)
{
    struct rnd r = rnd_seed(3);
    relora_tensor *whole, *p = gapped(RELORA_F32, 4, 6, GAP, &whole), *q = new_matrix(RELORA_F32, 4, 6);
    relora_tensor *g = new_matrix(RELORA_F32, 4, 6), *lr = new_vector(RELORA_F32, 1);
    put_normal(p, &r, 1);
    put(q, get(p));
    relora_tensor *both[] = {p, q};
    put_all(lr, 0.5);
    for (int i = 0; i < 2; i++) {
        relora_adam_options o = adam_options();
        o.flags |= RELORA_ADAM_SKIP_NOT_FINITE;
        relora_adam *adam = new_adam(&o);
        struct rnd same_numbers = rnd_seed(4);
        put_normal(g, &same_numbers, 1);
        OK(relora_adam_add(adam, "p", both[i], g, NULL));
        OK(relora_adam_step_lr(adam, env.st, lr, 1, NULL));
        put_all(g, (double)INFINITY);
        OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
        ck_assert_int_eq(relora_tensor_dim(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST), 1), 6);
    }
    SAME_BYTES(snapshot(p), snapshot(q), bytes_of(p));
    double *all = get(whole);
    for (int i = 0; i < 36; i++)
        if (i % 9 > 5) ck_assert_double_eq(all[i], -7);
}
END_TEST

Suite *gaps_suite(void)
{
    Suite *s = suite_create("weight with gaps");
    TCase *tc = env_case(s, "gaps", 20);
    tcase_add_loop_test(tc, test_training, 0, KINDS);
    tcase_add_test(tc, test_parameter);
    return s;
}
