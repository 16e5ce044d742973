/* State files that each release from 0.2.0 on wrote (test/abi/old_run.h), and what a later release may have
 * written into them. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"
#include "abi/old_run.h" /* it uses OK() */

static const char *const releases[] = {"0.2.0", "0.3.0", "0.4.0", "0.5.0"};
enum { RELEASES = sizeof releases / sizeof *releases };

static relora_reader *recorded(const char *release)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/checkpoint/files/state-%s.safetensors", RELORA_TEST_DATA, release);
    relora_reader *reader = open_path(path);
    ck_assert_str_eq(relora_reader_metadata(reader, "relora.version"), release);
    return reader;
}

/* Every bit is loaded, and saved again under the same descriptions: the older release can read the new file. */
START_TEST(test_old_file)
{
    struct old_run run;
    relora_reader *old = recorded(releases[_i]);
    old_run_make(&run, env.ctx, env.dev);
    OK(relora_state_load(run.state, env.st, old));
    OK(relora_state_save(run.state, env.st, at("again"), 0));
    const char *differs = old_run_differs(old, open_path(at("again")));
    ck_assert_msg(!differs, "%s", differs);
    old_run_train(&run, OLD_STEPS, OLD_STEPS + OLD_EVERY);
    old_run_release(&run);
}
END_TEST

/* The run that was recorded, run today: the descriptions are those of 0.4.0, byte for byte. */
START_TEST(test_new_file)
{
    struct old_run run;
    relora_reader *old = recorded("0.4.0");
    old_run_make(&run, env.ctx, env.dev);
    old_run_train(&run, 0, OLD_STEPS);
    OK(relora_state_save(run.state, env.st, at("new"), 0));
    relora_reader *new = open_path(at("new"));
    for (int32_t i = 0; i < relora_reader_metadata_count(old); i++) {
        const char *key = relora_reader_metadata_key(old, i);
        if (old_run_varies(key)) continue;
        ck_assert_ptr_nonnull(relora_reader_metadata(new, key));
        ck_assert_str_eq(relora_reader_metadata(new, key), relora_reader_metadata(old, key));
    }
    old_run_release(&run);
}
END_TEST

/* ---- descriptions that another release, or a hand, has changed ---- */

static const struct {
    const char *key, *from, *to; /* in the description of `key`; an empty `from` is its end */
    const char *words[3];        /* of the refusal; none: it is loaded */
} changes[] = {
    {"relora.linear.model.q_proj", "", "init_scale=0\n", {0}},
    {"relora.adam.optimizer", "count=6\n", "count=6\nforeach=0\n", {0}},
    {"relora.adam.optimizer", "weight_decay=0.01\n", "weight_decay=0.01\nema=0\n", {0}},
    {"relora.adam.optimizer", "", "ema=0\n", {0}},
    {"relora.schedule.schedule", "adjust_step=0\n", "", {0}},
    {"relora.schedule.schedule", "min_lr_ratio=0.10000000000000001\n", "", {0}},
    {"relora.schedule.schedule", "kind=4\n", "kind=COSINE_RESTARTS\n", {0}},
    {"relora.cycle.cycle", "reset mode=2\n", "reset noise=0\nreset mode=2\n", {0}},
    {"relora.linear.model.q_proj", "mode=LORA\ndtype=F32\n", "dtype=F32\nmode=LORA\n", {0}},
    {"relora.linear.model.q_proj", "", "init_scale=2\n", {"init_scale=2", "does not know"}},
    {"relora.linear.model.q_proj", "rank=2\n", "", {"rank=2 here", "rank=0 in the file", "default"}},
    {"relora.linear.model.q_proj", "rank=2\n", "rank=2\nrank=2\n", {"rank", "twice"}},
    {"relora.adam.optimizer", "count=6\n", "count=6\nforeach=1\n", {"foreach=1", "does not know"}},
    {"relora.adam.optimizer",
     "weight_decay=0.01\n",
     "weight_decay=0.01\nema=1\n",
     {"ema=1", "does not know"}},
    {"relora.adam.optimizer",
     "parameter 5",
     "parameter 6",
     {"parameter 5=model.k_proj", "parameter 6=model.k_proj"}},
    {"relora.adam.optimizer", "scaling\n", "scale\n", {"model.q_proj.scaling here", "model.q_proj.scale in"}},
    {"relora.adam.optimizer", "", "parameter 6=more\nlr_factor=1\n", {"parameter 6=more", "one too many"}},
    {"relora.adam.optimizer",
     "lr_factor=0.5\n",
     "lr_factor=0.25\n",
     {"lr_factor=0.5 here", "lr_factor=0.25 in"}},
    {"relora.schedule.schedule", "kind=4\n", "kind=2\n", {"kind=COSINE_RESTARTS here", "kind=LINEAR in"}},
    {"relora.schedule.schedule", "kind=4\n", "kind=9\n", {"kind=COSINE_RESTARTS here", "kind=9 in"}},
    {"relora.cycle.cycle",
     "reset mode=2\n",
     "reset mode=3\n",
     {"reset mode=RANDOM here", "reset mode=MAGNITUDE in"}},
    {"relora.cycle.cycle",
     "reset mode=2\n",
     "reset noise=2\nreset mode=2\n",
     {"reset noise=2", "does not know"}},
};
enum { CHANGES = sizeof changes / sizeof *changes };

static const char *changed(const char *text, const char *from, const char *to)
{
    const char *at = from[0] ? strstr(text, from) : text + strlen(text);
    size_t size = strlen(text) + strlen(to) + 1;
    char *result = scratch(size);
    ck_assert_ptr_nonnull(at);
    snprintf(result, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return result;
}

START_TEST(test_changed_file)
{
    const char *key = changes[_i].key, *const *words = changes[_i].words;
    struct old_run run;
    relora_reader *old = recorded("0.4.0");
    relora_writer *writer = copy_of(old);
    OK(relora_writer_set_metadata(
        writer, key, changed(relora_reader_metadata(old, key), changes[_i].from, changes[_i].to)));
    OK(relora_writer_save(writer, env.st, at("changed"), 0));
    relora_reader *reader = open_path(at("changed"));
    old_run_make(&run, env.ctx, env.dev);
    if (words[0])
        FAILS(RELORA_E_STATE, relora_state_load(run.state, env.st, reader), key, words[0], words[1],
              words[2] ? words[2] : "");
    else OK(relora_state_load(run.state, env.st, reader));
    old_run_release(&run);
}
END_TEST

Suite *old_states(void)
{
    Suite *s = suite_create("states of other releases");
    TCase *tc = env_case(s, "old states", 20);
    tcase_add_loop_test(tc, test_old_file, 0, RELEASES);
    tcase_add_test(tc, test_new_file);
    tcase_add_loop_test(tc, test_changed_file, 0, CHANGES);
    return s;
}
