/* Layers that take turns at full rank, and end in it: a run that is stopped after any update and resumed by new
 * objects in the modes of that update ends with the bytes of the run that was never stopped. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

enum { LAYERS = 3, IN = 6, OUT = 6, RANK = 2, ROWS = 4, EVERY = 4, STEPS = 5 * EVERY + 3, LAST = 4 * EVERY };

struct run {
    relora_group *group;
    relora_linear *l[LAYERS];
    relora_tensor *x[LAYERS + 1], *dx[LAYERS + 1]; /* of each layer; the last ones are y and dy */
    relora_adam *adam;
    relora_cycle *cycle;
    relora_state *state;
};

/* After a restart one layer has the turn, the next one after the next; in the end all have. */
static relora_linear_mode mode_of(int layer, int update)
{
    if (update > LAST) return RELORA_MODE_FULL;
    return update > EVERY && update / EVERY % LAYERS == layer ? RELORA_MODE_FULL : RELORA_MODE_LORA;
}

static relora_linear_options options_of(int i, int update)
{
    static const uint32_t flags[LAYERS] = {RELORA_LINEAR_BIAS, RELORA_LINEAR_FREEZE_A,
                                           RELORA_LINEAR_FREEZE_B | RELORA_LINEAR_TRAINABLE_SCALE};
    relora_linear_options o = layer_options(mode_of(i, update), IN, OUT, RANK);
    o.flags = flags[i];
    o.dtype = RELORA_BF16;
    o.dropout = 0.25;
    o.layer = (uint64_t)i;
    return o;
}

/* In the modes of an update, over random numbers. */
static struct run new_run(int update, uint64_t seed)
{
    struct run run = {.group = new_group(), .adam = new_adam(NULL), .state = new_state()};
    struct rnd r = rnd_seed(seed);
    relora_cycle_options co = cycle_options(EVERY, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_RANDOM, 0.5, 0);
    char name[8];
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = options_of(i, update);
        run.l[i] = new_filled_linear(&o, &r);
        snprintf(name, sizeof name, "l%d", i);
        OK(relora_group_add_linear(run.group, name, run.l[i]));
    }
    for (int i = 0; i <= LAYERS; i++) {
        run.x[i] = new_matrix(RELORA_BF16, ROWS, IN);
        run.dx[i] = new_matrix(RELORA_BF16, ROWS, IN);
    }
    OK(relora_adam_add_group(run.adam, run.group));
    run.cycle = new_cycle(&co, run.adam, &ro);
    for (int i = 0; i < LAYERS; i++) OK(relora_cycle_add(run.cycle, run.l[i]));
    OK(relora_state_add_group(run.state, run.group));
    OK(relora_state_add_adam(run.state, "adam", run.adam));
    OK(relora_state_add_cycle(run.state, "cycle", run.cycle));
    return run;
}

/* Another turn, with draws of this restart alone. */
static void take_turns(struct run *run, int update)
{
    uint64_t cycle = (uint64_t)update + 1000;
    int changed = 0;
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_mode mode = mode_of(i, update);
        if (mode == relora_linear_get_mode(run->l[i])) continue;
        if (mode == RELORA_MODE_FULL) {
            OK(relora_linear_merge(run->l[i], env.st, cycle, NULL));
            OK(relora_linear_reset(run->l[i], env.st, cycle));
        }
        OK(relora_linear_set_mode(run->l[i], env.st, mode));
        if (mode == RELORA_MODE_LORA) OK(relora_linear_reset(run->l[i], env.st, cycle));
        changed++;
    }
    if (changed) OK(relora_adam_refresh(run->adam, env.st));
}

static void train(struct run *run, int from, int to)
{
    for (int n = from; n < to; n++) {
        struct rnd r = rnd_seed((uint64_t)n + 100);
        uint64_t call = (uint64_t)n;
        put_normal(run->x[0], &r, 1);
        put_normal(run->dx[LAYERS], &r, 1);
        OK(relora_group_zero_grad(run->group, env.st));
        for (int i = 0; i < LAYERS; i++)
            OK(relora_linear_forward(run->l[i], env.st, run->x[i], run->x[i + 1], call, RELORA_TRAIN));
        for (int i = LAYERS - 1; i >= 0; i--)
            OK(relora_linear_backward(run->l[i], env.st, run->x[i], run->dx[i + 1], run->dx[i], call,
                                      RELORA_TRAIN));
        OK(relora_adam_step(run->adam, env.st, 0.05, 1, NULL));
        OK(relora_cycle_advance(run->cycle, env.st, n + 1, NULL, NULL, NULL));
        take_turns(run, n + 1);
    }
}

static void same(const struct run *run, const struct run *other)
{
    for (int i = 0; i < LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
            relora_tensor *a = relora_linear_param(run->l[i], p), *b = relora_linear_param(other->l[i], p);
            ck_assert_int_eq(a == NULL, b == NULL);
            if (a) UNCHANGED(a, snapshot(b));
        }
    ck_assert_int_eq(relora_adam_count(run->adam), relora_adam_count(other->adam));
    for (int32_t k = 0; k < relora_adam_count(run->adam); k++) {
        int64_t ours, theirs;
        ck_assert_str_eq(relora_adam_name(run->adam, k), relora_adam_name(other->adam, k));
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            UNCHANGED(relora_adam_moment(run->adam, k, m), snapshot(relora_adam_moment(other->adam, k, m)));
        OK(relora_adam_steps(run->adam, env.st, k, &ours));
        OK(relora_adam_steps(other->adam, env.st, k, &theirs));
        ck_assert_int_eq(ours, theirs);
    }
}

START_TEST(test_resume)
{
    struct run whole = new_run(0, 1), first = new_run(0, 1), second = new_run(_i, 2);
    train(&whole, 0, STEPS);
    for (int i = 0; i < LAYERS; i++) ck_assert_int_eq(relora_linear_get_mode(whole.l[i]), RELORA_MODE_FULL);
    train(&first, 0, _i);
    OK(relora_state_save(first.state, env.st, at("state"), 0));
    OK(relora_state_load(second.state, env.st, open_path(at("state"))));
    same(&second, &first);
    train(&second, _i, STEPS);
    same(&second, &whole);
}
END_TEST

/* A state whose layer has the turn is none for a layer that has not. */
START_TEST(test_other_mode)
{
    struct run turn = new_run(EVERY + 1, 1), before = new_run(0, 1);
    OK(relora_state_save(turn.state, env.st, at("state"), 0));
    FAILS(RELORA_E_STATE, relora_state_load(before.state, env.st, open_path(at("state"))), "l1", "mode",
          "FULL", "LORA");
}
END_TEST

Suite *state_turns(void)
{
    Suite *s = suite_create("runs with turns at full rank");
    TCase *tc = env_case(s, "turns", 20);
    tcase_add_loop_test(tc, test_resume, 0, STEPS + 1);
    tcase_add_test(tc, test_other_mode);
    return s;
}
