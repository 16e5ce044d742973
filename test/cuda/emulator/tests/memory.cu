/* Device memory: who may touch it, when, and how far. */
#include "tests.h"

#include <string.h>

static __global__ void set(int *x, int at, int value)
{
    if (threadIdx.x == 0 && blockIdx.x == 0) x[at] = value;
}

static __global__ void copy_one(int *to, const int *from) { *to = *from; }

START_TEST(fresh_memory_is_garbage)
{
    unsigned got[100], *x = device_array<unsigned>(100);
    to_host(got, x, 100);
    for (int i = 0; i < 100; i++) ck_assert_uint_eq(got[i], 0xFFFFFFFFu);
    size_t large = (size_t)3 << 20; /* another way of filling */
    unsigned char *y = device_array<unsigned char>(large), *all = new unsigned char[large];
    to_host(all, y, large);
    size_t garbage = 0;
    while (garbage < large && all[garbage] == 0xFF) garbage++;
    ck_assert_uint_eq(garbage, large);
    delete[] all;
}
END_TEST

START_TEST(host_must_not_touch)
{
    must_die([] { *device_array<int>(1) = 1; }, "the host touched device memory");
    must_die([] { int x = *device_array<volatile int>(1); (void)x; }, "the host touched device memory");
    must_die([] {
        int *x = device_array<int>(1);
        run(set, 1, 1, x, 0, 1); /* it is closed again after work */
        *x = 2;
    }, "the host touched device memory");
}
END_TEST

START_TEST(writes_out_of_bounds)
{
    must_die([] { run(set, 1, 32, device_array<int>(8), 8, 1); }, "a kernel wrote behind an allocation of 32 bytes");
    must_die([] { run(set, 1, 32, device_array<int>(8), -1, 1); }, "a kernel wrote before an allocation of 32 bytes");
    must_die([] { run(set, 1, 32, device_array<int>(8), 70, 1); }, "wrote behind");
    int *x = device_array<int>(8);
    run(set, 1, 32, x, 7, 1);
}
END_TEST

START_TEST(copies_out_of_bounds)
{
    must_die([] {
        int x[9];
        cudaMemcpy(x, device_array<int>(8), sizeof x, cudaMemcpyDeviceToHost);
    }, "a copy uses bytes 0 to 36 of an allocation of 32");
    must_die([] { cudaMemset(device_array<char>(8), 0, 9); cudaDeviceSynchronize(); }, "a memset uses bytes 0 to 9");
}
END_TEST

START_TEST(memory_that_was_freed)
{
    must_die([] {
        int *x = device_array<int>(8);
        OK(cudaFree(x));
        run(set, 1, 32, x, 0, 1);
    }, "has been freed");
    must_die([] {
        int *x = device_array<int>(8), y;
        OK(cudaFree(x));
        cudaMemcpy(&y, x, sizeof y, cudaMemcpyDeviceToHost);
    }, "has been freed");
    int *x = device_array<int>(8);
    OK(cudaFree(x));
    ck_assert_int_eq(cudaFree(x), cudaErrorInvalidValue);
    ck_assert_int_eq(cudaFree(x + 1), cudaErrorInvalidValue);
}
END_TEST

START_TEST(stack_of_the_host)
{
    must_die([] {
        int x = 0;
        run(set, 1, 32, &x, 0, 1);
    }, "argument 1 of a kernel points to the stack of the host");
}
END_TEST

START_TEST(limit)
{
    size_t free_bytes, total;
    emulated_cuda_memory(1000);
    void *a, *b;
    OK(cudaMalloc(&a, 600));
    OK(cudaMemGetInfo(&free_bytes, &total));
    ck_assert_uint_eq(free_bytes, 400);
    ck_assert_uint_eq(total, 1000);
    ck_assert_int_eq(cudaMalloc(&b, 401), cudaErrorMemoryAllocation);
    ck_assert_ptr_null(b);
    OK(cudaMalloc(&b, 400));
    OK(cudaFree(a));
    OK(cudaMalloc(&a, 600));
    ck_assert_uint_eq(emulated_cuda_used(0), 1000);
}
END_TEST

