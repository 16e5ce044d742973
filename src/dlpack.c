/* Tensors that come from other frameworks, and go to them. */
#include "relora/dlpack.h"

#include <string.h>

#include "device.h"
#include "dlpack.h"
#include "tensor.h"

/* ---- in ---- */

static relora_status find_device(relora_device **out, relora_context *ctx, const char *fn,
                                 const struct dlpack_tensor *t)
{
    if (t->device_type != DLPACK_CPU) return device_cuda(out, ctx, fn, t->device_id);
    *out = &ctx->cpu;
    return RELORA_OK;
}

static relora_dtype dtype_of(const struct dlpack_tensor *t)
{
    if (t->lanes != 1) return 0;
    if (t->code == DLPACK_FLOAT && t->bits == 32) return RELORA_F32;
    return t->code == DLPACK_BFLOAT && t->bits == 16 ? RELORA_BF16 : 0;
}

static relora_status check_managed(const relora_context *ctx, const char *fn,
                                   const struct DLManagedTensorVersioned *managed)
{
    const struct dlpack_tensor *t = &managed->tensor;
    if (managed->major != DLPACK_MAJOR) /* whatever else stands there means something else */
        FAIL(ctx, RELORA_E_VERSION, "%s: managed is of DLPack %u.%u, not %d", fn, managed->major, managed->minor,
             DLPACK_MAJOR);
    if (managed->flags & DLPACK_READ_ONLY)
        FAIL(ctx, RELORA_E_READ_ONLY, "%s: managed is flagged as read-only", fn);
    if (t->device_type != DLPACK_CPU && t->device_type != DLPACK_CUDA)
        FAIL(ctx, RELORA_E_UNSUPPORTED, "%s: managed is on a device of type %d, neither CPU nor CUDA", fn,
             t->device_type);
    if (!dtype_of(t))
        FAIL(ctx, RELORA_E_DTYPE, "%s: managed has elements of code %d, %d bits, %d lanes, neither F32 nor BF16",
             fn, t->code, t->bits, t->lanes);
    return RELORA_OK;
}

static void delete_managed(void *user, void *data)
{
    struct DLManagedTensorVersioned *managed = user;
    (void)data;
    if (managed->deleter) managed->deleter(managed);
}

relora_status relora_tensor_from_dlpack(relora_tensor **out, relora_context *ctx,
                                        struct DLManagedTensorVersioned *managed)
{
    const char *fn = "relora_tensor_from_dlpack";
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!managed) FAIL(ctx, RELORA_E_ARGUMENT, "%s: managed is NULL", fn);
    TRY(check_managed(ctx, fn, managed));
    const struct dlpack_tensor *t = &managed->tensor;
    relora_device *device;
    TRY(find_device(&device, ctx, fn, t));
    unsigned char *data = t->data;
    return tensor_over(out, device, fn, dtype_of(t), t->ndim, t->shape, t->strides,
                       data ? data + t->byte_offset : NULL,
                       (struct owner){MEMORY_MANAGED, delete_managed, managed});
}

/* ---- out ---- */

struct shared { /* what our deleter gets */
    struct DLManagedTensorVersioned managed;
    relora_context *ctx;
    relora_tensor *tensor;
    int64_t shape[RELORA_MAX_DIMS], strides[RELORA_MAX_DIMS];
};

static void delete_shared(struct DLManagedTensorVersioned *managed)
{
    struct shared *shared = managed->manager_ctx;
    relora_tensor_release(shared->tensor);
    context_delete(shared->ctx, shared, sizeof *shared);
}

static void describe(struct shared *shared, relora_tensor *tensor)
{
    const struct shape *s = &tensor->shape;
    memcpy(shared->shape, s->dim, sizeof shared->shape);
    memcpy(shared->strides, s->stride, sizeof shared->strides);
    shared->ctx = tensor->ctx;
    shared->tensor = tensor;
    shared->managed = (struct DLManagedTensorVersioned){
        .major = DLPACK_MAJOR,
        .minor = DLPACK_MINOR,
        .manager_ctx = shared,
        .deleter = delete_shared,
        .tensor = {.data = tensor->data,
                   .device_type = tensor->device->backend->kind == RELORA_DEVICE_CPU ? DLPACK_CPU : DLPACK_CUDA,
                   .device_id = tensor->device->index,
                   .ndim = s->ndim,
                   .code = s->dtype == RELORA_F32 ? DLPACK_FLOAT : DLPACK_BFLOAT,
                   .bits = (uint8_t)(8 * dtype_size(s->dtype)),
                   .lanes = 1,
                   .shape = shared->shape,
                   .strides = shared->strides}};
}

/* The consumer's stream waits for ours; a queue over it lives as long as it takes to say so. */
static relora_status hand_over(relora_stream *producer, const char *fn, void *consumer)
{
    const relora_device *device = producer->device;
    const struct backend *backend = device->backend;
    struct queue_options options = {.memory = &producer->ctx->memory,
                                    .threads = producer->ctx->threads,
                                    .parent = device->queue,
                                    .wrap = 1,
                                    .native = consumer};
    struct queue *queue;
    if (backend->kind == RELORA_DEVICE_CPU || backend->queue_native(producer->queue) == consumer) return RELORA_OK;
    relora_status status = backend->queue_open(device->index, &options, &queue);
    if (status < 0)
        return context_fail(producer->ctx, stream_note(producer, status),
                            "%s: cannot open a queue on consumer: %s", fn, relora_status_text(status));
    status = backend->queue_wait(queue, producer->queue);
    if (status < 0)
        context_fail_backend(producer->ctx, stream_note(producer, status), fn, backend, queue);
    backend->queue_close(queue);
    return status;
}

relora_status relora_tensor_to_dlpack(struct DLManagedTensorVersioned **out, relora_tensor *tensor,
                                      relora_stream *producer, void *consumer)
{
    GIVEN(producer);
    const char *fn = "relora_tensor_to_dlpack";
    relora_context *ctx = tensor ? tensor->ctx : producer ? producer->ctx : NULL;
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!tensor) FAIL(ctx, RELORA_E_ARGUMENT, "%s: tensor is NULL", fn);
    if (producer) {
        TRY(tensor_check(tensor, producer, fn, "tensor"));
        TRY(stream_check(producer, fn));
    }
    struct shared *shared = context_new(ctx, sizeof *shared);
    if (!shared) return context_fail_memory(ctx, fn, sizeof *shared);
    relora_status status = producer ? hand_over(producer, fn, consumer) : RELORA_OK;
    if (status < 0) {
        context_delete(ctx, shared, sizeof *shared);
        return status;
    }
    describe(shared, tensor);
    relora_tensor_retain(tensor);
    *out = &shared->managed;
    return RELORA_OK;
}
