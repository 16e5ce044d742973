/* Memory runs out once, at each request in turn: RELORA_E_NO_MEMORY or success, the old file whole, no
 * litter, nothing changed by a load, nothing outstanding in the end (env_close), and the same objects do
 * their work when they are asked again. The last round meets no refusal. */
#include <stdio.h>
#include <stdlib.h>
#include "checkpoint/meter.h"
#include "checkpoint/run.h"

/* What happens in every round: `prepare`, then `act` with a request refused, `check`, `act` again. */
struct scenario {
    void (*prepare)(void);
    relora_status (*act)(void);
    void (*check)(relora_status status);
};

static struct run run;
static relora_reader *reader;
static void *old;
static size_t old_size;

/* Run the scenario until no request is refused any more; there must have been `least` failures. */
static void play(const struct scenario *s, int least)
{
    int failures = 0, met = 1;
    for (int64_t n = 1; met; n++) {
        ck_assert_int_lt(n, 5000);
        meter_env();
        s->prepare();
        meter_refuse(n);
        relora_status status = s->act();
        met = meter.requests >= n;
        meter_refuse(0);
        ck_assert_msg(status == RELORA_E_NO_MEMORY || status == RELORA_OK, "request %d: %s", (int)n,
                      relora_status_name(status));
        ck_assert_msg(met || status == RELORA_OK, "%s without cause", relora_status_name(status));
        failures += status != RELORA_OK;
        s->check(status);
        if (status != RELORA_OK) OK(s->act());
    }
    ck_assert_int_ge(failures, least);
}

/* ---- saving ---- */

static void prepare_save(void)
{
    struct recipe recipe = recipe_of(3);
    run = new_run(&recipe, 1);
    spit(at("file"), "old", 3);
}

static relora_status act_save(void)
{
    return relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM);
}

static void check_save(relora_status status)
{
    ck_assert_int_eq(files(), 1);
    if (status != RELORA_OK) holds(at("file"), "old", 3);
    else
        OK(relora_reader_verify(open_path(at("file"))));
}

START_TEST(test_save)
{
    play(&(struct scenario){prepare_save, act_save, check_save}, 30);
}
END_TEST

/* ---- opening, from a file and from memory ---- */

