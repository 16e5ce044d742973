/* A group in a state: the file is the one that its members make by hand, and a run continues from it bit for
 * bit. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

enum { IN = 6, OUT = 5, RANK = 2, ROWS = 4, EVERY = 3, STEPS = 12, STOP = 7 };

/* A model of two layers and a parameter: a head in FULL, a layer in LORA, a norm. */
struct run {
    relora_group *group;
    relora_linear *low, *head;
    relora_tensor *norm, *dnorm, *x, *h, *dh, *y, *dy;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_state *state;
};

static relora_linear *wrap(struct run *run, const char *name, relora_linear_mode mode, int64_t out,
                           int64_t in, struct rnd *r)
{
    relora_linear *l;
    relora_linear_options o = layer_options(mode, 0, 0, mode == RELORA_MODE_FULL ? 0 : RANK);
    relora_tensor *w = new_matrix(RELORA_BF16, out, in);
    o.dropout = 0.25;
    put_normal(w, r, 0.5);
    OK(relora_group_wrap(run->group, name, w, NULL, &o, &l));
    return l;
}

static struct run new_run(uint64_t seed)
{
    struct run run = {.group = new_group()};
    struct rnd r = rnd_seed(seed);
    relora_cycle_options co = cycle_options(EVERY, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_RANDOM, 0.5, 0);
    run.low = wrap(&run, "low", RELORA_MODE_LORA, OUT, IN, &r);
    run.norm = new_vector(RELORA_F32, OUT);
    run.dnorm = new_vector(RELORA_F32, OUT);
    put_normal(run.norm, &r, 1);
    OK(relora_group_add_param(run.group, "norm", run.norm, run.dnorm));
    run.head = wrap(&run, "head", RELORA_MODE_FULL, IN, OUT, &r);
    run.x = new_matrix(RELORA_BF16, ROWS, IN);
    run.h = new_matrix(RELORA_BF16, ROWS, OUT);
    run.dh = new_matrix(RELORA_BF16, ROWS, OUT);
    run.y = new_matrix(RELORA_BF16, ROWS, IN);
    run.dy = new_matrix(RELORA_BF16, ROWS, IN);
    run.adam = new_adam(NULL);
    OK(relora_adam_add_group(run.adam, run.group));
    run.cycle = new_cycle(&co, run.adam, &ro);
    OK(relora_cycle_add_group(run.cycle, run.group));
    run.state = new_state();
    OK(relora_state_add_group(run.state, run.group));
    OK(relora_state_add_adam(run.state, "adam", run.adam));
    OK(relora_state_add_cycle(run.state, "cycle", run.cycle));
    return run;
}

static void train(struct run *run, int from, int to)
{
    for (int n = from; n < to; n++) {
        struct rnd r = rnd_seed((uint64_t)n + 100);
        put_normal(run->x, &r, 1);
        put_normal(run->dy, &r, 1);
        OK(relora_group_zero_grad(run->group, env.st));
        put_normal(run->dnorm, &r, 1);
        OK(relora_linear_forward(run->low, env.st, run->x, run->h, (uint64_t)n, RELORA_TRAIN));
        OK(relora_linear_forward(run->head, env.st, run->h, run->y, (uint64_t)n, RELORA_TRAIN));
        OK(relora_linear_backward(run->head, env.st, run->h, run->dy, run->dh, (uint64_t)n, RELORA_TRAIN));
        OK(relora_linear_backward(run->low, env.st, run->x, run->dh, NULL, (uint64_t)n, RELORA_TRAIN));
        OK(relora_adam_step(run->adam, env.st, 0.05, 1, NULL));
        OK(relora_cycle_advance(run->cycle, env.st, n + 1, NULL, NULL, NULL));
    }
}

static void is_as(const struct run *run, const struct run *other)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++) {
        if (relora_linear_param(run->low, p))
            UNCHANGED(relora_linear_param(run->low, p), snapshot(relora_linear_param(other->low, p)));
        if (relora_linear_param(run->head, p))
            UNCHANGED(relora_linear_param(run->head, p), snapshot(relora_linear_param(other->head, p)));
    }
    UNCHANGED(run->norm, snapshot(other->norm));
    for (int32_t i = 0; i < relora_adam_count(run->adam); i++)
        UNCHANGED(relora_adam_moment(run->adam, i, RELORA_MOMENT_SECOND),
                  snapshot(relora_adam_moment(other->adam, i, RELORA_MOMENT_SECOND)));
}

START_TEST(test_resume)
{
    struct run whole = new_run(1), first = new_run(1), second = new_run(2);
    train(&whole, 0, STEPS);
    train(&first, 0, STOP);
    OK(relora_state_save(first.state, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    OK(relora_state_load(second.state, env.st, open_path(at("state"))));
    is_as(&second, &first);
    train(&second, STOP, STEPS);
    is_as(&second, &whole);
}
END_TEST

START_TEST(test_same_file)
{
    struct run run = new_run(1);
    relora_state *by_hand = new_state();
    size_t size, again;
    OK(relora_state_add_linear(by_hand, "low", run.low));
    OK(relora_state_add_tensor(by_hand, "norm", run.norm));
    OK(relora_state_add_linear(by_hand, "head", run.head));
    OK(relora_state_add_adam(by_hand, "adam", run.adam));
    OK(relora_state_add_cycle(by_hand, "cycle", run.cycle));
    OK(relora_state_save(run.state, env.st, at("group"), 0));
    OK(relora_state_save(by_hand, env.st, at("hand"), 0));
    void *bytes = slurp(at("group"), &size), *others = slurp(at("hand"), &again);
    ck_assert_uint_eq(size, again);
    SAME_BYTES(bytes, others, size);
}
END_TEST

START_TEST(test_arguments)
{
    relora_group *far;
    OK(relora_group_create(&far, new_other().dev));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_state_add_group(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_group(NULL, new_group()), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_group(new_state(), NULL), "group");
    FAILS(RELORA_E_CONTEXT, relora_state_add_group(new_state(), far), "group");
    relora_group_release(far);
}
END_TEST

Suite *group_states(void)
{
    Suite *s = suite_create("states of groups");
    TCase *tc = env_case(s, "states", 20);
    tcase_add_test(tc, test_resume);
    tcase_add_test(tc, test_same_file);
    tcase_add_test(tc, test_arguments);
    return s;
}
