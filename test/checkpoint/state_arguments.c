/* The state with each argument wrong in turn. */
#include "checkpoint/checkpoint.h"

START_TEST(test_create)
{
    relora_state *s = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_state_create(NULL, env.ctx), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_state_create(&s, NULL));
    ck_assert_ptr_null(s);
    relora_state_release(NULL);
}
END_TEST

START_TEST(test_add_tensor)
{
    relora_state *s = new_state();
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    FAILS(RELORA_E_ARGUMENT, relora_state_add_tensor(NULL, "t", t), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_tensor(s, NULL, t), "name");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_tensor(s, "", t), "name");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_tensor(s, "t", NULL), "tensor");
    FAILS(RELORA_E_CONTEXT, relora_state_add_tensor(s, "t", new_other().matrix), "tensor");
}
END_TEST

START_TEST(test_add_linear)
{
    relora_state *s = new_state();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    relora_linear *l = new_linear(&o), *foreign;
    OK(relora_linear_create(&foreign, new_other().dev, &o));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_linear(NULL, "l", l), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_linear(s, NULL, l), "prefix");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_linear(s, "l", NULL), "linear");
    FAILS(RELORA_E_CONTEXT, relora_state_add_linear(s, "l", foreign), "linear");
    relora_linear_release(foreign);
}
END_TEST

START_TEST(test_add_adam)
{
    relora_state *s = new_state();
    relora_adam_options o = adam_options();
    relora_adam *a = new_adam(&o), *foreign;
    OK(relora_adam_create(&foreign, new_other().dev, &o));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_adam(NULL, "a", a), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_adam(s, NULL, a), "prefix");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_adam(s, "a", NULL), "adam");
    FAILS(RELORA_E_CONTEXT, relora_state_add_adam(s, "a", foreign), "adam");
    relora_adam_release(foreign);
}
END_TEST

START_TEST(test_add_schedule)
{
    relora_state *s = new_state();
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.kind = RELORA_SCHEDULE_CONSTANT;
    o.lr = 1;
    relora_schedule *schedule = new_schedule(&o), *foreign;
    OK(relora_schedule_create(&foreign, new_other().ctx, &o));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_schedule(NULL, "p", schedule), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_schedule(s, NULL, schedule), "prefix");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_schedule(s, "p", NULL), "schedule");
    FAILS(RELORA_E_CONTEXT, relora_state_add_schedule(s, "p", foreign), "schedule");
    relora_schedule_release(foreign);
}
END_TEST

START_TEST(test_add_cycle)
{
    relora_state *s = new_state();
    relora_cycle_options o = cycle_options(5, 0);
    relora_cycle *c = new_cycle(&o, NULL, NULL), *foreign;
    OK(relora_cycle_create(&foreign, new_other().ctx, &o, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_cycle(NULL, "p", c), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_cycle(s, NULL, c), "prefix");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_cycle(s, "p", NULL), "cycle");
    FAILS(RELORA_E_CONTEXT, relora_state_add_cycle(s, "p", foreign), "cycle");
    relora_cycle_release(foreign);
}
END_TEST

START_TEST(test_add_bytes)
{
    relora_state *s = new_state();
    char bytes[3] = "ab";
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_state_add_bytes(NULL, "b", bytes, 3));
    FAILS(RELORA_E_ARGUMENT, relora_state_add_bytes(s, NULL, bytes, 3), "name");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_bytes(s, "", bytes, 3), "name");
    FAILS(RELORA_E_ARGUMENT, relora_state_add_bytes(s, "b", NULL, 3), "data is NULL", "bytes is 3");
    FAILS(RELORA_E_OVERFLOW, relora_state_add_bytes(s, "b", bytes, SIZE_MAX),
          "bytes is 18446744073709551615");
    FAILS(RELORA_E_STATE, relora_state_save(s, env.st, at("file"), 0), "nothing"); /* none was added */
}
END_TEST

START_TEST(test_set)
{
    relora_state *s = new_state();
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_state_set(NULL, "k", "v"));
    FAILS(RELORA_E_ARGUMENT, relora_state_set(s, NULL, "v"), "key");
    FAILS(RELORA_E_ARGUMENT, relora_state_set(s, "k", NULL), "value");
    FAILS(RELORA_E_ARGUMENT, relora_state_set(s, "relora.", "v"), "key", "relora.");
    FAILS(RELORA_E_ARGUMENT, relora_state_set(s, "relora.step", "v"), "key", "relora.step");
    FAILS(RELORA_E_ARGUMENT, relora_state_set(s, "relora.xxh3", "v"), "key", "relora.xxh3");
    OK(relora_state_set(s, "relora", "v")); /* only begins like it */
    OK(relora_state_set(s, "Relora.x", "v"));
}
END_TEST

