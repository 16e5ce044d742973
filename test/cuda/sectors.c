/* What kernels read and write is whole sectors of memory: a warp's accesses lie side by side. Only the emulator counts them. */
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"
#ifdef EMULATED_CUDA
#include "emulator.h"
#endif

enum { ROWS = 24, COLS = 4096, N = 70000 };

static void conversions(void)
{
    relora_tensor *wide = new_matrix(RELORA_F32, ROWS, COLS), *other = new_matrix(RELORA_F32, ROWS, COLS);
    relora_tensor *narrow = new_matrix(RELORA_BF16, ROWS, COLS),
                  *fourth = new_matrix(RELORA_BF16, ROWS, COLS);
    OK(relora_tensor_fill(wide, env.st, 1));
    OK(relora_tensor_copy(other, wide, env.st));
    OK(relora_tensor_copy(narrow, wide, env.st));
    OK(relora_tensor_copy(fourth, narrow, env.st));
    OK(relora_tensor_copy(wide, fourth, env.st));
}

static void layers(void)
{
    struct rnd r = rnd_seed(1);
    for (int i = 0; i < 2; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, 512, 256, 8);
        relora_merge_report report = {.struct_size = sizeof report};
        o.dtype = i ? RELORA_BF16 : RELORA_F32;
        o.dropout = 0.1;
        relora_linear *l = new_filled_linear(&o, &r);
        relora_tensor *x = new_matrix(o.dtype, 64, 512), *y = new_matrix(o.dtype, 64, 256),
                      *dx = new_matrix(o.dtype, 64, 512);
        put_normal(x, &r, 1);
        put_normal(y, &r, 1);
        OK(relora_linear_backward(l, env.st, x, y, dx, 0, RELORA_TRAIN | RELORA_OVERWRITE));
        OK(relora_linear_forward(l, env.st, x, y, 0, RELORA_TRAIN));
        OK(relora_linear_forward(l, env.st, x, y, 0, 0));
        OK(relora_linear_merge(l, env.st, 1, &report));
        relora_tensor *dw = new_matrix(RELORA_F32, 256, 512);
        OK(relora_linear_weight_grad(l, env.st, x, y, dw, RELORA_OVERWRITE));
        OK(relora_linear_full_rank_step(l, env.st, dw, 0.1, 1, NULL));
    }
}

static void optimizers(void)
{
    relora_adam_options o = adam_options();
    struct rnd r = rnd_seed(1);
    o.max_norm = 1;
    relora_adam *adam = new_adam(&o);
    relora_tensor *p = new_vector(RELORA_BF16, N), *g = new_vector(RELORA_BF16, N);
    int32_t indices[2] = {add_vector(adam, "f", N, &r, NULL, NULL), 1};
    put_normal(p, &r, 1);
    put_normal(g, &r, 1);
    OK(relora_adam_add(adam, "b", p, g, NULL));
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    for (relora_reset_mode mode = RELORA_RESET_ZERO; mode <= RELORA_RESET_MAGNITUDE; mode++) {
        relora_reset_options ro = reset_options(mode, 0.5, 0);
        relora_reset_report report = {.struct_size = sizeof report};
        OK(relora_adam_reset(adam, env.st, indices, 2, &ro, &report));
    }
}

START_TEST(test_sectors)
{
    void (*const works[])(void) = {conversions, layers, optimizers};
#ifdef EMULATED_CUDA
    uint64_t bytes, touched;
    OK(relora_stream_synchronize(env.st));
    emulated_cuda_count_sectors(1);
    works[_i]();
    OK(relora_stream_synchronize(env.st));
    emulated_cuda_count_sectors(0);
    emulated_cuda_sectors(&bytes, &touched);
    ck_assert_uint_gt(bytes, 500000);
    ck_assert_msg((double)touched < 1.01 * (double)bytes, "%llu bytes in sectors of %llu",
                  (unsigned long long)bytes, (unsigned long long)touched);
#else
    skip_if(1);
    works[_i]();
#endif
}
END_TEST

Suite *sectors(void)
{
    Suite *s = suite_create("sectors of memory");
    TCase *tc = env_case(s, "sectors", 60);
    tcase_add_loop_test(tc, test_sectors, 0, 3);
    return s;
}
