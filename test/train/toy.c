/* A warm start and three restarts on a toy regression: a student of two layers learns a teacher of full
 * rank. The loss falls, runs repeat bit for bit, and the sum of the low-rank updates has a higher rank
 * than each of them: the point of ReLoRA. T12, T21 */
#include "train/toy.h"
#include "train/suites.h"

enum { ROWS = 64, IN = 24, HIDDEN = 32, OUT = 12, RANK = 3, WARM = 40, EVERY = 60, CYCLES = 4 };

struct how { /* a dropout that is not 0 leaves only SPLIT */
    double dropout;
    relora_order forward, backward;
};
static const struct how with_dropout = {0.05, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO};

struct toy {
    relora_linear *l0, *l1;
    relora_tensor *x, *h, *act, *y, *dy, *dact, *dh;
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle;
    double *teacher; /* [OUT, IN] */
    int64_t restarts;
    double first_loss, warm_loss, last_loss, losses[WARM + EVERY * CYCLES];
};

static relora_linear *new_layer(int64_t in, int64_t out, uint64_t layer, struct how how, struct rnd *r)
{
    relora_linear_options o = layer_options(RELORA_MODE_FULL, in, out, RANK);
    o.flags = RELORA_LINEAR_BIAS;
    o.dropout = how.dropout;
    o.alpha = 2 * RANK;
    o.seed = 11;
    o.layer = layer;
    relora_linear *l = new_linear(&o);
    relora_tensor *w = new_matrix(RELORA_F32, out, in);
    put_normal(w, r, 1 / sqrt((double)in));
    OK(relora_linear_set_weight(l, w, NULL));
    OK(relora_linear_set_order(l, how.forward, how.backward));
    return l;
}

/* New optimizer, schedule and, once the mode is LORA, cycle: as at the start and at the end of the warm
 * start. */
static void start(struct toy *t, int64_t first, int64_t steps, int64_t every)
{
    relora_schedule_options so;
    relora_adam_options ao = adam_options();
    relora_cycle_options co = cycle_options(every ? every : 2, 0);
    ao.max_norm = 1;
    t->adam = new_adam(&ao);
    OK(relora_adam_add_linear(t->adam, "l0", t->l0));
    OK(relora_adam_add_linear(t->adam, "l1", t->l1));
    OK(relora_schedule_options_init(&so, sizeof so));
    so.kind = every ? RELORA_SCHEDULE_COSINE_RESTARTS : RELORA_SCHEDULE_CONSTANT;
    so.lr = 0.02;
    so.first_step = first;
    so.total_steps = every ? steps : 0;
    so.warmup_steps = 5;
    so.restart_every = every;
    so.restart_warmup_steps = every ? 5 : 0;
    t->schedule = new_schedule(&so);
    if (!every) return;
    co.first_step = first;
    t->cycle = new_cycle(&co, t->adam, NULL);
    OK(relora_cycle_add(t->cycle, t->l0));
    OK(relora_cycle_add(t->cycle, t->l1));
}

static struct toy *new_toy(struct how how)
{
    struct toy *t = scratch(sizeof *t);
    struct rnd r = rnd_seed(1);
    t->l0 = new_layer(IN, HIDDEN, 0, how, &r);
    t->l1 = new_layer(HIDDEN, OUT, 1, how, &r);
    t->x = new_matrix(RELORA_F32, ROWS, IN);
    t->h = new_matrix(RELORA_F32, ROWS, HIDDEN);
    t->act = new_matrix(RELORA_F32, ROWS, HIDDEN);
    t->dact = new_matrix(RELORA_F32, ROWS, HIDDEN);
    t->dh = new_matrix(RELORA_F32, ROWS, HIDDEN);
    t->y = new_matrix(RELORA_F32, ROWS, OUT);
    t->dy = new_matrix(RELORA_F32, ROWS, OUT);
    t->teacher = doubles(OUT * IN);
    rnd_fill_normal(&r, t->teacher, OUT * IN, 1 / sqrt(IN));
    start(t, 0, WARM, 0);
    return t;
}

static double loss_and_gradient(struct toy *t, const double *x)
{
    double *y = get(t->y), *dy = doubles(ROWS * OUT), loss = 0;
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < OUT; o++) {
            double want = 0;
            for (int k = 0; k < IN; k++) want += t->teacher[o * IN + k] * x[i * IN + k];
            double error = y[i * OUT + o] - tanh(want);
            loss += error * error / (ROWS * OUT);
            dy[i * OUT + o] = 2 * error / (ROWS * OUT);
        }
    put(t->dy, dy);
    return loss;
}

