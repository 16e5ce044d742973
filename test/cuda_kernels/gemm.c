/* The matrix product of the device against the plain one of the CPU. */
#include <stdlib.h>
#include "cpu/cpu.h"
#include "cuda_kernels/twins.h"

static const int64_t sizes[][3] = {
    /* rows, columns, depth */
    {1, 1, 1}, {17, 31, 13}, {16, 32, 128}, {33, 17, 129}, {64, 48, 32}, {2, 3, 0},
    {0, 3, 2}, {3, 0, 2},    {1, 200, 3},   {130, 1, 7},   {5, 7, 300},  {64, 96, 257},
};
enum { SIZES = sizeof sizes / sizeof *sizes, VARIANTS = 96 };

struct product {
    struct matrix a, b, c;
    struct twin bias;
    struct gemm cpu, cuda;
    int64_t depth;
};

static struct matrix operand(int64_t rows, int64_t cols, int transposed, relora_dtype dtype, int64_t shift,
                             uint64_t seed)
{
    struct shape s = {transposed ? cols : rows, transposed ? rows : cols, shift ? 3 : 8, shift};
    return matrix_make(s, dtype, VALUES_NORMAL, seed);
}

/* The bits of `variant`: ta, tb, accumulate, bias, not aligned; then F32, BF16 into F32, BF16 into BF16. */
static struct product make(const int64_t *size, int variant)
{
    int64_t m = size[0], n = size[1], k = size[2], shift = variant >> 4 & 1;
    int32_t ta = variant & 1, tb = variant >> 1 & 1;
    relora_dtype type_a = variant / 32 ? RELORA_BF16 : RELORA_F32,
                 type_c = variant / 32 == 2 ? RELORA_BF16 : RELORA_F32;
    struct product p = {
        .a = operand(m, k, ta, type_a, shift, 1), .b = operand(k, n, tb, type_a, shift, 2), .depth = k};
    p.c = operand(m, n, 0, type_c, shift, 3);
    p.cuda = (struct gemm){p.a.cuda, p.b.cuda, p.c.cuda, ta, tb, variant >> 2 & 1, 0, NULL};
    if (variant & 8) {
        p.bias = twin_make(n + 1, RELORA_F32, VALUES_NORMAL, 4);
        p.cuda.bias = (float *)p.bias.cuda + shift;
    }
    p.cpu = p.cuda;
    p.cpu.a = p.a.cpu;
    p.cpu.b = p.b.cpu;
    p.cpu.c = p.c.cpu;
    if (p.cuda.bias) p.cpu.bias = (float *)p.bias.cpu + shift;
    return p;
}

static double value(const void *data, relora_dtype dtype, int64_t i)
{
    return dtype == RELORA_F32 ? (double)((const float *)data)[i]
                               : (double)bf16_value(((const uint16_t *)data)[i]);
}

/* Element i of the buffer that c lies in: is it one of c's? */
static int belongs(const struct product *p, int64_t i)
{
    struct view c = p->cpu.c;
    i -= ((char *)c.data - (char *)p->c.twin.cpu) / (c.dtype == RELORA_F32 ? 4 : 2);
    return i >= 0 && i / c.ld < c.rows && i % c.ld < c.cols;
}

/* k terms of size 1 are summed in F32: the sum grows to sqrt(k), 2 sqrt(k) at worst, and each of k additions
 * rounds it. A BF16 result may fall on the other side of a tie, and its bias was rounded before. TF32 cuts
 * both factors of a term to 10 bits. */
static void check(const struct product *p, const void *got)
{
    relora_dtype dtype = p->cpu.c.dtype;
    double sums = close_tolerance(0, RELORA_F32, 2 * sqrt((double)p->depth + 1), p->depth + 1);
    if (p->cuda.tf32) sums += 4 * sqrt((double)p->depth + 1) * 2 / 1024;
    if (p->cuda.bias && dtype == RELORA_BF16) sums += close_eps(RELORA_BF16) / 2 * 4;
    for (int64_t i = 0; i < p->c.twin.count; i++) {
        double want = value(p->c.twin.cpu, dtype, i), have = value(got, dtype, i);
        double tolerance = belongs(p, i) ? sums + close_eps(dtype) * fabs(want) : 0;
        if (!(fabs(have - want) <= tolerance))
            ck_abort_msg("element %lld is %.9g, and should be %.9g", (long long)i, have, want);
    }
    mark_point();
}

START_TEST(test_gemm)
{
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct product p = make(sizes[_i], variant);
        ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
        on_device(cuda->gemm(cuda_queue, &p.cuda));
        check(&p, twin_read(p.c.twin));
    }
}
END_TEST

START_TEST(test_tf32)
{
    struct product p = make((const int64_t[]){64, 48, 256}, 2);
    p.cuda.tf32 = 1;
    ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
    on_device(cuda->gemm(cuda_queue, &p.cuda));
    check(&p, twin_read(p.c.twin));
    p = make((const int64_t[]){64, 48, 256}, 64); /* BF16: it means nothing */
    p.cuda.tf32 = 1;
    ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
    on_device(cuda->gemm(cuda_queue, &p.cuda));
    check(&p, twin_read(p.c.twin));
}
END_TEST

