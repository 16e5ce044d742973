/* Files of ours, opened by the Python package (read_with_python.py), if it is here. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

enum { NO_PYTHON = 127, NO_PACKAGE = 77 };

/* Exit status of the script; `quiet` where it is meant to complain. */
static int run_script(const char *path, int quiet)
{
    int status = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        if (quiet) close(STDOUT_FILENO);
        execlp("python3", "python3", RELORA_TEST_DATA "/checkpoint/read_with_python.py", path, (char *)NULL);
        _exit(NO_PYTHON);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_tensor(FILE *to, const char *name, const char *dtype, int32_t ndim, const int64_t *shape,
                          const unsigned char *bytes, size_t size)
{
    fprintf(to, "%s\t", dtype);
    for (int32_t i = 0; i < ndim; i++) fprintf(to, "%lld ", (long long)shape[i]);
    fprintf(to, "\t");
    for (size_t i = 0; i < size; i++) fprintf(to, "%02x", bytes[i]);
    fprintf(to, "\t%s\n", name);
}

/* Every type and some shapes, described for the script as well. */
static void write_all(const char *path, const char *expected, uint32_t flags)
{
    static const char *const types[] = {"F4",   "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                                        "I8",   "U8",      "BOOL",    "I16",     "U16",         "F16",
                                        "BF16", "I32",     "U32",     "F32",     "I64",         "U64",
                                        "F64",  "C64",     "F6_E2M3", "F6_E3M2"};
    static const size_t bits[] = {4,  8,  8,  8,  8,  8,  8,  8,  8,  16, 16,
                                  16, 16, 32, 32, 32, 64, 64, 64, 64, 6,  6};
    static const struct {
        int32_t ndim;
        int64_t shape[4], elements;
    } shapes[] = {{2, {4, 2}, 8}, {1, {0}, 0}, {4, {1, 4, 1, 4}, 16}};
    relora_writer *w = new_writer();
    FILE *f = fopen(expected, "w");
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int k = 0; k < 3; k++) {
            char name[64];
            size_t bytes = bits[i] * (size_t)shapes[k].elements / 8;
            snprintf(name, sizeof name, "größe.%s.%d", types[i], k);
            unsigned char *data = pattern(bytes, (int)i + k);
            if (!strcmp(types[i], "BOOL"))
                for (size_t b = 0; b < bytes; b++) data[b] &= 1;
            OK(relora_writer_add_bytes(w, name, types[i], shapes[k].ndim, shapes[k].shape, data, bytes));
            expect_tensor(f, name, types[i], shapes[k].ndim, shapes[k].shape, data, bytes);
        }
    add_pattern(w, "scalar", "F32", 0, NULL, 4, 3);
    expect_tensor(f, "scalar", "F32", 0, NULL, pattern(4, 3), 4);
    OK(relora_writer_set_metadata(w, "format", "pt"));
    OK(relora_writer_set_metadata(w, "日本", "\"größe\" \\ /"));
    fprintf(f, "format\tpt\n日本\t\"größe\" \\ /\n");
    fclose(f);
    OK(relora_writer_save(w, env.st, path, flags));
}

START_TEST(test_python)
{
    write_all(at("ours.safetensors"), at("ours.safetensors.txt"), _i ? RELORA_SAVE_CHECKSUM : 0);
    int status = run_script(at("ours.safetensors"), 0);
    if (status == NO_PYTHON || status == NO_PACKAGE) {
        printf("skipped: no python3 with safetensors\n");
        return;
    }
    ck_assert_int_eq(status, 0);
    spit(at("ours.safetensors.txt"), "F32\t1 \t00000000\tnone\n", 20); /* the script can say no */
    ck_assert_int_eq(run_script(at("ours.safetensors"), 1), 1);
}
END_TEST

Suite *python_reads(void)
{
    Suite *s = suite_create("the Python package reads our files");
    TCase *tc = env_case(s, "python", 60);
    tcase_add_loop_test(tc, test_python, 0, 2);
    return s;
}
