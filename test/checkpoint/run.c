#include "checkpoint/run.h"

struct recipe recipe_of(int kind)
{
    static const struct {
        relora_linear_mode mode;
        relora_dtype dtype;
        uint32_t flags;
        relora_init init;
        relora_reset_mode moments; /* 0: as the others */
    } kinds[RUN_KINDS] = {
        {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS, 0, 0},
        {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_BIAS, 0, 0},
        {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE, 0, 0},
        {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_KEEP_DELTA, 0, 0},
        {RELORA_MODE_FULL, RELORA_F32, RELORA_LINEAR_BIAS, 0, 0},
        {RELORA_MODE_FULL, RELORA_BF16, RELORA_LINEAR_BIAS | RELORA_LINEAR_KEEP_DELTA, 0, 0},
        {RELORA_MODE_LOWRANK, RELORA_F32, RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE, 0, 0},
        {RELORA_MODE_LOWRANK, RELORA_BF16, 0, 0, 0},
        {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_FREEZE_A | RELORA_LINEAR_BIAS, 0, 0},
        {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_FREEZE_B | RELORA_LINEAR_TRAINABLE_SCALE, 0, 0},
        {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS, RELORA_INIT_GRADIENT, RELORA_RESET_PROJECT},
        {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_FREEZE_A, RELORA_INIT_MATCHED, RELORA_RESET_KEEP},
        {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_FREEZE_A, RELORA_INIT_GRADIENT, RELORA_RESET_PROJECT},
    };
    struct recipe r = {.lr_factor = 0.5, .weight_decay = 0.01, .norm_dtype = RELORA_F32, .norm = 7};
    r.linear = layer_options(kinds[kind].mode, RUN_IN, RUN_OUT, RUN_RANK);
    r.linear.dtype = kinds[kind].dtype;
    r.linear.flags = kinds[kind].flags;
    r.linear.init = kinds[kind].init;
    r.linear.dropout = 0.2;
    r.linear.seed = 1234567890123456789u;
    r.linear.layer = 3;
    r.linear.alpha = 4;
    r.adam = adam_options();
    r.adam.max_norm = 2;
    r.adam.weight_decay = 0.02;
    r.adam.seed = 17;
    OK(relora_schedule_options_init(&r.schedule, sizeof r.schedule));
    r.schedule.lr = 0.05;
    r.schedule.total_steps = RUN_STEPS;
    r.schedule.warmup_steps = 2;
    r.schedule.restart_every = RUN_EVERY;
    r.schedule.restart_warmup_steps = 2;
    r.cycle = cycle_options(RUN_EVERY, RUN_RESET);
    r.reset = reset_options(RELORA_RESET_RANDOM, 0.5, RELORA_RESET_STEP_COUNT);
    r.reset.seed = 99;
    if (kinds[kind].moments) { /* and longer and longer cycles */
        r.reset = reset_options(kinds[kind].moments, 0, 0);
        r.cycle.reset_every = 0;
        r.cycle.period_growth = r.schedule.period_growth = 2;
    }
    r.cycle_too = kinds[kind].mode == RELORA_MODE_LORA;
    r.norm_name = "norm";
    r.prefix = 1;
    return r;
}

static void make_optimizer(struct run *run, struct rnd *rnd)
{
    const struct recipe *r = &run->recipe;
    run->adam = new_adam(&r->adam);
    OK(relora_adam_add_linear(run->adam, "layer", run->linear));
    if (r->extra_parameter) add_vector(run->adam, "extra", 3, rnd, NULL, NULL);
    OK(relora_adam_set_factors(run->adam, 0, r->lr_factor, r->weight_decay));
}

static void make_state(struct run *run)
{
    run->state = new_state();
    OK(relora_state_add_tensor(run->state, run->recipe.norm_name, run->norm));
    OK(relora_state_add_linear(run->state, run->recipe.prefix ? "layer" : "", run->linear));
    OK(relora_state_add_adam(run->state, "adam", run->adam));
    OK(relora_state_add_schedule(run->state, "schedule", run->schedule));
    if (run->cycle) OK(relora_state_add_cycle(run->state, "cycle", run->cycle));
    OK(relora_state_set(run->state, "step", "0"));
}