static void prepare_open(void)
{
    struct recipe recipe = recipe_of(3);
    run = new_run(&recipe, 1);
    OK(relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    old = slurp(at("file"), &old_size);
}

static relora_status act_open(void)
{
    reader = POISON;
    relora_status status = relora_reader_open(&reader, env.ctx, at("file"));
    if (status == RELORA_OK) status = relora_reader_verify(reader);
    relora_reader_release(reader);
    return status;
}

static relora_status act_open_memory(void)
{
    reader = POISON;
    relora_status status = relora_reader_open_memory(&reader, env.ctx, old, old_size);
    if (status == RELORA_OK) status = relora_reader_verify(reader);
    relora_reader_release(reader); /* NULL after a failure */
    return status;
}

static void check_open(relora_status status)
{
    if (status != RELORA_OK) ck_assert_ptr_null(reader);
    ck_assert_int_eq(mappings(), 0);
    holds(at("file"), old, old_size);
}

START_TEST(test_open)
{
    play(&(struct scenario){prepare_open, act_open, check_open}, 30);
}
END_TEST

START_TEST(test_open_memory)
{
    play(&(struct scenario){prepare_open, act_open_memory, check_open}, 30);
}
END_TEST

/* ---- loading: nothing is changed unless all of it is ---- */

static struct raw was;

static void prepare_load(void)
{
    struct recipe recipe = recipe_of(3);
    prepare_open();
    run = new_run(&recipe, 2);
    scramble(&run, 5);
    was = contents(&run);
    reader = open_path(at("file"));
}

static relora_status act_load(void)
{
    return relora_state_load(run.state, env.st, reader);
}

static void check_load(relora_status status)
{
    struct raw after = contents(&run);
    if (status != RELORA_OK) same_contents(&was, &after, "a load without memory changes nothing");
    else
        ck_assert_int_ne(memcmp(was.bytes, after.bytes, was.size), 0);
}

START_TEST(test_load)
{
    play(&(struct scenario){prepare_load, act_load, check_load}, 10);
}
END_TEST

/* ---- exports ---- */

static void prepare_export(void)
{
    prepare_save();
    spit(at("adapter_model.safetensors"), "old", 3);
    spit(at("adapter_config.json"), "old", 3);
}

static relora_status act_merged(void)
{
    return relora_state_export_merged(run.state, env.st, at("file"));
}

static relora_status act_delta(void)
{
    return relora_state_export_delta(run.state, env.st, at("file"));
}

static void check_export(relora_status status)
{
    ck_assert_int_eq(files(), 3);
    if (status != RELORA_OK) holds(at("file"), "old", 3);
    else
        open_path(at("file"));
}

START_TEST(test_export_merged)
{
    play(&(struct scenario){prepare_export, act_merged, check_export}, 8);
}
END_TEST

START_TEST(test_export_delta)
{
    play(&(struct scenario){prepare_export, act_delta, check_export}, 8);
}
END_TEST

static relora_status act_adapter(void)
{
    return relora_state_export_adapter(run.state, env.st, at(""), "base");
}

/* Each of the two files is the old one or the new one; the second is not new without the first. */
static void check_adapter(relora_status status)
{
    size_t model_size, config_size;
    ck_assert_int_eq(files(), 3);
    slurp(at("adapter_model.safetensors"), &model_size);
    slurp(at("adapter_config.json"), &config_size);
    if (model_size != 3) open_path(at("adapter_model.safetensors"));
    if (status == RELORA_OK) ck_assert(model_size != 3 && config_size != 3);
    else
        ck_assert_uint_eq(config_size, 3);
}

START_TEST(test_export_adapter)
{
    play(&(struct scenario){prepare_export, act_adapter, check_adapter}, 10);
}
END_TEST

/* ---- collecting ---- */

static relora_status act_state(void)
{
    relora_state *s;
    relora_status status = relora_state_create(&s, env.ctx);
    if (status < 0) {
        ck_assert_ptr_null(s);
        return status;
    }
    for (int i = 0; i < 40 && status >= 0; i++) { /* past the first array */
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        status = relora_state_add_tensor(s, name, run.norm);
    }
    if (status >= 0) status = relora_state_add_linear(s, "l", run.linear);
    if (status >= 0) status = relora_state_add_adam(s, "a", run.adam);
    if (status >= 0) status = relora_state_add_schedule(s, "s", run.schedule);
    if (status >= 0) status = relora_state_add_cycle(s, "c", run.cycle);
    if (status >= 0) status = relora_state_set(s, "k", "one");
    if (status >= 0) status = relora_state_set(s, "k", "two");
    relora_state_release(s);
    return status;
}

static void check_nothing(relora_status status)
{
    (void)status;
    ck_assert_int_eq(files(), 1);
}

START_TEST(test_collect_state)
{
    play(&(struct scenario){prepare_save, act_state, check_nothing}, 40);
}
END_TEST

static relora_status act_writer(void)
{
    relora_writer *w;
    relora_status status = relora_writer_create(&w, env.ctx);
    if (status < 0) {
        ck_assert_ptr_null(w);
        return status;
    }
    for (int i = 0; i < 40 && status >= 0; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        status = i % 2 ? relora_writer_add(w, name, run.norm)
                       : relora_writer_add_bytes(w, name, "U8", 1, (int64_t[]){3}, "abc", 3);
        if (status >= 0) status = relora_writer_set_metadata(w, name, "one");
    }
    if (status >= 0) status = relora_writer_set_metadata(w, "t0", "two");
    relora_writer_release(w);
    return status;
}

START_TEST(test_collect_writer)
{
    play(&(struct scenario){prepare_save, act_writer, check_nothing}, 80);
}
END_TEST

Suite *failing_memory(void)
{
    Suite *s = suite_create("failing memory");
    TCase *tc = env_case(s, "memory", 60);
    tcase_add_test(tc, test_save);
    tcase_add_test(tc, test_open);
    tcase_add_test(tc, test_open_memory);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_export_merged);
    tcase_add_test(tc, test_export_delta);
    tcase_add_test(tc, test_export_adapter);
    tcase_add_test(tc, test_collect_state);
    tcase_add_test(tc, test_collect_writer);
    return s;
}
