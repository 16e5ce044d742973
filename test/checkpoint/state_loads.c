/* Saved, everything changed, loaded: every byte as it was, in the same objects and in new ones. */
#include <stdio.h>
#include "checkpoint/run.h"

START_TEST(test_same_objects)
{
    struct recipe recipe = recipe_of(_i);
    struct run run = new_run(&recipe, 1);
    scramble(&run, 21);
    struct raw was = contents(&run);
    OK(relora_state_save(run.state, env.st, at("state"), 0));
    struct raw after = contents(&run);
    same_contents(&was, &after, "saving changes nothing");
    scramble(&run, 22);
    struct raw changed = contents(&run);
    int differing = 0;
    for (size_t i = 0; i < was.size; i++) differing += was.bytes[i] != changed.bytes[i];
    ck_assert_int_gt(differing, (int)was.size / 2); /* scramble() reaches them */
    OK(relora_state_load(run.state, env.st, open_path(at("state"))));
    after = contents(&run);
    same_contents(&was, &after, "loading restores all");
}
END_TEST

START_TEST(test_new_objects)
{
    struct recipe recipe = recipe_of(_i);
    struct run first = new_run(&recipe, 1);
    scramble(&first, 21);
    struct raw was = contents(&first);
    OK(relora_state_save(first.state, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    struct run second = new_run(&recipe, 2);
    relora_reader *r = open_path(at("state"));
    OK(relora_reader_verify(r));
    OK(relora_state_load(second.state, env.st, r));
    close_reader(r); /* nothing of it is needed any more */
    struct raw after = contents(&second);
    same_contents(&was, &after, "new objects take the state");
    OK(relora_state_save(second.state, env.st, at("again"), RELORA_SAVE_CHECKSUM));
    size_t size;
    void *bytes = slurp(at("state"), &size);
    holds(at("again"), bytes, size);
}
END_TEST

/* Exactly these names, which stand in state.h and are those of the authors' code. */
START_TEST(test_names)
{
    struct recipe recipe = recipe_of(3);
    recipe.linear.flags |= RELORA_LINEAR_BIAS;
    /* clang-format off */
    static const char *const names[] = {
        "norm", "layer.weight", "layer.bias", "layer.lora_A.weight", "layer.lora_B.weight", "layer.scaling",
        "layer.delta", "adam.layer.lora_A.weight.exp_avg", "adam.layer.lora_A.weight.exp_avg_sq",
        "adam.layer.lora_B.weight.exp_avg", "adam.layer.lora_B.weight.exp_avg_sq",
        "adam.layer.scaling.exp_avg", "adam.layer.scaling.exp_avg_sq", "adam.layer.bias.exp_avg",
        "adam.layer.bias.exp_avg_sq", "adam.steps",
    };
    /* clang-format on */
    static const char *const keys[] = {"relora.state",       "relora.linear.layer",
                                       "relora.adam.adam",   "relora.schedule.schedule",
                                       "relora.cycle.cycle", "step",
                                       "relora.version"};
    struct run run = new_run(&recipe, 1);
    OK(relora_state_save(run.state, env.st, at("state"), 0));
    relora_reader *r = open_path(at("state"));
    ck_assert_int_eq(relora_reader_count(r), sizeof names / sizeof *names);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(relora_reader_dtype(r, names[i]) != NULL, "no %s", names[i]);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        ck_assert_msg(relora_reader_metadata(r, keys[i]) != NULL, "no %s", keys[i]);
    ck_assert_int_eq(relora_reader_metadata_count(r), sizeof keys / sizeof *keys);
    ck_assert_str_eq(relora_reader_metadata(r, "relora.version"), relora_version_string());
    has_tensor(r, "layer.lora_A.weight", "F32", 2, (int64_t[]){RUN_RANK, RUN_IN},
               snapshot(relora_linear_param(run.linear, RELORA_PARAM_A)), RUN_RANK * RUN_IN * 4);
    has_tensor(r, "layer.weight", "BF16", 2, (int64_t[]){RUN_OUT, RUN_IN},
               snapshot(relora_linear_param(run.linear, RELORA_PARAM_WEIGHT)), RUN_OUT * RUN_IN * 2);
}
END_TEST

/* An empty prefix has no dot. */
START_TEST(test_empty_prefix)
{
    struct recipe recipe = recipe_of(0);
    recipe.prefix = 0;
    struct run run = new_run(&recipe, 1);
    scramble(&run, 5);
    struct raw was = contents(&run);
    OK(relora_state_save(run.state, env.st, at("state"), 0));
    relora_reader *r = open_path(at("state"));
    ck_assert_ptr_nonnull(relora_reader_dtype(r, "weight"));
    ck_assert_ptr_nonnull(relora_reader_dtype(r, "lora_A.weight"));
    scramble(&run, 6);
    OK(relora_state_load(run.state, env.st, r));
    struct raw after = contents(&run);
    same_contents(&was, &after, "empty prefix");
}
END_TEST

/* Values of the host: replaced, read back with the reader, not compared when loading. */
START_TEST(test_values_of_the_host)
{
    struct recipe recipe = recipe_of(0);
    struct run run = new_run(&recipe, 1);
    char key[] = "step", value[] = "41";
    OK(relora_state_set(run.state, key, value));
    OK(relora_state_set(run.state, "data", "größe\n7"));
    OK(relora_state_set(run.state, "step", "42"));
    value[0] = key[0] = 'X';
    OK(relora_state_save(run.state, env.st, at("state"), 0));
    OK(relora_state_set(run.state, "step", "43"));
    OK(relora_state_set(run.state, "new", "not in the file"));
    relora_reader *r = open_path(at("state"));
    ck_assert_str_eq(relora_reader_metadata(r, "step"), "42");
    ck_assert_str_eq(relora_reader_metadata(r, "data"), "größe\n7");
    OK(relora_state_load(run.state, env.st, r));
}
END_TEST

/* The state holds its objects: the caller may let go of all of them. */
START_TEST(test_keeps_alive)
{
    relora_state *s = new_state();
    relora_linear_options lo = layer_options(RELORA_MODE_LOWRANK, 5, 3, 2);
    relora_adam_options ao = adam_options();
    relora_schedule_options so;
    relora_cycle_options co = cycle_options(5, 0);
    relora_linear *l;
    relora_adam *a;
    relora_tensor *t;
    relora_schedule *schedule;
    relora_cycle *c;
    OK(relora_schedule_options_init(&so, sizeof so));
    so.kind = RELORA_SCHEDULE_CONSTANT;
    so.lr = 1;
    OK(relora_linear_create(&l, env.dev, &lo));
    OK(relora_adam_create(&a, env.dev, &ao));
    OK(relora_adam_add_linear(a, "l", l));
    OK(relora_tensor_create(&t, env.dev, RELORA_F32, 0, NULL));
    OK(relora_tensor_fill(t, env.st, 3));
    OK(relora_schedule_create(&schedule, env.ctx, &so));
    OK(relora_cycle_create(&c, env.ctx, &co, NULL, NULL));
    OK(relora_state_add_tensor(s, "t", t));
    OK(relora_state_add_linear(s, "l", l));
    OK(relora_state_add_adam(s, "a", a));
    OK(relora_state_add_schedule(s, "p", schedule));
    OK(relora_state_add_cycle(s, "c", c));
    relora_tensor_release(t);
    relora_linear_release(l);
    relora_adam_release(a);
    relora_schedule_release(schedule);
    relora_cycle_release(c);
    OK(relora_state_save(s, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    OK(relora_state_load(s, env.st, open_path(at("state"))));
}
END_TEST

/* Everything is looked up at save: what an optimizer or a layer got after it was added is saved too. */
START_TEST(test_added_later)
{
    struct recipe recipe = recipe_of(4); /* FULL, with a rank for later */
    struct run run = new_run(&recipe, 1);
    struct rnd rnd = rnd_seed(3);
    add_vector(run.adam, "late", 3, &rnd, NULL, NULL);
    OK(relora_linear_set_mode(run.linear, env.st, RELORA_MODE_LORA));
    OK(relora_state_save(run.state, env.st, at("state"), 0));
    relora_reader *r = open_path(at("state"));
    ck_assert_ptr_nonnull(relora_reader_dtype(r, "adam.late.exp_avg"));
    ck_assert_ptr_nonnull(relora_reader_dtype(r, "layer.lora_A.weight"));
    ck_assert_ptr_nonnull(strstr(relora_reader_metadata(r, "relora.linear.layer"), "mode=LORA"));
    OK(relora_state_load(run.state, env.st, r));
}
END_TEST

/* Many objects: more than the first arrays hold, names that sort differently from the order of adding. */
START_TEST(test_many)
{
    enum { MANY = 150 };
    relora_state *s = new_state();
    relora_tensor *t[MANY];
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", (i * 77) % 1000);
        t[i] = new_vector(i % 3 ? RELORA_F32 : RELORA_BF16, 1 + i % 5);
        put_all(t[i], i);
        OK(relora_state_add_tensor(s, name, t[i]));
    }
    OK(relora_state_save(s, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    for (int i = 0; i < MANY; i++) put_all(t[i], -1);
    OK(relora_state_load(s, env.st, open_path(at("state"))));
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < 1 + i % 5; j++) ck_assert_double_eq(get(t[i])[j], i);
}
END_TEST

/* A file without a tensor: what the host set is all there is. */
START_TEST(test_nothing)
{
    relora_state *s = new_state();
    OK(relora_state_set(s, "step", "0"));
    OK(relora_state_save(s, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    relora_reader *r = open_path(at("state"));
    ck_assert_int_eq(relora_reader_count(r), 0);
    OK(relora_state_load(s, env.st, r));
}
END_TEST

Suite *state_loads(void)
{
    Suite *s = suite_create("states saved and loaded");
    TCase *tc = env_case(s, "loads", 30);
    tcase_add_loop_test(tc, test_same_objects, 0, RUN_KINDS);
    tcase_add_loop_test(tc, test_new_objects, 0, RUN_KINDS);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_empty_prefix);
    tcase_add_test(tc, test_values_of_the_host);
    tcase_add_test(tc, test_keeps_alive);
    tcase_add_test(tc, test_added_later);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_nothing);
    return s;
}