static double step(struct toy *t, int64_t done)
{
    struct rnd r = rnd_seed(1000 + (uint64_t)done);
    uint64_t call = (uint64_t)done;
    double lr;
    put_normal(t->x, &r, 1);
    OK(relora_linear_forward(t->l0, env.st, t->x, t->h, call, RELORA_TRAIN));
    double *h = get(t->h), *dh;
    for (int i = 0; i < ROWS * HIDDEN; i++) h[i] = h[i] > 0 ? h[i] : 0;
    put(t->act, h);
    OK(relora_linear_forward(t->l1, env.st, t->act, t->y, call, RELORA_TRAIN));
    double loss = loss_and_gradient(t, get(t->x));
    OK(relora_linear_backward(t->l1, env.st, t->act, t->dy, t->dact, call, RELORA_TRAIN | RELORA_OVERWRITE));
    dh = get(t->dact);
    for (int i = 0; i < ROWS * HIDDEN; i++) dh[i] = h[i] > 0 ? dh[i] : 0;
    put(t->dh, dh);
    OK(relora_linear_backward(t->l0, env.st, t->x, t->dh, NULL, call, RELORA_TRAIN | RELORA_OVERWRITE));
    OK(relora_schedule_lr(t->schedule, done, &lr));
    OK(relora_adam_step(t->adam, env.st, lr, 1, NULL));
    return loss;
}

static double mean_of(struct toy *t, int64_t from, int64_t steps, int restarts)
{
    double late = 0;
    for (int64_t done = from; done < from + steps; done++) {
        uint32_t events = 0;
        double loss = step(t, done);
        if (restarts) OK(relora_cycle_advance(t->cycle, env.st, done + 1, &events, NULL, NULL));
        t->restarts += (events & RELORA_CYCLE_MERGE) != 0;
        t->losses[done] = loss;
        if (done == 0) t->first_loss = loss;
        if (done >= from + steps - 10) late += loss / 10;
    }
    return late;
}

static struct toy *train(int64_t cycles, struct how how)
{
    struct toy *t = new_toy(how);
    t->warm_loss = mean_of(t, 0, WARM, 0);
    OK(relora_linear_set_mode(t->l0, env.st, RELORA_MODE_LORA));
    OK(relora_linear_set_mode(t->l1, env.st, RELORA_MODE_LORA));
    start(t, WARM, EVERY * CYCLES, EVERY * CYCLES / cycles);
    t->last_loss = mean_of(t, WARM, EVERY * CYCLES, 1);
    OK(relora_cycle_finish(t->cycle, env.st, WARM + EVERY * CYCLES, NULL));
    return t;
}

const double *toy_losses(int64_t *count)
{
    *count = WARM + EVERY * CYCLES;
    return train(CYCLES, with_dropout)->losses;
}

START_TEST(test_loss_falls)
{
    struct toy *t = train(CYCLES, with_dropout);
    ck_assert_int_eq(t->restarts, CYCLES - 1);
    ck_assert_msg(t->warm_loss < 0.95 * t->first_loss, "warm start: %g to %g", t->first_loss, t->warm_loss);
    ck_assert_msg(t->last_loss < 0.8 * t->warm_loss, "low rank: %g to %g", t->warm_loss, t->last_loss);
}
END_TEST

