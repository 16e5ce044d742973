/* Real limits of the system in the way of a save: the size of files, the space, the folder, permissions.
 * Each leaves the old file and nothing else. */
#define _GNU_SOURCE /* unshare() */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

enum { BIG = 3 << 20 };

static relora_writer *writer_of(size_t bytes, int seed)
{
    relora_writer *w = new_writer();
    add_pattern(w, "a", "U8", 1, (int64_t[]){(int64_t)bytes}, bytes, seed);
    return w;
}

/* ---- RLIMIT_FSIZE: write() fails in the middle, or does a part of the work first ---- */

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(test_file_size)
{
    static const rlim_t limits[] = {0, 1, 8, 50, 4096, 1 << 20, (1 << 20) + 100, BIG};
    size_t size;
    struct rlimit before;
    relora_writer *w = writer_of(BIG, 1);
    OK(relora_writer_save(writer_of(100, 2), env.st, at("file"), 0));
    void *old = slurp(at("file"), &size);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        limit_file_size(limits[i]);
        relora_status status = relora_writer_save(w, env.st, at("file"), (uint32_t)i % 2);
        limit_file_size(before.rlim_cur);
        ck_assert_int_eq(status, RELORA_E_IO);
        ck_assert_ptr_nonnull(strstr(env.last, "File too large"));
        ck_assert_ptr_nonnull(strstr(env.last, "write"));
        holds(at("file"), old, size);
        ck_assert_int_eq(files(), 1);
    }
    signal(SIGXFSZ, handler);
    OK(relora_writer_save(w, env.st, at("file"), 0));
}
END_TEST

/* ---- a full disk: a small tmpfs, in a child with mounts of its own ---- */

enum { NOT_ALLOWED = 77 };

static int tell(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    int written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return written;
}

/* Mounts of our own: as root, or as the root of a user namespace in which nobody else exists. */
static int own_mounts(void)
{
    char users[64], groups[64];
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    if (!unshare(CLONE_NEWNS)) return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return -1;
    return tell("/proc/self/setgroups", "deny") && tell("/proc/self/uid_map", users) &&
                   tell("/proc/self/gid_map", groups)
               ? 0
               : -1;
}

static int mount_small(const char *folder)
{
    if (own_mounts() < 0) return -1;
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return mount("none", folder, "tmpfs", 0, "size=262144");
}

/* In the child: nothing of Check is used, the exit status says which step failed. */
static int fill_disk(relora_writer *small, relora_writer *big, const char *folder, const char *path)
{
    struct stat before, after;
    if (mount_small(folder) < 0) return NOT_ALLOWED;
    if (relora_writer_save(small, env.st, path, 0) != RELORA_OK || stat(path, &before)) return 1;
    if (relora_writer_save(big, env.st, path, 0) != RELORA_E_IO) return 2;
    if (!strstr(env.last, "No space left on device")) return 3;
    if (stat(path, &after) || after.st_ino != before.st_ino || after.st_size != before.st_size) return 4;
    if (files() != 1) return 5;
    return relora_writer_save(small, env.st, path, 0) == RELORA_OK ? 0 : 6;
}

START_TEST(test_full_disk)
{
    int status = 0;
    relora_writer *small = writer_of(1000, 1), *big = writer_of(BIG, 2);
    const char *folder = at(""), *path = at("file");
    pid_t child = fork();
    if (!child) _exit(fill_disk(small, big, folder, path));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_ALLOWED) printf("skipped: full_disk, mounting is not allowed\n");
    else ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* ---- folders ---- */

START_TEST(test_no_folder)
{
    relora_writer *w = writer_of(100, 1);
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("no/file"), 0), "open", "no/file", "No such file");
    spit(at("plain"), "x", 1);
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("plain/file"), 0), "open", "Not a directory");
    ck_assert_int_eq(files(), 1);
    relora_state *s = new_state();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    OK(relora_state_add_linear(s, "l", new_linear(&o)));
    FAILS(RELORA_E_IO, relora_state_export_adapter(s, env.st, at("no"), ""), "open", "No such file");
    ck_assert_int_eq(files(), 1);
}
END_TEST

START_TEST(test_path_is_a_folder)
{
    relora_writer *w = writer_of(100, 1);
    ck_assert_int_eq(mkdir(at("sub"), 0700), 0);
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("sub"), 0), "regular file", "sub");
    ck_assert_int_eq(files(), 1);
}
END_TEST

