/* Saving, loading and exporting a state. Until a save succeeds the old file is there, and nothing else is. */
#include <stdlib.h>
#include <unistd.h>
#include "backend/rounds.h"
#include "backend/suites.h"
#include "checkpoint/run.h"

static const char *const names[] = {
    "state", "tensors", "merged", "adapter_model.safetensors", "adapter_config.json", "delta", "turned"};
enum { FILES = sizeof names / sizeof *names };

static struct job {
    int made;
    struct run from, to;
    relora_writer *writer;
    relora_reader *reader;
    relora_tensor *narrow; /* BF16, of the F32 tensor of the host */
    int written;           /* of `names` */
} job;

static void make(void)
{
    struct recipe recipe = recipe_of(3); /* LORA, BF16, with a scale and a delta */
    job.from = new_run(&recipe, 1);
    job.to = new_run(&recipe, 2);
    train(&job.from, 0, 7);
    scramble(&job.to, 3);
    job.narrow = new_vector(RELORA_BF16, recipe.norm);
    put_all(job.narrow, 0);
    job.writer = new_writer();
    OK(relora_writer_add(job.writer, "norm", job.from.norm));
    for (int i = 0; i < FILES; i++) spit(at(names[i]), "old", 3);
    job.made = 1;
}

static relora_status write_files(void)
{
    OK(relora_state_set_export_layout(job.from.state, RELORA_LAYOUT_OWN));
    CALL(env.st, relora_state_save(job.from.state, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    job.written = 1;
    CALL(side, relora_writer_save(job.writer, side, at("tensors"), 0));
    job.written = 2;
    CALL(env.st, relora_state_export_merged(job.from.state, env.st, at("merged")));
    job.written = 3;
    CALL(env.st, relora_state_export_adapter(job.from.state, env.st, at(""), "base"));
    job.written = 5;
    CALL(env.st, relora_state_export_delta(job.from.state, env.st, at("delta")));
    job.written = 6;
    OK(relora_state_set_export_layout(job.from.state, RELORA_LAYOUT_IN_OUT));
    CALL(env.st, relora_state_export_merged(job.from.state, env.st, at("turned")));
    job.written = 7;
    return RELORA_OK;
}

static relora_status run(void)
{
    if (!job.made) {
        hold();
        make();
        unhold();
    }
    if (job.written < FILES) TRY(write_files());
    MAKE(job.reader, relora_reader_open(&job.reader, env.ctx, at("state")));
    CALL(side, relora_state_load(job.to.state, side, job.reader));
    CALL(env.st, relora_reader_read(job.reader, env.st, "norm", job.narrow, RELORA_READ_CONVERT));
    CALL(env.st, relora_stream_synchronize(env.st));
    CALL(side, relora_stream_synchronize(side));
    return RELORA_OK;
}

static void mend(void)
{
    ck_assert_int_eq(files(), FILES);
    for (int i = job.written; i < FILES; i++) holds(at(names[i]), "old", 3);
}

/* All files, what was loaded, and the tensor that was converted. */
static void *result(size_t *size)
{
    struct raw parts[FILES + 2];
    *size = 0;
    for (int i = 0; i < FILES; i++) parts[i].bytes = slurp(at(names[i]), &parts[i].size);
    parts[FILES] = contents(&job.to);
    parts[FILES + 1] = (struct raw){snapshot(job.narrow), bytes_of(job.narrow)};
    for (int i = 0; i < FILES + 2; i++) *size += parts[i].size;
    unsigned char *all = scratch(*size), *end = all;
    for (int i = 0; i < FILES + 2; i++) {
        memcpy(end, parts[i].bytes, parts[i].size);
        end += parts[i].size;
    }
    return all;
}

static void drop(int backwards)
{
    (void)backwards; /* the rest goes with env_close() */
    relora_reader_release(job.reader);
    job = (struct job){0};
}

START_TEST(test_files)
{
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 1); /* flushing to a disk takes long */
    play(&(struct scenario){run, mend, result, drop}, 60);
}
END_TEST

Suite *backend_files(void)
{
    Suite *s = suite_create("failing backend: files");
    TCase *tc = tcase_create("files");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_files);
    suite_add_tcase(s, tc);
    return s;
}
