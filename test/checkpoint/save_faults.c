/* Every system call of a save fails once, with and without checksums: RELORA_E_IO with the call, the file
 * and the reason as text, the old file whole, no temporary, no descriptor, no memory; and the same writer
 * saves when all is well again. */
#include <errno.h>
#include "checkpoint/calls.h"
#include "checkpoint/checkpoint.h"

static const struct fault {
    const char *call;
    int nth, error;
    uint32_t flags;
    const char *reason;
} faults[] = {
    {"flock", 1, ENOLCK, 0, "No locks"},
    {"ftruncate", 1, EIO, 0, "Input/output error"},
    {"write", 1, ENOSPC, 0, "No space left"}, /* the length of the header */
    {"write", 2, EDQUOT, 0, "quota"},         /* the header */
    {"write", 3, EIO, 0, "Input/output error"},
    {"write", 4, ENOSPC, 0, "No space left"}, /* values */
    {"write", 4, ENOSPC, RELORA_SAVE_CHECKSUM, "No space left"},
    {"pwrite", 1, EIO, RELORA_SAVE_CHECKSUM, "Input/output error"},
    {"fsync", 1, EIO, 0, "Input/output error"},
    {"fsync", 1, ENOSPC, RELORA_SAVE_CHECKSUM, "No space left"},
    {"rename", 1, EACCES, 0, "Permission denied"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

static relora_writer *two_tensors(int seed)
{
    relora_writer *w = new_writer();
    add_pattern(w, "a", "F32", 1, (int64_t[]){1000}, 4000, seed);
    add_pattern(w, "b", "BF16", 1, (int64_t[]){1000}, 2000, seed + 1);
    return w;
}

/* Is this what `w` saves when nothing goes wrong? */
static void saved_whole(relora_writer *w, const char *path, uint32_t flags)
{
    size_t size;
    OK(relora_writer_save(w, env.st, at("expected"), flags));
    void *bytes = slurp(at("expected"), &size);
    holds(path, bytes, size);
}

START_TEST(test_fault)
{
    const struct fault *f = &faults[_i];
    size_t size;
    relora_writer *w = two_tensors(1);
    OK(relora_writer_save(two_tensors(7), env.st, at("file"), 0));
    void *old = slurp(at("file"), &size);
    int descriptors = open_files();
    int64_t blocks = env.mem.blocks;
    calls_start((struct calls){.name = f->call, .nth = f->nth, .error = f->error});
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), f->flags), f->call, at("file"), f->reason);
    calls_stop();
    ck_assert_int_ge(calls.seen, f->nth);
    ck_assert_int_eq(env.mem.blocks, blocks);
    ck_assert_int_eq(open_files(), descriptors);
    ck_assert_int_eq(files(), 1);
    holds(at("file"), old, size);
    OK(relora_writer_save(w, env.st, at("file"), f->flags));
    saved_whole(w, at("file"), f->flags);
}
END_TEST

/* The folder cannot be flushed, after the new file took its place: a failure, and the file is whole. */
START_TEST(test_folder_fault)
{
    relora_writer *w = two_tensors(1);
    OK(relora_writer_save(two_tensors(7), env.st, at("file"), 0));
    calls_start((struct calls){.name = "fsync-folder", .nth = 1, .error = EIO});
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), 0), "fsync", "Input/output error");
    calls_stop();
    ck_assert_int_eq(files(), 1);
    saved_whole(w, at("file"), 0);
}
END_TEST

/* Some file systems cannot flush a folder and say EINVAL: that is no failure. */
START_TEST(test_folder_that_cannot_be_flushed)
{
    relora_writer *w = two_tensors(1);
    calls_start((struct calls){.name = "fsync-folder", .nth = 1, .error = EINVAL});
    OK(relora_writer_save(w, env.st, at("file"), 0));
    calls_stop();
    ck_assert_int_eq(calls.seen, 1);
    saved_whole(w, at("file"), 0);
}
END_TEST

/* Values are on the disk before the name points to them, and the name is flushed last. */
START_TEST(test_order_of_calls)
{
    relora_writer *w = two_tensors(1);
    calls_start((struct calls){.nth = 0});
    OK(relora_writer_save(w, env.st, at("file"), 0));
    calls_stop();
    ck_assert_str_eq(calls.trace, "flock ftruncate write fsync rename fsync-folder ");
    calls_start((struct calls){.nth = 0});
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    calls_stop();
    ck_assert_str_eq(calls.trace, "flock ftruncate write pwrite fsync rename fsync-folder ");
}
END_TEST

/* Writes that do a part of the work, or are interrupted by a signal, are gone on with. */
START_TEST(test_partial_and_interrupted)
{
    uint32_t flags = _i % 2 ? RELORA_SAVE_CHECKSUM : 0;
    relora_writer *w = two_tensors(1);
    calls_start((struct calls){.partial = _i < 2 || _i > 3, .interrupted = _i >= 2});
    OK(relora_writer_save(w, env.st, at("file"), flags));
    calls_stop();
    saved_whole(w, at("file"), flags);
    if (flags) OK(relora_reader_verify(open_path(at("file"))));
}
END_TEST

/* The configuration of an adapter is replaced in the same way. */
START_TEST(test_fault_in_an_adapter)
{
    relora_state *s = new_state();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    size_t size;
    OK(relora_state_add_linear(s, "l", new_linear(&o)));
    OK(relora_state_export_adapter(s, env.st, at(""), "old"));
    void *old = slurp(at("adapter_config.json"), &size);
    calls_start((struct calls){.name = "rename", .nth = 2, .error = EIO});
    FAILS(RELORA_E_IO, relora_state_export_adapter(s, env.st, at(""), "new"), "rename",
          "adapter_config.json", "Input/output error");
    calls_stop();
    holds(at("adapter_config.json"), old, size);
    ck_assert_int_eq(files(), 2);
}
END_TEST

Suite *save_faults(void)
{
    Suite *s = suite_create("faults while saving");
    TCase *tc = env_case(s, "faults", 20);
    tcase_add_loop_test(tc, test_fault, 0, FAULTS);
    tcase_add_test(tc, test_folder_fault);
    tcase_add_test(tc, test_folder_that_cannot_be_flushed);
    tcase_add_test(tc, test_order_of_calls);
    tcase_add_loop_test(tc, test_partial_and_interrupted, 0, 6);
    tcase_add_test(tc, test_fault_in_an_adapter);
    return s;
}
