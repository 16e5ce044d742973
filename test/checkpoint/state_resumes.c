/* A run stopped after any of its updates, saved, restored into new objects and continued, ends with the
 * bytes of the run that was never stopped. Merges fall on 6, 11, 16, resets on 4, 7, 10, ... */
#include <stdio.h>
#include "checkpoint/run.h"

static const char *state_at(int update)
{
    char name[32];
    snprintf(name, sizeof name, "state%d", update);
    return at(name);
}

/* The whole run, saved after every update on the way. */
static struct raw run_and_save(const struct recipe *recipe)
{
    struct run run = new_run(recipe, 1);
    for (int u = 0; u <= RUN_STEPS; u++) {
        OK(relora_state_save(run.state, env.st, state_at(u), u % 2 ? RELORA_SAVE_CHECKSUM : 0));
        if (u < RUN_STEPS) train(&run, u, u + 1);
    }
    return contents(&run);
}

START_TEST(test_resume)
{
    struct recipe recipe = recipe_of(_i);
    struct run whole = new_run(&recipe, 1);
    train(&whole, 0, RUN_STEPS);
    struct raw want = contents(&whole), saved = run_and_save(&recipe);
    same_contents(&want, &saved, "saving on the way changes nothing");
    for (int u = 0; u <= RUN_STEPS; u++) {
        char what[64];
        struct run run = new_run(&recipe, 50 + (uint64_t)u);
        scramble(&run, 70 + (uint64_t)u);
        OK(relora_state_load(run.state, env.st, open_path(state_at(u))));
        train(&run, u, RUN_STEPS);
        struct raw got = contents(&run);
        snprintf(what, sizeof what, "kind %d resumed after %d", _i, u);
        same_contents(&want, &got, what);
    }
}
END_TEST

/* The test above can fail: a state of another update, or other contents, end elsewhere. */
START_TEST(test_that_it_matters)
{
    struct recipe recipe = recipe_of(_i);
    struct raw want = run_and_save(&recipe);
    struct run late = new_run(&recipe, 2), other = new_run(&recipe, 2);
    OK(relora_state_load(late.state, env.st, open_path(state_at(7))));
    train(&late, 8, RUN_STEPS);
    struct raw got = contents(&late);
    ck_assert_int_ne(memcmp(want.bytes, got.bytes, want.size), 0);
    train(&other, 0, RUN_STEPS);
    got = contents(&other);
    ck_assert_int_ne(memcmp(want.bytes, got.bytes, want.size), 0);
}
END_TEST

/* A warm start ends with a new mode and a new optimizer: the second half resumes as the first did. */
START_TEST(test_resume_after_a_warm_start)
{
    struct recipe warm = recipe_of(5), recipe; /* FULL, BF16, keeps a delta */
    warm.linear.flags |= RELORA_LINEAR_BIAS;   /* whose moments stay */
    recipe = warm;
    recipe.linear.mode = RELORA_MODE_LORA;
    struct raw want = {NULL, 0};
    for (int round = 0; round < 2; round++) { /* 1: stopped in between */
        struct run run = new_run(&warm, 1);
        train(&run, 0, 6);
        OK(relora_linear_set_mode(run.linear, env.st, RELORA_MODE_LORA));
        relora_adam *adam = new_adam(&recipe.adam);
        OK(relora_adam_add_linear(adam, "layer", run.linear));
        OK(relora_adam_set_factors(adam, 0, recipe.lr_factor, recipe.weight_decay));
        int32_t carried = 0;
        OK(relora_adam_carry(adam, env.st, run.adam, NULL, 0, &carried));
        ck_assert_int_eq(carried, 1);
        relora_state *s = new_state();
        OK(relora_state_add_tensor(s, "norm", run.norm));
        OK(relora_state_add_linear(s, "layer", run.linear));
        OK(relora_state_add_adam(s, "adam", adam));
        OK(relora_state_add_schedule(s, "schedule", run.schedule));
        run.adam = adam;
        run.state = s;
        train(&run, 6, 9);
        OK(relora_linear_merge(run.linear, env.st, 1, NULL));
        OK(relora_linear_reset(run.linear, env.st, 1));
        if (round) {
            OK(relora_state_save(run.state, env.st, at("state"), 0));
            run = new_run(&recipe, 3);
            OK(relora_state_load(run.state, env.st, open_path(at("state"))));
        }
        train(&run, 9, RUN_STEPS);
        struct raw got = contents(&run);
        if (round) same_contents(&want, &got, "after a warm start");
        want = got;
    }
}
END_TEST

Suite *state_resumes(void)
{
    Suite *s = suite_create("runs resumed");
    TCase *tc = env_case(s, "resumes", 60);
    tcase_add_loop_test(tc, test_resume, 0, RUN_KINDS);
    tcase_add_loop_test(tc, test_that_it_matters, 0, RUN_KINDS);
    tcase_add_test(tc, test_resume_after_a_warm_start);
    return s;
}
