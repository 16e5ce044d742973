/* What the devices of a context are, and two of them side by side, where there are two. */
#include <pthread.h>
#include <string.h>
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"

START_TEST(test_description)
{
    int32_t count = relora_device_count(env.ctx, RELORA_DEVICE_CUDA);
    int cuda_count;
    CUDA_OK(cudaGetDeviceCount(&cuda_count));
    ck_assert_int_eq(count, cuda_count);
    ck_assert_int_eq(relora_device_get_kind(env.dev), RELORA_DEVICE_CUDA);
    ck_assert_uint_gt(strlen(relora_device_name(env.dev)), 3);
    ck_assert_ptr_eq(relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 0), env.dev);
    FAILS(RELORA_E_NOT_FOUND,
          relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 99) ? RELORA_OK : RELORA_E_NOT_FOUND, "99");
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CPU), 1);
}
END_TEST

/* The CPU and the device in one context, which are not to be mixed in one call. */
START_TEST(test_beside_the_cpu)
{
    relora_device *cpu = relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0);
    relora_tensor *here = new_vector(RELORA_F32, 4), *there;
    relora_stream *st;
    OK(relora_tensor_create(&there, cpu, RELORA_F32, 1, (int64_t[]){4}));
    OK(relora_stream_create(&st, cpu));
    OK(relora_tensor_fill(there, st, 2));
    put_all(here, 1);
    FAILS(RELORA_E_DEVICE, relora_tensor_copy(here, there, env.st), "source");
    FAILS(RELORA_E_DEVICE, relora_tensor_fill(here, st, 2), "stream");
    FAILS(RELORA_E_DEVICE, relora_stream_wait(st, env.st), "other");
    ck_assert_float_eq(*(const float *)relora_tensor_data(there), 2);
    ck_assert_double_eq(get(here)[3], 1);
    relora_stream_release(st);
    relora_tensor_release(there);
}
END_TEST

enum { N = 50000 };

static void update(relora_device *device, float *moved)
{
    relora_adam *adam;
    relora_stream *st;
    relora_tensor *p, *g;
    OK(relora_stream_create(&st, device));
    OK(relora_adam_create(&adam, device, NULL));
    OK(relora_tensor_create(&p, device, RELORA_F32, 1, (int64_t[]){N}));
    OK(relora_tensor_create(&g, device, RELORA_F32, 1, (int64_t[]){N}));
    OK(relora_tensor_fill(p, st, 1));
    OK(relora_tensor_fill(g, st, 0.5));
    OK(relora_adam_add(adam, "p", p, g, NULL));
    for (int i = 0; i < 5; i++) OK(relora_adam_step(adam, st, 0.01, 1, NULL));
    OK(relora_tensor_read(p, st, moved, N * sizeof *moved));
    relora_tensor_release(p);
    relora_tensor_release(g);
    relora_adam_release(adam);
    relora_stream_release(st);
}

/* The same bits on the second, whichever of them the host has current, and that stays so. */
START_TEST(test_two)
{
    if (skip_if(relora_device_count(env.ctx, RELORA_DEVICE_CUDA) < 2)) return;
    float *moved[2];
    int now = -1;
    for (int i = 0; i < 2; i++) {
        moved[i] = scratch(N * sizeof *moved[i]);
        CUDA_OK(cudaSetDevice((i + _i) % 2));
        update(relora_device_get(env.ctx, RELORA_DEVICE_CUDA, i), moved[i]);
        CUDA_OK(cudaGetDevice(&now));
        ck_assert_int_eq(now, (i + _i) % 2);
    }
    CUDA_OK(cudaSetDevice(0));
    ck_assert_float_lt(moved[0][N - 1], 1);
    SAME_BYTES(moved[0], moved[1], N * sizeof **moved);
}
END_TEST

/* A thread that never chose a device works on the second through the library: it still has no context of any, so
 * nothing was taken of the first. */
struct unchosen {
    float *moved;
    void *context[2];
};

static void *current_context(void)
{
    int (*ask)(void **context);
    void *function = NULL, *context = NULL;
    CUDA_OK(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &function, 12000, cudaEnableDefault, NULL));
    memcpy(&ask, &function, sizeof ask);
    ck_assert_int_eq(ask(&context), 0);
    return context;
}

static void *work_unchosen(void *object)
{
    struct unchosen *u = object;
    relora_device *second = relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 1);
    u->context[0] = current_context();
    update(second, u->moved);
    OK(relora_device_memory(second, NULL, NULL));
    u->context[1] = current_context();
    return NULL;
}

START_TEST(test_unchosen)
{
    if (skip_if(relora_device_count(env.ctx, RELORA_DEVICE_CUDA) < 2)) return;
    struct unchosen u = {.moved = scratch(N * sizeof *u.moved), .context = {env.dev, env.dev}};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, work_unchosen, &u), 0);
    pthread_join(thread, NULL);
    ck_assert_ptr_null(u.context[0]);
    ck_assert_ptr_null(u.context[1]);
    ck_assert_float_lt(u.moved[N - 1], 1);
}
END_TEST

START_TEST(test_two_apart)
{
    if (skip_if(relora_device_count(env.ctx, RELORA_DEVICE_CUDA) < 2)) return;
    relora_tensor *here = new_vector(RELORA_F32, 4), *there;
    OK(relora_tensor_create(&there, relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 1), RELORA_F32, 1,
                            (int64_t[]){4}));
    FAILS(RELORA_E_DEVICE, relora_tensor_copy(here, there, env.st), "source");
    relora_tensor_release(there);
}
END_TEST

Suite *devices_suite(void)
{
    Suite *s = suite_create("devices");
    TCase *tc = env_case(s, "devices", 20);
    tcase_add_test(tc, test_description);
    tcase_add_test(tc, test_beside_the_cpu);
    tcase_add_loop_test(tc, test_two, 0, 2);
    tcase_add_test(tc, test_unchosen);
    tcase_add_test(tc, test_two_apart);
    return s;
}
