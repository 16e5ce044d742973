/* The kernels of cuda/ against those of src/cpu, by the table of the module in RELORA_TEST_MODULE_DIR. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_kernels/twins.h"

static void *module; /* stays loaded */

static const struct backend *load_table(const char **reason)
{
    const char *folder = getenv("RELORA_TEST_MODULE_DIR");
    char path[1024];
    backend_entry entry;
    snprintf(path, sizeof path, "%s/librelora_cuda.so.0", folder ? folder : "lib");
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *reason = dlerror();
    void *symbol = module ? dlsym(module, "relora_cuda_backend") : NULL;
    if (!symbol) return NULL;
    memcpy(&entry, &symbol, sizeof entry);
    *reason = "the module is of another version";
    return entry(BACKEND_VERSION);
}

static int has_device(const char **reason)
{
    int32_t devices = 0;
    cuda = load_table(reason);
    if (!cuda) return 0;
    *reason = "no device";
    return cuda->count(&devices) == RELORA_OK && devices > 0;
}

int main(void)
{
    const char *reason;
    int failed = 0;
    unsetenv("RELORA_TEST_DEVICE"); /* the fixture's own context stays on the CPU */
    SRunner *runner = srunner_create(kernels_elementwise());
    srunner_add_suite(runner, kernels_random());
    srunner_add_suite(runner, kernels_gemm());
    srunner_add_suite(runner, kernels_queue());
    srunner_add_suite(runner, kernels_reduce());
    srunner_add_suite(runner, kernels_adam());
    srunner_add_suite(runner, kernels_prune());
    srunner_add_suite(runner, kernels_span());
    srunner_set_fork_status(runner, CK_NOFORK); /* CUDA allows nothing between fork() and exec() */
    if (has_device(&reason)) {
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
    } else {
        failed = env_without_device(twin_tests, reason);
    }
    srunner_free(runner);
    return failed != 0;
}
