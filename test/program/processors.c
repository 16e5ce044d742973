/* processors.c on made-up files of control groups. */
#define _GNU_SOURCE /* nftw */
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../examples/pretrain/processors.h"
#include "program/suites.h"

static char root[64];

static void setup(void)
{
    strcpy(root, "/tmp/program-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static int drop(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static void teardown(void) { nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS); }

/* A file below the root, with the folders above it. */
static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; *at; at++)
        if (*at == '/') {
            *at = '\0';
            mkdir(path, 0777);
            *at = '/';
        }
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(test_no_groups)
{
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/proc/self/cgroup", "");
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/proc/self/cgroup", "no colons\n0:\n::\n4:cpu\n");
    ck_assert_int_eq(processors_quota(root), 0);
}
END_TEST

START_TEST(test_version_2)
{
    write_file("/proc/self/cgroup", "0::/a/b\n");
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
    ck_assert_int_eq(processors_quota(root), 3);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
    ck_assert_int_eq(processors_quota(root), 1);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "400000\n");
    ck_assert_int_eq(processors_quota(root), 4);
    write_file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n"); /* what is above a group binds it */
    ck_assert_int_eq(processors_quota(root), 2);
    write_file("/sys/fs/cgroup/cpu.max", "50000 50000\n"); /* as a container sees its own */
    ck_assert_int_eq(processors_quota(root), 1);
}
END_TEST

START_TEST(test_version_1)
{
    write_file("/proc/self/cgroup",
               "9:name=systemd:/z\n5:cpuset:/z\n3:cpu,cpuacct:/docker/12\n2:memory:/z\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/z/cpu.cfs_quota_us", "100000\n"); /* another group's */
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/sys/fs/cgroup/cpu,cpuacct/docker/12/cpu.cfs_quota_us", "-1\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/docker/12/cpu.cfs_period_us", "100000\n");
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/sys/fs/cgroup/cpu,cpuacct/docker/12/cpu.cfs_quota_us", "350000\n");
    ck_assert_int_eq(processors_quota(root), 4);
    write_file("/sys/fs/cgroup/cpu,cpuacct/docker/12/cpu.cfs_period_us", "200000\n");
    ck_assert_int_eq(processors_quota(root), 2);
    write_file("/proc/self/cgroup", "3:cpuacct,cpu:/not/there\n"); /* the folder of a container is its root */
    write_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    write_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_int_eq(processors_quota(root), 1);
}
END_TEST

/* Both versions at once: a group of one is not looked for under the other. */
START_TEST(test_hybrid)
{
    write_file("/proc/self/cgroup", "4:cpu:/\n0::/user.slice\n");
    write_file("/sys/fs/cgroup/cpu/user.slice/cpu.cfs_quota_us", "100000\n");
    ck_assert_int_eq(processors_quota(root), 0);
    write_file("/sys/fs/cgroup/unified/user.slice/cpu.max", "700000 100000\n");
    ck_assert_int_eq(processors_quota(root), 7);
}
END_TEST

START_TEST(test_here)
{
    ck_assert_int_ge(processors_allowed(), 1);
    ck_assert_int_le(processors_allowed(), sysconf(_SC_NPROCESSORS_CONF));
    ck_assert_int_le(processors_default(), processors_allowed());
}
END_TEST

Suite *program_processors(void)
{
    Suite *s = suite_create("processors");
    TCase *tc = tcase_create("processors");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_no_groups);
    tcase_add_test(tc, test_version_2);
    tcase_add_test(tc, test_version_1);
    tcase_add_test(tc, test_hybrid);
    tcase_add_test(tc, test_here);
    suite_add_tcase(s, tc);
    return s;
}
