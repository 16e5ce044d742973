/* Loads a module as the library does and looks at what it offers. Prints how many devices there are, and
 * why no more; 1 if something is wrong with the module, 3 if the loader refuses it. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"

static int fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return 1;
}

static backend_entry entry_of(void *module)
{
    union { /* a function's address as dlsym() hands it over */
        void *data;
        backend_entry function;
    } symbol = {dlsym(module, "relora_cuda_backend")};
    return symbol.function;
}

/* But for gemm_tell, which a GPU does without: its library says nothing of what it will choose. */
static int has_every_entry(const struct backend *b)
{
    void (*entry)(void);
    const char *first = (const char *)b + offsetof(struct backend, count);
    const char *end = (const char *)b + offsetof(struct backend, slice_rows);
    for (const char *at = first; at < end; at += sizeof entry) {
        memcpy(&entry, at, sizeof entry);
        if (!entry && at != (const char *)&b->gemm_tell) return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    int32_t count = -1;
    char reason[256] = "";
    void *module = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!module) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "load-module MODULE");
        return 3;
    }
    backend_entry entry = entry_of(module);
    if (!entry) return fail("it exports no relora_cuda_backend");
    if (entry(BACKEND_VERSION + 1) || entry(0)) return fail("it answers to other versions than its own");
    const struct backend *b = entry(BACKEND_VERSION);
    if (!b || b->version != BACKEND_VERSION) return fail("it does not answer to the version of this tree");
    if (b->kind != RELORA_DEVICE_CUDA || strcmp(b->name, "CUDA") != 0) return fail("its table is not CUDA's");
    if (!has_every_entry(b)) return fail("an entry of its table is NULL");

    relora_status status = b->count(&count);
    if (count < 0 || (status < 0 && count)) return fail("it does not know how many devices there are");
    if (b->describe(count, reason, sizeof reason, NULL, NULL) >= 0 || !reason[0])
        return fail("it does not say why there is no further device");
    printf("%d CUDA devices: %s\n", count, reason);
    return 0;
}