struct run new_run(const struct recipe *recipe, uint64_t seed)
{
    struct run run = {.recipe = *recipe};
    struct rnd rnd = rnd_seed(seed);
    run.linear = new_filled_linear(&recipe->linear, &rnd);
    run.norm = new_vector(recipe->norm_dtype, recipe->norm);
    put_normal(run.norm, &rnd, 1);
    run.x = new_matrix(recipe->linear.dtype, RUN_ROWS, recipe->linear.in_features);
    run.y = new_matrix(recipe->linear.dtype, RUN_ROWS, recipe->linear.out_features);
    run.dy = new_matrix(recipe->linear.dtype, RUN_ROWS, recipe->linear.out_features);
    make_optimizer(&run, &rnd);
    run.schedule = new_schedule(&recipe->schedule);
    if (recipe->cycle_too) {
        run.cycle = new_cycle(&recipe->cycle, run.adam, &recipe->reset);
        OK(relora_cycle_add(run.cycle, run.linear));
    }
    make_state(&run);
    return run;
}

void scramble(struct run *run, uint64_t seed)
{
    struct rnd rnd = rnd_seed(seed);
    put_normal(run->norm, &rnd, 1);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
        if (relora_linear_param(run->linear, p)) put_normal(relora_linear_param(run->linear, p), &rnd, 1);
    for (int32_t i = 0; i < relora_adam_count(run->adam); i++) {
        put_normal(relora_adam_moment(run->adam, i, RELORA_MOMENT_FIRST), &rnd, 1);
        put_normal(relora_adam_moment(run->adam, i, RELORA_MOMENT_SECOND), &rnd, 1);
        OK(relora_adam_set_steps(run->adam, env.st, i, (int64_t)(seed % 1000) + i));
    }
}

/* ---- contents ---- */

static size_t append(unsigned char *to, size_t used, const relora_tensor *t)
{
    if (!t) return used;
    if (to) memcpy(to + used, snapshot(t), bytes_of(t));
    return used + bytes_of(t);
}

static size_t collect(const struct run *run, unsigned char *to)
{
    size_t used = append(to, 0, run->norm);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
        used = append(to, used, relora_linear_param(run->linear, p));
    for (int32_t i = 0; i < relora_adam_count(run->adam); i++) {
        int64_t steps;
        used = append(to, used, relora_adam_moment(run->adam, i, RELORA_MOMENT_FIRST));
        used = append(to, used, relora_adam_moment(run->adam, i, RELORA_MOMENT_SECOND));
        OK(relora_adam_steps(run->adam, env.st, i, &steps));
        if (to) memcpy(to + used, &steps, sizeof steps);
        used += sizeof steps;
    }
    return used;
}

struct raw contents(const struct run *run)
{
    struct raw all = {NULL, collect(run, NULL)};
    all.bytes = scratch(all.size);
    collect(run, all.bytes);
    return all;
}

void same_contents(const struct raw *a, const struct raw *b, const char *what)
{
    ck_assert_uint_eq(a->size, b->size);
    same_bytes(a->bytes, b->bytes, a->size, what, __FILE__, __LINE__);
}

/* ---- training ---- */

/* x and dy are functions of the step alone, so that a run depends on nothing but its state. */
static void prepare(struct run *run, int step)
{
    struct rnd rnd = rnd_seed((uint64_t)step + 1000);
    put_normal(run->x, &rnd, 1);
    OK(relora_linear_forward(run->linear, env.st, run->x, run->y, (uint64_t)step, RELORA_TRAIN));
    double *y = get(run->y);
    for (int i = 0; i < RUN_ROWS * RUN_OUT; i++) y[i] -= rnd_normal(&rnd);
    put(run->dy, y);
}

void train(struct run *run, int from, int to)
{
    for (int step = from; step < to; step++) {
        double lr;
        uint32_t next = 0;
        prepare(run, step);
        if (run->cycle) OK(relora_cycle_due(run->cycle, step + 1, &next));
        OK(relora_linear_backward(run->linear, env.st, run->x, run->dy, NULL, (uint64_t)step,
                                  RELORA_TRAIN | RELORA_OVERWRITE | (next ? RELORA_SKETCH : 0)));
        OK(relora_schedule_lr(run->schedule, step, &lr));
        OK(relora_adam_step(run->adam, env.st, lr, 1, NULL));
        if (run->cycle) OK(relora_cycle_advance(run->cycle, env.st, step + 1, NULL, NULL, NULL));
    }
}
