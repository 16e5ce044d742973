/* T13: a run that is stopped after any update and continued from what its tensors held gives the same
 * bits as one that was not stopped: weights, factors, moments and step counts are the whole state, and
 * everything random is a function of the step, the rounding of a fold too. */
#include "train/suites.h"

enum { ROWS = 20, IN = 10, OUT = 8, RANK = 2, EVERY = 5, LAST = 4 * EVERY, PARTS = 9 };

struct run {
    relora_linear *l;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_schedule *schedule;
    relora_tensor *x, *y, *part[PARTS]; /* all that training changes */
    int parts;
};

static void collect(struct run *run)
{
    run->part[run->parts++] = relora_linear_param(run->l, RELORA_PARAM_WEIGHT);
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++)
        run->part[run->parts++] = relora_linear_param(run->l, p);
    for (int32_t i = 0; i < 2; i++) /* A and B */
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            run->part[run->parts++] = relora_adam_moment(run->adam, i, m);
    ck_assert_int_le(run->parts, PARTS);
}

static struct run *new_run(relora_dtype dtype, int folds)
{
    struct run *run = scratch(sizeof *run);
    struct rnd r = rnd_seed(1);
    relora_schedule_options so;
    relora_adam_options ao = adam_options();
    relora_cycle_options co = cycle_options(EVERY, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_RANDOM, 0.7, RELORA_RESET_STEP_COUNT);
    relora_linear_options lo = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    lo.flags = RELORA_LINEAR_BIAS;
    lo.dropout = folds ? 0 : 0.2; /* which forbids folds */
    lo.dtype = dtype;
    run->l = new_filled_linear(&lo, &r);
    if (folds) OK(relora_linear_set_order(run->l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    ao.weight_decay = 0.01;
    run->adam = new_adam(&ao);
    OK(relora_adam_add_linear(run->adam, "l", run->l));
    run->cycle = new_cycle(&co, run->adam, &ro);
    OK(relora_cycle_add(run->cycle, run->l));
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 0.02;
    so.total_steps = LAST;
    so.restart_every = EVERY;
    so.restart_warmup_steps = 2;
    run->schedule = new_schedule(&so);
    run->x = new_matrix(dtype, ROWS, IN);
    run->y = new_matrix(dtype, ROWS, OUT);
    collect(run);
    return run;
}

static void updates(struct run *run, int64_t from, int64_t to)
{
    const uint32_t flags = RELORA_TRAIN | RELORA_OVERWRITE;
    for (int64_t done = from; done < to; done++) {
        uint64_t call = (uint64_t)done;
        struct rnd r = rnd_seed(50 + call);
        double lr;
        put_normal(run->x, &r, 1);
        OK(relora_linear_forward(run->l, env.st, run->x, run->y, call, RELORA_TRAIN)); /* loss y^2 / 2 */
        OK(relora_linear_backward(run->l, env.st, run->x, run->y, NULL, call, flags));
        OK(relora_schedule_lr(run->schedule, done, &lr));
        OK(relora_adam_step(run->adam, env.st, lr, 1, NULL));
        OK(relora_cycle_advance(run->cycle, env.st, done + 1, NULL, NULL, NULL));
    }
}

/* Everything a checkpoint has to hold, from one run into a new one. */
static void restore(struct run *to, struct run *from)
{
    int32_t count = relora_adam_count(from->adam);
    for (int i = 0; i < from->parts; i++)
        OK(relora_tensor_write(to->part[i], env.st, snapshot(from->part[i]), bytes_of(from->part[i])));
    for (int32_t i = 0; i < count; i++) {
        int64_t steps;
        OK(relora_adam_steps(from->adam, env.st, i, &steps));
        OK(relora_adam_set_steps(to->adam, env.st, i, steps));
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            OK(relora_tensor_copy(relora_adam_moment(to->adam, i, m), relora_adam_moment(from->adam, i, m),
                                  env.st));
    }
}

START_TEST(test_stop_anywhere)
{
    relora_dtype dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    int folds = _i / 2 % 2;
    struct run *whole = new_run(dtype, folds), *first = new_run(dtype, folds),
               *second = new_run(dtype, folds);
    int64_t stop = _i / 4 + 1;
    updates(whole, 0, LAST);
    updates(first, 0, stop);
    put_all(relora_linear_param(second->l, RELORA_PARAM_A), 7); /* whatever was there before */
    restore(second, first);
    updates(second, stop, LAST);
    for (int i = 0; i < whole->parts; i++) UNCHANGED(second->part[i], snapshot(whole->part[i]));
}
END_TEST

Suite *train_resume(void)
{
    Suite *s = suite_create("resume");
    TCase *tc = env_case(s, "resume", 20);
    tcase_add_loop_test(tc, test_stop_anywhere, 0, 4 * (EVERY * 2 + 2));
    return s;
}
