/* F16 and F64 into tensors, and RELORA_READ_FINITE: what is refused, and how the place is named. */
#include <stdlib.h>
#include "checkpoint/checkpoint.h"

static relora_reader *reader_of(const char *dtype, int32_t ndim, const int64_t *shape, const void *data,
                                size_t bytes)
{
    relora_writer *w = new_writer();
    OK(relora_writer_add_bytes(w, "t", dtype, ndim, shape, data, bytes));
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    return open_path(at("file"));
}

/* A value, and the F16 that is nearest. */
static const struct half {
    uint16_t bits;
    float value;
} halves[] = {
    {0x0000, 0.0f},        {0x8000, -0.0f},       {0x3c00, 1.0f},         {0xc000, -2.0f},
    {0x7bff, 65504.0f},    {0x0400, 0x1p-14f},    {0x03ff, 0x1.ff8p-15f}, {0x0001, 0x1p-24f},
    {0x8003, -0x1.8p-23f}, {0x3555, 0x1.554p-2f}, {0x7c00, INFINITY},     {0xfc00, -INFINITY},
};
/* more than one piece */
enum { HALVES = sizeof halves / sizeof *halves, ROUNDS = 1000, MANY = HALVES * ROUNDS };

START_TEST(test_f16)
{
    uint16_t *from = scratch(MANY * sizeof *from), *narrow = scratch(MANY * sizeof *narrow);
    float *wide = scratch(MANY * sizeof *wide);
    for (int i = 0; i < MANY; i++) {
        from[i] = halves[i % HALVES].bits;
        wide[i] = halves[i % HALVES].value;
        narrow[i] = bf16_of(wide[i]);
    }
    relora_reader *r = reader_of("F16", 1, (int64_t[]){MANY}, from, MANY * sizeof *from);
    relora_tensor *f = new_vector(RELORA_F32, MANY), *b = new_vector(RELORA_BF16, MANY);
    put_all(f, 5);
    void *was = snapshot(f);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", f, 0), "target", "t", "F16",
          "RELORA_READ_CONVERT");
    UNCHANGED(f, was);
    OK(relora_reader_read(r, env.st, "t", f, RELORA_READ_CONVERT));
    UNCHANGED(f, wide);
    OK(relora_reader_read(r, env.st, "t", b, RELORA_READ_CONVERT));
    UNCHANGED(b, narrow);
}
END_TEST

START_TEST(test_f64)
{
    static const double from[] = {0.1,      -0.0,     0x1.000001p0, 0x1.010000000001p0, 1e300, -1e300,
                                  0x1p-149, 0x1p-150, 1e-300};
    static const float wide[] = {0.1f, -0.0f, 1.0f, 0x1.01p0f, INFINITY, -INFINITY, 0x1p-149f, 0.0f, 0.0f};
    /* the fourth is above a tie of BF16, which F32 on the way would lose */
    static const float narrow[] = {0.10009765625f, -0.0f, 1.0f, 0x1.02p0f, INFINITY,
                                   -INFINITY,      0.0f,  0.0f, 0.0f};
    enum { N = 9 };
    uint16_t bits[N];
    for (int i = 0; i < N; i++) bits[i] = bf16_of(narrow[i]);
    relora_reader *r = reader_of("F64", 2, (int64_t[]){3, 3}, from, sizeof from);
    relora_tensor *f = new_matrix(RELORA_F32, 3, 3), *b = new_matrix(RELORA_BF16, 3, 3);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", f, 0), "target", "t", "F64",
          "RELORA_READ_CONVERT");
    OK(relora_reader_read(r, env.st, "t", f, RELORA_READ_CONVERT));
    UNCHANGED(f, wide);
    OK(relora_reader_read(r, env.st, "t", b, RELORA_READ_CONVERT));
    UNCHANGED(b, bits);
}
END_TEST

/* Numbers that are no fractions are refused, whatever the flags: 200 is not what an I8 or an F8 of that byte says. */
START_TEST(test_never_converted)
{
    static const char *const types[] = {"I64", "U64", "C64",  "I32",     "U32",     "I16",    "U16",
                                        "I8",  "U8",  "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"};
    const char *type = types[_i];
    int bits = strcmp(type, "BOOL") ? atoi(type + strcspn(type, "0123456789")) : 8;
    relora_reader *r = reader_of(type, 1, (int64_t[]){4}, pattern(32, 1), (size_t)bits / 2);
    relora_tensor *t = new_vector(_i % 2 ? RELORA_F32 : RELORA_BF16, 4);
    void *was = snapshot(t);
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", t, RELORA_READ_CONVERT), type, "not converted");
    FAILS(RELORA_E_DTYPE, relora_reader_read(r, env.st, "t", t, 3), type, "not converted");
    UNCHANGED(t, was);
}
END_TEST

/* ---- finite ---- */

enum { ROWS = 70, COLS = 100, PLACE = 67 * COLS + 11 }; /* in the second piece */

