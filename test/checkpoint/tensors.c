/* Tensors of the library in files and back: dense and as a block of columns, F32 and BF16, converted
 * where that is asked for. */
#include "checkpoint/checkpoint.h"

static void release_tensor(void *p) { relora_tensor_release(p); }

/* Columns `first` to `first + cols` of a row-major array of rows of `pitch` elements at `data`. */
static relora_tensor *columns(relora_dtype dtype, void *data, int64_t rows, int64_t pitch, int64_t first,
                              int64_t cols)
{
    relora_tensor *t;
    size_t item = dtype == RELORA_BF16 ? 2 : 4;
    OK(relora_tensor_borrow(&t, env.dev, dtype, 2, (int64_t[]){rows, cols}, (int64_t[]){pitch, 1},
                            (char *)data + (size_t)first * item, NULL, NULL));
    defer(release_tensor, t);
    return t;
}

static relora_reader *saved(const char *name, relora_tensor *t)
{
    relora_writer *w = new_writer();
    OK(relora_writer_add(w, name, t));
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    return open_path(at("file"));
}

static const char *name_of(relora_dtype dtype) { return dtype == RELORA_BF16 ? "BF16" : "F32"; }

/* Every rank the library has; the bytes of the file are those of the tensor. */
START_TEST(test_dense)
{
    static const struct {
        int32_t ndim;
        int64_t shape[8];
    } cases[] = {{0, {0}},    {1, {1}},       {1, {0}},
                 {1, {17}},   {2, {5, 7}},    {2, {0, 7}},
                 {2, {5, 0}}, {3, {2, 3, 4}}, {8, {1, 2, 1, 3, 1, 2, 1, 2}}};
    relora_dtype dtype = _i ? RELORA_BF16 : RELORA_F32;
    struct rnd rnd = rnd_seed(5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        relora_tensor *t = new_tensor(dtype, cases[i].ndim, cases[i].shape);
        relora_tensor *back = new_tensor(dtype, cases[i].ndim, cases[i].shape);
        put_normal(t, &rnd, 1);
        put_all(back, 7);
        relora_reader *r = saved("t", t);
        has_tensor(r, "t", name_of(dtype), cases[i].ndim, cases[i].shape, snapshot(t), bytes_of(t));
        OK(relora_reader_read(r, env.st, "t", back, 0));
        UNCHANGED(back, snapshot(t));
    }
}
END_TEST

/* A block of columns is written without its neighbours, and reading into one leaves them alone. */
START_TEST(test_columns)
{
    enum { ROWS = 5, PITCH = 11, FIRST = 3, COLS = 4 };
    relora_dtype dtype = _i ? RELORA_BF16 : RELORA_F32;
    size_t item = _i ? 2 : 4, all = ROWS * PITCH * item;
    unsigned char *from = pattern(all, 3), *to = pattern(all, 4), *want = pattern(all, 4);
    unsigned char dense[ROWS * COLS * 4];
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(dense + i * COLS * item, from + (i * PITCH + FIRST) * item, COLS * item);
        memcpy(want + (i * PITCH + FIRST) * item, dense + i * COLS * item, COLS * item);
    }
    relora_reader *r = saved("block", columns(dtype, from, ROWS, PITCH, FIRST, COLS));
    has_tensor(r, "block", name_of(dtype), 2, (int64_t[]){ROWS, COLS}, dense, ROWS * COLS * item);
    OK(relora_reader_read(r, env.st, "block", columns(dtype, to, ROWS, PITCH, FIRST, COLS), 0));
    SAME_BYTES(to, want, all);
}
END_TEST

/* Rows longer than the buffer of a save, as a block of columns and whole. */
START_TEST(test_long_rows)
{
    enum { ROWS = 2, PITCH = 700001, COLS = 700000 };
    unsigned char *from = pattern((size_t)ROWS * PITCH * 4, 6);
    unsigned char *dense = scratch((size_t)ROWS * COLS * 4);
    for (size_t i = 0; i < ROWS; i++) memcpy(dense + i * COLS * 4, from + i * PITCH * 4, COLS * 4);
    relora_reader *r = saved("block", columns(RELORA_F32, from, ROWS, PITCH, 0, COLS));
    has_tensor(r, "block", "F32", 2, (int64_t[]){ROWS, COLS}, dense, (size_t)ROWS * COLS * 4);
    r = saved("whole", columns(RELORA_F32, from, ROWS, PITCH, 0, PITCH));
    has_tensor(r, "whole", "F32", 2, (int64_t[]){ROWS, PITCH}, from, (size_t)ROWS * PITCH * 4);
    OK(relora_reader_verify(r));
}
END_TEST

/* The writer keeps a tensor alive. */
START_TEST(test_retained)
{
    relora_writer *w = new_writer();
    relora_tensor *t;
    float v[3] = {1, 2, 3};
    OK(relora_tensor_create(&t, env.dev, RELORA_F32, 1, (int64_t[]){3}));
    OK(relora_tensor_write(t, env.st, v, sizeof v));
    OK(relora_writer_add(w, "t", t));
    relora_tensor_release(t);
    OK(relora_writer_save(w, env.st, at("file"), 0));
    has_tensor(open_path(at("file")), "t", "F32", 1, (int64_t[]){3}, v, sizeof v);
}
END_TEST

/* ---- converting ---- */

