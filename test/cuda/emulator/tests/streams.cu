/* The order of work, with and without the waits that make it. */
#include "tests.h"

static __global__ void set(int *x, int value) { *x = value; }
static __global__ void add(int *to, const int *from) { *to += *from; }

static cudaStream_t new_stream(unsigned flags)
{
    cudaStream_t s;
    OK(cudaStreamCreateWithFlags(&s, flags));
    return s;
}

static cudaEvent_t new_event(void)
{
    cudaEvent_t e;
    OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}

START_TEST(nothing_before_somebody_waits)
{
    emulated_cuda_seed(0);
    int got = 1, *x = device_copy(&got, 1);
    cudaStream_t s = new_stream(cudaStreamNonBlocking);
    OK(launch_on(s, set, 1, 1, x, 2));
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(cudaStreamQuery(s), cudaErrorNotReady);
    int questions = 1;
    while (cudaStreamQuery(s) == cudaErrorNotReady) questions++;
    ck_assert_int_gt(questions, 100);
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, 2);
}
END_TEST

/* What `wait` orders is right for every seed; without it, it is wrong for some. */
static int wrong_sums(int wait)
{
    int wrong = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        emulated_cuda_seed(seed);
        int zero = 0, got, *a = device_copy(&zero, 1), *b = device_copy(&zero, 1);
        cudaStream_t s = new_stream(cudaStreamNonBlocking), t = new_stream(cudaStreamNonBlocking);
        cudaEvent_t e = new_event();
        OK(launch_on(s, set, 1, 1, a, 3));
        OK(cudaEventRecord(e, s));
        if (wait) OK(cudaStreamWaitEvent(t, e, 0));
        OK(launch_on(t, add, 1, 1, b, (const int *)a));
        OK(cudaDeviceSynchronize());
        to_host(&got, b, 1);
        wrong += got != 3;
        OK(cudaEventDestroy(e));
        OK(cudaStreamDestroy(s));
        OK(cudaStreamDestroy(t));
    }
    return wrong;
}

START_TEST(missing_wait_shows)
{
    ck_assert_int_eq(wrong_sums(1), 0);
    ck_assert_int_gt(wrong_sums(0), 5);
}
END_TEST

START_TEST(a_wait_is_for_what_was_recorded)
{
    emulated_cuda_seed(0);
    int zero = 0, got, *x = device_copy(&zero, 1), *y = device_copy(&zero, 1);
    cudaStream_t s = new_stream(cudaStreamNonBlocking), t = new_stream(cudaStreamNonBlocking);
    cudaEvent_t e = new_event();
    OK(cudaStreamWaitEvent(t, e, 0)); /* never recorded: nothing to wait for */
    OK(launch_on(s, set, 1, 1, x, 1));
    OK(cudaEventRecord(e, s));
    OK(cudaStreamWaitEvent(t, e, 0));
    OK(launch_on(s, set, 1, 1, x, 2));
    OK(cudaEventRecord(e, s)); /* later than the wait */
    OK(launch_on(t, add, 1, 1, y, (const int *)x));
    OK(cudaStreamSynchronize(t));
    emulated_cuda_peek(&got, y, sizeof got);
    ck_assert_int_eq(got, 1);
    ck_assert_int_eq(cudaEventQuery(e), cudaErrorNotReady);
    OK(cudaEventSynchronize(e));
    OK(cudaEventQuery(e));
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, 2);
}
END_TEST

/* The legacy stream waits for blocking streams, and they for it; others do neither. */
START_TEST(legacy_stream)
{
    emulated_cuda_seed(0);
    int zero = 0, got, *x = device_copy(&zero, 1), *y = device_copy(&zero, 1);
    cudaStream_t s = new_stream(cudaStreamDefault), free_one = new_stream(cudaStreamNonBlocking);
    OK(launch_on(s, set, 1, 1, x, 3));
    OK(launch_on(free_one, set, 1, 1, y, 100));
    OK(launch_on(nullptr, add, 1, 1, y, (const int *)x));
    OK(cudaStreamSynchronize(nullptr));
    emulated_cuda_peek(&got, y, sizeof got);
    ck_assert_int_eq(got, 3); /* 100 would be the other stream's */
    OK(launch_on(nullptr, set, 1, 1, x, 4));
    OK(launch_on(s, add, 1, 1, y, (const int *)x));
    OK(cudaStreamSynchronize(s));
    emulated_cuda_peek(&got, y, sizeof got);
    ck_assert_int_eq(got, 7);
}
END_TEST

