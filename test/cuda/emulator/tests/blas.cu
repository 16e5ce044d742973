/* cuBLASLt: the product against loops in double, and what it refuses. */
#include "tests.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "cublasLt.h"
#include "curand_philox4x32_x.h"

#define BLAS_OK(call) ck_assert_int_eq((call), CUBLAS_STATUS_SUCCESS)

struct problem {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t work;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t wishes;
    cublasLtMatmulHeuristicResult_t found;
    int count;
};

static void set(problem *p, cublasLtMatmulDescAttributes_t name, int32_t value)
{
    BLAS_OK(cublasLtMatmulDescSetAttribute(p->work, name, &value, sizeof value));
}

static problem make(cudaDataType type, cudaDataType out, uint64_t m, uint64_t n, uint64_t k, int ta, int tb)
{
    problem p = {};
    BLAS_OK(cublasLtCreate(&p.handle));
    BLAS_OK(cublasLtMatmulDescCreate(&p.work, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    BLAS_OK(cublasLtMatrixLayoutCreate(&p.a, type, ta ? k : m, ta ? m : k, (int64_t)(ta ? k : m) + 1));
    BLAS_OK(cublasLtMatrixLayoutCreate(&p.b, type, tb ? n : k, tb ? k : n, (int64_t)(tb ? n : k) + 2));
    BLAS_OK(cublasLtMatrixLayoutCreate(&p.c, out, m, n, (int64_t)m + 3));
    BLAS_OK(cublasLtMatmulPreferenceCreate(&p.wishes));
    set(&p, CUBLASLT_MATMUL_DESC_TRANSA, ta);
    set(&p, CUBLASLT_MATMUL_DESC_TRANSB, tb);
    return p;
}

static cublasStatus_t ask(problem *p)
{
    return cublasLtMatmulAlgoGetHeuristic(p->handle, p->work, p->a, p->b, p->c, p->c, p->wishes, 1, &p->found,
                                          &p->count);
}

static cublasStatus_t multiply(problem *p, const void *a, const void *b, void *c, float beta)
{
    float one = 1;
    return cublasLtMatmul(p->handle, p->work, &one, a, p->a, b, p->b, &beta, c, p->c, c, p->c, &p->found.algo, nullptr,
                          0, nullptr);
}

START_TEST(products)
{
    int ta = _i & 1, tb = _i >> 1 & 1, accumulate = _i >> 2 & 1, m = 7, n = 5, k = 9;
    problem p = make(CUDA_R_32F, CUDA_R_32F, (uint64_t)m, (uint64_t)n, (uint64_t)k, ta, tb);
    int lda = (ta ? k : m) + 1, ldb = (tb ? n : k) + 2, ldc = m + 3;
    std::vector<float> a((size_t)(lda * 10)), b((size_t)(ldb * 10)), c((size_t)(ldc * n), 2), bias((size_t)m);
    for (size_t i = 0; i < a.size(); i++) a[i] = (float)(i * 7 % 11) - 5;
    for (size_t i = 0; i < b.size(); i++) b[i] = (float)(i * 5 % 13) - 6;
    for (size_t i = 0; i < bias.size(); i++) bias[i] = (float)i;
    float *dc = device_copy(c.data(), c.size()), *dbias = device_copy(bias.data(), bias.size());
    set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    BLAS_OK(cublasLtMatmulDescSetAttribute(p.work, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &dbias, sizeof dbias));
    BLAS_OK(ask(&p));
    ck_assert_int_eq(p.count, 1);
    uint64_t read_before = emulated_cuda_product_bytes();
    BLAS_OK(multiply(&p, device_copy(a.data(), a.size()), device_copy(b.data(), b.size()), dc, (float)accumulate));
    to_host(c.data(), dc, c.size());
    ck_assert_uint_eq(emulated_cuda_product_bytes() - read_before, sizeof(float) * (size_t)(m * k + k * n));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float want = (float)(2 * accumulate) + bias[(size_t)i];
            for (int l = 0; l < k; l++)
                want += a[(size_t)(ta ? l + i * lda : i + l * lda)] * b[(size_t)(tb ? j + l * ldb : l + j * ldb)];
            ck_assert_float_eq(c[(size_t)(i + j * ldc)], want);
        }
    ck_assert_float_eq(c[(size_t)m], 2); /* between the columns nothing is written */
}
END_TEST

START_TEST(bf16_is_rounded_once)
{
    problem p = make(CUDA_R_16BF, CUDA_R_16BF, 1, 1, 2, 0, 0);
    uint16_t a[4] = {0x3F80, 0, 0x3F80, 0}, b[2] = {0x3F80, 0x3B80}, c = 0; /* 1, 1; 1 and 2^-8 */
    uint16_t *dc = device_copy(&c, 1);
    BLAS_OK(ask(&p));
    BLAS_OK(multiply(&p, device_copy(a, 4), device_copy(b, 2), dc, 0));
    to_host(&c, dc, 1);
    ck_assert_uint_eq(c, 0x3F80); /* half a unit in the last place: to even */
}
END_TEST

START_TEST(what_is_not_supported)
{
    problem p = make(CUDA_R_16BF, CUDA_R_32F, 4, 4, 4, 0, 0);
    BLAS_OK(ask(&p));
    set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(&p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
    ck_assert_int_eq(ask(&p), CUBLAS_STATUS_NOT_SUPPORTED);
    p = make(CUDA_R_32F, CUDA_R_16BF, 4, 4, 4, 0, 0);
    ck_assert_int_eq(ask(&p), CUBLAS_STATUS_NOT_SUPPORTED);
    p = make(CUDA_R_16BF, CUDA_R_16BF, 4, 4, 4, 0, 0);
    set(&p, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, CUBLAS_COMPUTE_32F_FAST_TF32);
    ck_assert_int_eq(ask(&p), CUBLAS_STATUS_NOT_SUPPORTED);
    p = make(CUDA_R_32F, CUDA_R_32F, 4, 4, 4, 0, 0);
    int64_t ld = 3;
    BLAS_OK(cublasLtMatrixLayoutSetAttribute(p.a, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof ld));
    ck_assert_int_eq(ask(&p), CUBLAS_STATUS_INVALID_VALUE);
}
END_TEST

START_TEST(algorithms_are_for_what_they_were_found_for)
{
    problem p = make(CUDA_R_32F, CUDA_R_32F, 4, 4, 4, 0, 0), other = make(CUDA_R_32F, CUDA_R_32F, 3, 4, 4, 0, 0);
    float *x = device_array<float>(100);
    BLAS_OK(ask(&p));
    BLAS_OK(multiply(&p, x, x, x + 64, 0));
    ck_assert_int_eq(multiply(&p, x + 1, x, x + 64, 0), CUBLAS_STATUS_INVALID_VALUE); /* it may rely on 256 bytes */
    uint32_t four = 4;
    BLAS_OK(cublasLtMatmulPreferenceSetAttribute(p.wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &four, 4));
    BLAS_OK(ask(&p));
    BLAS_OK(multiply(&p, x + 1, x, x + 64, 0));
    other.found = p.found;
    ck_assert_int_eq(multiply(&other, x, x, x + 64, 0), CUBLAS_STATUS_INVALID_VALUE);
    size_t bytes = 1 << 20;
    BLAS_OK(cublasLtMatmulPreferenceSetAttribute(p.wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, 8));
    BLAS_OK(ask(&p));
    ck_assert_int_eq(multiply(&p, x, x, x + 64, 0), CUBLAS_STATUS_INVALID_VALUE); /* without the workspace it needs */
}
END_TEST

START_TEST(too_small_memory)
{
    must_die([] {
        problem p = make(CUDA_R_32F, CUDA_R_32F, 4, 4, 4, 0, 0);
        float *x = device_array<float>(100);
        BLAS_OK(ask(&p));
        multiply(&p, x, x, device_array<float>(20), 0);
        cudaDeviceSynchronize();
    }, "cublasLtMatmul uses bytes");
}
END_TEST

START_TEST(philox)
{
    uint4 x = curand_Philox4x32_10(make_uint4(0, 0, 0, 0), make_uint2(0, 0)); /* the authors' known answers */
    ck_assert(x.x == 0x6627e8d5 && x.y == 0xe169c58d && x.z == 0xbc57ac4c && x.w == 0x9b00dbd8);
    unsigned f = 0xFFFFFFFFu;
    x = curand_Philox4x32_10(make_uint4(f, f, f, f), make_uint2(f, f));
    ck_assert(x.x == 0x408f276d && x.y == 0x41c83b0e && x.z == 0xa20bc7c6 && x.w == 0x6d5451fd);
}
END_TEST

Suite *blas(void)
{
    Suite *s = suite_create("blas");
    TCase *tc = tcase_create("blas");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, products, 0, 8);
    tcase_add_test(tc, bf16_is_rounded_once);
    tcase_add_test(tc, what_is_not_supported);
    tcase_add_test(tc, algorithms_are_for_what_they_were_found_for);
    tcase_add_test(tc, too_small_memory);
    tcase_add_test(tc, philox);
    suite_add_tcase(s, tc);
    return s;
}
