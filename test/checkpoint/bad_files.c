/* Paths that are no file to read: RELORA_E_IO with the system call, the path and the reason, at once. */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

/* Refused with the path and these words, and no descriptor is left open. */
static void refuse(const char *path, const char *word, const char *reason)
{
    relora_reader *r = POISON;
    int descriptors = open_files();
    FAILS(RELORA_E_IO, relora_reader_open(&r, env.ctx, path), path, word, reason);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(open_files(), descriptors);
}

START_TEST(test_missing)
{
    refuse(at("nothing"), "open", "No such file");
    refuse(at("nothing/below"), "open", "No such file");
    refuse("", "open", "No such file");
    spit(at("file"), "x", 1);
    refuse(at("file/below"), "open", "Not a directory");
}
END_TEST

START_TEST(test_directory) { refuse(at(""), "open", "regular"); }
END_TEST

/* Without a writer a plain open() would wait for ever: the time limit of the case would tell. */
START_TEST(test_fifo)
{
    ck_assert_int_eq(mkfifo(at("fifo"), 0600), 0);
    refuse(at("fifo"), "open", "regular");
}
END_TEST

START_TEST(test_device)
{
    refuse("/dev/zero", "open", "regular");
    refuse("/dev/null", "open", "regular");
}
END_TEST

START_TEST(test_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at("socket"));
    int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
    if (!bound) refuse(at("socket"), "open", "");
    close(fd);
    ck_assert_int_eq(bound, 0);
}
END_TEST

/* Root may read everything, so it becomes somebody else for a moment. */
START_TEST(test_no_permission)
{
    struct raw file = small_file(0);
    spit(at("secret"), file.bytes, file.size);
    ck_assert_int_eq(chmod(at("secret"), 0), 0);
    ck_assert_int_eq(chmod(at(""), 0755), 0);
    int root = geteuid() == 0;
    if (root && seteuid(65534) < 0) {
        printf("skipped: no_permission, root that cannot be anybody else\n");
        return;
    }
    refuse(at("secret"), "open", "Permission denied");
    if (root) ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(test_empty)
{
    relora_reader *r = POISON;
    spit(at("empty"), "", 0);
    FAILS(RELORA_E_FORMAT, relora_reader_open(&r, env.ctx, at("empty")), at("empty"), "0 bytes");
    ck_assert_ptr_null(r);
}
END_TEST

/* A loop of symbolic links, and a good one. */
START_TEST(test_links)
{
    struct raw file = small_file(0);
    ck_assert_int_eq(symlink(at("loop"), at("loop")), 0);
    refuse(at("loop"), "open", "symbolic");
    spit(at("there"), file.bytes, file.size);
    ck_assert_int_eq(symlink(at("there"), at("link")), 0);
    ck_assert_int_eq(relora_reader_count(open_path(at("link"))), 2);
}
END_TEST

/* A reader goes on after its file was removed or replaced, and gives the mapping back. */
START_TEST(test_mapping_lives)
{
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    relora_reader *r = open_path(at("small"));
    ck_assert_int_eq(mappings(), 1);
    ck_assert_int_eq(unlink(at("small")), 0);
    spit(at("small"), "other", 5);
    OK(relora_reader_verify(r));
    has_tensor(r, "first", "F32", 2, (int64_t[]){2, 3}, pattern(24, 1), 24);
    ck_assert_uint_gt(file.size, 0);
    close_reader(r);
    ck_assert_int_eq(mappings(), 0);
}
END_TEST

Suite *bad_files(void)
{
    Suite *s = suite_create("bad files");
    TCase *tc = env_case(s, "files", 10);
    tcase_add_test(tc, test_missing);
    tcase_add_test(tc, test_directory);
    tcase_add_test(tc, test_fifo);
    tcase_add_test(tc, test_device);
    tcase_add_test(tc, test_socket);
    tcase_add_test(tc, test_no_permission);
    tcase_add_test(tc, test_empty);
    tcase_add_test(tc, test_links);
    tcase_add_test(tc, test_mapping_lives);
    return s;
}
