/* A whole run in small: a warm start, the switch to LORA, restarts, and the end; two layers, F32 and BF16, on
 * two streams. It is cut into phases, each of which ends with both streams synchronised. After a failure the
 * values at the start of its phase are put back into the same objects, and the numbers must come out as if
 * nothing had happened. */
#include "backend/rounds.h"
#include "backend/suites.h"

enum { ROWS = 3, IN = 6, MID = 5, OUT = 4, RANK = 2 };
enum { WARM_STEPS = 2, STEPS = 4, MERGE_EVERY = 2, RESET_EVERY = 3 };

static int other; /* 1: A from gradients, moments that go with it, and merge and reset together */

static struct job {
    relora_tensor *w1, *w2, *x, *mid, *x2, *y, *dy, *dx2, *dmid, *dx, *dw, *lr;
    relora_linear *first, *second;
    relora_adam *warm, *adam;
    relora_cycle *cycle;
    int warm_layers, layers, members; /* already in warm, adam, cycle */
    int phase, hooks;
    unsigned char *saved; /* at the start of the phase; lives until env_close() */
    float last[ROWS * IN];
} job;

/* ---- building; each call is made again until it succeeds, and then no more ---- */

static void after_cycle(void *user, int64_t step, uint32_t events)
{
    (void)step, (void)events;
    ++*(int *)user;
}

static relora_status make_tensors(void)
{
    const int64_t w1[] = {MID, IN}, w2[] = {OUT, MID};
    const int64_t x[] = {ROWS, IN}, mid[] = {ROWS, MID}, y[] = {ROWS, OUT};
    MAKE(job.w1, relora_tensor_create(&job.w1, env.dev, RELORA_F32, 2, w1));
    MAKE(job.w2, relora_tensor_create(&job.w2, env.dev, RELORA_BF16, 2, w2));
    MAKE(job.x, relora_tensor_create(&job.x, env.dev, RELORA_F32, 2, x));
    MAKE(job.mid, relora_tensor_create(&job.mid, env.dev, RELORA_F32, 2, mid));
    MAKE(job.x2, relora_tensor_create(&job.x2, env.dev, RELORA_BF16, 2, mid));
    MAKE(job.y, relora_tensor_create(&job.y, env.dev, RELORA_BF16, 2, y));
    MAKE(job.dy, relora_tensor_create(&job.dy, env.dev, RELORA_BF16, 2, y));
    MAKE(job.dx2, relora_tensor_create(&job.dx2, env.dev, RELORA_BF16, 2, mid));
    MAKE(job.dmid, relora_tensor_create(&job.dmid, env.dev, RELORA_F32, 2, mid));
    MAKE(job.dx, relora_tensor_create(&job.dx, env.dev, RELORA_F32, 2, x));
    MAKE(job.dw, relora_tensor_create(&job.dw, env.dev, RELORA_F32, 2, w2));
    MAKE(job.lr, relora_tensor_create(&job.lr, env.dev, RELORA_F32, 0, NULL));
    return RELORA_OK;
}

/* Values of the test's own, as the tensor stores them. */
static relora_status write(relora_tensor *t, relora_stream *st, uint64_t seed)
{
    uint32_t bytes[ROWS * IN > MID * IN ? ROWS * IN : MID * IN];
    struct rnd r = rnd_seed(seed);
    for (int64_t i = 0; i < relora_tensor_count(t); i++) {
        float value = (float)rnd_normal(&r);
        if (relora_tensor_dtype(t) == RELORA_F32) memcpy(&bytes[i], &value, sizeof value);
        else ((uint16_t *)bytes)[i] = bf16_of(value);
    }
    CALL(st, relora_tensor_write(t, st, bytes, bytes_of(t)));
    return RELORA_OK;
}