static cudaStream_t new_stream(void)
{
    cudaStream_t s;
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

START_TEST(ordered_by_streams)
{
    emulated_cuda_seed(0);
    cudaStream_t s = new_stream();
    cudaMemPoolProps props = {};
    props.allocType = cudaMemAllocationTypePinned;
    props.location = {cudaMemLocationTypeDevice, 0};
    cudaMemPool_t pool;
    OK(cudaMemPoolCreate(&pool, &props));
    void *x;
    OK(cudaMallocFromPoolAsync(&x, 4, pool, s));
    OK(launch_on(s, set, 1, 32, (int *)x, 0, 5));
    int got = 0;
    OK(cudaMemcpyAsync(&got, x, 4, cudaMemcpyDeviceToHost, s));
    OK(cudaFreeAsync(x, s));
    ck_assert_int_eq(got, 0); /* nothing has happened yet */
    ck_assert_uint_eq(emulated_cuda_used(0), 4);
    OK(cudaStreamSynchronize(s));
    ck_assert_int_eq(got, 5);
    ck_assert_uint_eq(emulated_cuda_used(0), 0);
    OK(cudaMemPoolDestroy(pool));
}
END_TEST

START_TEST(before_its_turn)
{
    must_die([] {
        emulated_cuda_seed(0);
        void *x;
        OK(cudaMallocAsync(&x, 4, new_stream()));
        cudaStream_t other = new_stream();
        OK(launch_on(other, set, 1, 32, (int *)x, 0, 5));
        cudaStreamSynchronize(other);
    }, "before its allocation's turn");
    must_die([] {
        emulated_cuda_seed(0);
        void *x;
        OK(cudaMallocAsync(&x, 4, new_stream()));
        cudaStream_t other = new_stream();
        OK(cudaMemsetAsync(x, 0, 4, other));
        cudaStreamSynchronize(other);
    }, "a memset uses memory before its allocation's turn");
}
END_TEST

START_TEST(after_its_end)
{
    must_die([] {
        emulated_cuda_seed(0);
        cudaStream_t s = new_stream(), other = new_stream();
        void *x;
        OK(cudaMallocAsync(&x, 4, s));
        OK(cudaStreamSynchronize(s));
        OK(launch_on(other, set, 1, 32, (int *)x, 0, 5));
        OK(cudaFreeAsync(x, s)); /* which should wait for the other stream */
        OK(cudaStreamSynchronize(s));
        cudaStreamSynchronize(other);
    }, "has been freed");
}
END_TEST

START_TEST(a_late_free_makes_room)
{
    emulated_cuda_memory(1000);
    cudaStream_t s = new_stream();
    void *a, *b;
    OK(cudaMallocAsync(&a, 600, s));
    OK(cudaFreeAsync(a, s));
    OK(cudaMallocAsync(&b, 600, s));
    OK(cudaFreeAsync(b, s));
    OK(cudaDeviceSynchronize());
    ck_assert_uint_eq(emulated_cuda_used(0), 0);
}
END_TEST

START_TEST(attributes)
{
    cudaPointerAttributes a;
    int *x = device_array<int>(4), host;
    void *pinned;
    OK(cudaMallocHost(&pinned, 100));
    OK(cudaPointerGetAttributes(&a, x + 1));
    ck_assert_int_eq(a.type, cudaMemoryTypeDevice);
    ck_assert_ptr_eq(a.devicePointer, x + 1);
    OK(cudaPointerGetAttributes(&a, &host));
    ck_assert_int_eq(a.type, cudaMemoryTypeUnregistered);
    OK(cudaPointerGetAttributes(&a, pinned));
    ck_assert_int_eq(a.type, cudaMemoryTypeHost);
    OK(cudaFreeHost(pinned));
    OK(cudaPointerGetAttributes(&a, pinned));
    ck_assert_int_eq(a.type, cudaMemoryTypeUnregistered);
}
END_TEST

START_TEST(another_device)
{
    emulated_cuda_devices(2);
    int count;
    OK(cudaGetDeviceCount(&count));
    ck_assert_int_eq(count, 2);
    must_die([] {
        int *x = device_array<int>(4);
        OK(cudaSetDevice(1));
        run(set, 1, 32, x, 0, 1);
    }, "memory of another device");
    must_die([] {
        int *x = device_array<int>(4), *hidden = device_array<int>(4); /* the address of one in memory */
        (void)hidden;
        OK(cudaSetDevice(1));
        int **box = device_copy(&x, 1);
        run(+[](int **b) { **b = 1; }, 1, 1, box);
    }, "a kernel touched another device's memory");
    int *x = device_array<int>(1), one = 7, got;
    OK(cudaMemcpy(x, &one, sizeof one, cudaMemcpyHostToDevice));
    OK(cudaSetDevice(1));
    int *y = device_array<int>(1);
    OK(cudaMemcpy(y, x, sizeof one, cudaMemcpyDeviceToDevice));
    run(copy_one, 1, 1, y, (const int *)y);
    to_host(&got, y, 1);
    ck_assert_int_eq(got, 7);
    ck_assert_int_eq(cudaSetDevice(2), cudaErrorInvalidDevice);
}
END_TEST

Suite *memory(void)
{
    Suite *s = suite_create("memory");
    TCase *tc = tcase_create("memory");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, fresh_memory_is_garbage);
    tcase_add_test(tc, host_must_not_touch);
    tcase_add_test(tc, writes_out_of_bounds);
    tcase_add_test(tc, copies_out_of_bounds);
    tcase_add_test(tc, memory_that_was_freed);
    tcase_add_test(tc, stack_of_the_host);
    tcase_add_test(tc, limit);
    tcase_add_test(tc, ordered_by_streams);
    tcase_add_test(tc, before_its_turn);
    tcase_add_test(tc, after_its_end);
    tcase_add_test(tc, a_late_free_makes_room);
    tcase_add_test(tc, attributes);
    tcase_add_test(tc, another_device);
    suite_add_tcase(s, tc);
    return s;
}