/* A matrix of ones of a type with `bits` at one place. */
static relora_reader *reader_of_ones(const char *dtype, uint64_t one, uint64_t bits)
{
    size_t item = (size_t)atoi(dtype + strcspn(dtype, "0123456789")) / 8;
    unsigned char *data = scratch(ROWS * COLS * item);
    for (size_t i = 0; i < ROWS * COLS; i++) memcpy(data + i * item, i == PLACE ? &bits : &one, item);
    return reader_of(dtype, 2, (int64_t[]){ROWS, COLS}, data, ROWS * COLS * item);
}

static const struct finite {
    const char *dtype;
    uint64_t one, bits;
    relora_dtype target;
    const char *what; /* NULL: it is finite */
} finites[] = {
    {"F32", 0x3f800000, 0x7fc00000, RELORA_F32, "a NaN"},
    {"F32", 0x3f800000, 0xff800001, RELORA_F32, "a NaN"},
    {"F32", 0x3f800000, 0xff800000, RELORA_F32, "an infinity"},
    {"F32", 0x3f800000, 0x7f7fffff, RELORA_F32, NULL},
    {"F32", 0x3f800000, 0x7fc00000, RELORA_BF16, "a NaN"},
    {"F32", 0x3f800000, 0x7f800001, RELORA_BF16, "a NaN"},
    {"F32", 0x3f800000, 0x7f7fffff, RELORA_BF16, "beyond the range"},
    {"F32", 0x3f800000, 0x7f7f7fff, RELORA_BF16, NULL},
    {"BF16", 0x3f80, 0x7f81, RELORA_BF16, "a NaN"},
    {"BF16", 0x3f80, 0xff80, RELORA_F32, "an infinity"},
    {"BF16", 0x3f80, 0xff7f, RELORA_F32, NULL},
    {"F16", 0x3c00, 0x7c01, RELORA_F32, "a NaN"},
    {"F16", 0x3c00, 0xfc00, RELORA_BF16, "an infinity"},
    {"F16", 0x3c00, 0x7bff, RELORA_BF16, NULL},
    {"F64", 0x3ff0000000000000, 0x7ff0000000000001, RELORA_F32, "a NaN"},
    {"F64", 0x3ff0000000000000, 0xfff0000000000000, RELORA_BF16, "an infinity"},
    {"F64", 0x3ff0000000000000, 0x47f0000000000000, RELORA_F32, "beyond the range"},
    {"F64", 0x3ff0000000000000, 0x47efffffe0000000, RELORA_F32, NULL},
    {"F64", 0x3ff0000000000000, 0x47efffffe0000000, RELORA_BF16, "beyond the range"},
    {"F64", 0x3ff0000000000000, 0x0000000000000001, RELORA_F32, NULL},
};
enum { FINITES = sizeof finites / sizeof *finites };

START_TEST(test_finite)
{
    const struct finite *c = &finites[_i];
    relora_reader *r = reader_of_ones(c->dtype, c->one, c->bits);
    relora_tensor *t = new_matrix(c->target, ROWS, COLS);
    uint32_t flags = RELORA_READ_CONVERT | RELORA_READ_FINITE;
    put_all(t, 5);
    void *was = snapshot(t);
    if (c->what) {
        FAILS(RELORA_E_NOT_FINITE, relora_reader_read(r, env.st, "t", t, flags), "\"t\"", c->what,
              "[67, 11]");
        UNCHANGED(t, was);
    } else {
        OK(relora_reader_read(r, env.st, "t", t, flags));
    }
    OK(relora_reader_read(r, env.st, "t", t, RELORA_READ_CONVERT)); /* as ever */
    ck_assert_double_eq(get(t)[0], 1);
}
END_TEST

/* The flag alone; a scalar; nothing. */
START_TEST(test_finite_shapes)
{
    float nan = NAN;
    relora_tensor *scalar = new_tensor(RELORA_F32, 0, NULL),
                  *none = new_tensor(RELORA_F32, 2, (int64_t[]){3, 0});
    put_all(scalar, 5);
    FAILS(RELORA_E_NOT_FINITE,
          relora_reader_read(reader_of("F32", 0, NULL, &nan, 4), env.st, "t", scalar, RELORA_READ_FINITE),
          "a NaN at []");
    ck_assert_double_eq(get(scalar)[0], 5);
    OK(relora_reader_read(reader_of("F32", 2, (int64_t[]){3, 0}, NULL, 0), env.st, "t", none,
                          RELORA_READ_FINITE));
    uint16_t half = 0x3c00;
    FAILS(RELORA_E_DTYPE,
          relora_reader_read(reader_of("F16", 0, NULL, &half, 2), env.st, "t", scalar, RELORA_READ_FINITE),
          "F16");
}
END_TEST

Suite *conversions(void)
{
    Suite *s = suite_create("conversions");
    TCase *tc = env_case(s, "conversions", 20);
    tcase_add_test(tc, test_f16);
    tcase_add_test(tc, test_f64);
    tcase_add_loop_test(tc, test_never_converted, 0, 13);
    tcase_add_loop_test(tc, test_finite, 0, FINITES);
    tcase_add_test(tc, test_finite_shapes);
    return s;
}
