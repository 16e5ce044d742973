/* tensor.h with wrong arguments. */
#include "arguments/arguments.h"

static const int64_t two_three[] = {2, 3};
static int deleted; /* nothing here may ever call a deleter */

static void count_deleter(void *user, void *data)
{
    (void)user;
    (void)data;
    deleted++;
}

struct bad_shape {
    relora_status status;
    const char *word, *value;
    relora_dtype dtype;
    int32_t ndim;
    int64_t shape[8];
};

#define HUGE_DIM INT64_C(0x7fffffffffffffff)
static const struct bad_shape bad_shapes[] = {
    {RELORA_E_ARGUMENT, "dtype", "0", 0, 2, {2, 3}},
    {RELORA_E_ARGUMENT, "dtype", "3", 3, 2, {2, 3}},
    {RELORA_E_ARGUMENT, "dtype", "-1", -1, 2, {2, 3}},
    {RELORA_E_ARGUMENT, "ndim", "-1", RELORA_F32, -1, {2, 3}},
    {RELORA_E_ARGUMENT, "ndim", "9", RELORA_F32, 9, {1, 1, 1, 1, 1, 1, 1, 1}},
    {RELORA_E_ARGUMENT, "shape", "-37", RELORA_F32, 2, {2, -37}},
    {RELORA_E_ARGUMENT, "shape", "-38", RELORA_F32, 3, {-38, 0, 2}},
    {RELORA_E_OVERFLOW, "shape", "", RELORA_F32, 1, {HUGE_DIM}},
    {RELORA_E_OVERFLOW, "shape", "", RELORA_BF16, 2, {HUGE_DIM, HUGE_DIM}},
    {RELORA_E_OVERFLOW, "shape", "", RELORA_F32, 2, {INT64_C(1) << 61, 1}}, /* 2^63 bytes */
    {RELORA_E_OVERFLOW, "shape", "", RELORA_F32, 3, {INT64_C(1) << 31, INT64_C(1) << 31, 4}},
};
enum { BAD_SHAPES = sizeof bad_shapes / sizeof *bad_shapes };

START_TEST(test_create_and_borrow_refuse)
{
    float *twelve = new_floats(12);
    const struct bad_shape *b = &bad_shapes[_i];
    relora_tensor *t = POISON;
    FAILS(b->status, relora_tensor_create(&t, env.dev, b->dtype, b->ndim, b->shape), b->word, b->value);
    ck_assert_ptr_null(t);
    t = POISON;
    FAILS(b->status,
          relora_tensor_borrow(&t, env.dev, b->dtype, b->ndim, b->shape, NULL, twelve, count_deleter, NULL),
          b->word, b->value);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(deleted, 0);
}
END_TEST

START_TEST(test_create_nulls)
{
    relora_tensor *t = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_create(&t, NULL, RELORA_F32, 2, two_three));
    ck_assert_ptr_null(t);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_create(NULL, env.dev, RELORA_F32, 2, two_three), "out");
    t = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_create(&t, env.dev, RELORA_F32, 2, NULL), "shape");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(test_create_more_memory_than_there_is)
{
    relora_tensor *t = POISON;
    FAILS(RELORA_E_NO_MEMORY, relora_tensor_create(&t, env.dev, RELORA_F32, 1, (int64_t[]){INT64_C(1) << 60}),
          "memory");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(test_borrow_nulls)
{
    float *twelve = new_floats(12);
    relora_tensor *t = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_borrow(&t, NULL, RELORA_F32, 2, two_three, NULL, twelve,
                                                           count_deleter, NULL));
    ck_assert_ptr_null(t);
    FAILS(RELORA_E_ARGUMENT,
          relora_tensor_borrow(NULL, env.dev, RELORA_F32, 2, two_three, NULL, twelve, NULL, NULL), "out");
    ck_assert_int_eq(deleted, 0);
}
END_TEST

struct bad_layout {
    relora_status status;
    const char *word;
    int32_t ndim;
    int64_t shape[3], strides[3];
    int shift; /* bytes that the data pointer is off */
};

