/* Offsets of more than 32 bits, and memory that does not grow with the tensors. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

enum { MIB = 1 << 20 };

/* A hole of 5 GiB with a tensor behind it, another before it, and one that spans it. */
START_TEST(test_behind_4_gib)
{
    const int64_t hole = 5ll << 30, size = hole + 32;
    char header[512];
    unsigned char *first = pattern(16, 1), *last = pattern(16, 2);
    snprintf(header, sizeof header,
             "{\"first\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
             "\"hole\":{\"dtype\":\"U8\",\"shape\":[5,1073741824],\"data_offsets\":[16,%lld]},"
             "\"last\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[%lld,%lld]}}",
             (long long)hole + 16, (long long)hole + 16, (long long)size);
    struct raw start = raw_file(header, 0);
    int fd = open(at("sparse"), O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    int made = !ftruncate(fd, (off_t)start.size + size) &&
               pwrite(fd, start.bytes, start.size, 0) == (ssize_t)start.size &&
               pwrite(fd, first, 16, (off_t)start.size) == 16 &&
               pwrite(fd, last, 16, (off_t)start.size + hole + 16) == 16;
    close(fd);
    if (!made) {
        printf("skipped: behind_4_gib, no sparse files here\n");
        return;
    }
    relora_reader *r = open_path(at("sparse"));
    relora_tensor *t = new_matrix(RELORA_F32, 2, 2);
    OK(relora_reader_read(r, env.st, "last", t, 0));
    UNCHANGED(t, last);
    has_tensor(r, "first", "F32", 1, (int64_t[]){4}, first, 16);
    const void *data, *from;
    size_t bytes;
    OK(relora_reader_bytes(r, "hole", &data, &bytes));
    ck_assert_uint_eq(bytes, (size_t)hole);
    OK(relora_reader_bytes(r, "first", &from, &bytes));
    ck_assert_int_eq((const char *)data - (const char *)from, 16);
    close_reader(r);
    ck_assert_int_eq(truncate(at("sparse"), (off_t)start.size + size - 1), 0);
    FAILS(RELORA_E_FORMAT, relora_reader_open(&r, env.ctx, at("sparse")), "5368709152");
}
END_TEST

/* 64 MiB of values are saved, verified and read with less than 4 MiB beside them. */
START_TEST(test_memory_of_a_save)
{
    enum { COLS = 1024, ROWS = 64 * MIB / 4 / COLS };
    relora_tensor *t = new_matrix(RELORA_F32, ROWS, COLS);
    relora_writer *w = new_writer();
    put_all(t, 1.5);
    OK(relora_writer_add(w, "t", t));
    int64_t before = env.mem.bytes;
    ck_assert_int_ge(before, 64 * MIB);
    track_peak(&env.mem);
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    ck_assert_int_lt(env.mem.peak - before, 4 * MIB);
    ck_assert_int_gt(env.mem.peak - before, 0); /* it is measured */
    put_all(t, 0);
    track_peak(&env.mem);
    before = env.mem.bytes;
    relora_reader *r = open_path(at("file"));
    OK(relora_reader_verify(r));
    OK(relora_reader_read(r, env.st, "t", t, 0));
    ck_assert_int_lt(env.mem.peak - before, 4 * MIB);
    close_reader(r);
    const float *values = relora_tensor_data(t);
    for (int64_t i = 0; i < (int64_t)ROWS * COLS; i++)
        if (values[i] < 1.5f || values[i] > 1.5f) ck_abort_msg("element %lld", (long long)i);
}
END_TEST

/* A merged weight of 16 MiB is made in slices: a few MiB are enough. */
START_TEST(test_memory_of_an_export)
{
    enum { IN = 1024, OUT = 4096 };
    struct rnd rnd = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, 2);
    relora_state *s = new_state();
    OK(relora_state_add_linear(s, "l", new_filled_linear(&o, &rnd)));
    int64_t before = env.mem.bytes;
    ck_assert_int_ge(before, 16 * MIB);
    track_peak(&env.mem);
    OK(relora_state_export_merged(s, env.st, at("file")));
    ck_assert_int_lt(env.mem.peak - before, 4 * MIB);
}
END_TEST

/* What no reader of the format would take is not written: a header of more than 100 MB. */
START_TEST(test_header_too_large)
{
    const size_t length = 100000000;
    char *text = malloc(length + 1);
    relora_writer *w = new_writer();
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', length);
    text[length] = 0;
    relora_status set = relora_writer_set_metadata(w, "text", text);
    free(text);
    OK(set);
    FAILS(RELORA_E_OVERFLOW, relora_writer_save(w, env.st, at("file"), 0), "header", "100000000");
    ck_assert_int_eq(files(), 0);
}
END_TEST

Suite *big_files(void)
{
    Suite *s = suite_create("big files");
    TCase *tc = env_case(s, "big", 60);
    tcase_add_test(tc, test_behind_4_gib);
    tcase_add_test(tc, test_memory_of_a_save);
    tcase_add_test(tc, test_memory_of_an_export);
    tcase_add_test(tc, test_header_too_large);
    return s;
}
