/* How layers go by in sentences, and the warning about two that draw the same numbers. */
#include <stdio.h>

#include "conformance/suites.h"

enum { IN = 6, OUT = 5, RANK = 2 };

static relora_linear *make(uint64_t layer)
{
    struct rnd r = rnd_seed(layer + 1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.layer = layer;
    return new_filled_linear(&o, &r);
}

static relora_state *new_state(void)
{
    relora_state *state;
    OK(relora_state_create(&state, env.ctx));
    defer((void (*)(void *))relora_state_release, state);
    return state;
}

/* Before it has a name it goes by its option; then by the first name it was given, wherever that was. */
START_TEST(test_first_name)
{
    relora_linear *l = make(7);
    relora_tensor *x = new_matrix(RELORA_F32, 1, IN);
    put_all(relora_linear_param(l, RELORA_PARAM_A), NAN);
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "layer 7");
    if (_i == 0) OK(relora_adam_add_linear(new_adam(NULL), "head", l));
    if (_i == 1) OK(relora_state_add_linear(new_state(), "head", l));
    OK(relora_state_add_linear(new_state(), "other", l));
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(l, env.st, 1, NULL), "layer \"head\"");
    FAILS(RELORA_E_STATE, relora_linear_set_mode(l, env.st, RELORA_MODE_LORA), "layer \"head\"", "LORA");

    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *bare = new_linear(&o);
    OK(relora_state_add_linear(new_state(), "bare", bare));
    FAILS(RELORA_E_STATE, relora_linear_forward(bare, env.st, x, x, 0, 0), "layer \"bare\" has no weight");
}
END_TEST

/* A layer that was refused keeps having no name. */
START_TEST(test_refused)
{
    relora_linear *l = make(7);
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add(adam, "head.lora_B.weight", new_vector(RELORA_F32, 3), new_vector(RELORA_F32, 3),
                       NULL));
    FAILS(RELORA_E_EXISTS, relora_adam_add_linear(adam, "head", l), "head.lora_B.weight");
    ck_assert_int_eq(relora_adam_count(adam), 1);
    FAILS(RELORA_E_STATE, relora_linear_set_mode(l, env.st, RELORA_MODE_LORA), "layer 7");
}
END_TEST

/* A long name is cut in sentences after 95 bytes, or before a character of two that this would cut apart. */
START_TEST(test_long_name)
{
    char name[200] = "", shown[120];
    if (_i) strcpy(name, "n");
    for (int i = 0; i < 60; i++) strcat(name, "\xc3\xa9");
    relora_linear *l = make(7);
    OK(relora_state_add_linear(new_state(), name, l));
    snprintf(shown, sizeof shown, "layer \"%.*s\"", _i ? 95 : 94, name);
    FAILS(RELORA_E_STATE, relora_linear_set_mode(l, env.st, RELORA_MODE_LORA), shown);
}
END_TEST

/* The cycle names both layers of a clash. */
START_TEST(test_in_a_cycle)
{
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(4, 0);
    relora_linear *q = make(0), *tied = make(1), *strange = make(2);
    OK(relora_adam_add_linear(adam, "q", q));
    OK(relora_adam_add_linear(adam, "tied", tied));
    OK(relora_linear_set_weight(tied, relora_linear_param(q, RELORA_PARAM_WEIGHT), NULL));
    relora_cycle *c = new_cycle(&co, adam, NULL);
    OK(relora_cycle_add(c, q));
    FAILS(RELORA_E_EXISTS, relora_cycle_add(c, q), "linear", "layer \"q\"");
    FAILS(RELORA_E_EXISTS, relora_cycle_add(c, tied), "linear", "layer \"tied\"", "layer \"q\"");
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_add(c, strange), "layer 2");
    put_all(relora_linear_param(q, RELORA_PARAM_B), INFINITY);
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(c, env.st, 5, NULL, NULL, NULL), "layer \"q\"");
}
END_TEST

/* ---- layers that draw the same numbers ---- */

/* Three that share seed and layer: one line for each optimizer and each cycle. */
START_TEST(test_twins)
{
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(4, 0);
    const char *const names[] = {"a", "b", "c"};
    relora_linear *twins[3];
    for (int i = 0; i < 3; i++) twins[i] = make(3);
    for (int i = 0; i < 3; i++) OK(relora_adam_add_linear(adam, names[i], twins[i]));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
    ck_assert_ptr_nonnull(
        strstr(env.warning, "relora_adam_add_linear: layer \"a\" and layer \"b\" draw the same"));
    ck_assert_ptr_nonnull(strstr(env.warning, "options.layer 3"));
    relora_cycle *c = new_cycle(&co, adam, NULL);
    for (int i = 0; i < 3; i++) OK(relora_cycle_add(c, twins[i]));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 2);
    ck_assert_ptr_nonnull(strstr(env.warning, "relora_cycle_add: layer \"a\" and layer \"b\""));
    relora_state *state = new_state();
    for (int i = 0; i < 3; i++) OK(relora_state_add_linear(state, names[i], twins[i]));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 2);
}
END_TEST

/* Nothing to warn of: another seed, another layer, or a layer that never draws. */
START_TEST(test_no_twins)
{
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    OK(relora_adam_add_linear(adam, "a", new_filled_linear(&o, &r)));
    o.layer = 1;
    OK(relora_adam_add_linear(adam, "b", new_filled_linear(&o, &r)));
    o.layer = 0, o.seed = 1;
    OK(relora_adam_add_linear(adam, "c", new_filled_linear(&o, &r)));
    o.seed = 0, o.mode = RELORA_MODE_FULL, o.rank = 0;
    OK(relora_adam_add_linear(adam, "head", new_filled_linear(&o, &r)));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
    o.rank = RANK; /* it will draw when the warm start ends */
    OK(relora_adam_add_linear(adam, "d", new_filled_linear(&o, &r)));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
}
END_TEST

Suite *layer_names(void)
{
    Suite *s = suite_create("layer names");
    TCase *tc = env_case(s, "names", 20);
    tcase_add_loop_test(tc, test_first_name, 0, 2);
    tcase_add_test(tc, test_refused);
    tcase_add_loop_test(tc, test_long_name, 0, 2);
    tcase_add_test(tc, test_in_a_cycle);
    tc = env_case(s, "twins", 20);
    tcase_add_test(tc, test_twins);
    tcase_add_test(tc, test_no_twins);
    return s;
}
