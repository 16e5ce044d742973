/* Instructions of PTX, with fragments made here by the layout that its manual draws. */
#include "tests.h"

#include <string.h>

#include <vector>

static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16); /* small integers, which are exact */
}

/* A 16 x 16 and B 8 x 16 (its columns) in shared memory, loaded as a real kernel would. */
static __global__ void multiply(const uint16_t *a, const uint16_t *b, float *c)
{
    __shared__ __align__(16) uint16_t sa[16][16], sb[8][16], sbt[16][8];
    int lane = (int)threadIdx.x;
    for (int i = lane; i < 256; i += 32) sa[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) sb[i / 16][i % 16] = b[i], sbt[i % 16][i / 16] = b[i];
    __syncwarp();
    unsigned fa[4], fb[2], fbt[2];
    emulated_ldmatrix_x4(fa, &sa[lane % 16][lane / 16 * 8]);
    emulated_ldmatrix_x2(fb, &sb[lane % 8][lane / 8 % 2 * 8]);
    emulated_ldmatrix_x2_trans(fbt, sbt[lane % 16]);
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = (float)(100 * (lane / 4 + i / 2 * 8) + lane % 4 * 2 + i % 2);
    emulated_mma_m16n8k16(d, fa, fb, d);
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
        c[row * 8 + col] = fb[0] == fbt[0] && fb[1] == fbt[1] ? d[i] : -1;
    }
}

START_TEST(product_of_fragments)
{
    std::vector<uint16_t> a(256), b(128);
    std::vector<float> c(128);
    for (int i = 0; i < 256; i++) a[(size_t)i] = bf16_of((float)(i * 7 % 13 - 6));
    for (int i = 0; i < 128; i++) b[(size_t)i] = bf16_of((float)(i * 5 % 11 - 5));
    float *out = device_array<float>(128);
    run(multiply, 1, 32, device_copy(a.data(), 256), device_copy(b.data(), 128), out);
    to_host(c.data(), out, 128);
    for (int row = 0; row < 16; row++)
        for (int col = 0; col < 8; col++) {
            int sum = 100 * row + col;
            for (int k = 0; k < 16; k++) sum += ((row * 16 + k) * 7 % 13 - 6) * ((col * 16 + k) * 5 % 11 - 5);
            ck_assert_float_eq(c[(size_t)(row * 8 + col)], (float)sum);
        }
}
END_TEST

/* The kernel above loads from rows of 32 bytes, every fourth of which has the same banks, and from rows of 16 bytes. */
START_TEST(loads_are_counted)
{
    std::vector<uint16_t> zeros(256);
    uint64_t products, loads, passes;
    emulated_cuda_matrices(&products, &loads, &passes);
    run(multiply, 3, 32, device_copy(zeros.data(), 256), device_copy(zeros.data(), 128), device_array<float>(128));
    cudaDeviceSynchronize();
    emulated_cuda_matrices(&products, &loads, &passes);
    ck_assert_uint_eq(products, 3);
    ck_assert_uint_eq(loads, 3 * 3);
    ck_assert_uint_eq(passes, 3 * (4 * 2 + 2 * 2 + 2));
    emulated_cuda_matrices(&products, &loads, &passes);
    ck_assert_uint_eq(products + loads + passes, 0);
}
END_TEST

static __global__ void small_terms(float *c, float term)
{
    unsigned pair = __float_as_uint(term) & 0xFFFF0000u, one = 0x3F803F80u;
    unsigned a[4], b[2] = {one, one};
    for (int i = 0; i < 4; i++) a[i] = pair | pair >> 16;
    float d[4] = {1, 1, 1, 1};
    emulated_mma_m16n8k16(d, a, b, d);
    if (threadIdx.x == 0) *c = d[0];
}

/* What lies more than a bit below the last of the largest term is cut off, however much of it there is. */
START_TEST(sums_are_cut_off)
{
    static const struct {
        float term, sum;
    } cases[] = {{0x1p-26f, 1.0f}, {0x1p-24f, 1 + 16 * 0x1p-24f}, {0x1.8p-24f, 1 + 16 * 0x1p-24f}, {-0x1p-24f, 1 - 16 * 0x1p-24f}};
    float got, *c = device_array<float>(1);
    for (auto one : cases) {
        run(small_terms, 1, 32, c, one.term);
        to_host(&got, c, 1);
        ck_assert_float_eq(got, one.sum);
    }
}
END_TEST

