/* The kernels of cuda/ against those of src/cpu. The table comes with the program, if that was linked with the
 * sources of cuda/, or from the module that RELORA_CUDA_MODULE names. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_kernels/twins.h"

extern const struct backend *relora_cuda_backend(uint32_t version) __attribute__((weak));

static const struct backend *find_table(const char **reason)
{
    const char *module = getenv("RELORA_CUDA_MODULE");
    union {
        void *object;
        backend_entry function;
    } entry = {NULL};
    if (relora_cuda_backend) return relora_cuda_backend(BACKEND_VERSION);
    *reason = "RELORA_CUDA_MODULE names no module";
    if (!module) return NULL;
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    *reason = library ? "the module has no entry" : dlerror();
    if (library) entry.object = dlsym(library, "relora_cuda_backend");
    if (!entry.object) return NULL;
    *reason = "the module is of another version";
    return entry.function(BACKEND_VERSION);
}

int main(void)
{
    const char *reason = "there is no device";
    int32_t devices = 0;
    SRunner *runner = srunner_create(kernels_elementwise());
    srunner_add_suite(runner, kernels_random());
    srunner_add_suite(runner, kernels_reduce());
    srunner_add_suite(runner, kernels_adam());
    srunner_add_suite(runner, kernels_prune());
    cuda = find_table(&reason);
    if (!cuda || cuda->count(&devices) < 0 || devices < 1) {
        printf("cuda_kernels: %d tests skipped: %s\n", twin_tests, reason);
        srunner_free(runner);
        return 0;
    }
    srunner_set_fork_status(runner, CK_NOFORK); /* CUDA allows nothing between fork() and exec() */
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