/* What was in c before is not read, unless it is accumulated upon: not even a NaN. */
START_TEST(test_overwrite)
{
    for (int type = 0; type < 3; type++) {
        struct product p = make((const int64_t[]){40, 24, _i ? 16 : 0}, type * 32);
        relora_dtype dtype = p.cuda.c.dtype;
        for (int64_t i = 0; i < p.c.twin.count; i++) {
            if (!belongs(&p, i)) continue;
            if (dtype == RELORA_F32) ((float *)p.c.twin.cpu)[i] = NAN;
            else ((uint16_t *)p.c.twin.cpu)[i] = 0x7FC0;
        }
        twin_equalize(p.c.twin);
        ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
        on_device(cuda->gemm(cuda_queue, &p.cuda));
        check(&p, twin_read(p.c.twin));
    }
}
END_TEST

/* The same bits again, from a queue that never met the product too. */
START_TEST(test_same_bits)
{
    struct queue_options o = {.memory = cpu_queue->memory, .threads = 1, .parent = cuda_queue};
    for (int type = 0; type < 3; type++) {
        struct product p = make((const int64_t[]){64, 96, 257}, type * 32 + 8);
        struct queue *other;
        on_device(cuda->gemm(cuda_queue, &p.cuda));
        const void *first = twin_read(p.c.twin);
        on_device(cuda->gemm(cuda_queue, &p.cuda));
        SAME_BYTES(first, twin_read(p.c.twin), twin_bytes(p.c.twin));
        ck_assert_int_eq(cuda->queue_open(0, &o, &other), RELORA_OK);
        ck_assert_int_eq(cuda->gemm(other, &p.cuda), RELORA_OK);
        ck_assert_int_eq(cuda->queue_sync(other), RELORA_OK);
        SAME_BYTES(first, twin_read(p.c.twin), twin_bytes(p.c.twin));
        cuda->queue_close(other);
    }
}
END_TEST

/* BF16 rows that are not aligned are copied before a product that is large enough: cuBLASLt never sees odd ones, which
 * the emulator counts. */
START_TEST(test_copied_rows)
{
    static const struct {
        int64_t size[3];
        /* not aligned, BF16 into F32; the second with b transposed, so that its rows are odd too */
        int variant;
        int refused;
    } cases[] = {
        {{9, 1101, 16}, 32 + 16, 0}, {{1030, 1101, 16}, 32 + 16 + 8 + 2, 0}, {{9, 101, 16}, 32 + 16, 1}};
    struct product p = make(cases[_i].size, cases[_i].variant);
    ck_assert_int_eq(p.cuda.a.ld % 2, 1);
    device_refuse_odd(1);
    int before = device_refused();
    on_device(cuda->gemm(cuda_queue, &p.cuda));
    if (device_objects()) ck_assert_int_eq(device_refused() - before, cases[_i].refused);
    device_refuse_odd(0);
    ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
    check(&p, twin_read(p.c.twin));
}
END_TEST

/* An algorithm that is offered and then refused is no failure: such products are made without cuBLASLt, again and again. */
START_TEST(test_refused)
{
    struct product p = make((const int64_t[]){64, 97, 33}, _i * 32 + 8);
    device_refuse_odd(1);
    for (int i = 0; i < 2; i++) {
        on_device(cuda->gemm(cuda_queue, &p.cuda));
        ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
        if (i == 0) check(&p, twin_read(p.c.twin));
    }
    device_refuse_odd(0);
}
END_TEST

/* More kinds of product than a queue remembers. */
START_TEST(test_many_kinds)
{
    struct product p = make((const int64_t[]){30, 30, 30}, 64 + 8);
    struct gemm cpu = p.cpu, device = p.cuda;
    int before = 0;
    for (int64_t i = 0; i < 1100; i++) {
        int64_t m = 1 + i % 10, n = 1 + i / 10 % 10, k = 1 + i / 100;
        cpu.c.rows = device.c.rows = cpu.a.rows = device.a.rows = m;
        cpu.c.cols = device.c.cols = cpu.b.cols = device.b.cols = n;
        cpu.a.cols = device.a.cols = cpu.b.rows = device.b.rows = k;
        ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &cpu), RELORA_OK);
        on_device(cuda->gemm(cuda_queue, &device));
        if (i == 700) before = device_objects();
    }
    ck_assert_int_eq(device_objects(), before);
    on_device(cuda->gemm(cuda_queue, &p.cuda)); /* it was forgotten in the meantime */
    ck_assert_int_eq(cpu_gemm_portable(cpu_queue, &p.cpu), RELORA_OK);
    check(&p, twin_read(p.c.twin));
}
END_TEST

Suite *kernels_gemm(void)
{
    Suite *s = suite_create("gemm");
    TCase *tc = twin_case(s, "gemm");
    twin_test(tc, test_gemm, SIZES);
    twin_test(tc, test_tf32, 1);
    twin_test(tc, test_overwrite, 2);
    twin_test(tc, test_same_bits, 1);
    twin_test(tc, test_refused, 3);
    twin_test(tc, test_copied_rows, 3);
    twin_test(tc, test_many_kinds, 1);
    return s;
}
