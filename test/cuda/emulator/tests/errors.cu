/* Failures on purpose, and the settings. */
#include "tests.h"

#include <stdlib.h>
#include <string.h>

static __global__ void set(int *x, int value) { *x = value; }

START_TEST(nth_call_fails)
{
    int *x;
    emulated_cuda_fail(2, cudaErrorMemoryAllocation, NULL);
    OK(cudaMalloc(&x, 4));
    ck_assert_int_eq(cudaMemset(x, 0, 4), cudaErrorMemoryAllocation);
    ck_assert_int_eq(cudaGetLastError(), cudaErrorMemoryAllocation);
    OK(cudaMemset(x, 0, 4));
    emulated_cuda_fail(2, cudaErrorNotSupported, "cudaMemset");
    OK(cudaMemset(x, 0, 4));
    OK(cudaDeviceSynchronize());
    ck_assert_int_eq(cudaMemset(x, 0, 4), cudaErrorNotSupported);
    OK(cudaFree(x));
    ck_assert_int_eq(emulated_cuda_objects(), 0);
}
END_TEST

START_TEST(broken_device_stays_broken)
{
    int *x = device_array<int>(1);
    emulated_cuda_fail_kernel(2, cudaErrorIllegalAddress);
    OK(launch_on(nullptr, set, 1, 1, x, 1));
    OK(cudaDeviceSynchronize());
    launch_on(nullptr, set, 1, 1, x, 1);
    ck_assert_int_eq(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    ck_assert_int_eq(cudaMalloc(&x, 4), cudaErrorIllegalAddress);
    ck_assert_int_eq(cudaGetLastError(), cudaErrorIllegalAddress);
    ck_assert_int_eq(cudaGetLastError(), cudaErrorIllegalAddress);
    emulated_cuda_reset();
    x = device_array<int>(1);
    run(set, 1, 1, x, 1);
    emulated_cuda_fail(1, cudaErrorLaunchFailure, NULL);
    ck_assert_int_eq(cudaMalloc(&x, 4), cudaErrorLaunchFailure);
    ck_assert_int_eq(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
}
END_TEST

START_TEST(no_device)
{
    emulated_cuda_devices(0);
    int count = -1;
    ck_assert_int_eq(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    ck_assert_int_eq(count, 0);
    void *p;
    ck_assert_int_eq(cudaMalloc(&p, 1), cudaErrorNoDevice);
}
END_TEST

START_TEST(settings_of_the_environment)
{
    setenv("EMULATED_CUDA_DEVICES", "2", 1);
    setenv("EMULATED_CUDA_MEMORY", "5000", 1);
    setenv("EMULATED_CUDA_FAIL", "2:2:cudaMalloc", 1);
    int count;
    size_t free_bytes, total;
    void *p;
    OK(cudaGetDeviceCount(&count));
    ck_assert_int_eq(count, 2);
    OK(cudaMemGetInfo(&free_bytes, &total));
    ck_assert_uint_eq(total, 5000);
    OK(cudaMalloc(&p, 10));
    ck_assert_int_eq(cudaMalloc(&p, 10), cudaErrorMemoryAllocation);
}
END_TEST

/* A context of a device is made by cudaSetDevice() and by what works on it, not by questions. */
START_TEST(contexts)
{
    emulated_cuda_devices(2);
    int (*get)(void **), (*set)(void *);
    void *function, *context = &function, *first, *p;
    cudaDeviceProp properties;
    OK(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &function, 12000, cudaEnableDefault, NULL));
    memcpy(&get, &function, sizeof get);
    OK(cudaGetDriverEntryPointByVersion("cuCtxSetCurrent", &function, 12000, cudaEnableDefault, NULL));
    memcpy(&set, &function, sizeof set);
    OK(cudaGetDeviceProperties(&properties, 1));
    ck_assert_int_eq(get(&context), 0);
    ck_assert_ptr_null(context);
    ck_assert_int_eq(emulated_cuda_contexts(0) + emulated_cuda_contexts(1), 0);
    OK(cudaMalloc(&p, 4));
    ck_assert_int_eq(emulated_cuda_contexts(0), 1);
    ck_assert_int_eq(emulated_cuda_contexts(1), 0);
    ck_assert_int_eq(get(&first), 0);
    OK(cudaSetDevice(1));
    ck_assert_int_eq(emulated_cuda_contexts(1), 1);
    ck_assert_int_eq(set(first), 0);
    int device = -1;
    OK(cudaGetDevice(&device));
    ck_assert_int_eq(device, 0);
    ck_assert_int_ne(set(&device), 0);
    OK(cudaGetDriverEntryPointByVersion("cuCtxNothing", &function, 12000, cudaEnableDefault, NULL));
    ck_assert_ptr_null(function);
}
END_TEST

START_TEST(properties)
{
    cudaDeviceProp p;
    int value;
    OK(cudaGetDeviceProperties(&p, 0));
    ck_assert_int_eq(p.major, 9);
    OK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
    ck_assert_int_eq(value, p.multiProcessorCount);
    ck_assert_int_eq(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 1), cudaErrorInvalidDevice);
}
END_TEST

Suite *errors(void)
{
    Suite *s = suite_create("errors");
    TCase *tc = tcase_create("errors");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nth_call_fails);
    tcase_add_test(tc, broken_device_stays_broken);
    tcase_add_test(tc, no_device);
    tcase_add_test(tc, settings_of_the_environment);
    tcase_add_test(tc, contexts);
    tcase_add_test(tc, properties);
    suite_add_tcase(s, tc);
    return s;
}