static const struct bad_layout bad_layouts[] = {
    {RELORA_E_LAYOUT, "stride", 2, {2, 3}, {6, 2}, 0},       /* last axis not contiguous */
    {RELORA_E_LAYOUT, "stride", 2, {2, 3}, {1, 2}, 0},       /* column-major */
    {RELORA_E_LAYOUT, "stride", 2, {2, 3}, {2, 1}, 0},       /* rows overlap */
    {RELORA_E_LAYOUT, "stride", 2, {2, 3}, {-3, 1}, 0},      /* backwards */
    {RELORA_E_LAYOUT, "stride", 2, {2, 3}, {0, 1}, 0},       /* broadcast */
    {RELORA_E_LAYOUT, "stride", 3, {2, 2, 2}, {7, 3, 1}, 0}, /* no one row distance */
    {RELORA_E_LAYOUT, "data", 2, {2, 3}, {3, 1}, 1},         /* misaligned */
    {RELORA_E_LAYOUT, "data", 2, {2, 3}, {3, 1}, 2},
    {RELORA_E_OVERFLOW, "stride", 2, {3, 2}, {HUGE_DIM, 1}, 0}, /* the last row is out of reach */
};
enum { BAD_LAYOUTS = sizeof bad_layouts / sizeof *bad_layouts };

START_TEST(test_borrow_matrix)
{
    float data[6] = {1, 2, 3, 4, 5, 6};
    relora_tensor *t = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_borrow_matrix(&t, NULL, RELORA_F32, 2, 3, data));
    ck_assert_ptr_null(t);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_borrow_matrix(NULL, env.dev, RELORA_F32, 2, 3, data), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_borrow_matrix(NULL, NULL, RELORA_F32, 2, 3, data));
    t = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_borrow_matrix(&t, env.dev, 3, 2, 3, data), "dtype", "3");
    ck_assert_ptr_null(t);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, -2, 3, data), "shape",
          "-2");
    FAILS(RELORA_E_OVERFLOW, relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, INT64_MAX, 3, data), "");
    OK(relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, 0, 3, NULL)); /* no element */
    relora_tensor_release(t);
    OK(relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, 2, 3, NULL)); /* for placeholders.c */
    relora_tensor_release(t);
    OK(relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, 2, 3, data));
    ck_assert_int_eq(relora_tensor_ndim(t), 2);
    ck_assert_int_eq(relora_tensor_dim(t, 0), 2);
    ck_assert_int_eq(relora_tensor_stride(t, 0), 3);
    ck_assert_ptr_eq(relora_tensor_data(t), data);
    OK(relora_tensor_set_data(t, data));
    relora_tensor_release(t);
}
END_TEST

START_TEST(test_borrow_layouts)
{
    float *twelve = new_floats(12);
    const struct bad_layout *b = &bad_layouts[_i];
    relora_tensor *t = POISON;
    void *data = (char *)twelve + b->shift;
    FAILS(b->status,
          relora_tensor_borrow(&t, env.dev, RELORA_F32, b->ndim, b->shape, b->strides, data, count_deleter,
                               NULL),
          b->word);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(deleted, 0);
}
END_TEST

START_TEST(test_set_data)
{
    float *twelve = new_floats(12);
    relora_tensor *own = new_matrix(RELORA_F32, 2, 3), *borrowed = new_borrowed(4, twelve);
    void *before = relora_tensor_data(own);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_set_data(NULL, twelve));
    FAILS(RELORA_E_STATE, relora_tensor_set_data(own, twelve), "tensor");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_set_data(borrowed, NULL), "data");
    FAILS(RELORA_E_LAYOUT, relora_tensor_set_data(borrowed, (char *)twelve + 1), "data");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_set_data_owned(NULL, twelve, count_deleter, NULL));
    FAILS(RELORA_E_STATE, relora_tensor_set_data_owned(own, twelve, count_deleter, NULL), "tensor");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_set_data_owned(borrowed, NULL, count_deleter, NULL), "data");
    FAILS(RELORA_E_LAYOUT, relora_tensor_set_data_owned(borrowed, (char *)twelve + 1, count_deleter, NULL),
          "data");
    ck_assert_int_eq(deleted, 0);
    ck_assert_ptr_eq(relora_tensor_data(own), before);
    ck_assert_ptr_eq(relora_tensor_data(borrowed), twelve);
}
END_TEST

