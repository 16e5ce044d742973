/* Files of a state that somebody edited or that were damaged: refused, and nothing is changed. */
#include "checkpoint/run.h"

/* What the reader has, without the tensor `but` and the pair `but`. */
static relora_writer *all_but(const relora_reader *r, const char *but)
{
    relora_writer *w = new_writer();
    for (int32_t i = 0; i < relora_reader_count(r); i++) {
        int32_t ndim;
        const void *data;
        size_t bytes;
        int64_t shape[8];
        const char *name = relora_reader_name(r, i);
        if (!strcmp(name, but)) continue;
        OK(relora_reader_shape(r, name, &ndim, shape, 8));
        OK(relora_reader_bytes(r, name, &data, &bytes));
        OK(relora_writer_add_bytes(w, name, relora_reader_dtype(r, name), ndim, shape, data, bytes));
    }
    for (int32_t i = 0; i < relora_reader_metadata_count(r); i++) {
        const char *key = relora_reader_metadata_key(r, i);
        if (strcmp(key, but) && strcmp(key, "relora.xxh3"))
            OK(relora_writer_set_metadata(w, key, relora_reader_metadata(r, key)));
    }
    return w;
}

static relora_reader *reopened(relora_writer *w)
{
    OK(relora_writer_save(w, env.st, at("edited"), 0));
    return open_path(at("edited"));
}

struct scene {
    struct run run;
    relora_reader *saved;
    struct raw was;
};

