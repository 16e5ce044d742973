/* Kernels without a draw: every shape, type, alignment and kind of value; what lies between rows stays. */
#include "cuda_kernels/twins.h"

static const relora_dtype types[] = {RELORA_F32, RELORA_BF16};

START_TEST(test_fill)
{
    const double values[] = {0, -0.0, 1.0 / 3, -1e300, 1e-40, INFINITY, NAN, 1.00390625000001};
    for (int d = 0; d < 2; d++)
        for (int v = 0; v < 8; v++) {
            struct matrix y = matrix_make(shapes[_i], types[d], VALUES_NORMAL, 1);
            BOTH(fill(cpu_queue, y.cpu, values[v]), fill(cuda_queue, y.cuda, values[v]));
            SAME(y.twin);
        }
}
END_TEST

START_TEST(test_convert)
{
    struct shape other = shapes[_i];
    other.gap = 8 - other.gap % 8;
    const double scales[] = {1, -0.37, 1e30};
    for (int d = 0; d < 4; d++)
        for (int s = 0; s < 3; s++) {
            struct matrix y = matrix_make(shapes[_i], types[d / 2], VALUES_NORMAL, 1);
            struct matrix x = matrix_make(s ? other : shapes[_i], types[d % 2], VALUES_ANY, 2);
            struct scale scale = {.value = scales[s]};
            struct conversion on_cpu = {.y = y.cpu, .x = x.cpu, .scale = scale};
            struct conversion on_cuda = {.y = y.cuda, .x = x.cuda, .scale = scale};
            BOTH(convert(cpu_queue, &on_cpu, 1), convert(cuda_queue, &on_cuda, 1));
            SAME(y.twin);
            SAME(x.twin);
        }
}
END_TEST

/* Many in one call, of every type and shape, some of them added. */
START_TEST(test_convert_list)
{
    struct matrix y[CONVERSIONS], x[CONVERSIONS];
    struct conversion on_cpu[CONVERSIONS], on_cuda[CONVERSIONS];
    for (int i = 0; i < CONVERSIONS; i++) {
        struct shape shape = shapes[(_i + i * (1 + i % 3)) % shape_count()];
        struct scale scale = {.value = 0.3 * (i + 1)};
        y[i] = matrix_make(shape, types[i / 2 % 2], VALUES_NORMAL, 2 * (uint64_t)i);
        x[i] = matrix_make(shape, types[i % 2], VALUES_NORMAL, 2 * (uint64_t)i + 1);
        on_cpu[i] = (struct conversion){y[i].cpu, x[i].cpu, scale, i % 8 == 0};
        on_cuda[i] = (struct conversion){y[i].cuda, x[i].cuda, scale, i % 8 == 0};
    }
    BOTH(convert(cpu_queue, on_cpu, CONVERSIONS), convert(cuda_queue, on_cuda, CONVERSIONS));
    for (int i = 0; i < CONVERSIONS; i++) SAME(y[i].twin);
}
END_TEST

/* tanh() of the device and of the CPU may differ: by two units of the last place of each, and one more from
 * the product. */
START_TEST(test_trainable)
{
    struct shape shape = {3, 21, 0, 0};
    struct matrix y = matrix_make(shape, RELORA_F32, VALUES_NORMAL, 1);
    struct matrix x = matrix_make(shape, RELORA_F32, VALUES_NORMAL, 2);
    struct twin s = twin_make(1, RELORA_F32, VALUES_NORMAL, 3);
    struct conversion on_cpu = {.y = y.cpu, .x = x.cpu, .scale = {.value = 7, .trainable = s.cpu}};
    struct conversion on_cuda = {.y = y.cuda, .x = x.cuda, .scale = {.value = 7, .trainable = s.cuda}};
    BOTH(convert(cpu_queue, &on_cpu, 1), convert(cuda_queue, &on_cuda, 1));
    const float *got = twin_read(y.twin), *want = y.twin.cpu;
    for (int i = 0; i < 63; i++)
        ck_assert_double_eq_tol(got[i], want[i], 5 * close_eps(RELORA_F32) * fabs((double)want[i]));
    CHANGED(y.twin);
}
END_TEST

static void look_for(struct matrix x, uint32_t want)
{
    struct twin bits = twin_make(1, RELORA_F32, VALUES_ZERO, 0);
    BOTH(largest(cpu_queue, x.cpu, bits.cpu), largest(cuda_queue, x.cuda, bits.cuda));
    SAME(bits);
    ck_assert_uint_eq(*(uint32_t *)bits.cpu, want);
}

static void set(struct matrix x, int64_t at, uint32_t bits)
{
    if (x.cpu.dtype == RELORA_BF16) ((uint16_t *)x.cpu.data)[at] = (uint16_t)(bits >> 16);
    else memcpy((float *)x.cpu.data + at, &bits, sizeof bits);
    twin_equalize(x.twin);
}

/* The largest by magnitude, an infinity, a NaN, in the first, the last or another place; what lies between rows does
 * not count, and neither does the sign. */
START_TEST(test_largest)
{
    static const uint32_t bits[] = {0x7f7f0000, 0xff800000, 0x7fc00000, 0xffff0000};
    struct shape s = shapes[_i];
    const int64_t places[] = {0, s.rows * s.cols / 2, s.rows * s.cols - 1};
    for (int d = 0; d < 2; d++) {
        struct matrix x = matrix_make(s, types[d], VALUES_ZERO, 1);
        if (s.gap && s.rows)
            for (int64_t j = s.cols; j < x.cpu.ld; j++)
                memset((char *)x.cpu.data + j * (d ? 2 : 4), 0xFF, d ? 2 : 4);
        twin_equalize(x.twin);
        look_for(x, 0);
        for (int p = 0; p < 3 && s.rows > 0 && s.cols > 0; p++) {
            int64_t at = places[p] / s.cols * x.cpu.ld + places[p] % s.cols;
            for (int k = 0; k < 4; k++) {
                set(x, at, bits[k]);
                look_for(x, bits[k] & 0x7fffffff);
            }
            set(x, at, 0);
        }
    }
}
END_TEST

/* What is there already counts. */
START_TEST(test_largest_stays)
{
    struct matrix x = matrix_make((struct shape){2, 3, 0, 0}, RELORA_F32, VALUES_NORMAL, 1);
    struct twin bits = twin_make(1, RELORA_F32, VALUES_ZERO, 0);
    *(uint32_t *)bits.cpu = 0x7f000000;
    twin_equalize(bits);
    BOTH(largest(cpu_queue, x.cpu, bits.cpu), largest(cuda_queue, x.cuda, bits.cuda));
    SAME(bits);
    ck_assert_uint_eq(*(uint32_t *)bits.cpu, 0x7f000000);
}
END_TEST

Suite *kernels_elementwise(void)
{
    Suite *s = suite_create("elementwise");
    TCase *tc = twin_case(s, "elementwise");
    twin_test(tc, test_fill, shape_count());
    twin_test(tc, test_convert, shape_count());
    twin_test(tc, test_convert_list, shape_count());
    twin_test(tc, test_trainable, 1);
    twin_test(tc, test_largest, shape_count());
    twin_test(tc, test_largest_stays, 1);
    return s;
}
