/* Write, read, copy and fill of src/tensor.c, with gaps between rows and between dtypes. */
#include "unit/suites.h"

enum { ROWS = 5, COLS = 3, LD = 7 };

static void release_tensor(void *p) { relora_tensor_release(p); }

static relora_tensor *strided(relora_dtype dtype, void *memory)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, dtype, 2, (int64_t[]){ROWS, COLS}, (int64_t[]){LD, 1}, memory, NULL,
                            NULL));
    defer(release_tensor, t);
    return t;
}

/* Host memory is row after row without gaps; in the tensor the gaps keep what they hold. */
START_TEST(test_write_and_read_a_view)
{
    float memory[ROWS * LD], host[ROWS * COLS], back[ROWS * COLS];
    relora_tensor *t = strided(RELORA_F32, memory);
    for (int i = 0; i < ROWS * LD; i++) memory[i] = -1;
    for (int i = 0; i < ROWS * COLS; i++) host[i] = (float)i;
    OK(relora_tensor_write(t, env.st, host, sizeof host));
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < LD; j++)
            ck_assert_float_eq(memory[i * LD + j], j < COLS ? (float)(i * COLS + j) : -1);
    OK(relora_tensor_read(t, env.st, back, sizeof back));
    ck_assert_int_eq(memcmp(back, host, sizeof host), 0);
    OK(relora_tensor_fill(t, env.st, 9));
    for (int i = 0; i < ROWS * LD; i++) ck_assert_float_eq(memory[i], i % LD < COLS ? 9 : -1);
}
END_TEST

/* F32 to BF16 rounds to nearest, ties to even; back it is exact. Dense and with gaps. */
START_TEST(test_copy_between_dtypes)
{
    struct rnd r = rnd_seed(1);
    uint16_t narrow_memory[ROWS * LD] = {0};
    float wide_memory[ROWS * LD] = {0};
    relora_tensor *from = new_matrix(RELORA_F32, ROWS, COLS), *back = new_matrix(RELORA_F32, ROWS, COLS);
    relora_tensor *narrow =
        _i & 1 ? strided(RELORA_BF16, narrow_memory) : new_matrix(RELORA_BF16, ROWS, COLS);
    relora_tensor *wide = _i & 2 ? strided(RELORA_F32, wide_memory) : from;
    double *values = doubles(ROWS * COLS), *want = doubles(ROWS * COLS);
    rnd_fill_normal(&r, values, ROWS * COLS, 1);
    values[0] = 1 + 0x1p-8; /* ties: down to 1, up to 1 + 2^-6 */
    values[1] = 1 + 3 * 0x1p-8;
    values[2] = -INFINITY;
    values[3] = NAN;
    values[4] = 0x1p-140;
    for (int i = 0; i < ROWS * COLS; i++) want[i] = bf16_round(values[i]);
    put(wide, values);
    OK(relora_tensor_copy(narrow, wide, env.st));
    ck_assert_double_eq(distance(get(narrow), want, ROWS * COLS), 0);
    OK(relora_tensor_copy(back, narrow, env.st));
    ck_assert_double_eq(distance(get(back), want, ROWS * COLS), 0);
    ck_assert_double_eq(get(back)[0], 1);
    ck_assert_double_eq(get(back)[1], 1 + 0x1p-6);
}
END_TEST

/* Same dtype: bit by bit, NaN payloads and negative zeros included. */
START_TEST(test_copy_keeps_bits)
{
    const uint32_t bits[] = {0x80000000, 0x7fc12345, 0x00000001, 0xff800000, 0x3f800000, 0x7f7fffff};
    relora_tensor *from = new_vector(RELORA_F32, 6), *to = new_vector(RELORA_F32, 6);
    OK(relora_tensor_write(from, env.st, bits, sizeof bits));
    OK(relora_tensor_copy(to, from, env.st));
    SAME_BYTES(snapshot(to), bits, sizeof bits);
}
END_TEST

/* fill rounds to nearest in the dtype of the tensor. */
START_TEST(test_fill)
{
    static const double values[] = {0, -0.0, 0.1, 1 + 3 * 0x1p-8, -1e30, 1e300, INFINITY};
    relora_tensor *f = new_vector(RELORA_F32, 70001), *b = new_vector(RELORA_BF16, 70001);
    OK(relora_tensor_fill(f, env.st, values[_i]));
    OK(relora_tensor_fill(b, env.st, values[_i]));
    ck_assert_double_eq(get(f)[70000], (double)(float)values[_i]);
    ck_assert_double_eq(get(b)[70000], bf16_round(values[_i]));
    ck_assert_int_eq(!signbit(get(f)[0]), !signbit(values[_i]));
}
END_TEST

/* "Rounded to nearest" once: just above the tie between 1 and 1 + 2^-7 is up, though F32 sees the tie. */
START_TEST(test_fill_rounds_once)
{
    relora_tensor *b = new_vector(RELORA_BF16, 3);
    OK(relora_tensor_fill(b, env.st, 1 + 0x1p-8 + 0x1p-40));
    ck_assert_double_eq(get(b)[0], 1 + 0x1p-7);
    OK(relora_tensor_fill(b, env.st, 1 + 3 * 0x1p-8 - 0x1p-40)); /* just below the next one is down */
    ck_assert_double_eq(get(b)[0], 1 + 0x1p-7);
}
END_TEST

/* Blocks of columns of one array do not overlap, and may be copied side by side. */
START_TEST(test_copy_between_column_blocks)
{
    float memory[ROWS * LD];
    relora_tensor *left = strided(RELORA_F32, memory), *right = strided(RELORA_F32, memory + COLS);
    for (int i = 0; i < ROWS * LD; i++) memory[i] = (float)i;
    OK(relora_tensor_copy(right, left, env.st));
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) ck_assert_float_eq(memory[i * LD + COLS + j], (float)(i * LD + j));
}
END_TEST

/* Streams on the CPU have done their work on return; waiting and synchronising are accepted. */
START_TEST(test_streams)
{
    relora_stream *other;
    relora_tensor *t = new_vector(RELORA_F32, 3);
    OK(relora_stream_create(&other, env.dev));
    OK(relora_tensor_fill(t, env.st, 4));
    OK(relora_stream_wait(other, env.st));
    OK(relora_stream_synchronize(other));
    const float *data = relora_tensor_data(t);
    ck_assert_float_eq(data[2], 4);
    relora_stream_release(other);
}
END_TEST

Suite *unit_transfer(void)
{
    Suite *s = suite_create("transfer");
    TCase *tc = env_case(s, "transfer", 20);
    tcase_add_test(tc, test_write_and_read_a_view);
    tcase_add_loop_test(tc, test_copy_between_dtypes, 0, 4);
    tcase_add_test(tc, test_copy_keeps_bits);
    tcase_add_loop_test(tc, test_fill, 0, 7);
    tcase_add_test(tc, test_fill_rounds_once);
    tcase_add_test(tc, test_copy_between_column_blocks);
    tcase_add_test(tc, test_streams);
    return s;
}
