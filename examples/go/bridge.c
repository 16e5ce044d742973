#include "bridge.h"
#include "_cgo_export.h"

static void log_line(void *user, int32_t level, const char *message)
{
    goLog((uintptr_t)user, level, (char *)message);
}

static void destroy(void *user)
{
    goDestroy((uintptr_t)user);
}

static void delete (void *user, void *data)
{
    (void)data;
    goDelete((uintptr_t)user);
}

static void before(void *user, int64_t step, uint32_t events)
{
    goHook((uintptr_t)user, 0, step, events);
}

static void after(void *user, int64_t step, uint32_t events)
{
    goHook((uintptr_t)user, 1, step, events);
}

void bridge_context(relora_context_options *options, uintptr_t log)
{
    options->log = log_line;
    options->log_user = (void *)log;
    options->on_destroy = destroy;
    options->destroy_user = (void *)log;
}

void bridge_cycle(relora_cycle_options *options, uintptr_t hooks)
{
    options->before = before;
    options->after = after;
    options->hook_user = (void *)hooks;
}

relora_status bridge_borrow(relora_tensor **out, relora_device *device, relora_dtype dtype, int32_t ndim,
                            const int64_t *shape, const int64_t *strides, void *data, uintptr_t owner)
{
    return relora_tensor_borrow(out, device, dtype, ndim, shape, strides, data, delete, (void *)owner);
}

relora_status bridge_set_data(relora_tensor *tensor, void *data, uintptr_t owner)
{
    return relora_tensor_set_data_owned(tensor, data, delete, (void *)owner);
}