static relora_status make_layers(void)
{
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, MID, RANK);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_KEEP_DELTA;
    o.dropout = 0.2;
    o.init = other ? RELORA_INIT_GRADIENT : 0;
    MAKE(job.first, relora_linear_create(&job.first, env.dev, &o));
    o = layer_options(RELORA_MODE_LORA, MID, OUT, RANK);
    o.dtype = RELORA_BF16;
    o.dropout = 0;
    o.layer = 1;
    if (other) o.flags = RELORA_LINEAR_FREEZE_A, o.init = RELORA_INIT_GRADIENT;
    MAKE(job.second, relora_linear_create(&job.second, env.dev, &o));
    CALL(NULL, relora_linear_set_order(job.second, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    if (!relora_linear_param(job.first, RELORA_PARAM_WEIGHT))
        CALL(NULL, relora_linear_set_weight(job.first, job.w1, NULL));
    if (!relora_linear_param(job.second, RELORA_PARAM_WEIGHT))
        CALL(NULL, relora_linear_set_weight(job.second, job.w2, NULL));
    return RELORA_OK;
}

static relora_status fill_adam(relora_adam *adam, int *layers)
{
    static const char *const prefixes[] = {"first", "second"};
    for (; *layers < 2; ++*layers)
        CALL(NULL, relora_adam_add_linear(adam, prefixes[*layers], *layers ? job.second : job.first));
    return RELORA_OK;
}

static relora_status build(void)
{
    TRY(make_tensors());
    TRY(make_layers());
    TRY(write(job.w1, env.st, 1));
    TRY(write(job.w2, side, 2));
    CALL(env.st, relora_tensor_fill(job.lr, env.st, 0.01));
    MAKE(job.warm, relora_adam_create(&job.warm, env.dev, NULL));
    return fill_adam(job.warm, &job.warm_layers);
}

/* ---- training ---- */

/* The data comes on one stream, and the layers work on the other. */
static relora_status pass(uint64_t call)
{
    TRY(write(job.x, side, 100 + call));
    TRY(write(job.dy, side, 200 + call));
    CALL(env.st, relora_stream_wait(env.st, side));
    CALL(env.st, relora_linear_forward(job.first, env.st, job.x, job.mid, call, RELORA_TRAIN));
    CALL(env.st, relora_tensor_copy(job.x2, job.mid, env.st));
    CALL(env.st, relora_linear_forward(job.second, env.st, job.x2, job.y, call, RELORA_TRAIN));
    CALL(env.st, relora_tensor_fill(job.dx2, env.st, 0));
    CALL(env.st, relora_linear_backward(job.second, env.st, job.x2, job.dy, job.dx2, call,
                                        RELORA_TRAIN | RELORA_ACCUMULATE_DX | RELORA_SKETCH));
    CALL(env.st, relora_linear_weight_grad(job.second, env.st, job.x2, job.dy, job.dw, RELORA_OVERWRITE));
    CALL(env.st, relora_linear_full_rank_step(job.second, env.st, job.dw, 0.01, call, NULL));
    CALL(env.st, relora_tensor_copy(job.dmid, job.dx2, env.st));
    CALL(env.st, relora_linear_backward(job.first, env.st, job.x, job.dmid, job.dx, call, RELORA_TRAIN));
    CALL(side, relora_stream_wait(side, env.st));
    return RELORA_OK;
}

static relora_status warm_up(void)
{
    for (int64_t step = 0; step < WARM_STEPS; step++) {
        relora_step_report report = {.struct_size = sizeof report};
        CALL(env.st, relora_linear_zero_grad(job.first, env.st));
        CALL(env.st, relora_linear_zero_grad(job.second, env.st));
        TRY(pass((uint64_t)step));
        CALL(env.st, relora_adam_step(job.warm, env.st, 0.01, 1, &report));
    }
    return RELORA_OK;
}

static relora_status switch_over(void)
{
    relora_adam_options ao = adam_options();
    relora_cycle_options co = cycle_options(MERGE_EVERY, other ? MERGE_EVERY : RESET_EVERY);
    relora_reset_options ro =
        reset_options(other ? RELORA_RESET_PROJECT : RELORA_RESET_RANDOM, 0.5, RELORA_RESET_STEP_COUNT);
    ao.max_norm = 1;
    co.after = after_cycle;
    co.hook_user = &job.hooks;
    if (relora_linear_get_mode(job.first) == RELORA_MODE_FULL)
        CALL(env.st, relora_linear_set_mode(job.first, env.st, RELORA_MODE_LORA));
    MAKE(job.adam, relora_adam_create(&job.adam, env.dev, &ao));
    TRY(fill_adam(job.adam, &job.layers));
    if (!relora_adam_flat_grad(job.adam)) CALL(env.st, relora_adam_flatten_grads(job.adam, env.st));
    CALL(env.st, relora_adam_carry(job.adam, env.st, job.warm, NULL, 0, NULL));
    MAKE(job.cycle, relora_cycle_create(&job.cycle, env.ctx, &co, job.adam, &ro));
    for (; job.members < 2; job.members++)
        CALL(NULL, relora_cycle_add(job.cycle, job.members ? job.second : job.first));
    return RELORA_OK;
}

static relora_status train(void)
{
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    uint32_t events;
    double norm;
    job.hooks = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        int hooks = job.hooks;
        CALL(env.st, relora_adam_zero_grad(job.adam, env.st));
        TRY(pass(10 + (uint64_t)step));
        CALL(env.st, relora_adam_grad_norm(job.adam, env.st, &norm));
        CALL(env.st, relora_adam_step_lr(job.adam, env.st, job.lr, 1, NULL));
        CALL(env.st,
             relora_cycle_advance(job.cycle, env.st, step + 1, &events, &merge, step % 2 ? &reset : NULL));
        ck_assert_int_eq(job.hooks, hooks + (events != 0));
    }
    ck_assert_int_ge(job.hooks, 2 - other); /* steps 3 and 4: a merge, and a reset */
    return RELORA_OK;
}

