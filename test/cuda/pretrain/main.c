#include <stdio.h>
#include "cuda/pretrain/pretrain.h"

relora_stream *gpu;
static int absent; /* there is no device: tests are only counted */

static void free_stream(void *p) { relora_stream_release(p); }

static void open_both(void)
{
    if (absent) ck_abort_msg("no device");
    env_open_module(getenv("RELORA_TEST_MODULE_DIR"));
    OK(relora_stream_create(&gpu, device_of(GPU)));
    defer(free_stream, gpu);
}

relora_device *device_of(enum side side)
{
    return relora_device_get(env.ctx, side == GPU ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU, 0);
}

relora_stream *stream_of(enum side side) { return side == GPU ? gpu : env.st; }

TCase *both_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, open_both, env_close);
    suite_add_tcase(suite, tc);
    return tc;
}

double *values_of(const relora_tensor *t, enum side side)
{
    int64_t n = relora_tensor_count(t);
    double *to = doubles(n);
    void *bytes = scratch(bytes_of(t) + 1);
    OK(relora_tensor_read(t, stream_of(side), bytes, bytes_of(t)));
    for (int64_t i = 0; i < n; i++)
        to[i] = relora_tensor_dtype(t) == RELORA_F32 ? (double)((float *)bytes)[i]
                                                     : (double)bf16_value(((uint16_t *)bytes)[i]);
    return to;
}

void set_values(relora_tensor *t, enum side side, const double *values)
{
    int64_t n = relora_tensor_count(t);
    void *bytes = scratch(bytes_of(t) + 1);
    for (int64_t i = 0; i < n; i++) {
        if (relora_tensor_dtype(t) == RELORA_F32) ((float *)bytes)[i] = (float)values[i];
        else ((uint16_t *)bytes)[i] = bf16_of((float)values[i]);
    }
    OK(relora_tensor_write(t, stream_of(side), bytes, bytes_of(t)));
}

void near(const double *got, const double *want, int64_t n, double share, const char *what)
{
    double *difference = doubles(n);
    for (int64_t i = 0; i < n; i++) difference[i] = got[i] - want[i];
    double off = norm2(difference, n), size = norm2(want, n);
    if (getenv("VERBOSE")) printf("%-40s %9.2e of %9.2e, bound %.0e\n", what, off / size, size, share);
    ck_assert_msg(size > 0, "%s: nothing to compare", what);
    ck_assert_msg(off <= share * size, "%s: off by %.3g of its norm, %.3g; allowed is %.3g", what, off / size,
                  size, share);
}

static int is_absent(char *reason, size_t capacity)
{
    relora_context *ctx = NULL;
    relora_context_options options;
    relora_context_options_init(&options, sizeof options);
    options.module_dir = getenv("RELORA_TEST_MODULE_DIR");
    int found =
        relora_context_create(&ctx, &options) == RELORA_OK && relora_device_get(ctx, RELORA_DEVICE_CUDA, 0);
    if (ctx && !found) relora_context_error(ctx, reason, capacity, NULL);
    relora_context_release(ctx);
    if (found && !model_ops(RELORA_DEVICE_CUDA))
        snprintf(reason, capacity, "the program was built without nvcc");
    return !found || !model_ops(RELORA_DEVICE_CUDA);
}

int main(void)
{
    char reason[1024] = "there is no such device";
    SRunner *runner = srunner_create(kernels_suite());
    srunner_add_suite(runner, model_suite());
    srunner_add_suite(runner, run_suite());
    srunner_set_fork_status(runner, CK_NOFORK); /* a device does not follow a process into its children */
    absent = is_absent(reason, sizeof reason);
    srunner_run_all(runner, absent ? CK_SILENT : CK_ENV);
    int failed =
        absent ? env_without_device(srunner_ntests_run(runner), reason) : srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