/* In each order of products the training is the same up to rounding, which 240 updates make 1e-7 of the loss. */
START_TEST(test_orders)
{
    static const relora_order orders[][2] = {{RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
                                             {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH},
                                             {RELORA_ORDER_AUTO, RELORA_ORDER_AUTO}};
    struct toy *split = train(CYCLES, (struct how){0, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT});
    struct toy *other = train(CYCLES, (struct how){0, orders[_i][0], orders[_i][1]});
    ck_assert_msg(split->last_loss < 0.8 * split->warm_loss, "%g to %g", split->warm_loss, split->last_loss);
    ck_assert_double_eq(other->warm_loss, split->warm_loss); /* FULL has one order */
    ck_assert_double_ne(other->last_loss, split->last_loss); /* the order was taken */
    ck_assert_double_eq_tol(other->last_loss, split->last_loss, 1e-5 * split->last_loss);
}
END_TEST

static void copy_weights(struct toy *t, float *to)
{
    memcpy(to, snapshot(relora_linear_param(t->l0, RELORA_PARAM_WEIGHT)), HIDDEN * IN * 4);
    memcpy(to + HIDDEN * IN, snapshot(relora_linear_param(t->l1, RELORA_PARAM_WEIGHT)), OUT * HIDDEN * 4);
    memcpy(to + HIDDEN * IN + OUT * HIDDEN, snapshot(relora_linear_param(t->l0, RELORA_PARAM_BIAS)),
           HIDDEN * 4);
}
enum { WEIGHTS = HIDDEN * IN + OUT * HIDDEN + HIDDEN };

/* Two runs of one build on one machine: the same bits, in all weights and the last loss. */
START_TEST(test_repeats)
{
    static float weights[2][WEIGHTS];
    double losses[2];
    for (int i = 0; i < 2; i++) {
        if (i) {
            env_close();
            env_open_threads(1);
        }
        struct toy *t = train(CYCLES, with_dropout);
        copy_weights(t, weights[i]);
        losses[i] = t->last_loss;
    }
    SAME_BYTES(weights[0], weights[1], sizeof weights[0]);
    ck_assert_double_eq(losses[0], losses[1]);
}
END_TEST

/* One and two threads. With the library's own product the bits are the same; oneDNN and a BLAS promise that only for
 * one number of threads, so there the runs only stay close. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    static float weights[2][WEIGHTS];
    for (int i = 0; i < 2; i++) {
        if (i) {
            env_close();
            env_open_threads(2);
        }
        copy_weights(train(CYCLES, with_dropout), weights[i]);
    }
#if RELORA_ONEDNN || defined(RELORA_BLAS)
    for (int i = 0; i < WEIGHTS; i++) ck_assert_float_eq_tol(weights[0][i], weights[1][i], 0.02f);
#else
    SAME_BYTES(weights[0], weights[1], sizeof weights[0]);
#endif
}
END_TEST

/* Number of rows that Gaussian elimination with full pivoting finds above 1e-3 of the first pivot. */
static int rank_of(double *m, int rows, int cols)
{
    double first = 0;
    for (int rank = 0; rank < rows; rank++) {
        int pi = rank, pj = 0;
        for (int i = rank; i < rows; i++)
            for (int j = 0; j < cols; j++)
                if (fabs(m[i * cols + j]) > fabs(m[pi * cols + pj])) pi = i, pj = j;
        double pivot = m[pi * cols + pj];
        if (rank == 0) first = fabs(pivot);
        if (fabs(pivot) <= 1e-3 * first) return rank;
        for (int j = 0; j < cols; j++) {
            double t = m[pi * cols + j];
            m[pi * cols + j] = m[rank * cols + j];
            m[rank * cols + j] = t;
        }
        for (int i = rank + 1; i < rows; i++) {
            double factor = m[i * cols + pj] / pivot;
            for (int j = 0; j < cols; j++) m[i * cols + j] -= factor * m[rank * cols + j];
        }
    }
    return rows;
}

static int rank_of_change(int64_t cycles)
{
    struct toy *t = new_toy(with_dropout);
    mean_of(t, 0, WARM, 0);
    OK(relora_linear_set_mode(t->l0, env.st, RELORA_MODE_LORA));
    OK(relora_linear_set_mode(t->l1, env.st, RELORA_MODE_LORA));
    start(t, WARM, EVERY * CYCLES, EVERY * CYCLES / cycles);
    double *was = get(relora_linear_param(t->l0, RELORA_PARAM_WEIGHT));
    mean_of(t, WARM, EVERY * CYCLES, 1);
    OK(relora_cycle_finish(t->cycle, env.st, WARM + EVERY * CYCLES, NULL));
    double *now = get(relora_linear_param(t->l0, RELORA_PARAM_WEIGHT));
    for (int i = 0; i < HIDDEN * IN; i++) now[i] -= was[i];
    return rank_of(now, HIDDEN, IN);
}

/* One cycle changes W by a matrix of rank 3, four cycles by one of rank 12. */
START_TEST(test_rank)
{
    ck_assert_int_eq(rank_of_change(1), RANK);
    ck_assert_int_eq(rank_of_change(CYCLES), RANK * CYCLES);
}
END_TEST

Suite *train_toy(void)
{
    Suite *s = suite_create("toy");
    TCase *tc = env_case(s, "toy", 120);
    tcase_add_test(tc, test_loss_falls);
    tcase_add_loop_test(tc, test_orders, 0, 3);
    tcase_add_test(tc, test_repeats);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_rank);
    return s;
}