START_TEST(test_name_too_long)
{
    char name[300];
    relora_writer *w = writer_of(100, 1);
    memset(name, 'n', sizeof name);
    name[253] = '\0'; /* would do, but not with ".tmp" behind it */
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at(name), 0), "open", "too long");
    ck_assert_int_eq(files(), 0);
}
END_TEST

/* A name without a folder is one in the present folder. */
START_TEST(test_present_folder)
{
    relora_writer *w = writer_of(100, 1);
    char before[1024];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(at("")), 0);
    relora_status status = relora_writer_save(w, env.st, "here", 0);
    ck_assert_int_eq(chdir(before), 0);
    OK(status);
    ck_assert(exists(at("here")));
    ck_assert_int_eq(files(), 1);
}
END_TEST

/* ---- permissions; root has all of them, so it becomes somebody else ---- */

static int become_somebody(void)
{
    if (geteuid() == 0 && seteuid(65534) < 0) return 0;
    return 1;
}

static void become_what_we_were(void)
{
    if (getuid() == 0) ck_assert_int_eq(seteuid(0), 0);
}

/* A folder of somebody with a file in it, its mode then set to `mode`. */
static void prepare_folder(relora_writer *old, mode_t mode)
{
    ck_assert_int_eq(chmod(at(""), 0755), 0);
    ck_assert_int_eq(mkdir(at("sub"), 0700), 0);
    OK(relora_writer_save(old, env.st, at("sub/file"), 0));
    if (getuid() == 0) {
        ck_assert_int_eq(chown(at("sub"), 65534, (gid_t)-1), 0);
        ck_assert_int_eq(chown(at("sub/file"), 65534, (gid_t)-1), 0);
    }
    ck_assert_int_eq(chmod(at("sub"), mode), 0);
}

START_TEST(test_read_only_folder)
{
    relora_writer *old = writer_of(100, 1), *w = writer_of(100, 2);
    size_t size;
    prepare_folder(old, 0500);
    void *bytes = slurp(at("sub/file"), &size);
    if (!become_somebody()) {
        printf("skipped: read_only_folder, root that cannot be anybody else\n");
        return;
    }
    FAILS(RELORA_E_IO, relora_writer_save(w, env.st, at("sub/file"), 0), "open", "file.tmp",
          "Permission denied");
    become_what_we_were();
    holds(at("sub/file"), bytes, size);
    ck_assert(!exists(at("sub/file.tmp")));
}
END_TEST

/* A folder that may be written but not listed cannot be opened to be flushed. Either that is no reason to
 * fail, or the failure leaves the old file, as every failure does. */
START_TEST(test_folder_that_cannot_be_read)
{
    relora_writer *old = writer_of(100, 1), *w = writer_of(200, 2);
    size_t size;
    prepare_folder(old, 0300);
    void *bytes = slurp(at("sub/file"), &size);
    if (!become_somebody()) {
        printf("skipped: folder_that_cannot_be_read, root that cannot be anybody else\n");
        return;
    }
    relora_status status = relora_writer_save(w, env.st, at("sub/file"), 0);
    become_what_we_were();
    ck_assert(!exists(at("sub/file.tmp")));
    if (status == RELORA_OK) return;
    ck_assert_int_eq(status, RELORA_E_IO);
    holds(at("sub/file"), bytes, size);
}
END_TEST

START_TEST(test_umask)
{
    static const mode_t masks[] = {0, 022, 027, 077};
    relora_writer *w = writer_of(100, 1);
    struct stat info;
    mode_t before = umask(0);
    for (int i = 0; i < 4; i++) {
        char name[] = "file0";
        name[4] = (char)('0' + i);
        umask(masks[i]);
        relora_status status = relora_writer_save(w, env.st, at(name), 0);
        umask(before);
        OK(status);
        ck_assert_int_eq(stat(at(name), &info), 0);
        ck_assert_uint_eq(info.st_mode & 0777, 0666 & ~masks[i]);
    }
}
END_TEST

Suite *save_limits(void)
{
    Suite *s = suite_create("limits while saving");
    TCase *tc = env_case(s, "limits", 20);
    tcase_add_test(tc, test_file_size);
    tcase_add_test(tc, test_full_disk);
    tcase_add_test(tc, test_no_folder);
    tcase_add_test(tc, test_path_is_a_folder);
    tcase_add_test(tc, test_name_too_long);
    tcase_add_test(tc, test_present_folder);
    tcase_add_test(tc, test_read_only_folder);
    tcase_add_test(tc, test_folder_that_cannot_be_read);
    tcase_add_test(tc, test_umask);
    return s;
}
