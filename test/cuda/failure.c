/* A kernel that fails: the stream says so from then on, and all that is left can be released. A real device does
 * not recover within the process, so this comes last. */
#include "cuda/device.h"
#include "cuda/suites.h"
#ifdef EMULATED_CUDA
#include "emulator.h"
#endif

static relora_tensor *nowhere(void)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, (int64_t[]){64}, NULL, (void *)(uintptr_t)4096, NULL,
                            NULL));
    return t;
}

/* Work that a device cannot survive. */
static void break_device(relora_tensor *t)
{
#ifdef EMULATED_CUDA
    emulated_cuda_fail_kernel(1, cudaErrorIllegalAddress);
    t = new_vector(RELORA_F32, 64);
#endif
    relora_tensor_fill(t, env.st, 1); /* may still succeed: it is only queued */
}

START_TEST(test_sticks)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 8, 8, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_adam *adam = new_adam(NULL);
    relora_tensor *t = nowhere(), *x = new_matrix(RELORA_F32, 4, 8), *y = new_matrix(RELORA_F32, 4, 8);
    float values[32];
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    OK(relora_stream_synchronize(env.st));
    break_device(t);
    FAILS(RELORA_E_BACKEND, relora_tensor_read(x, env.st, values, sizeof values), "");
    FAILS(RELORA_E_BACKEND, relora_linear_forward(l, env.st, x, y, 0, 0), "finished");
    FAILS(RELORA_E_BACKEND, relora_adam_step(adam, env.st, 0.1, 1, NULL), "finished");
    FAILS(RELORA_E_BACKEND, relora_stream_synchronize(env.st), "finished");
    relora_tensor_release(t);
} /* env_close() releases the rest, and counts */
END_TEST

Suite *failure(void)
{
    Suite *s = suite_create("failure of a device");
    TCase *tc = env_case(s, "failure", 20);
    tcase_add_test(tc, test_sticks);
    return s;
}