/* Numbers at which rounding to BF16 has something to decide, and ordinary ones. */
static double *telling(int64_t n)
{
    static const double special[] = {
        0.0,   -0.0,    1.0,   1.00390625, 1.01171875, -1.00390625, 1.0039062500001, 3.4e38, -3.4e38,
        1e-40, 9.2e-41, 1e-45, INFINITY,   -INFINITY,  0.1};
    double *v = doubles(n);
    struct rnd rnd = rnd_seed(8);
    rnd_fill_normal(&rnd, v, n, 3);
    for (int64_t i = 0; i < n && i < (int64_t)(sizeof special / sizeof *special); i++) v[i] = special[i];
    return v;
}

START_TEST(test_f32_to_bf16)
{
    enum { N = 10000 }; /* more than one piece of the conversion */
    relora_tensor *f = new_vector(RELORA_F32, N), *b = new_vector(RELORA_BF16, N);
    uint16_t want[N];
    put(f, telling(N));
    put_all(b, 5);
    void *was = snapshot(b);
    const float *values = snapshot(f);
    for (int i = 0; i < N; i++) want[i] = bf16_of(values[i]);
    relora_reader *r = saved("t", f);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", b, 0), "target", "t", "F32");
    UNCHANGED(b, was);
    OK(relora_reader_read(r, env.st, "t", b, RELORA_READ_CONVERT));
    UNCHANGED(b, want);
}
END_TEST

START_TEST(test_bf16_to_f32)
{
    enum { N = 10000 };
    relora_tensor *f = new_vector(RELORA_F32, N), *b = new_vector(RELORA_BF16, N);
    float want[N];
    put(b, telling(N));
    put_all(f, 5);
    void *was = snapshot(f);
    const uint16_t *values = snapshot(b);
    for (int i = 0; i < N; i++) want[i] = bf16_value(values[i]);
    relora_reader *r = saved("t", b);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", f, 0), "target", "t", "BF16");
    UNCHANGED(f, was);
    OK(relora_reader_read(r, env.st, "t", f, RELORA_READ_CONVERT));
    UNCHANGED(f, want);
}
END_TEST

/* A NaN stays one, and the flag does nothing where the types agree. */
START_TEST(test_convert_nan_and_same)
{
    relora_tensor *f = new_vector(RELORA_F32, 3), *b = new_vector(RELORA_BF16, 3);
    relora_tensor *g = new_vector(RELORA_F32, 3);
    uint32_t bits[3] = {0x7f800001, 0xffc12345, 0x3f800000}; /* the first has only low bits */
    OK(relora_tensor_write(f, env.st, bits, sizeof bits));
    relora_reader *r = saved("t", f);
    OK(relora_reader_read(r, env.st, "t", b, RELORA_READ_CONVERT));
    const double *got = get(b);
    ck_assert(isnan(got[0]) && isnan(got[1]) && got[2] == 1);
    OK(relora_reader_read(r, env.st, "t", g, RELORA_READ_CONVERT));
    UNCHANGED(g, bits);
}
END_TEST

/* Into a block of columns, from a file in memory at an odd address. */
START_TEST(test_convert_columns_unaligned)
{
    enum { ROWS = 3, PITCH = 9, FIRST = 2, COLS = 5 };
    relora_tensor *f = new_matrix(RELORA_F32, ROWS, COLS);
    uint16_t to[ROWS * PITCH], want[ROWS * PITCH];
    size_t size;
    put(f, telling(ROWS * COLS));
    const float *values = snapshot(f);
    for (int i = 0; i < ROWS * PITCH; i++) to[i] = want[i] = (uint16_t)(i + 1);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) want[i * PITCH + FIRST + j] = bf16_of(values[i * COLS + j]);
    saved("t", f);
    void *bytes = slurp(at("file"), &size);
    for (size_t shift = 0; shift < 8; shift++) {
        unsigned char *moved = scratch(size + 8);
        relora_reader *r;
        memcpy(moved + shift, bytes, size);
        OK(relora_reader_open_memory(&r, env.ctx, moved + shift, size));
        relora_status status = relora_reader_read(
            r, env.st, "t", columns(RELORA_BF16, to, ROWS, PITCH, FIRST, COLS), RELORA_READ_CONVERT);
        relora_reader_release(r);
        OK(status);
        SAME_BYTES(to, want, sizeof want);
        memset(to + FIRST, 0, COLS * sizeof *to);
    }
}
END_TEST

START_TEST(test_convert_shapes)
{
    const int64_t empty[] = {3, 0};
    relora_tensor *scalar = new_tensor(RELORA_F32, 0, NULL), *none = new_tensor(RELORA_F32, 2, empty);
    relora_tensor *scalar16 = new_tensor(RELORA_BF16, 0, NULL), *none16 = new_tensor(RELORA_BF16, 2, empty);
    put_all(scalar, 1.00390625); /* a tie: to even, 1 */
    put_all(scalar16, 0);
    OK(relora_reader_read(saved("t", scalar), env.st, "t", scalar16, RELORA_READ_CONVERT));
    ck_assert_double_eq(get(scalar16)[0], 1);
    OK(relora_reader_read(saved("t", none), env.st, "t", none16, RELORA_READ_CONVERT));
}
END_TEST

Suite *tensors(void)
{
    Suite *s = suite_create("tensors in files");
    TCase *tc = env_case(s, "tensors", 20);
    tcase_add_loop_test(tc, test_dense, 0, 2);
    tcase_add_loop_test(tc, test_columns, 0, 2);
    tcase_add_test(tc, test_long_rows);
    tcase_add_test(tc, test_retained);
    tcase_add_test(tc, test_f32_to_bf16);
    tcase_add_test(tc, test_bf16_to_f32);
    tcase_add_test(tc, test_convert_nan_and_same);
    tcase_add_test(tc, test_convert_columns_unaligned);
    tcase_add_test(tc, test_convert_shapes);
    return s;
}
