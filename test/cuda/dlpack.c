/* Tensors on the device, to and from other frameworks by DLPack, in the order of both sides' streams. */
#include "dlpack.h"
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"

enum { ROWS = 30, COLS = 20 };

START_TEST(test_out)
{
    relora_tensor *t = new_matrix(_i ? RELORA_BF16 : RELORA_F32, ROWS, COLS);
    struct DLManagedTensorVersioned *m;
    OK(relora_tensor_to_dlpack(&m, t, env.st, new_cuda_stream()));
    ck_assert_int_eq(m->tensor.device_type, DLPACK_CUDA);
    ck_assert_int_eq(m->tensor.device_id, 0);
    ck_assert_ptr_eq((char *)m->tensor.data + m->tensor.byte_offset, relora_tensor_data(t));
    ck_assert_int_eq(m->tensor.code, _i ? DLPACK_BFLOAT : DLPACK_FLOAT);
    ck_assert_int_eq(m->tensor.shape[1], COLS);
    m->deleter(m);
}
END_TEST

/* The consumer's stream runs after what the producer's has queued. */
START_TEST(test_order)
{
    relora_tensor *t = new_vector(RELORA_F32, ROWS);
    cudaStream_t consumer = new_cuda_stream();
    struct DLManagedTensorVersioned *m;
    float *values = new_pinned_floats(ROWS);
    put_all(t, 1);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(env.st));
    QUEUES(relora_tensor_fill(t, env.st, 8));
    QUEUES(relora_tensor_to_dlpack(&m, t, env.st, consumer));
    CUDA_OK(cudaMemcpyAsync(values, m->tensor.data, ROWS * sizeof *values, cudaMemcpyDeviceToHost, consumer));
    ck_assert(gate_held());
    gate_open();
    CUDA_OK(cudaStreamSynchronize(consumer));
    for (int i = 0; i < ROWS; i++) ck_assert_float_eq(values[i], 8);
    m->deleter(m);
}
END_TEST

static int deleted;

static void count_deleter(struct DLManagedTensorVersioned *self)
{
    (void)self;
    deleted++;
}

/* Memory of another framework, every second row of it. */
START_TEST(test_in)
{
    float *memory = new_cuda_floats(ROWS * COLS);
    int64_t shape[] = {ROWS / 2, COLS}, strides[] = {2 * COLS, 1};
    struct DLManagedTensorVersioned m = {
        .major = DLPACK_MAJOR,
        .deleter = count_deleter,
        .tensor = {memory, DLPACK_CUDA, 0, 2, DLPACK_FLOAT, 32, 1, shape, strides, COLS * sizeof(float)},
    };
    relora_tensor *t;
    deleted = 0;
    OK(relora_tensor_from_dlpack(&t, env.ctx, &m));
    ck_assert_ptr_eq(relora_tensor_data(t), memory + COLS);
    ck_assert_ptr_eq(relora_tensor_device(t), env.dev);
    put_all(t, 3);
    double *all = get(new_borrowed(ROWS * COLS, memory));
    for (int i = 0; i < ROWS * COLS; i++) ck_assert_double_eq(all[i], i / COLS % 2 ? 3 : 0);
    ck_assert_int_eq(deleted, 0);
    relora_tensor_release(t);
    ck_assert_int_eq(deleted, 1);
}
END_TEST

START_TEST(test_no_such_device)
{
    int64_t shape[] = {4};
    struct DLManagedTensorVersioned m = {
        .major = DLPACK_MAJOR,
        .deleter = count_deleter,
        .tensor = {new_cuda_floats(4), DLPACK_CUDA, 99, 1, DLPACK_FLOAT, 32, 1, shape, NULL, 0},
    };
    relora_tensor *t;
    deleted = 0;
    FAILS(RELORA_E_NOT_FOUND, relora_tensor_from_dlpack(&t, env.ctx, &m), "99");
    ck_assert_int_eq(deleted, 0);
}
END_TEST

Suite *dlpack_suite(void)
{
    Suite *s = suite_create("dlpack on a device");
    TCase *tc = env_case(s, "dlpack", 20);
    tcase_add_loop_test(tc, test_out, 0, 2);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_in);
    tcase_add_test(tc, test_no_such_device);
    return s;
}
