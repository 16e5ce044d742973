/* Which devices a context has, and work on a device that belongs to no stream. */
#include "device.h"

#include <stdio.h>
#include <string.h>

/* ---- of CUDA ---- */

/* How many CUDA devices there are; 0 while there is no memory to find out. */
static int32_t count_cuda(const relora_context *ctx)
{
    struct module *module = ctx->module;
    char reason[REASON_CAPACITY];
    pthread_mutex_lock(&module->lock);
    int news = !module->answered;
    module_ask(module, &ctx->memory);
    int32_t count = module->count;
    if (news) memcpy(reason, module->reason, sizeof reason);
    pthread_mutex_unlock(&module->lock);
    /* with the lock let go: the host's function may ask in its turn */
    if (news && count) context_log(ctx, RELORA_LOG_INFO, "librelora_cuda.so.0: CUDA devices: %d", count);
    else if (news) context_log(ctx, RELORA_LOG_INFO, "no CUDA: %s", reason);
    return count;
}

enum { WHY = sizeof(((struct relora_device *)0)->name) };

/* Once; `why` says what it did not succeed for. */
static relora_status open_device(struct relora_device *device, relora_context *ctx, char why[WHY])
{
    struct queue_options options = {.memory = &ctx->memory, .threads = ctx->threads};
    if (device->queue) return RELORA_OK;
    device->ctx = ctx;
    relora_status status = device->backend->describe(device->index, device->name, WHY, NULL, NULL);
    if (status < 0) {
        snprintf(why, WHY, "%s", device->name);
        return status;
    }
    status = device->backend->queue_open(device->index, &options, &device->queue);
    if (status < 0) snprintf(why, WHY, "%s", relora_status_text(status));
    return status;
}

static relora_status fail_reason(const struct call *c)
{
    char reason[REASON_CAPACITY];
    pthread_mutex_lock(&c->ctx->module->lock);
    memcpy(reason, c->ctx->module->reason, sizeof reason);
    pthread_mutex_unlock(&c->ctx->module->lock);
    FAIL(c, RELORA_E_NOT_FOUND, "no CUDA: %s", reason);
}

relora_status device_cuda(const struct call *c, relora_device **out, int32_t index)
{
    int32_t count = count_cuda(c->ctx);
    *out = NULL;
    if (!count) return fail_reason(c);
    if (index < 0 || index >= count)
        FAIL(c, RELORA_E_NOT_FOUND, "index is %d, but the number of CUDA devices is %d", index, count);
    struct relora_device *device = &c->ctx->module->devices[index];
    char why[WHY];
    pthread_mutex_lock(&c->ctx->module->lock);
    relora_status status = open_device(device, c->ctx, why);
    pthread_mutex_unlock(&c->ctx->module->lock);
    if (status < 0) FAIL(c, status, "cannot open CUDA device %d: %s", index, why);
    *out = device;
    return RELORA_OK;
}

/* ---- what a context has ---- */

int32_t relora_device_count(const relora_context *ctx, relora_device_kind kind)
{
    int32_t count = 0;
    if (!ctx) return 0;
    if (kind == RELORA_DEVICE_CUDA) return count_cuda(ctx);
    if (kind != RELORA_DEVICE_CPU) return 0;
    return ctx->cpu.backend->count(&count) < 0 ? 0 : count;
}

static relora_status device_cpu(const struct call *c, relora_device_kind kind, int32_t index)
{
    if (kind != RELORA_DEVICE_CPU) FAIL(c, RELORA_E_NOT_FOUND, "kind is %d, not a RELORA_DEVICE", kind);
    if (index < 0 || index >= relora_device_count(c->ctx, kind))
        FAIL(c, RELORA_E_NOT_FOUND, "index is %d, but the one CPU has index 0", index);
    return RELORA_OK;
}

relora_device *relora_device_get(relora_context *ctx, relora_device_kind kind, int32_t index)
{
    struct call c = {.fn = "relora_device_get", .ctx = ctx};
    relora_device *device;
    if (!ctx) return NULL;
    if (kind == RELORA_DEVICE_CUDA) return device_cuda(&c, &device, index) < 0 ? NULL : device;
    return device_cpu(&c, kind, index) < 0 ? NULL : &ctx->cpu;
}

relora_device_kind relora_device_get_kind(const relora_device *device)
{
    return device ? device->backend->kind : 0;
}

const char *relora_device_name(const relora_device *device)
{
    return device ? device->name : "";
}

relora_status relora_device_memory(const relora_device *device, uint64_t *free_bytes, uint64_t *total_bytes)
{
    if (!device) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_device_memory", .ctx = device->ctx};
    relora_status status = device->backend->describe(device->index, NULL, 0, free_bytes, total_bytes);
    if (status < 0) FAIL(&c, status, "the device does not report its memory");
    return RELORA_OK;
}

/* ---- work that belongs to no stream ---- */

relora_status device_alloc(const struct call *c, const relora_device *device, struct queue *queue,
                           size_t bytes, void **out)
{
    relora_status status = bytes == SIZE_MAX ? RELORA_E_NO_MEMORY : device->backend->alloc(queue, bytes, out);
    if (status == RELORA_E_NO_MEMORY) return call_fail_memory(c, bytes);
    return call_backend(c, status, device->backend, queue);
}

relora_status device_finish(const struct call *c, const relora_device *device, relora_status status)
{
    if (status >= 0) status = device->backend->queue_sync(device->queue);
    return call_backend(c, status, device->backend, device->queue);
}
