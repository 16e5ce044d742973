/* Saving, opening, loading and exporting: the old file stays whole, no litter, nothing is changed by a load that
 * fails, and the same objects do their work when they are asked again. */
#include <stdio.h>
#include "oom/oom.h"

static struct run run;

static void make_run(uint64_t seed)
{
    struct recipe recipe = recipe_of(3);
    run = new_run(&recipe, seed);
}

static void check_old(void)
{
    ck_assert_int_eq(files(), 1);
    holds(at("file"), "old", 3);
}

/* A file that came out the same as without a refusal. */
static void result_file(const char *name)
{
    size_t size;
    void *bytes = slurp(at(name), &size);
    ck_assert_uint_gt(size, 3);
    oom_result(bytes, size);
}

/* ---- saving ---- */

static void save(void)
{
    make_run(1);
    train(&run, 0, 7);
    spit(at("file"), "old", 3);
    oom_begin();
    SURVIVES(check_old, relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    ck_assert_int_eq(files(), 1);
    result_file("file");
}

START_TEST(test_save) { oom_play(save, _i, 30); }
END_TEST

/* ---- opening, from a file and from memory ---- */

static void check_nothing_open(void)
{
    oom_out_is_null();
    ck_assert_int_eq(mappings(), 0);
}

static void open_and_verify(void)
{
    relora_reader *reader;
    size_t size;
    make_run(1);
    OK(relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    void *bytes = slurp(at("file"), &size);
    oom_out = (void **)&reader;
    oom_begin();
    reader = POISON;
    SURVIVES(check_nothing_open, relora_reader_open_if_there(&reader, env.ctx, at("file")));
    relora_reader_release(reader);
    SURVIVES(check_nothing_open, relora_reader_open(&reader, env.ctx, at("file")));
    SURVIVES(NULL, relora_reader_verify(reader));
    relora_reader_release(reader);
    reader = POISON;
    SURVIVES(check_nothing_open, relora_reader_open_memory(&reader, env.ctx, bytes, size));
    SURVIVES(NULL, relora_reader_verify(reader));
    relora_reader_release(reader);
    holds(at("file"), bytes, size);
}

START_TEST(test_open) { oom_play(open_and_verify, _i, 60); }
END_TEST

/* ---- loading: nothing is changed unless all of it is; then the run goes on as the one that was saved ---- */

static struct raw was;

static void check_unchanged(void)
{
    struct raw now = contents(&run);
    same_contents(&was, &now, "a load without memory changes nothing");
}

static void resume(void)
{
    make_run(1);
    train(&run, 0, 7);
    OK(relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    make_run(2);
    scramble(&run, 5);
    was = contents(&run);
    relora_reader *reader = open_path(at("file"));
    oom_begin();
    SURVIVES(check_unchanged, relora_state_load(run.state, env.st, reader));
    struct raw loaded = contents(&run);
    oom_result(loaded.bytes, loaded.size);
    oom_end();
    train(&run, 7, 13);
    struct raw all = contents(&run);
    oom_result(all.bytes, all.size);
}

START_TEST(test_resume) { oom_play(resume, _i, 10); }
END_TEST

/* ---- a file of another run: the sentence about it needs memory too ---- */

/* The refusal that is wanted passes for success. */
static relora_status refused_for(const char *field, relora_status status)
{
    char why[300];
    if (status != RELORA_E_STATE) return status;
    OK(relora_context_error(env.ctx, why, sizeof why, NULL));
    ck_assert_msg(strstr(why, field), "%s", why);
    return RELORA_OK;
}

static void load_other(void)
{
    struct recipe recipe = recipe_of(3);
    make_run(1);
    OK(relora_state_save(run.state, env.st, at("file"), 0));
    recipe.lr_factor = 0.25; /* of a parameter, whose name is compared before it */
    run = new_run(&recipe, 2);
    was = contents(&run);
    relora_reader *reader = open_path(at("file"));
    oom_begin();
    relora_status status;
    do
        status = refused_for("lr_factor=0.25 here, but lr_factor=0.5 in",
                             relora_state_load(run.state, env.st, reader));
    while (oom_again(status, check_unchanged, "relora_state_load(run.state, env.st, reader)", __FILE__,
                     __LINE__));
    oom_end();
    check_unchanged();
}

START_TEST(test_load_other) { oom_play(load_other, _i, 8); }
END_TEST

/* ---- reading one tensor, with and without conversion ---- */

static void read_tensors(void)
{
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    relora_reader *reader = open_raw(file);
    relora_tensor *first = new_matrix(RELORA_BF16, 2, 3), *second = new_vector(RELORA_BF16, 4);
    oom_begin();
    SURVIVES(NULL,
             relora_reader_read(reader, env.st, "first", first, RELORA_READ_CONVERT | RELORA_READ_FINITE));
    SURVIVES(NULL, relora_reader_read(reader, env.st, "second", second, 0));
    oom_result_of(first);
    oom_result_of(second);
}

START_TEST(test_read) { oom_play(read_tensors, _i, 0); }
END_TEST

/* ---- exports ---- */

static void check_three_old(void)
{
    ck_assert_int_eq(files(), 3);
    holds(at("file"), "old", 3);
}

static void prepare_exports(void)
{
    make_run(1);
    spit(at("file"), "old", 3);
    spit(at("adapter_model.safetensors"), "old", 3);
    spit(at("adapter_config.json"), "old", 3);
}

static void export_merged(void)
{
    prepare_exports();
    oom_begin();
    SURVIVES(check_three_old, relora_state_export_merged(run.state, env.st, at("file")));
    result_file("file");
}

static void export_turned(void)
{
    prepare_exports();
    OK(relora_state_set_export_layout(run.state, RELORA_LAYOUT_IN_OUT));
    oom_begin();
    SURVIVES(check_three_old, relora_state_export_merged(run.state, env.st, at("file")));
    result_file("file");
}

static void export_delta(void)
{
    prepare_exports();
    oom_begin();
    SURVIVES(check_three_old, relora_state_export_delta(run.state, env.st, at("file")));
    result_file("file");
}

/* Each of the two files is the old one or the new one; the second is not new without the first. */
static void check_adapter(void)
{
    size_t size;
    check_three_old();
    holds(at("adapter_config.json"), "old", 3);
    slurp(at("adapter_model.safetensors"), &size);
    if (size == 3) return;
    oom_end(); /* opening needs memory */
    open_path(at("adapter_model.safetensors"));
}

static void export_adapter(void)
{
    prepare_exports();
    oom_begin();
    SURVIVES(check_adapter, relora_state_export_adapter(run.state, env.st, at(""), "base"));
    result_file("adapter_model.safetensors");
    result_file("adapter_config.json");
}

START_TEST(test_exports)
{
    oom_play(export_merged, _i, 8);
    oom_play(export_turned, _i, 8);
    oom_play(export_delta, _i, 8);
    oom_play(export_adapter, _i, 10);
}
END_TEST

/* ---- collecting: what was refused is not in the file, and what was not is ---- */

enum { MANY = 40 }; /* past the first arrays */

static void collect_state(void)
{
    static char loader[] = "where the loader is";
    make_run(1);
    relora_state *state = new_state();
    oom_begin();
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        SURVIVES(NULL, relora_state_add_tensor(state, name, run.norm));
    }
    SURVIVES(NULL, relora_state_add_linear(state, "l", run.linear));
    SURVIVES(NULL, relora_state_add_adam(state, "a", run.adam));
    SURVIVES(NULL, relora_state_add_schedule(state, "s", run.schedule));
    SURVIVES(NULL, relora_state_add_cycle(state, "c", run.cycle));
    SURVIVES(NULL, relora_state_add_bytes(state, "b", loader, sizeof loader));
    SURVIVES(NULL, relora_state_set(state, "k", "one"));
    SURVIVES(NULL, relora_state_set(state, "k", "two"));
    oom_end();
    OK(relora_state_save(state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    result_file("file");
}

static void collect_writer(void)
{
    relora_writer *writer = new_writer();
    relora_tensor *tensor = new_vector(RELORA_F32, 7);
    put_all(tensor, 1);
    oom_begin();
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        if (i % 2) SURVIVES(NULL, relora_writer_add(writer, name, tensor));
        else SURVIVES(NULL, relora_writer_add_bytes(writer, name, "U8", 1, (int64_t[]){3}, "abc", 3));
        SURVIVES(NULL, relora_writer_set_metadata(writer, name, "one"));
    }
    SURVIVES(NULL, relora_writer_set_metadata(writer, "t0", "two"));
    SURVIVES(NULL, relora_writer_save(writer, env.st, at("file"), 0));
    result_file("file");
}

START_TEST(test_collecting)
{
    oom_play(collect_state, _i, 50);
    oom_play(collect_writer, _i, 160);
}
END_TEST

Suite *oom_files(void)
{
    Suite *s = suite_create("files");
    TCase *tc = env_case(s, "files", 60);
    tcase_add_loop_test(tc, test_save, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_open, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_resume, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_load_other, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_read, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_exports, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_collecting, 0, OOM_KINDS);
    return s;
}