START_TEST(test_save)
{
    relora_state *s = new_state();
    const char *path = at("file");
    OK(relora_state_add_tensor(s, "t", new_matrix(RELORA_F32, 2, 3)));
    FAILS(RELORA_E_ARGUMENT, relora_state_save(NULL, env.st, path, 0), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_save(s, NULL, path, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_state_save(s, new_other().st, path, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_state_save(s, env.st, NULL, 0), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_save(s, env.st, "", 0), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_save(s, env.st, path, 2), "flags", "2");
    ck_assert_int_eq(files(), 0);
}
END_TEST

/* What is not UTF-8 is refused by the time it would have to be written. */
/* A state that nothing was added to is hardly what a host wanted to keep. */
START_TEST(test_save_nothing)
{
    relora_state *s = new_state();
    FAILS(RELORA_E_STATE, relora_state_save(s, env.st, at("empty"), 0), "nothing");
    ck_assert_int_eq(files(), 0);
    OK(relora_state_set(s, "step", "0"));
    OK(relora_state_save(s, env.st, at("empty"), 0));
}
END_TEST

START_TEST(test_save_not_utf8)
{
    relora_state *s = new_state();
    relora_status added = relora_state_set(s, "k", "\xff");
    if (added == RELORA_OK) FAILS(RELORA_E_ARGUMENT, relora_state_save(s, env.st, at("file"), 0), "UTF-8");
    else ck_assert_int_eq(added, RELORA_E_ARGUMENT);
    s = new_state();
    added = relora_state_add_tensor(s, "\xff", new_matrix(RELORA_F32, 2, 3));
    if (added == RELORA_OK) FAILS(RELORA_E_ARGUMENT, relora_state_save(s, env.st, at("file"), 0), "UTF-8");
    else ck_assert_int_eq(added, RELORA_E_ARGUMENT);
    ck_assert_int_eq(files(), 0);
}
END_TEST

START_TEST(test_load)
{
    relora_state *s = new_state();
    struct other other = new_other();
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    put_all(t, 3);
    OK(relora_state_add_tensor(s, "t", t));
    OK(relora_state_save(s, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file")), *foreign;
    OK(relora_reader_open(&foreign, other.ctx, at("file")));
    put_all(t, 4);
    void *was = snapshot(t);
    FAILS(RELORA_E_ARGUMENT, relora_state_load(NULL, env.st, r), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_load(NULL, NULL, r), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_load(s, NULL, r), "stream");
    FAILS(RELORA_E_CONTEXT, relora_state_load(s, other.st, r), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_state_load(s, env.st, NULL), "reader");
    FAILS(RELORA_E_CONTEXT, relora_state_load(s, env.st, foreign), "reader");
    UNCHANGED(t, was);
    relora_reader_release(foreign);
}
END_TEST

START_TEST(test_exports)
{
    relora_state *s = new_state();
    relora_stream *foreign = new_other().st;
    const char *path = at("file");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_merged(NULL, env.st, path), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_merged(s, NULL, path), "stream");
    FAILS(RELORA_E_CONTEXT, relora_state_export_merged(s, foreign, path), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_merged(s, env.st, NULL), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_merged(s, env.st, ""), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_delta(NULL, env.st, path), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_delta(s, NULL, path), "stream");
    FAILS(RELORA_E_CONTEXT, relora_state_export_delta(s, foreign, path), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_delta(s, env.st, NULL), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_delta(s, env.st, ""), "path");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(NULL, env.st, at(""), ""), "state");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(s, NULL, at(""), ""), "stream");
    FAILS(RELORA_E_CONTEXT, relora_state_export_adapter(s, foreign, at(""), ""), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(s, env.st, NULL, ""), "folder");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(s, env.st, "", ""), "folder");
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(s, env.st, at(""), NULL), "base_model");
    ck_assert_int_eq(files(), 0);
}
END_TEST

/* -10 to -29 say that nothing was changed: no file either. */
START_TEST(test_adapter_of_a_model_not_utf8)
{
    relora_state *s = new_state();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    OK(relora_state_add_linear(s, "l", new_linear(&o)));
    FAILS(RELORA_E_ARGUMENT, relora_state_export_adapter(s, env.st, at(""), "\xff"), "base_model", "UTF-8");
    ck_assert_int_eq(files(), 0);
}
END_TEST

START_TEST(test_exports_of_nothing)
{
    relora_state *s = new_state();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_merged(s, env.st, at("file")), "");
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_delta(s, env.st, at("file")), "");
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_adapter(s, env.st, at(""), ""), "LORA");
    OK(relora_state_add_linear(s, "bare", new_linear(&o))); /* without a weight, without a delta */
    FAILS(RELORA_E_STATE, relora_state_export_merged(s, env.st, at("file")), "bare", "weight");
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_delta(s, env.st, at("file")), "");
    ck_assert_int_eq(files(), 0);
}
END_TEST

Suite *state_arguments(void)
{
    Suite *s = suite_create("arguments of the state");
    TCase *tc = env_case(s, "state", 20);
    tcase_add_test(tc, test_create);
    tcase_add_test(tc, test_add_tensor);
    tcase_add_test(tc, test_add_linear);
    tcase_add_test(tc, test_add_adam);
    tcase_add_test(tc, test_add_schedule);
    tcase_add_test(tc, test_add_cycle);
    tcase_add_test(tc, test_add_bytes);
    tcase_add_test(tc, test_set);
    tcase_add_test(tc, test_save);
    tcase_add_test(tc, test_save_nothing);
    tcase_add_test(tc, test_save_not_utf8);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_exports);
    tcase_add_test(tc, test_adapter_of_a_model_not_utf8);
    tcase_add_test(tc, test_exports_of_nothing);
    return s;
}
