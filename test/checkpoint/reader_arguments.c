/* The reader with each argument wrong in turn, and its getters asked for what is not there. */
#include <errno.h>
#include "checkpoint/checkpoint.h"

static relora_reader *small(void) { return open_raw(small_file(RELORA_SAVE_CHECKSUM)); }

START_TEST(test_open)
{
    relora_reader *r = POISON;
    small_file(0);
    FAILS(RELORA_E_ARGUMENT, relora_reader_open(NULL, env.ctx, at("small")), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_open(&r, NULL, at("small")));
    ck_assert_ptr_null(r);
    r = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_reader_open(&r, env.ctx, NULL), "path");
    ck_assert_ptr_null(r);
    relora_reader_release(NULL);
}
END_TEST

/* A file that is not there is an answer; one that cannot be had, or is none, is a failure. */
START_TEST(test_open_if_there)
{
    relora_reader *r = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_reader_open_if_there(NULL, env.ctx, at("small")), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_open_if_there(&r, NULL, at("small")));
    ck_assert_ptr_null(r);
    r = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_reader_open_if_there(&r, env.ctx, NULL), "path");
    ck_assert_ptr_null(r);
    r = POISON;
    errno = EDOM;
    int lines = env.lines[RELORA_LOG_ERROR];
    OK(relora_reader_open_if_there(&r, env.ctx, at("small")));
    ck_assert_ptr_null(r);
    r = POISON;
    OK(relora_reader_open_if_there(&r, env.ctx, at("no folder/small")));
    ck_assert_ptr_null(r);
    ck_assert_int_eq(errno, EDOM);
    ck_assert_int_eq(env.lines[RELORA_LOG_ERROR], lines);
    small_file(0);
    OK(relora_reader_open_if_there(&r, env.ctx, at("small")));
    ck_assert_int_eq(relora_reader_count(r), 2);
    relora_reader_release(r);
    FAILS(RELORA_E_IO, relora_reader_open_if_there(&r, env.ctx, at("small/of a file")), "of a file");
    ck_assert_ptr_null(r);
    FAILS(RELORA_E_IO, relora_reader_open_if_there(&r, env.ctx, at("")), "");
    spit(at("broken"), "1234567", 7);
    FAILS(RELORA_E_FORMAT, relora_reader_open_if_there(&r, env.ctx, at("broken")), "broken");
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(test_open_memory)
{
    relora_reader *r = POISON;
    struct raw file = small_file(0);
    FAILS(RELORA_E_ARGUMENT, relora_reader_open_memory(NULL, env.ctx, file.bytes, file.size), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_open_memory(&r, NULL, file.bytes, file.size));
    ck_assert_ptr_null(r);
    r = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_reader_open_memory(&r, env.ctx, NULL, file.size), "data");
    ck_assert_ptr_null(r);
}
END_TEST

/* Reading JSON must not show in the host's errno. */
START_TEST(test_errno)
{
    struct raw file = small_file(0);
    relora_reader *r;
    errno = EDOM;
    OK(relora_reader_open_memory(&r, env.ctx, file.bytes, file.size));
    ck_assert_int_eq(errno, EDOM);
    relora_reader_release(r);
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, file.size - 1), "memory");
    ck_assert_int_eq(errno, EDOM);
}
END_TEST

START_TEST(test_getters)
{
    relora_reader *r = small();
    ck_assert_int_eq(relora_reader_count(NULL), -1);
    ck_assert_int_eq(relora_reader_count(r), 2);
    ck_assert_int_eq(relora_reader_metadata_count(NULL), -1);
    ck_assert_int_eq(relora_reader_metadata_count(r), 2); /* ours and the checksums */
    const int32_t none[] = {-1, 2, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        ck_assert_ptr_null(relora_reader_name(r, none[i]));
        ck_assert_ptr_null(relora_reader_metadata_key(r, none[i]));
    }
    ck_assert_ptr_null(relora_reader_name(NULL, 0));
    ck_assert_ptr_null(relora_reader_metadata_key(NULL, 0));
    ck_assert_ptr_null(relora_reader_metadata(NULL, "who"));
    ck_assert_ptr_null(relora_reader_metadata(r, NULL));
    ck_assert_ptr_null(relora_reader_metadata(r, "wh"));
    ck_assert_str_eq(relora_reader_metadata(r, "who"), "me");
    ck_assert_ptr_null(relora_reader_dtype(NULL, "first"));
    ck_assert_ptr_null(relora_reader_dtype(r, NULL));
    ck_assert_ptr_null(relora_reader_dtype(r, "firs"));
}
END_TEST