START_TEST(when_copies_read_and_write)
{
    emulated_cuda_seed(0);
    int pageable = 1, got = 0, *x = device_array<int>(1), *pinned;
    OK(cudaMallocHost(&pinned, sizeof *pinned));
    cudaStream_t s = new_stream(cudaStreamNonBlocking);
    OK(cudaMemcpyAsync(x, &pageable, sizeof pageable, cudaMemcpyHostToDevice, s));
    pageable = 2;
    OK(cudaMemcpyAsync(&got, x, sizeof got, cudaMemcpyDeviceToHost, s));
    ck_assert_int_eq(got, 0);
    OK(cudaStreamSynchronize(s));
    ck_assert_int_eq(got, 1);
    *pinned = 3;
    OK(cudaMemcpyAsync(x, pinned, sizeof *pinned, cudaMemcpyHostToDevice, s));
    *pinned = 4; /* too soon */
    OK(cudaMemcpyAsync(&got, x, sizeof got, cudaMemcpyDeviceToHost, s));
    OK(cudaStreamSynchronize(s));
    ck_assert_int_eq(got, 4);
    OK(cudaFreeHost(pinned));
}
END_TEST

/* Much pageable memory waits for its stream; where the device can touch it, it is read as late as pinned memory. */
START_TEST(pageable_copies)
{
    emulated_cuda_seed(0);
    enum { N = 20000 };
    static int values[N];
    int got = 0, *x = device_array<int>(N), *y = device_array<int>(1);
    cudaStream_t s = new_stream(cudaStreamNonBlocking);
    OK(launch_on(s, set, 1, 1, y, 8));
    OK(cudaMemcpyAsync(x, values, 1000, cudaMemcpyHostToDevice, s));
    emulated_cuda_peek(&got, y, sizeof got);
    ck_assert_int_eq(got, -1);
    OK(cudaMemcpyAsync(x, values, sizeof values, cudaMemcpyHostToDevice, s));
    emulated_cuda_peek(&got, y, sizeof got);
    ck_assert_int_eq(got, 8);
    emulated_cuda_pageable(1);
    OK(cudaDeviceGetAttribute(&got, cudaDevAttrPageableMemoryAccess, 0));
    ck_assert_int_eq(got, 1);
    OK(cudaMemcpyAsync(x, values, sizeof *values, cudaMemcpyHostToDevice, s));
    values[0] = 5; /* too soon */
    OK(cudaStreamSynchronize(s));
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, 5);
}
END_TEST

static __global__ void set_late(int *x, int value) { *x = value; }

/* Loading a kernel waits for the device, unless it was asked about before. */
START_TEST(first_launch)
{
    emulated_cuda_seed(0);
    int got = 0, value = 2, *x = device_array<int>(1), *y = device_array<int>(1);
    cudaStream_t s = new_stream(cudaStreamNonBlocking), t = new_stream(cudaStreamNonBlocking);
    void *arguments[] = {&y, &value};
    for (int round = 0; round < 2; round++) {
        OK(launch_on(s, set, 1, 1, x, round));
        OK(cudaLaunchKernel(set_late, dim3(1), dim3(1), arguments, 0, t));
        emulated_cuda_peek(&got, x, sizeof got);
        ck_assert_int_eq(got, 0); /* the second round's 1 is still queued */
    }
}
END_TEST

START_TEST(copies_of_rows)
{
    int in[12], out[8] = {0}, *x = device_array<int>(12);
    for (int i = 0; i < 12; i++) in[i] = i;
    OK(cudaMemcpy(x, in, sizeof in, cudaMemcpyHostToDevice));
    OK(cudaMemcpy2DAsync(out, 8, x, 16, 8, 3, cudaMemcpyDeviceToHost, nullptr));
    OK(cudaDeviceSynchronize());
    for (int i = 0; i < 6; i++) ck_assert_int_eq(out[i], i / 2 * 4 + i % 2);
    ck_assert_int_eq(cudaMemcpy2DAsync(out, 4, x, 16, 8, 3, cudaMemcpyDeviceToHost, nullptr),
                     cudaErrorInvalidPitchValue);
    ck_assert_int_eq(cudaMemcpy(out, x, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
}
END_TEST

START_TEST(destroyed_streams_finish)
{
    emulated_cuda_seed(0);
    int got = 0, *x = device_array<int>(1);
    cudaStream_t s = new_stream(cudaStreamNonBlocking);
    OK(launch_on(s, set, 1, 1, x, 5));
    OK(cudaStreamDestroy(s));
    ck_assert_int_eq(launch_on(s, set, 1, 1, x, 6), cudaErrorInvalidResourceHandle);
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, -1);
    OK(cudaDeviceSynchronize());
    emulated_cuda_peek(&got, x, sizeof got);
    ck_assert_int_eq(got, 5);
}
END_TEST

Suite *streams(void)
{
    Suite *s = suite_create("streams");
    TCase *tc = tcase_create("streams");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nothing_before_somebody_waits);
    tcase_add_test(tc, missing_wait_shows);
    tcase_add_test(tc, a_wait_is_for_what_was_recorded);
    tcase_add_test(tc, legacy_stream);
    tcase_add_test(tc, when_copies_read_and_write);
    tcase_add_test(tc, pageable_copies);
    tcase_add_test(tc, first_launch);
    tcase_add_test(tc, copies_of_rows);
    tcase_add_test(tc, destroyed_streams_finish);
    suite_add_tcase(s, tc);
    return s;
}