START_TEST(test_transfers)
{
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    struct stranger s = new_stranger();
    float host[6] = {1, 2, 3, 4, 5, 6};
    put_all(t, 7);
    void *was = snapshot(t);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_write(NULL, env.st, host, 24), "tensor");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_write(t, NULL, host, 24), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_write(t, env.st, NULL, 24), "source");
    FAILS(RELORA_E_SHAPE, relora_tensor_write(t, env.st, host, 20), "bytes", "20", "24");
    FAILS(RELORA_E_SHAPE, relora_tensor_write(t, env.st, host, 25), "bytes", "25", "24");
    FAILS(RELORA_E_CONTEXT, relora_tensor_write(t, s.st, host, 24), "stream");
    UNCHANGED(t, was);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_read(NULL, env.st, host, 24), "tensor");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_read(t, NULL, host, 24), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_read(t, env.st, NULL, 24), "target");
    FAILS(RELORA_E_SHAPE, relora_tensor_read(t, env.st, host, 12), "bytes", "12", "24");
    FAILS(RELORA_E_CONTEXT, relora_tensor_read(t, s.st, host, 24), "stream");
    for (int i = 0; i < 6; i++) ck_assert_float_eq(host[i], (float)(i + 1));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_write(NULL, NULL, host, 24));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_read(NULL, NULL, host, 24));
}
END_TEST

START_TEST(test_copy_and_fill)
{
    float *twelve = new_floats(12);
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3), *other = new_matrix(RELORA_F32, 2, 3);
    relora_tensor *wide = new_matrix(RELORA_F32, 2, 41), *flat = new_vector(RELORA_F32, 6);
    struct stranger s = new_stranger();
    relora_tensor *far = stranger_matrix(&s, RELORA_F32, 2, 3);
    relora_tensor *low = new_borrowed(8, twelve), *high = new_borrowed(8, twelve + 4);
    put_all(t, 7);
    put_all(other, 8);
    put_all(wide, 9);
    put_all(flat, 9);
    void *was = snapshot(t);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_copy(NULL, other, env.st), "target");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_copy(t, NULL, env.st), "source");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_copy(t, other, NULL), "stream");
    FAILS(RELORA_E_SHAPE, relora_tensor_copy(t, wide, env.st), "3", "41");
    FAILS(RELORA_E_SHAPE, relora_tensor_copy(t, flat, env.st), "6");
    FAILS(RELORA_E_CONTEXT, relora_tensor_copy(t, far, env.st), "source");
    FAILS(RELORA_E_CONTEXT, relora_tensor_copy(t, other, s.st), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_copy(low, high, env.st), "overlap");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_fill(NULL, env.st, 1), "tensor");
    FAILS(RELORA_E_ARGUMENT, relora_tensor_fill(t, NULL, 1), "stream");
    FAILS(RELORA_E_CONTEXT, relora_tensor_fill(t, s.st, 1), "stream");
    UNCHANGED(t, was);
    OK(relora_tensor_copy(t, t, env.st)); /* "unless both tensors are one" */
    UNCHANGED(t, was);
}
END_TEST

START_TEST(test_getters_of_nothing)
{
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    ck_assert_int_eq(relora_tensor_dtype(NULL), 0);
    ck_assert_int_eq(relora_tensor_ndim(NULL), -1);
    ck_assert_int_eq(relora_tensor_dim(NULL, 0), -1);
    ck_assert_int_eq(relora_tensor_dim(t, 2), -1);
    ck_assert_int_eq(relora_tensor_dim(t, -1), -1);
    ck_assert_int_eq(relora_tensor_stride(NULL, 0), 0);
    ck_assert_int_eq(relora_tensor_stride(t, 2), 0);
    ck_assert_int_eq(relora_tensor_stride(t, -1), 0);
    ck_assert_int_eq(relora_tensor_count(NULL), -1);
    ck_assert_ptr_null(relora_tensor_data(NULL));
    ck_assert_ptr_null(relora_tensor_device(NULL));
    relora_tensor_retain(NULL);
    relora_tensor_release(NULL);
}
END_TEST

Suite *tensor_arguments(void)
{
    Suite *s = suite_create("arguments of tensor");
    TCase *tc = env_case(s, "tensor", 20);
    tcase_add_loop_test(tc, test_create_and_borrow_refuse, 0, BAD_SHAPES);
    tcase_add_test(tc, test_create_nulls);
    tcase_add_test(tc, test_create_more_memory_than_there_is);
    tcase_add_test(tc, test_borrow_nulls);
    tcase_add_test(tc, test_borrow_matrix);
    tcase_add_loop_test(tc, test_borrow_layouts, 0, BAD_LAYOUTS);
    tcase_add_test(tc, test_set_data);
    tcase_add_test(tc, test_transfers);
    tcase_add_test(tc, test_copy_and_fill);
    tcase_add_test(tc, test_getters_of_nothing);
    return s;
}
