/* Two saves to one path at one time, and what a killed process left. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "checkpoint/calls.h"
#include "checkpoint/checkpoint.h"

static relora_writer *writer_of(int seed)
{
    relora_writer *w = new_writer();
    add_pattern(w, "a", "U8", 1, (int64_t[]){1000}, 1000, seed);
    return w;
}

/* A child that holds the lock on the temporary as a save does, until it is killed. */
static pid_t lock_in_child(const char *path)
{
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        int fd = open(path, O_RDWR | O_CREAT, 0666);
        int good = fd >= 0 && !flock(fd, LOCK_EX) && write(fd, "half", 4) == 4;
        good = good && write(ready[1], "x", 1) == 1;
        if (!good) _exit(1);
        alarm(20);
        pause();
        _exit(0);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void kill_child(pid_t child)
{
    int status;
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
}

/* While the other one saves: RELORA_E_IO, its temporary untouched; after it was killed: taken over. */
START_TEST(test_another_process)
{
    relora_writer *w = writer_of(1);
    size_t size;
    OK(relora_writer_save(w, env.st, at("file"), 0));
    void *old = slurp(at("file"), &size);
    pid_t child = lock_in_child(at("file.tmp"));
    int descriptors = open_files();
    FAILS(RELORA_E_IO, relora_writer_save(writer_of(2), env.st, at("file"), 0), "flock", "file.tmp",
          "another save");
    ck_assert_int_eq(open_files(), descriptors);
    holds(at("file"), old, size);
    holds(at("file.tmp"), "half", 4);
    OK(relora_writer_save(w, env.st, at("other"), 0)); /* another path is free */
    kill_child(child);
    holds(at("file.tmp"), "half", 4);
    OK(relora_writer_save(writer_of(2), env.st, at("file"), 0));
    ck_assert(!exists(at("file.tmp")));
    has_tensor(open_path(at("file")), "a", "U8", 1, (int64_t[]){1000}, pattern(1000, 2), 1000);
}
END_TEST

/* A temporary left over that is longer than the new file must not show through. */
START_TEST(test_stale_and_longer)
{
    relora_writer *w = writer_of(1);
    size_t size;
    spit(at("file.tmp"), pattern(100000, 9), 100000);
    OK(relora_writer_save(w, env.st, at("file"), 0));
    OK(relora_writer_save(w, env.st, at("clean"), 0));
    void *bytes = slurp(at("clean"), &size);
    holds(at("file"), bytes, size);
    ck_assert(!exists(at("file.tmp")));
}
END_TEST

/* Something else that is called .tmp is a failure, not a way to hang. */
START_TEST(test_temporary_is_something_else)
{
    relora_writer *w = writer_of(1);
    ck_assert_int_eq(mkdir(at("file.tmp"), 0700), 0);
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), 0), "open", "file.tmp");
    ck_assert(!exists(at("file")));
    ck_assert_int_eq(mkfifo(at("pipe.tmp"), 0600), 0);
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("pipe"), 0), "pipe.tmp");
    ck_assert(!exists(at("pipe")));
}
END_TEST

/* A link called .tmp, set there by somebody else, must not make a save write to where it points. */
START_TEST(test_temporary_is_a_link)
{
    relora_writer *w = writer_of(1);
    spit(at("victim"), "precious", 8);
    ck_assert_int_eq(symlink(at("victim"), at("file.tmp")), 0);
    (void)relora_writer_save(w, env.st, at("file"), 0); /* may fail or not */
    holds(at("victim"), "precious", 8);
    ck_assert_int_eq(symlink(at("nobody"), at("other.tmp")), 0);
    (void)relora_writer_save(w, env.st, at("other"), 0);
    ck_assert(!exists(at("nobody")));
}
END_TEST

/* ---- the other save ends between our open() and our lock: the name is another file by then ---- */

static int replacements;
static const char *temporary, *aside;

