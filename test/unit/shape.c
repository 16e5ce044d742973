/* src/shape.c: tensors as matrices, and which two of them share a byte. */
#include "unit/suites.h"
#include "shape.h"

struct row {
    int32_t ndim;
    int64_t dims[4], strides[4]; /* strides[0] < 0: none given */
    int64_t rows, cols, ld, count;
};

static const struct row rows[] = {
    {0, {0}, {-1}, 1, 1, 1, 1},
    {1, {5}, {-1}, 1, 5, 5, 5},
    {2, {3, 4}, {-1}, 3, 4, 4, 12},
    {3, {2, 3, 4}, {-1}, 6, 4, 4, 24},
    {2, {3, 4}, {9, 1}, 3, 4, 9, 12},
    {3, {2, 3, 4}, {27, 9, 1}, 6, 4, 9, 24}, /* rows still at one distance */
    {2, {0, 4}, {-1}, 0, 4, 4, 0},
    {2, {4, 0}, {-1}, 4, 0, 0, 0},
};

START_TEST(test_matrix)
{
    const struct row *r = &rows[_i];
    struct call here = {.fn = "test", .ctx = env.ctx};
    struct shape s;
    OK(shape_make(&here, &s, RELORA_F32, r->ndim, r->dims, r->strides[0] < 0 ? NULL : r->strides));
    ck_assert_int_eq(s.count, r->count);
    ck_assert_int_eq(s.cols, r->cols);
    ck_assert_int_eq(s.rows, r->rows);
    if (r->rows > 1 && r->cols > 0) ck_assert_int_eq(s.ld, r->ld);
    ck_assert_uint_eq(shape_bytes(&s), (size_t)r->count * 4);
    if (r->count > 1) ck_assert_int_eq(shape_is_dense(&s), r->ld == r->cols);
}
END_TEST

START_TEST(test_equal_and_text)
{
    struct call here = {.fn = "test", .ctx = env.ctx};
    struct shape a, b, c;
    char text[SHAPE_TEXT];
    OK(shape_make(&here, &a, RELORA_F32, 2, (int64_t[]){3, 4}, NULL));
    OK(shape_make(&here, &b, RELORA_BF16, 2, (int64_t[]){3, 4}, (int64_t[]){9, 1}));
    OK(shape_make(&here, &c, RELORA_F32, 3, (int64_t[]){1, 3, 4}, NULL));
    ck_assert(shape_equal(&a, &b));
    ck_assert(!shape_equal(&a, &c));
    ck_assert_str_eq(shape_text(&c, text), "[1, 3, 4]");
    int64_t wide[RELORA_MAX_DIMS];
    for (int i = 0; i < RELORA_MAX_DIMS; i++) wide[i] = i ? 0 : INT64_C(1) << 40; /* no element */
    OK(shape_make(&here, &a, RELORA_F32, RELORA_MAX_DIMS, wide, NULL));
    ck_assert_uint_lt(strlen(shape_text(&a, text)), SHAPE_TEXT);
}
END_TEST

static struct view view(float *data, int64_t r, int64_t c, int64_t ld)
{
    return (struct view){data, r, c, ld, RELORA_F32};
}

/* Brute force: mark the elements of one, look for those of the other. */
static int share(struct view a, struct view b, const float *base)
{
    char seen[200] = {0};
    for (int64_t i = 0; i < a.rows; i++)
        for (int64_t j = 0; j < a.cols; j++) seen[((float *)a.data - base) + i * a.ld + j] = 1;
    for (int64_t i = 0; i < b.rows; i++)
        for (int64_t j = 0; j < b.cols; j++)
            if (seen[((float *)b.data - base) + i * b.ld + j]) return 1;
    return 0;
}

/* No overlap is missed; blocks of columns of one array, which interleave, are told apart. */
START_TEST(test_overlap)
{
    float base[200];
    struct view a = view(base + 20, 4, 3, 8);
    for (int64_t at = 0; at < 60; at++)
        for (int64_t r = 0; r < 4; r++)
            for (int64_t c = 0; c < 5; c++) {
                struct view b = view(base + at, r, c, 8);
                ck_assert_int_eq(!!views_overlap(a, b), share(a, b, base));
                ck_assert_int_eq(!!views_overlap(b, a), share(a, b, base));
            }
    for (int64_t at = 0; at < 60; at++) { /* other row distances: must not be missed, may be refused */
        struct view b = view(base + at, 3, 2, 5);
        if (share(a, b, base)) ck_assert(views_overlap(a, b));
    }
}
END_TEST

Suite *unit_shape(void)
{
    Suite *s = suite_create("shape");
    TCase *tc = env_case(s, "shape", 20);
    tcase_add_loop_test(tc, test_matrix, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tc, test_equal_and_text);
    tcase_add_test(tc, test_overlap);
    return s;
}
