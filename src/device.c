/* Which devices a context has, and work on a device that belongs to no stream. */
#include "module.h"

int32_t relora_device_count(const relora_context *ctx, relora_device_kind kind)
{
    int32_t count = 0;
    if (!ctx) return 0;
    if (kind == RELORA_DEVICE_CUDA) return module_count(ctx);
    if (kind != RELORA_DEVICE_CPU) return 0;
    return ctx->cpu.backend->count(&count) < 0 ? 0 : count;
}

relora_device *relora_device_get(relora_context *ctx, relora_device_kind kind, int32_t index)
{
    relora_device *device;
    if (ctx && kind == RELORA_DEVICE_CUDA)
        return module_device(&device, ctx, "relora_device_get", index) < 0 ? NULL : device;
    if (index < 0 || index >= relora_device_count(ctx, kind)) return NULL;
    return &ctx->cpu;
}

relora_device_kind relora_device_get_kind(const relora_device *device)
{
    return device ? device->backend->kind : 0;
}

const char *relora_device_name(const relora_device *device)
{
    return device ? device->name : "";
}

relora_status relora_device_memory(const relora_device *device, uint64_t *free_bytes,
                                   uint64_t *total_bytes)
{
    if (!device) return RELORA_E_ARGUMENT;
    relora_status status =
        device->backend->describe(device->index, NULL, 0, free_bytes, total_bytes);
    if (status < 0)
        FAIL(device->ctx, status, "relora_device_memory: the device does not tell its memory");
    return RELORA_OK;
}

relora_status device_alloc(const relora_device *device, struct queue *queue, const char *function,
                           size_t bytes, void **out)
{
    relora_status status =
        bytes == SIZE_MAX ? RELORA_E_NO_MEMORY : device->backend->alloc(queue, bytes, out);
    if (status == RELORA_E_NO_MEMORY) return context_fail_memory(device->ctx, function, bytes);
    return status < 0 ? context_fail_backend(device->ctx, status, function, device->backend, queue)
                      : RELORA_OK;
}

relora_status device_finish(const relora_device *device, relora_status status, const char *function)
{
    if (status >= 0) status = device->backend->queue_sync(device->queue);
    return status < 0 ? context_fail_backend(device->ctx, status, function, device->backend, device->queue)
                      : RELORA_OK;
}