/* What the other one does at its end. */
static void end_of_the_other(void)
{
    if (replacements-- <= 0) return;
    spit(temporary, "theirs", 6); /* its values, in the file that we hold open */
    ck_assert_int_eq(rename(temporary, aside), 0);
}

START_TEST(test_replaced_in_between)
{
    relora_writer *w = writer_of(1);
    temporary = at("file.tmp");
    aside = at("theirs");
    replacements = 3;
    int descriptors = open_files();
    calls_start((struct calls){.locked = end_of_the_other});
    OK(relora_writer_save(w, env.st, at("file"), 0));
    calls_stop();
    ck_assert_int_eq(open_files(), descriptors);
    holds(aside, "theirs", 6); /* and not ours over it */
    has_tensor(open_path(at("file")), "a", "U8", 1, (int64_t[]){1000}, pattern(1000, 1), 1000);
    ck_assert(!exists(temporary));
}
END_TEST

/* For ever: given up, not tried for ever. */
START_TEST(test_replaced_again_and_again)
{
    relora_writer *w = writer_of(1);
    temporary = at("file.tmp");
    aside = at("theirs");
    replacements = 1000;
    int descriptors = open_files();
    calls_start((struct calls){.locked = end_of_the_other});
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("file"), 0), "file.tmp", "replaced");
    calls_stop();
    ck_assert_int_eq(open_files(), descriptors);
    holds(aside, "theirs", 6);
    ck_assert_int_eq(files(), 1);
}
END_TEST

/* ---- two threads ---- */

enum { ROUNDS = 40 };

struct saver {
    relora_writer *writer;
    relora_stream *stream;
    const char *path;
    int saved, refused, other;
};

static void *save_often(void *argument)
{
    struct saver *s = argument;
    for (int i = 0; i < ROUNDS; i++) {
        relora_status status = relora_writer_save(s->writer, s->stream, s->path, RELORA_SAVE_CHECKSUM);
        if (status == RELORA_OK) s->saved++;
        else if (status == RELORA_E_IO) s->refused++;
        else s->other++;
    }
    return NULL;
}

static void release_stream(void *p) { relora_stream_release(p); }
static void release_writer(void *p) { relora_writer_release(p); }

/* In a context whose log nobody hears: that of env counts without a lock. */
static struct saver new_saver(relora_context *ctx, relora_device *dev, int seed)
{
    struct saver s = {.path = at("file")};
    const int64_t n = 1000;
    OK(relora_writer_create(&s.writer, ctx));
    defer(release_writer, s.writer);
    OK(relora_writer_add_bytes(s.writer, "a", "U8", 1, &n, pattern(1000, seed), 1000));
    OK(relora_stream_create(&s.stream, dev));
    defer(release_stream, s.stream);
    return s;
}

/* Each save either succeeds or is refused, and what stays is whole and of one of them. */
START_TEST(test_two_threads)
{
    struct other other = new_other();
    struct saver savers[2] = {new_saver(other.ctx, other.dev, 1), new_saver(other.ctx, other.dev, 2)};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, save_often, &savers[1]), 0);
    save_often(&savers[0]);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(savers[i].other, 0);
        ck_assert_int_eq(savers[i].saved + savers[i].refused, ROUNDS);
    }
    ck_assert_int_gt(savers[0].saved + savers[1].saved, 0);
    ck_assert_int_eq(files(), 1);
    relora_reader *r = open_path(at("file"));
    OK(relora_reader_verify(r));
    ck_assert_int_eq(relora_reader_count(r), 1);
}
END_TEST

Suite *save_locks(void)
{
    Suite *s = suite_create("two saves at once");
    TCase *tc = env_case(s, "locks", 20);
    tcase_add_test(tc, test_another_process);
    tcase_add_test(tc, test_stale_and_longer);
    tcase_add_test(tc, test_temporary_is_something_else);
    tcase_add_test(tc, test_temporary_is_a_link);
    tcase_add_test(tc, test_replaced_in_between);
    tcase_add_test(tc, test_replaced_again_and_again);
    tcase_add_test(tc, test_two_threads);
    return s;
}