START_TEST(test_shape)
{
    relora_reader *r = small();
    int32_t n = -7;
    int64_t shape[3] = {-1, -1, -1};
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_shape(NULL, "first", &n, shape, 3));
    FAILS(RELORA_E_ARGUMENT, relora_reader_shape(r, NULL, &n, shape, 3), "name");
    FAILS(RELORA_E_NOT_FOUND, relora_reader_shape(r, "third", &n, shape, 3), "third");
    FAILS(RELORA_E_ARGUMENT, relora_reader_shape(r, "first", NULL, shape, 3), "ndim");
    FAILS(RELORA_E_ARGUMENT, relora_reader_shape(r, "first", &n, shape, -1), "capacity", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_reader_shape(r, "first", &n, NULL, 1), "shape");
    ck_assert_int_eq(n, -7);
    OK(relora_reader_shape(r, "first", &n, NULL, 0)); /* only the number */
    ck_assert_int_eq(n, 2);
    OK(relora_reader_shape(r, "first", &n, shape, 1)); /* the full number, and no more than fits */
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq(shape[0], 2);
    ck_assert_int_eq(shape[1], -1);
    OK(relora_reader_shape(r, "first", &n, shape, 3));
    ck_assert_int_eq(shape[1], 3);
    ck_assert_int_eq(shape[2], -1);
}
END_TEST

START_TEST(test_bytes)
{
    relora_reader *r = small();
    const void *data = POISON;
    size_t bytes = 77;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_bytes(NULL, "first", &data, &bytes));
    FAILS(RELORA_E_ARGUMENT, relora_reader_bytes(r, NULL, &data, &bytes), "name");
    FAILS(RELORA_E_NOT_FOUND, relora_reader_bytes(r, "third", &data, &bytes), "third");
    FAILS(RELORA_E_ARGUMENT, relora_reader_bytes(r, "first", NULL, &bytes), "data");
    FAILS(RELORA_E_ARGUMENT, relora_reader_bytes(r, "first", &data, NULL), "bytes");
    ck_assert_ptr_eq(data, POISON);
    ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(test_read)
{
    relora_reader *r = small();
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    struct other other = new_other();
    put_all(t, 5);
    void *was = snapshot(t);
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(NULL, env.st, "first", t, 0), "reader");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(NULL, NULL, "first", t, 0), "reader");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_read(NULL, NULL, "first", NULL, 0));
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, NULL, "first", t, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_reader_read(r, other.st, "first", t, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, env.st, NULL, t, 0), "name");
    FAILS(RELORA_E_NOT_FOUND, relora_reader_read(r, env.st, "third", t, 0), "third");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, env.st, "first", NULL, 0), "target");
    FAILS(RELORA_E_CONTEXT, relora_reader_read(r, env.st, "first", other.matrix, 0), "target");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, env.st, "first", t, 4), "flags", "0x4", "0x3");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, env.st, "first", t, 1u << 31 | 1), "flags");
    UNCHANGED(t, was);
}
END_TEST

/* Same number of elements in another shape is another shape. */
START_TEST(test_read_shape)
{
    relora_reader *r = small();
    const int64_t shapes[][3] = {{3, 2, 0}, {6, 0, 0}, {2, 3, 1}, {1, 2, 3}, {2, 2, 0}, {0, 3, 0}};
    const int32_t dims[] = {2, 1, 3, 3, 2, 2};
    for (int i = 0; i < 6; i++) {
        relora_tensor *t = new_tensor(RELORA_F32, dims[i], shapes[i]);
        put_all(t, 5);
        void *was = snapshot(t);
        FAILS(RELORA_E_SHAPE, relora_reader_read(r, env.st, "first", t, RELORA_READ_CONVERT), "target",
              "first", "[2, 3]");
        UNCHANGED(t, was);
    }
}
END_TEST

START_TEST(test_read_dtype)
{
    relora_writer *w = new_writer();
    const int64_t two = 2;
    add_pattern(w, "integers", "I32", 1, &two, 8, 1);
    add_pattern(w, "floats", "F32", 1, &two, 8, 2);
    OK(relora_writer_save(w, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    relora_tensor *f = new_vector(RELORA_F32, 2), *b = new_vector(RELORA_BF16, 2);
    put_all(f, 5);
    put_all(b, 5);
    void *was_f = snapshot(f), *was_b = snapshot(b);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "integers", f, 0), "target", "integers", "I32");
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "integers", f, RELORA_READ_CONVERT), "I32");
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "floats", b, 0), "target", "floats", "F32");
    UNCHANGED(f, was_f);
    UNCHANGED(b, was_b);
}
END_TEST

START_TEST(test_verify)
{
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_verify(NULL));
    relora_reader *r = open_raw(small_file(0));
    FAILS(RELORA_E_NOT_FOUND, relora_reader_verify(r), "checksum");
}
END_TEST

Suite *reader_arguments(void)
{
    Suite *s = suite_create("arguments of the reader");
    TCase *tc = env_case(s, "reader", 20);
    tcase_add_test(tc, test_open);
    tcase_add_test(tc, test_open_if_there);
    tcase_add_test(tc, test_open_memory);
    tcase_add_test(tc, test_errno);
    tcase_add_test(tc, test_getters);
    tcase_add_test(tc, test_shape);
    tcase_add_test(tc, test_bytes);
    tcase_add_test(tc, test_read);
    tcase_add_test(tc, test_read_shape);
    tcase_add_test(tc, test_read_dtype);
    tcase_add_test(tc, test_verify);
    return s;
}
