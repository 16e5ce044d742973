/* What a save must not go without fails once, with and without checksums: RELORA_E_IO with the call, the file and the
 * reason as text, the old file whole, no temporary, no descriptor, no memory; and the same writer saves when all is
 * well again. What is only a precaution fails always, in every way: a line in the log, and the file is saved. */
#include <errno.h>
#include "checkpoint/calls.h"
#include "checkpoint/checkpoint.h"

static const struct fault {
    const char *call;
    int nth, error;
    uint32_t flags;
    const char *reason;
} faults[] = {
    {"open", 1, EACCES, 0, "Permission denied"},
    {"open", 1, EROFS, 0, "Read-only"},
    {"write", 1, ENOSPC, 0, "No space left"}, /* the length of the header */
    {"write", 2, EDQUOT, 0, "quota"},         /* the header */
    {"write", 3, EIO, 0, "Input/output error"},
    {"write", 4, ENOSPC, 0, "No space left"}, /* values */
    {"write", 4, ENOSPC, RELORA_SAVE_CHECKSUM, "No space left"},
    {"pwrite", 1, EIO, RELORA_SAVE_CHECKSUM, "Input/output error"},
    {"fsync", 1, EIO, 0, "Input/output error"},
    {"fsync", 1, ENOSPC, RELORA_SAVE_CHECKSUM, "No space left"},
    {"fsync", 1, EDQUOT, 0, "quota"},
    {"fsync", 1, ESTALE, 0, "Stale"}, /* nobody knows what became of the data */
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
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
    ck_assert_int_eq(env.mem.blocks, blocks);
    ck_assert_int_eq(open_files(), descriptors);
    ck_assert_int_eq(files(), 1);
    holds(at("file"), old, size);
    OK(relora_writer_save(w, env.st, at("file"), f->flags));
    saved_whole(w, at("file"), f->flags);
}
END_TEST

/* ---- precautions ---- */

static const struct precaution {
    const char *call, *says;
} precautions[] = {
    {"flock", "without a lock"},    {"fchmod", "does not have the mode"}, {"fsync-folder", "is in place"},
    {"open-folder", "is in place"}, {"fstat", "saving continues"},        {"lstat", "saving continues"},
    {"fsync", "may be lost"},
};
enum { PRECAUTIONS = sizeof precautions / sizeof *precautions };

/* Whatever a file system, a sandbox or a network may say. 524 is the kernel's own ENOTSUPP, which NFS lets through. */
static const int any_error[] = {ENOLCK, 524,   EBADF,  EINVAL, ENOSYS, EOPNOTSUPP, EACCES, EPERM,  EIO,
                                ENOTTY, EROFS, ENOMEM, ENOSPC, ESTALE, EMFILE,     ENXIO,  EDEADLK};
static const int no_flush[] = {524, EINVAL, ENOSYS, EOPNOTSUPP, EACCES, EPERM, ENOTTY, EROFS};

static void goes_on_without(const struct precaution *p, int error)
{
    uint32_t flags = RELORA_SAVE_CHECKSUM;
    relora_writer *w = two_tensors(1);
    spit(at("file"), "old", 3);
    env.warning[0] = '\0';
    env.lines[RELORA_LOG_WARN] = 0;
    int descriptors = open_files();
    calls_start((struct calls){.name = p->call, .nth = EVERY, .error = error});
    relora_status status = relora_writer_save(w, env.st, at("file"), flags);
    relora_status again = relora_writer_save(w, env.st, at("file"), flags);
    calls_stop();
    ck_assert_msg(status == RELORA_OK && again == RELORA_OK, "%s, %s: %s", p->call, strerror(error),
                  env.last);
    ck_assert_int_ge(calls.seen, 2);
    ck_assert_msg(env.lines[RELORA_LOG_WARN] == 1, "%s, %s: %d warnings, the last: %s", p->call,
                  strerror(error), env.lines[RELORA_LOG_WARN], env.warning); /* not with every save */
    ck_assert_ptr_nonnull(strstr(env.warning, "relora_writer_save: "));
    ck_assert_ptr_nonnull(strstr(env.warning, error == 524 ? "524" : strerror(error)));
    ck_assert_msg(strstr(env.warning, p->says) != NULL, "%s: %s", p->call, env.warning);
    ck_assert_int_eq(open_files(), descriptors);
    saved_whole(w, at("file"), flags);
    OK(relora_reader_verify(open_path(at("file"))));
}

START_TEST(test_precaution)
{
    const struct precaution *p = &precautions[_i];
    int of_data = !strcmp(p->call, "fsync");
    const int *errors = of_data ? no_flush : any_error;
    int count = (int)(of_data ? sizeof no_flush : sizeof any_error) / (int)sizeof *errors;
    for (int i = 0; i < count; i++) goes_on_without(p, errors[i]);
    ck_assert_int_eq(files(), 2);
}
END_TEST