static relora_status finish(void)
{
    int64_t steps;
    CALL(env.st, relora_cycle_finish(job.cycle, env.st, STEPS, NULL));
    CALL(env.st, relora_linear_merge(job.second, env.st, 50, NULL)); /* B is 0: the call alone */
    CALL(env.st, relora_linear_reset(job.second, env.st, 50));
    CALL(env.st, relora_adam_reset(job.adam, env.st, NULL, 0, NULL, NULL));
    CALL(env.st, relora_adam_steps(job.adam, env.st, 0, &steps));
    CALL(env.st, relora_adam_set_steps(job.adam, env.st, 0, steps + 1));
    CALL(env.st, relora_tensor_read(job.dx, env.st, job.last, sizeof job.last));
    return RELORA_OK;
}

/* ---- phases ---- */

enum walk { WALK_COUNT = 1, WALK_SAVE, WALK_RESTORE };

static size_t visit_tensor(enum walk walk, unsigned char *bytes, size_t used, relora_tensor *t)
{
    if (!t) return used;
    if (walk == WALK_SAVE) OK(relora_tensor_read(t, env.st, bytes + used, bytes_of(t)));
    if (walk == WALK_RESTORE) OK(relora_tensor_write(t, env.st, bytes + used, bytes_of(t)));
    return used + bytes_of(t);
}

static size_t visit_adam(enum walk walk, unsigned char *bytes, size_t used, relora_adam *adam)
{
    for (int32_t i = 0; i < relora_adam_count(adam); i++) {
        int64_t steps;
        used = visit_tensor(walk, bytes, used, relora_adam_moment(adam, i, RELORA_MOMENT_FIRST));
        used = visit_tensor(walk, bytes, used, relora_adam_moment(adam, i, RELORA_MOMENT_SECOND));
        if (walk == WALK_SAVE) {
            OK(relora_adam_steps(adam, env.st, i, &steps));
            memcpy(bytes + used, &steps, sizeof steps);
        } else if (walk == WALK_RESTORE) {
            memcpy(&steps, bytes + used, sizeof steps);
            OK(relora_adam_set_steps(adam, env.st, i, steps));
        }
        used += sizeof steps;
    }
    return used;
}

/* Everything that lasts from step to step. */
static size_t visit(enum walk walk, unsigned char *bytes)
{
    size_t used = 0;
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SKETCH; p++) {
        used = visit_tensor(walk, bytes, used, relora_linear_param(job.first, p));
        used = visit_tensor(walk, bytes, used, relora_linear_param(job.second, p));
    }
    used = visit_tensor(walk, bytes, used, job.dx);
    used = visit_tensor(walk, bytes, used, job.dw);
    used = visit_tensor(walk, bytes, used, job.lr);
    if (job.warm) used = visit_adam(walk, bytes, used, job.warm);
    return job.adam ? visit_adam(walk, bytes, used, job.adam) : used;
}

static void *save(size_t *size)
{
    *size = visit(WALK_COUNT, NULL);
    void *bytes = scratch(*size);
    visit(WALK_SAVE, bytes);
    return bytes;
}

static int computes(int phase) /* the others build, each call once */ { return phase % 2; }

static relora_status run(void)
{
    static relora_status (*const phases[])(void) = {build, warm_up, switch_over, train, NULL, finish};
    for (; job.phase < 6; job.phase++) {
        size_t size;
        if (computes(job.phase) && !job.saved) {
            hold();
            job.saved = save(&size);
            unhold();
        }
        if (phases[job.phase]) TRY(phases[job.phase]());
        CALL(env.st, relora_stream_synchronize(env.st));
        CALL(side, relora_stream_synchronize(side));
        job.saved = NULL;
    }
    return RELORA_OK;
}

static void mend(void)
{
    if (computes(job.phase)) visit(WALK_RESTORE, job.saved);
}

static void drop(int backwards)
{
    relora_tensor *const tensors[] = {job.w1, job.w2,  job.x,    job.mid, job.x2, job.y,
                                      job.dy, job.dx2, job.dmid, job.dx,  job.dw, job.lr};
    const int count = sizeof tensors / sizeof *tensors;
    if (backwards) relora_cycle_release(job.cycle);
    relora_adam_release(job.warm);
    relora_linear_release(job.first);
    for (int i = 0; i < count; i++) relora_tensor_release(tensors[backwards ? count - 1 - i : i]);
    relora_adam_release(job.adam);
    if (!backwards) relora_cycle_release(job.cycle);
    relora_linear_release(job.second);
    job = (struct job){0};
}

START_TEST(test_training)
{
    other = _i;
    play(&(struct scenario){run, mend, save, drop}, 300);
}
END_TEST

Suite *backend_training(void)
{
    Suite *s = suite_create("failing backend: training");
    TCase *tc = tcase_create("training");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_training, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
