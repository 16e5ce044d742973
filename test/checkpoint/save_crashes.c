/* A process that dies before any of its system calls, in the middle of a save, leaves the old file or the
 * new one, and what it left over does not stop the next save. */
#include <sys/wait.h>
#include <unistd.h>
#include "checkpoint/calls.h"
#include "checkpoint/checkpoint.h"

static relora_writer *tensors_of(int seed)
{
    relora_writer *w = new_writer();
    add_pattern(w, "a", "F32", 1, (int64_t[]){500}, 2000, seed);
    add_pattern(w, "b", "U8", 1, (int64_t[]){77}, 77, seed + 1);
    return w;
}

/* Save in a child that dies before its nth call; 1 if it did, 0 if it got through. */
static int crash(relora_writer *w, int nth, uint32_t flags)
{
    int status = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        calls_start((struct calls){.nth = nth, .crash = 1});
        _exit(relora_writer_save(w, env.st, at("file"), flags) == RELORA_OK ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_msg(WEXITSTATUS(status) == CRASHED || WEXITSTATUS(status) == 0, "the child failed");
    return WEXITSTATUS(status) == CRASHED;
}

START_TEST(test_crash)
{
    uint32_t flags = _i ? RELORA_SAVE_CHECKSUM : 0;
    relora_writer *old = tensors_of(1), *new = tensors_of(5);
    size_t size, new_size, left_over = 0, renamed = 0;
    OK(relora_writer_save(old, env.st, at("old"), 0));
    OK(relora_writer_save(new, env.st, at("new"), flags));
    void *bytes = slurp(at("old"), &size), *new_bytes = slurp(at("new"), &new_size);
    int nth = 1;
    for (int crashed = 1; crashed; nth++) {
        size_t there;
        spit(at("file"), bytes, size);
        crashed = crash(new, nth, flags);
        left_over += (size_t)exists(at("file.tmp"));
        void *left = slurp(at("file"), &there);
        int is_old = there == size && !memcmp(left, bytes, size);
        int is_new = there == new_size && !memcmp(left, new_bytes, new_size);
        ck_assert_msg(is_old || is_new, "neither the old file nor the new one after call %d", nth);
        ck_assert_msg(crashed || is_new, "saved, but the old file is there");
        renamed += (size_t)(crashed && is_new);
        OK(relora_writer_save(new, env.st, at("file"), flags)); /* takes the temporary over */
        holds(at("file"), new_bytes, new_size);
        ck_assert(!exists(at("file.tmp")));
    }
    ck_assert_int_gt(nth, 8);        /* lock, truncate, writes, flush, rename, flush */
    ck_assert_uint_ge(left_over, 5); /* some crashes left one, */
    ck_assert_uint_eq(renamed, 1);   /* one was after the rename */
}
END_TEST

Suite *save_crashes(void)
{
    Suite *s = suite_create("crashes while saving");
    TCase *tc = env_case(s, "crashes", 30);
    tcase_add_loop_test(tc, test_crash, 0, 2);
    return s;
}