/* A saved run, and another that holds something else. */
static struct scene set_scene(void)
{
    struct scene s;
    struct recipe recipe = recipe_of(3);
    struct run first = new_run(&recipe, 1);
    scramble(&first, 41);
    OK(relora_state_save(first.state, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    s.saved = open_path(at("state"));
    s.run = new_run(&recipe, 2);
    scramble(&s.run, 42);
    s.was = contents(&s.run);
    return s;
}

static void nothing_changed(const struct scene *s)
{
    struct raw after = contents(&s->run);
    same_contents(&s->was, &after, "a refused load changes nothing");
}

/* Without edits the way through writer and reader is loaded. */
START_TEST(test_copy)
{
    struct scene s = set_scene();
    OK(relora_state_load(s.run.state, env.st, reopened(all_but(s.saved, "(nothing)"))));
}
END_TEST

START_TEST(test_missing)
{
    struct scene s = set_scene();
    int32_t tensors = relora_reader_count(s.saved);
    for (int32_t i = 0; i < tensors; i++) { /* every one in turn */
        const char *name = relora_reader_name(s.saved, i);
        relora_reader *r = reopened(all_but(s.saved, name));
        FAILS(RELORA_E_NOT_FOUND, relora_state_load(s.run.state, env.st, r), name);
        nothing_changed(&s);
    }
    static const char *const keys[] = {"relora.state", "relora.linear.layer", "relora.adam.adam",
                                       "relora.schedule.schedule", "relora.cycle.cycle"};
    for (int i = 0; i < 5; i++) {
        relora_reader *r = reopened(all_but(s.saved, keys[i]));
        FAILS(RELORA_E_NOT_FOUND, relora_state_load(s.run.state, env.st, r), keys[i]);
        nothing_changed(&s);
    }
}
END_TEST

START_TEST(test_left_over)
{
    struct scene s = set_scene();
    relora_writer *w = all_but(s.saved, "(nothing)");
    add_pattern(w, "left.over", "F32", 1, (int64_t[]){2}, 8, 1);
    FAILS(RELORA_E_NOT_FOUND, relora_state_load(s.run.state, env.st, reopened(w)), "14", "13",
          "\"left.over\"");
    nothing_changed(&s);
}
END_TEST

/* Of each tensor one bit: checksums tell, before anything is written. */
START_TEST(test_damaged)
{
    struct scene s = set_scene();
    size_t size, data;
    void *bytes = slurp(at("state"), &size);
    struct raw file = raw_copy(bytes, size);
    raw_header(file, &data);
    for (int32_t i = 0; i < relora_reader_count(s.saved); i++) {
        const char *name = relora_reader_name(s.saved, i);
        const void *first, *place;
        size_t n;
        OK(relora_reader_bytes(s.saved, relora_reader_name(s.saved, 0), &first, &n));
        OK(relora_reader_bytes(s.saved, name, &place, &n));
        size_t at_byte = data + (size_t)((const char *)place - (const char *)first) + n / 2;
        file.bytes[at_byte] ^= 1;
        FAILS(RELORA_E_FORMAT, relora_state_load(s.run.state, env.st, open_raw(file)), name, "damaged");
        nothing_changed(&s);
        file.bytes[at_byte] ^= 1;
    }
    OK(relora_state_load(s.run.state, env.st, open_raw(file)));
}
END_TEST

/* A tensor with another shape or type of as many bytes. */
START_TEST(test_other_shape_or_type)
{
    struct scene s = set_scene();
    const void *data;
    size_t bytes;
    const char *name = "layer.lora_A.weight";
    OK(relora_reader_bytes(s.saved, name, &data, &bytes));
    relora_writer *w = all_but(s.saved, name);
    OK(relora_writer_add_bytes(w, name, "F32", 2, (int64_t[]){RUN_IN, RUN_RANK}, data, bytes));
    FAILS(RELORA_E_SHAPE, relora_state_load(s.run.state, env.st, reopened(w)), "lora_A", "[6, 2]", "[2, 6]");
    nothing_changed(&s);
    w = all_but(s.saved, name);
    OK(relora_writer_add_bytes(w, name, "I32", 2, (int64_t[]){RUN_RANK, RUN_IN}, data, bytes));
    FAILS(RELORA_E_DTYPE, relora_state_load(s.run.state, env.st, reopened(w)), "lora_A", "I32", "F32");
    nothing_changed(&s);
}
END_TEST

/* ---- step counts ---- */

static void load_steps(const char *dtype, int32_t ndim, const int64_t *shape, const void *data, size_t bytes,
                       relora_status status)
{
    struct scene s = set_scene();
    relora_writer *w = all_but(s.saved, "adam.steps");
    OK(relora_writer_add_bytes(w, "adam.steps", dtype, ndim, shape, data, bytes));
    FAILS(status, relora_state_load(s.run.state, env.st, reopened(w)), "adam.steps");
    nothing_changed(&s);
}

START_TEST(test_steps)
{
    static const int64_t three[] = {5, 6, 7}, four[] = {5, 6, 7, 8}, negative[] = {5, 6, -1};
    static const int64_t lowest[] = {INT64_MIN, 6, 7};
    static const double floats[] = {5, 6, 7};
    switch (_i) {
    case 0: load_steps("I64", 1, (int64_t[]){4}, four, 32, RELORA_E_SHAPE); break;
    case 1: load_steps("I64", 1, (int64_t[]){2}, three, 16, RELORA_E_SHAPE); break;
    case 2: load_steps("I64", 2, (int64_t[]){3, 1}, three, 24, RELORA_E_SHAPE); break;
    case 3: load_steps("F64", 1, (int64_t[]){3}, floats, 24, RELORA_E_DTYPE); break;
    case 4: load_steps("U64", 1, (int64_t[]){3}, three, 24, RELORA_E_DTYPE); break;
    case 5: load_steps("I64", 1, (int64_t[]){3}, negative, 24, RELORA_E_FORMAT); break;
    default: load_steps("I64", 1, (int64_t[]){3}, lowest, 24, RELORA_E_FORMAT); break;
    }
}
END_TEST

/* ---- other files ---- */

START_TEST(test_plain_file)
{
    struct scene s = set_scene();
    relora_reader *plain = open_raw(small_file(0));
    FAILS(RELORA_E_NOT_FOUND, relora_state_load(s.run.state, env.st, plain), "relora.state",
          "not the checkpoint");
    nothing_changed(&s);
}
END_TEST

START_TEST(test_later_format)
{
    struct scene s = set_scene();
    relora_writer *w = all_but(s.saved, "relora.state");
    OK(relora_writer_set_metadata(w, "relora.state", "2"));
    FAILS(RELORA_E_STATE, relora_state_load(s.run.state, env.st, reopened(w)), "relora.state", "1", "2");
    nothing_changed(&s);
}
END_TEST

/* A description that is the beginning of ours, or goes on behind it, or is empty. */
START_TEST(test_descriptions)
{
    struct scene s = set_scene();
    const char *full = relora_reader_metadata(s.saved, "relora.linear.layer");
    char *text = scratch(strlen(full) + 20);
    for (int i = 0; i < 3; i++) {
        strcpy(text, full);
        if (i == 0) text[0] = '\0';
        if (i == 1) *strstr(text, "layer=") = '\0';
        if (i == 2) strcat(text, "more=1\n");
        relora_writer *w = all_but(s.saved, "relora.linear.layer");
        OK(relora_writer_set_metadata(w, "relora.linear.layer", text));
        FAILS(RELORA_E_STATE, relora_state_load(s.run.state, env.st, reopened(w)), "relora.linear.layer");
        nothing_changed(&s);
    }
}
END_TEST

/* ---- two objects that claim one name ---- */

START_TEST(test_one_name_twice)
{
    relora_tensor *a = new_vector(RELORA_F32, 2), *b = new_vector(RELORA_F32, 2);
    relora_state *good = new_state(), *twice = new_state();
    put_all(a, 1);
    put_all(b, 2);
    OK(relora_state_add_tensor(good, "t", a));
    OK(relora_state_save(good, env.st, at("state"), 0));
    OK(relora_state_add_tensor(twice, "t", a));
    OK(relora_state_add_tensor(twice, "t", b));
    FAILS(RELORA_E_EXISTS, relora_state_save(twice, env.st, at("twice"), 0), "\"t\"");
    ck_assert(!exists(at("twice")));
    put_all(a, 5);
    FAILS(RELORA_E_EXISTS, relora_state_load(twice, env.st, open_path(at("state"))), "\"t\"");
    ck_assert_double_eq(get(a)[0], 5);
    ck_assert_double_eq(get(b)[0], 2);
}
END_TEST

/* With as many tensors in the file the number alone would not tell. */
START_TEST(test_one_name_twice_and_one_left_over)
{
    relora_tensor *a = new_vector(RELORA_F32, 2), *b = new_vector(RELORA_F32, 2);
    relora_state *good = new_state(), *twice = new_state();
    put_all(a, 1);
    put_all(b, 2);
    OK(relora_state_add_tensor(good, "t", a));
    OK(relora_state_add_tensor(good, "u", b));
    OK(relora_state_save(good, env.st, at("state"), 0));
    OK(relora_state_add_tensor(twice, "t", a));
    OK(relora_state_add_tensor(twice, "t", b));
    put_all(a, 5);
    FAILS(RELORA_E_EXISTS, relora_state_load(twice, env.st, open_path(at("state"))), "\"t\"");
    ck_assert_double_eq(get(a)[0], 5);
    ck_assert_double_eq(get(b)[0], 2);
}
END_TEST

/* Layers whose modes share no tensor, under one prefix: their descriptions are one too. */
START_TEST(test_one_prefix_twice)
{
    struct rnd rnd = rnd_seed(1);
    relora_linear_options full = layer_options(RELORA_MODE_FULL, 5, 3, 0);
    relora_linear_options low = layer_options(RELORA_MODE_LOWRANK, 5, 3, 2);
    relora_state *s = new_state();
    relora_status status = relora_state_add_linear(s, "l", new_filled_linear(&full, &rnd));
    if (status == RELORA_OK) status = relora_state_add_linear(s, "l", new_filled_linear(&low, &rnd));
    if (status == RELORA_OK) status = relora_state_save(s, env.st, at("state"), 0);
    ck_assert_int_eq(status, RELORA_E_EXISTS);
}
END_TEST

/* Two schedules under one prefix: the second would take the place of the first unseen. */
START_TEST(test_one_schedule_twice)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.kind = RELORA_SCHEDULE_CONSTANT;
    o.lr = 1;
    relora_state *s = new_state();
    relora_status status = relora_state_add_schedule(s, "p", new_schedule(&o));
    o.lr = 2;
    if (status == RELORA_OK) status = relora_state_add_schedule(s, "p", new_schedule(&o));
    if (status == RELORA_OK) status = relora_state_save(s, env.st, at("state"), 0);
    ck_assert_int_eq(status, RELORA_E_EXISTS);
}
END_TEST

Suite *state_files(void)
{
    Suite *s = suite_create("files of states, edited");
    TCase *tc = env_case(s, "files", 30);
    tcase_add_test(tc, test_copy);
    tcase_add_test(tc, test_missing);
    tcase_add_test(tc, test_left_over);
    tcase_add_test(tc, test_damaged);
    tcase_add_test(tc, test_other_shape_or_type);
    tcase_add_loop_test(tc, test_steps, 0, 7);
    tcase_add_test(tc, test_plain_file);
    tcase_add_test(tc, test_later_format);
    tcase_add_test(tc, test_descriptions);
    tcase_add_test(tc, test_one_name_twice);
    tcase_add_test(tc, test_one_name_twice_and_one_left_over);
    tcase_add_test(tc, test_one_prefix_twice);
    tcase_add_test(tc, test_one_schedule_twice);
    return s;
}