/* All of them at once, as on a file system that has nothing of the kind. */
START_TEST(test_no_flush_at_all)
{
    relora_writer *w = two_tensors(1);
    calls_start((struct calls){.name = "fsync", .nth = EVERY, .error = EINVAL});
    OK(relora_writer_save(w, env.st, at("file"), 0));
    calls_stop();
    ck_assert_str_eq(calls.trace, "flock ftruncate write fsync rename fsync-folder ");
    saved_whole(w, at("file"), 0);
}
END_TEST

/* Without fsync it is close() that says whether what was written has arrived. */
START_TEST(test_close_says_it)
{
    relora_writer *w = two_tensors(1);
    OK(relora_writer_save(two_tensors(7), env.st, at("file"), 0));
    size_t size;
    void *old = slurp(at("file"), &size);
    calls_start((struct calls){.name = "close", .nth = 1, .error = ENOSPC, .no_fsync = 1});
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), 0), "close", "No space left");
    calls_stop();
    holds(at("file"), old, size);
    ck_assert_int_eq(files(), 1);
}
END_TEST

/* An empty file need not be made shorter; a leftover must. */
START_TEST(test_truncate)
{
    relora_writer *w = two_tensors(1);
    struct calls fault = {.name = "ftruncate", .nth = 1, .error = EIO};
    calls_start(fault);
    OK(relora_writer_save(w, env.st, at("file"), 0));
    calls_stop();
    ck_assert_int_eq(calls.seen, 1);
    saved_whole(w, at("file"), 0);
    spit(at("file.tmp"), "left over", 9);
    calls_start(fault);
    FAILS(RELORA_E_IO, relora_writer_save(two_tensors(3), env.st, at("file"), 0), "ftruncate", "file.tmp",
          "Input/output error");
    calls_stop();
    saved_whole(w, at("file"), 0);
}
END_TEST

/* The work is done and the answer lost: interrupted, the second try finds nothing. */
START_TEST(test_renamed_in_spite_of_all)
{
    static const int errors[] = {EINTR, ENOENT, EIO};
    for (int i = 0; i < 3; i++) {
        relora_writer *w = two_tensors(i);
        calls_start((struct calls){.name = "rename", .nth = 1, .error = errors[i], .done = 1});
        OK(relora_writer_save(w, env.st, at("file"), 0));
        calls_stop();
        saved_whole(w, at("file"), 0);
        ck_assert(!exists(at("file.tmp")));
    }
}
END_TEST

/* No progress and no error is not waited out. */
START_TEST(test_nothing_written)
{
    relora_writer *w = two_tensors(1);
    const char *call = _i ? "pwrite" : "write";
    calls_start((struct calls){.name = call, .nth = EVERY, .error = EIO, .nothing = 1});
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM), call, "file.tmp");
    calls_stop();
    ck_assert_int_eq(files(), 0);
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
    ck_assert_str_eq(calls.trace, "flock ftruncate fchmod write pwrite fsync rename fsync-folder ");
}
END_TEST

/* Writes that do a part of the work, or are interrupted by a signal, are gone on with. */
START_TEST(test_partial_and_interrupted)
{
    uint32_t flags = _i % 2 ? RELORA_SAVE_CHECKSUM : 0;
    relora_writer *w = two_tensors(1);
    spit(at("file"), "old", 3); /* with a mode to keep */
    calls_start((struct calls){.partial = _i < 2 || _i > 3, .interrupted = _i >= 2});
    OK(relora_writer_save(w, env.st, at("file"), flags));
    calls_stop();
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
    saved_whole(w, at("file"), flags);
    calls_start((struct calls){.interrupted = _i >= 2});
    relora_reader *r = open_path(at("file"));
    calls_stop();
    if (flags) OK(relora_reader_verify(r));
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
    FAILS(RELORA_E_IO, relora_state_export_adapter(s, env.st, at(""), "new"), "rename", "adapter_config.json",
          "Input/output error");
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
    tcase_add_loop_test(tc, test_precaution, 0, PRECAUTIONS);
    tcase_add_test(tc, test_no_flush_at_all);
    tcase_add_test(tc, test_close_says_it);
    tcase_add_test(tc, test_truncate);
    tcase_add_test(tc, test_renamed_in_spite_of_all);
    tcase_add_loop_test(tc, test_nothing_written, 0, 2);
    tcase_add_test(tc, test_order_of_calls);
    tcase_add_loop_test(tc, test_partial_and_interrupted, 0, 6);
    tcase_add_test(tc, test_fault_in_an_adapter);
    return s;
}
