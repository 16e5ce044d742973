/* metrics.c on a disk that is full for a while: the reason is that of the moment, whatever comes later. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "../../examples/pretrain/metrics.h"
#include "../../examples/pretrain/report.h"
#include "program/suites.h"

static void allow_files_of(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void remove_all(const char *folder)
{
    static const char *const names[] = {"train.csv", "eval.csv"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

START_TEST(test_full_for_a_while)
{
    char folder[] = "/tmp/metrics-XXXXXX";
    const struct metrics_place start = {0, 0, 0, ""};
    const struct metrics_row row = {.step = 1, .event = ""};
    struct metrics metrics;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    allow_files_of(10);       /* less than the first line takes */
    ck_assert_int_eq(metrics_open(&metrics, folder, &start), 0);
    allow_files_of(RLIM_INFINITY);
    errno = ENOTTY; /* of some other call by then */
    metrics_step(&metrics, &row);
    ck_assert_int_eq(metrics_close(&metrics), -1);
    ck_assert_msg(strstr(report_last(), "File too large") != NULL, "%s", report_last());
    remove_all(folder);
}
END_TEST

Suite *program_metrics(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("disk");
    tcase_add_test(tc, test_full_for_a_while);
    suite_add_tcase(s, tc);
    return s;
}
