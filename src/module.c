#define _GNU_SOURCE /* dladdr */
#include "module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relora/version.h"

enum { PATH_CAPACITY = 4096 };

/* With the number of the interface, so that two libraries with theirs can be installed side by side. */
#define TEXT(number) #number
#define TEXT_OF(name) TEXT(name)
static const char file_name[] = "librelora_cuda.so." TEXT_OF(RELORA_ABI);

relora_status module_new(struct module **out, const struct memory *memory, const char *folder)
{
    struct module *module = memory_alloc_zero(memory, sizeof *module);
    if (!module) return RELORA_E_NO_MEMORY;
    pthread_mutex_init(&module->lock, NULL);
    *out = module;
    if (!folder) return RELORA_OK;
    module->folder = memory_string(memory, folder);
    return module->folder ? RELORA_OK : RELORA_E_NO_MEMORY;
}

void module_delete(struct module *module, const struct memory *memory)
{
    if (!module) return;
    for (int32_t i = 0; i < module->count; i++)
        if (module->devices[i].queue) module->devices[i].backend->queue_close(module->devices[i].queue);
    memory_free(memory, module->devices, (size_t)module->count * sizeof *module->devices);
    if (module->folder) memory_free(memory, module->folder, strlen(module->folder) + 1);
    pthread_mutex_destroy(&module->lock);
    memory_free(memory, module, sizeof *module);
}

/* ---- loading ---- */

static void set_reason(struct module *module, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void set_reason(struct module *module, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(module->reason, sizeof module->reason, format, arguments);
    va_end(arguments);
}

/* Where the library is that this code is a part of, or the program. One that the shell has found is known
 * to the loader without its folder. */
static int own_path(char path[PATH_CAPACITY])
{
    Dl_info here;
    if (!dladdr(file_name, &here) || !here.dli_fname) return 0;
    int n = snprintf(path, PATH_CAPACITY, "%s", here.dli_fname);
    if (!strchr(path, '/')) {
        n = (int)readlink("/proc/self/exe", path, PATH_CAPACITY - 1);
        path[n > 0 ? n : 0] = '\0';
    }
    return n > 0 && n < PATH_CAPACITY;
}

/* Where the module has to be, if the host says so; else where it is, beside us; "" if it is not. */
static void path_of(const struct module *module, char path[PATH_CAPACITY])
{
    char own[PATH_CAPACITY];
    const char *folder = module->folder;
    path[0] = '\0';
    if (!folder && own_path(own)) {
        char *slash = strrchr(own, '/');
        if (slash) *slash = '\0', folder = own;
    }
    int n = folder ? snprintf(path, PATH_CAPACITY, "%s/%s", folder, file_name) : 0;
    if (n >= PATH_CAPACITY || (!module->folder && access(path, F_OK) != 0)) path[0] = '\0';
}

/* The table of the module, or NULL with the reason. */
static const struct backend *load(struct module *module)
{
    char path[PATH_CAPACITY];
    path_of(module, path);
    const char *name = path[0] ? path : file_name;
    if (module->folder && !path[0]) {
        set_reason(module, "module_dir is longer than %d bytes", PATH_CAPACITY - (int)sizeof file_name - 1);
        return NULL;
    }
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        set_reason(module, "%s", why ? why : name);
        return NULL;
    }
    backend_entry entry = (backend_entry)dlsym(handle, "relora_cuda_backend");
    if (!entry) {
        set_reason(module, "not a module of librelora, because it has no relora_cuda_backend: %s", name);
        return NULL;
    }
    const struct backend *backend = entry(BACKEND_VERSION);
    if (!backend || backend->version != BACKEND_VERSION || backend->kind != RELORA_DEVICE_CUDA) {
        set_reason(module, "it belongs to another release of librelora: %s", name);
        return NULL;
    }
    return backend;
}

static relora_status list_devices(struct module *module, const struct memory *memory,
                                  const struct backend *backend)
{
    char why[sizeof module->devices->name] = "";
    int32_t count = 0;
    relora_status status = backend->count(&count);
    if (status == RELORA_E_NO_MEMORY) return status;
    if (status < 0 || count < 1) {
        if (backend->describe(0, why, sizeof why, NULL, NULL) >= 0) why[0] = '\0';
        set_reason(module, "there is no CUDA device%s%s", why[0] ? ": " : "", why);
        return RELORA_OK;
    }
    module->devices = memory_alloc_zero(memory, (size_t)count * sizeof *module->devices);
    if (!module->devices) return RELORA_E_NO_MEMORY;
    module->count = count;
    for (int32_t i = 0; i < count; i++) {
        module->devices[i].backend = backend;
        module->devices[i].index = i;
    }
    return RELORA_OK;
}

void module_ask(struct module *module, const struct memory *memory)
{
    if (module->answered) return;
    int host = errno;
    const struct backend *backend = load(module);
    relora_status status = backend ? list_devices(module, memory, backend) : RELORA_OK;
    module->answered = status >= 0;
    if (status < 0) set_reason(module, "out of memory");
    errno = host;
}
