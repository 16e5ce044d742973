/* Sums: near those of the CPU, and twice the same. */
#include "cuda_kernels/twins.h"

static const struct shape sums[] = {
    {1, 1, 0, 0},     {0, 5, 0, 0},     {5, 0, 0, 0},      {255, 9, 3, 0},    {256, 256, 0, 0},
    {257, 300, 4, 0}, {1000, 64, 0, 1}, {600, 1025, 7, 0}, {300000, 3, 0, 0}, {1, 3000, 0, 0},
};
enum { SUMS = sizeof sums / sizeof *sums };

/* Both add in double and round once: they differ where a tie is near, by an eps. Cancellation leaves less of
 * the sum than of its roundings. */
START_TEST(test_sum_rows)
{
    struct shape s = sums[_i];
    double rounding = 1.2e-16 * (double)(s.rows + 1) * 10 * (double)(s.rows + 1);
    for (int k = 0; k < 4; k++) {
        struct matrix x = matrix_make(s, k / 2 ? RELORA_BF16 : RELORA_F32, VALUES_NORMAL, 1);
        struct twin y = twin_make(s.cols + 1, RELORA_F32, VALUES_NORMAL, 2),
                    z = twin_make(s.cols + 1, RELORA_F32, VALUES_NORMAL, 2);
        BOTH(sum_rows(cpu_queue, y.cpu, x.cpu, k % 2), sum_rows(cuda_queue, y.cuda, x.cuda, k % 2));
        const float *want = y.cpu, *got = twin_read(y);
        for (int64_t j = 0; j <= s.cols; j++)
            ck_assert_double_eq_tol(got[j], want[j],
                                    close_eps(RELORA_F32) * fabs((double)want[j]) + rounding);
        ck_assert(got[s.cols] == want[s.cols]);
        on_device(cuda->sum_rows(cuda_queue, z.cuda, x.cuda, k % 2));
        SAME_BYTES(got, twin_read(z), twin_bytes(z));
    }
}
END_TEST

/* One NaN or infinity is seen in its column and in no other. */
START_TEST(test_sum_infinite)
{
    struct matrix x = matrix_make((struct shape){300, 20, 0, 0}, RELORA_F32, VALUES_NORMAL, 1);
    struct twin y = twin_make(20, RELORA_F32, VALUES_NORMAL, 2);
    ((float *)x.cpu.data)[123 * 20 + 7] = INFINITY;
    ((float *)x.cpu.data)[299 * 20 + 19] = NAN;
    twin_equalize(x.twin);
    on_device(cuda->sum_rows(cuda_queue, y.cuda, x.cuda, 0));
    const float *got = twin_read(y);
    for (int j = 0; j < 20; j++) ck_assert_int_eq(!isfinite(got[j]), j == 7 || j == 19);
    ck_assert(got[7] == INFINITY);
}
END_TEST

/* tanh() may differ in its last places; the rest is a sum in double. */
START_TEST(test_scale_grad)
{
    struct shape s = sums[_i], t = s;
    t.gap = 8;
    for (int k = 0; k < 8; k++) {
        relora_dtype dtype = k / 4 ? RELORA_BF16 : RELORA_F32;
        struct matrix h = matrix_make(s, dtype, VALUES_NORMAL, 1);
        struct matrix u = matrix_make(k / 2 % 2 ? t : s, dtype, VALUES_NORMAL, 2);
        struct twin scale = twin_make(1, RELORA_F32, VALUES_NORMAL, 3),
                    grad = twin_make(1, RELORA_F32, VALUES_NORMAL, 4);
        struct twin again = twin_make(1, RELORA_F32, VALUES_NORMAL, 4);
        BOTH(scale_grad(cpu_queue, grad.cpu, scale.cpu, h.cpu, u.cpu, k % 2),
             scale_grad(cuda_queue, grad.cuda, scale.cuda, h.cuda, u.cuda, k % 2));
        double want = (double)*(float *)grad.cpu, got = (double)*(float *)twin_read(grad);
        double size = sqrt((double)(s.rows * s.cols)) * 4 + fabs(want);
        ck_assert_double_eq_tol(got, want, 8 * close_eps(RELORA_F32) * size + 1e-300);
        on_device(cuda->scale_grad(cuda_queue, again.cuda, scale.cuda, h.cuda, u.cuda, k % 2));
        SAME_BYTES(twin_read(grad), twin_read(again), sizeof(float));
    }
}
END_TEST

Suite *kernels_reduce(void)
{
    Suite *s = suite_create("reduce");
    TCase *tc = twin_case(s, "reduce");
    twin_test(tc, test_sum_rows, SUMS);
    twin_test(tc, test_sum_infinite, 1);
    twin_test(tc, test_scale_grad, SUMS);
    return s;
}
