/* Indices, barriers and shared memory. */
#include "tests.h"

#include <vector>

static __global__ void number(int *out, dim3 expected)
{
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (gridDim.x == expected.x && gridDim.y == expected.y && gridDim.z == expected.z)
        out[block * threads + thread] += (int)(block * threads + thread);
}

START_TEST(every_index_once)
{
    dim3 grid(3, 2, 4), block(5, 7, 2);
    int n = 3 * 2 * 4 * 5 * 7 * 2;
    std::vector<int> got((size_t)n, 1000);
    int *out = device_copy(got.data(), got.size());
    void *arguments[] = {&out, &grid};
    OK(cudaLaunchKernel(number, grid, block, arguments));
    to_host(got.data(), out, got.size());
    for (int i = 0; i < n; i++) ck_assert_int_eq(got[(size_t)i], 1000 + i);
}
END_TEST

template <class T> static __global__ void reverse(T *x)
{
    __shared__ T tile[256];
    tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    x[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

START_TEST(barrier_makes_visible)
{
    double x[4 * 256];
    for (int i = 0; i < 1024; i++) x[i] = i;
    double *on = device_copy(x, 1024);
    run(reverse<double>, 4, 256, on);
    to_host(x, on, 1024);
    for (int i = 0; i < 1024; i++) ck_assert_double_eq(x[i], i / 256 * 256 + 255 - i % 256);
}
END_TEST

static __global__ void reverse_too_soon(int *x, int *wrong)
{
    __shared__ int tile[256];
    tile[threadIdx.x] = x[threadIdx.x];
    int other = tile[255 - threadIdx.x]; /* the barrier that should be before it is not there */
    if (other != x[255 - threadIdx.x]) atomicAdd(wrong, 1);
}

START_TEST(missing_barrier_shows)
{
    int x[256], zero = 0, wrong;
    for (int i = 0; i < 256; i++) x[i] = i;
    int *on = device_copy(x, 256), *count = device_copy(&zero, 1);
    run(reverse_too_soon, 1, 256, on, count);
    to_host(&wrong, count, 1);
    ck_assert_int_gt(wrong, 0);
}
END_TEST

static __global__ void read_before_write(unsigned *out)
{
    __shared__ unsigned left[32];
    out[blockIdx.x * 32 + threadIdx.x] = left[threadIdx.x];
    left[threadIdx.x] = 7;
}

START_TEST(shared_memory_starts_as_garbage)
{
    unsigned got[4 * 32], *out = device_array<unsigned>(128);
    run(read_before_write, 4, 32, out);
    run(read_before_write, 4, 32, out);
    to_host(got, out, 128);
    for (int i = 0; i < 128; i++) ck_assert_uint_eq(got[i], 0xFFFFFFFFu);
}
END_TEST

static __global__ void count_up(int *order, int *next)
{
    if (threadIdx.x == 0) order[blockIdx.x] = atomicAdd(next, 1);
}

START_TEST(blocks_run_in_any_order)
{
    int order[64], zero = 0, in_place = 0;
    int *out = device_array<int>(64), *next = device_copy(&zero, 1);
    run(count_up, 64, 32, out, next);
    to_host(order, out, 64);
    for (int i = 0; i < 64; i++) in_place += order[i] == i;
    ck_assert_int_lt(in_place, 32);
}
END_TEST

static __global__ void leave_early(int *out, int n)
{
    if ((int)threadIdx.x >= n) return; /* legal: who has returned is not waited for */
    __syncthreads();
    out[threadIdx.x] = 1;
}

START_TEST(returned_threads_are_not_waited_for)
{
    int got[40] = {0}, *out = device_copy(got, 40);
    run(leave_early, 1, 64, out, 40);
    to_host(got, out, 40);
    for (int i = 0; i < 40; i++) ck_assert_int_eq(got[i], 1);
}
END_TEST

static __global__ void barrier_or_shuffle(int *out)
{
    if (threadIdx.x % 32 < 16) __syncthreads();
    else *out = __shfl_sync(0xFFFFFFFFu, 1, 0);
}

static void run_mixed(void) { run(barrier_or_shuffle, 1, 64, device_array<int>(1)); }

START_TEST(divergent_barrier_is_found)
{
    must_die(run_mixed, "barrier_or_shuffle");
    must_die(run_mixed, "with mask ffffffff waits for lanes 0000ffff");
}
END_TEST

static __global__ void give_up(void)
{
    if (threadIdx.x == 3 && blockIdx.x == 2) __trap();
}

START_TEST(trap_says_where)
{
    must_die([] { run(give_up, 4, 32); }, "block (2, 0, 0), thread (3, 0, 0): __trap()");
}
END_TEST

static __global__ void add(float *sum, double *wide, unsigned *most, unsigned long long *bits)
{
    atomicAdd(sum, 1.0f);
    atomicAdd(wide, 0.5);
    atomicMax(most, threadIdx.x);
    atomicOr(bits, 1ull << threadIdx.x % 64);
}

START_TEST(atomic_operations)
{
    float sum = 0;
    double wide = 0;
    unsigned most = 0;
    unsigned long long bits = 0;
    float *s = device_copy(&sum, 1);
    double *w = device_copy(&wide, 1);
    unsigned *m = device_copy(&most, 1);
    unsigned long long *b = device_copy(&bits, 1);
    run(add, 3, 100, s, w, m, b);
    to_host(&sum, s, 1), to_host(&wide, w, 1), to_host(&most, m, 1), to_host(&bits, b, 1);
    ck_assert_float_eq(sum, 300);
    ck_assert_double_eq(wide, 150);
    ck_assert_uint_eq(most, 99);
    ck_assert(bits == ~0ull);
}
END_TEST

static __global__ void use_dynamic(int *out)
{
    int *x = static_cast<int *>(emulated_dynamic_shared());
    x[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = x[blockDim.x - 1 - threadIdx.x];
}

START_TEST(dynamic_shared_memory_has_limits)
{
    int got[64], *out = device_array<int>(64);
    void *arguments[] = {&out};
    OK(cudaLaunchKernel(use_dynamic, dim3(1), dim3(64), arguments, 64 * sizeof(int)));
    to_host(got, out, 64);
    for (int i = 0; i < 64; i++) ck_assert_int_eq(got[i], 63 - i);
    ck_assert_int_eq(cudaLaunchKernel(use_dynamic, dim3(1), dim3(64), arguments, 60000), cudaErrorInvalidValue);
    OK(cudaFuncSetAttribute(use_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000));
    OK(cudaLaunchKernel(use_dynamic, dim3(1), dim3(64), arguments, 60000));
    OK(cudaDeviceSynchronize());
}
END_TEST

START_TEST(impossible_launches)
{
    int *out = device_array<int>(1);
    ck_assert_int_eq(launch_on(nullptr, use_dynamic, 0, 32, out), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(launch_on(nullptr, use_dynamic, 1, 0, out), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(launch_on(nullptr, use_dynamic, 1, 1025, out), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(cudaGetLastError(), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(cudaGetLastError(), cudaSuccess);
}
END_TEST

Suite *kernels(void)
{
    Suite *s = suite_create("kernels");
    TCase *tc = tcase_create("kernels");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, every_index_once);
    tcase_add_test(tc, barrier_makes_visible);
    tcase_add_test(tc, missing_barrier_shows);
    tcase_add_test(tc, shared_memory_starts_as_garbage);
    tcase_add_test(tc, blocks_run_in_any_order);
    tcase_add_test(tc, returned_threads_are_not_waited_for);
    tcase_add_test(tc, divergent_barrier_is_found);
    tcase_add_test(tc, trap_says_where);
    tcase_add_test(tc, atomic_operations);
    tcase_add_test(tc, dynamic_shared_memory_has_limits);
    tcase_add_test(tc, impossible_launches);
    suite_add_tcase(s, tc);
    return s;
}
