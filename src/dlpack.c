/* Tensors that come from other frameworks, and go to them. */
#include "relora/dlpack.h"

#include <string.h>

#include "device.h"
#include "dlpack.h"
#include "tensor.h"

/* ---- in ---- */

static relora_status find_device(const struct call *c, relora_device **out, const struct dlpack_tensor *t)
{
    if (t->device_type != DLPACK_CPU) return device_cuda(c, out, t->device_id);
    *out = &c->ctx->cpu;
    return RELORA_OK;
}

static relora_dtype dtype_of(const struct dlpack_tensor *t)
{
    if (t->lanes != 1) return 0;
    if (t->code == DLPACK_FLOAT && t->bits == 32) return RELORA_F32;
    return t->code == DLPACK_BFLOAT && t->bits == 16 ? RELORA_BF16 : 0;
}

static relora_status check_managed(const struct call *c, const struct DLManagedTensorVersioned *managed)
{
    const struct dlpack_tensor *t = &managed->tensor;
    if (managed->major != DLPACK_MAJOR) /* whatever else stands there means something else */
        FAIL(c, RELORA_E_VERSION, "managed has the DLPack version %u.%u, not %d", managed->major,
             managed->minor, DLPACK_MAJOR);
    if (managed->flags & DLPACK_READ_ONLY) FAIL(c, RELORA_E_READ_ONLY, "managed is flagged as read-only");
    if (t->device_type != DLPACK_CPU && t->device_type != DLPACK_CUDA)
        FAIL(c, RELORA_E_UNSUPPORTED, "managed is on a device of type %d, neither CPU nor CUDA",
             t->device_type);
    if (!dtype_of(t))
        FAIL(c, RELORA_E_DTYPE, "managed has elements of code %d, %d bits, %d lanes, neither F32 nor BF16",
             t->code, t->bits, t->lanes);
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
    struct call c = {.fn = "relora_tensor_from_dlpack", .ctx = ctx};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    if (!managed) FAIL(&c, RELORA_E_ARGUMENT, "managed is NULL");
    TRY(check_managed(&c, managed));
    const struct dlpack_tensor *t = &managed->tensor;
    relora_device *device;
    TRY(find_device(&c, &device, t));
    unsigned char *data = t->data;
    return tensor_over(&c, out, device, dtype_of(t), t->ndim, t->shape, t->strides,
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
    atomic_fetch_sub_explicit(&shared->tensor->shares, 1, memory_order_release);
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
                   .device_type =
                       tensor->device->backend->kind == RELORA_DEVICE_CPU ? DLPACK_CPU : DLPACK_CUDA,
                   .device_id = tensor->device->index,
                   .ndim = s->ndim,
                   .code = s->dtype == RELORA_F32 ? DLPACK_FLOAT : DLPACK_BFLOAT,
                   .bits = (uint8_t)(8 * dtype_size(s->dtype)),
                   .lanes = 1,
                   .shape = shared->shape,
                   .strides = shared->strides}};
}

/* The consumer's stream waits for ours; a queue over it lives as long as it takes to say so. */
static relora_status hand_over(const struct call *c, void *consumer)
{
    const relora_device *device = c->stream->device;
    struct queue_options options = {.memory = &c->ctx->memory,
                                    .threads = c->ctx->threads,
                                    .parent = device->queue,
                                    .wrap = 1,
                                    .native = consumer};
    struct queue *queue;
    if (c->backend->kind == RELORA_DEVICE_CPU || c->backend->queue_native(c->queue) == consumer)
        return RELORA_OK;
    relora_status status = c->backend->queue_open(device->index, &options, &queue);
    if (status < 0)
        FAIL(c, call_note(c, status), "cannot open a queue on consumer: %s", relora_status_text(status));
    status = call_backend(c, c->backend->queue_wait(queue, c->queue), c->backend, queue);
    c->backend->queue_close(queue);
    return status;
}

relora_status relora_tensor_to_dlpack(struct DLManagedTensorVersioned **out, relora_tensor *tensor,
                                      relora_stream *producer, void *consumer)
{
    relora_context *ctx = tensor ? tensor->ctx : producer ? producer->ctx : NULL;
    struct call c = {.fn = "relora_tensor_to_dlpack", .ctx = ctx, .stream = producer};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!tensor) FAIL(&c, RELORA_E_ARGUMENT, "tensor is NULL");
    if (producer) {
        TRY(call_open(&c, producer, "producer", producer->ctx, NULL));
        TRY(tensor_check(&c, tensor, "tensor"));
    }
    if (tensor_lacks_memory(tensor)) FAIL(&c, RELORA_E_STATE, "tensor " NO_MEMORY_YET);
    struct shared *shared = context_new(ctx, sizeof *shared);
    if (!shared) return call_fail_memory(&c, sizeof *shared);
    relora_status status = producer ? hand_over(&c, consumer) : RELORA_OK;
    if (status < 0) {
        context_delete(ctx, shared, sizeof *shared);
        return status;
    }
    describe(shared, tensor);
    relora_tensor_retain(tensor);
    atomic_fetch_add_explicit(&tensor->shares, 1, memory_order_relaxed);
    *out = &shared->managed;
    return RELORA_OK;
}