static __global__ void four_matrices(const uint16_t *in, unsigned *out, unsigned *transposed)
{
    __shared__ __align__(16) uint16_t m[32][8];
    for (int i = 0; i < 8; i++) m[threadIdx.x][i] = in[threadIdx.x * 8 + (unsigned)i];
    __syncwarp();
    emulated_ldmatrix_x4(out + threadIdx.x * 4, m[threadIdx.x]);
    emulated_ldmatrix_x4_trans(transposed + threadIdx.x * 4, m[threadIdx.x]);
}

START_TEST(loads_of_matrices)
{
    uint16_t in[256];
    unsigned plain[128], transposed[128], *p = device_array<unsigned>(128), *t = device_array<unsigned>(128);
    for (int i = 0; i < 256; i++) in[i] = (uint16_t)i;
    run(four_matrices, 1, 32, device_copy(in, 256), p, t);
    to_host(plain, p, 128);
    to_host(transposed, t, 128);
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned j = 0; j < 4; j++) {
            unsigned row = lane / 4, col = lane % 4 * 2, at = j * 64;
            ck_assert_uint_eq(plain[lane * 4 + j], (at + row * 8 + col) | (at + row * 8 + col + 1) << 16);
            ck_assert_uint_eq(transposed[lane * 4 + j], (at + col * 8 + row) | (at + (col + 1) * 8 + row) << 16);
        }
}
END_TEST

static __global__ void fetch(const uint4 *in, uint4 *out, unsigned *early, int waits)
{
    __shared__ uint4 stage[2][32];
    emulated_cp_async(&stage[0][threadIdx.x], in + threadIdx.x, 16, 16);
    emulated_cp_async_commit();
    emulated_cp_async(&stage[1][threadIdx.x], in + 32 + threadIdx.x, 16, 8);
    emulated_cp_async_commit();
    if (waits) emulated_cp_async_wait(1);
    out[threadIdx.x] = stage[0][threadIdx.x];
    early[threadIdx.x] = stage[1][threadIdx.x].x;
    if (waits) emulated_cp_async_wait(0);
    out[32 + threadIdx.x] = stage[1][threadIdx.x];
}

START_TEST(copies_arrive_when_waited_for)
{
    uint4 in[64], got[64];
    for (unsigned i = 0; i < 64; i++) in[i] = make_uint4(i, i + 1, i + 2, i + 3);
    uint4 *out = device_array<uint4>(64), *from = device_copy(in, 64);
    unsigned too_soon[32], *early = device_array<unsigned>(32);
    run(fetch, 1, 32, from, out, early, 1);
    to_host(got, out, 64);
    to_host(too_soon, early, 32);
    for (unsigned i = 0; i < 32; i++) ck_assert_uint_eq(too_soon[i], 0xFFFFFFFFu);
    for (unsigned i = 0; i < 64; i++) {
        ck_assert_uint_eq(got[i].y, i + 1);
        ck_assert_uint_eq(got[i].w, i < 32 ? i + 3 : 0);
    }
    run(fetch, 1, 32, from, out, early, 0);
    to_host(got, out, 64);
    for (unsigned i = 0; i < 64; i++) ck_assert_uint_eq(got[i].y, 0xFFFFFFFFu); /* nobody waited */
}
END_TEST

static __global__ void crooked(unsigned *out)
{
    __shared__ __align__(16) uint16_t m[64][8];
    emulated_ldmatrix_x4(out, &m[threadIdx.x][1]);
}

START_TEST(rows_must_be_aligned)
{
    must_die([] { run(crooked, 1, 32, device_array<unsigned>(4)); }, "not aligned to 16 bytes");
}
END_TEST

Suite *tensor_core(void)
{
    Suite *s = suite_create("tensor core");
    TCase *tc = tcase_create("tensor core");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, product_of_fragments);
    tcase_add_test(tc, loads_are_counted);
    tcase_add_test(tc, sums_are_cut_off);
    tcase_add_test(tc, loads_of_matrices);
    tcase_add_test(tc, copies_arrive_when_waited_for);
    tcase_add_test(tc, rows_must_be_aligned);
    suite_add_tcase(s, tc);
    return s;
}
