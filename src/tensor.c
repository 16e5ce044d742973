/* Arrays on a device: their own memory, or that of the host.
 *
 * Memory of the library is given back through the device's queue, which waits for work that is still queued.
 * Borrowed memory is the host's to time, so its deleter is called at once. */
#include "tensor.h"

#include "device.h"

static relora_status tensor_allocate(const struct call *c, relora_tensor **out, relora_device *device,
                                     const struct shape *shape)
{
    relora_context *ctx = device->ctx;
    relora_tensor *t = context_new(ctx, sizeof *t);
    if (!t) return call_fail_memory(c, sizeof *t);
    atomic_init(&t->refs, 1);
    atomic_init(&t->shares, 0);
    t->ctx = ctx;
    t->device = device;
    t->shape = *shape;
    *out = t;
    return RELORA_OK;
}

relora_status tensor_new(const struct call *c, relora_tensor **out, relora_device *device, relora_dtype dtype,
                         int32_t ndim, const int64_t *shape)
{
    struct shape s;
    relora_tensor *t = NULL;
    *out = NULL;
    TRY(shape_make(c, &s, dtype, ndim, shape, NULL));
    TRY(tensor_allocate(c, &t, device, &s));
    t->memory = MEMORY_OWN;
    relora_status status = device_alloc(c, device, device->queue, shape_bytes(&s), &t->data);
    if (status < 0) {
        context_delete(device->ctx, t, sizeof *t);
        return status;
    }
    *out = t;
    return RELORA_OK;
}

relora_status relora_tensor_create(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                   int32_t ndim, const int64_t *shape)
{
    struct call c = {.fn = "relora_tensor_create", .ctx = device ? device->ctx : NULL};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_new(&c, out, device, dtype, ndim, shape);
}

static relora_status check_data(const struct call *c, const struct shape *shape, const void *data)
{
    if (!data && shape->count)
        FAIL(c, RELORA_E_ARGUMENT, "data is NULL, and the tensor has %lld elements", (long long)shape->count);
    if ((uintptr_t)data % dtype_size(shape->dtype))
        FAIL(c, RELORA_E_LAYOUT, "data is at %p, not a multiple of %zu bytes", data,
             dtype_size(shape->dtype));
    return RELORA_OK;
}

relora_status tensor_over(const struct call *c, relora_tensor **out, relora_device *device,
                          relora_dtype dtype, int32_t ndim, const int64_t *shape, const int64_t *strides,
                          void *data, struct owner owner)
{
    struct shape s;
    relora_tensor *t = NULL;
    TRY(shape_make(c, &s, dtype, ndim, shape, strides));
    if (data || owner.memory != MEMORY_BORROWED) TRY(check_data(c, &s, data)); /* NULL may be set later */
    TRY(tensor_allocate(c, &t, device, &s));
    t->memory = owner.memory;
    t->data = data;
    t->deleter = owner.deleter;
    t->user = owner.user;
    *out = t;
    return RELORA_OK;
}

relora_status relora_tensor_borrow(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                   int32_t ndim, const int64_t *shape, const int64_t *strides, void *data,
                                   relora_deleter_fn deleter, void *user)
{
    struct call c = {.fn = "relora_tensor_borrow", .ctx = device ? device->ctx : NULL};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_over(&c, out, device, dtype, ndim, shape, strides, data,
                       (struct owner){MEMORY_BORROWED, deleter, user});
}

relora_status relora_tensor_borrow_matrix(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                          int64_t rows, int64_t cols, void *data)
{
    struct call c = {.fn = "relora_tensor_borrow_matrix", .ctx = device ? device->ctx : NULL};
    const int64_t shape[2] = {rows, cols};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_over(&c, out, device, dtype, 2, shape, NULL, data,
                       (struct owner){.memory = MEMORY_BORROWED});
}

static relora_status check_set_data(const struct call *c, const relora_tensor *tensor, const void *data)
{
    if (!tensor) return RELORA_E_ARGUMENT;
    if (tensor->memory != MEMORY_BORROWED)
        FAIL(c, RELORA_E_STATE, "tensor was not made by relora_tensor_borrow");
    return check_data(c, &tensor->shape, data);
}

relora_status relora_tensor_set_data_owned(relora_tensor *tensor, void *data, relora_deleter_fn deleter,
                                           void *user)
{
    struct call c = {.fn = "relora_tensor_set_data_owned", .ctx = tensor ? tensor->ctx : NULL};
    TRY(check_set_data(&c, tensor, data));
    void *old = tensor->data, *old_user = tensor->user;
    const relora_deleter_fn old_deleter = tensor->deleter;
    tensor->data = data;
    tensor->deleter = deleter;
    tensor->user = user;
    if (old_deleter) old_deleter(old_user, old);
    return RELORA_OK;
}

relora_status relora_tensor_set_data(relora_tensor *tensor, void *data)
{
    struct call c = {.fn = "relora_tensor_set_data", .ctx = tensor ? tensor->ctx : NULL};
    TRY(check_set_data(&c, tensor, data));
    void *old = tensor->data;
    tensor->data = data;
    if (tensor->deleter && old != data) tensor->deleter(tensor->user, old);
    return RELORA_OK;
}

/* ---- life ---- */

static void release_memory(relora_tensor *t)
{
    if (t->memory == MEMORY_OWN || t->memory == MEMORY_WHOLE)
        t->device->backend->release(t->device->queue, t->data, shape_bytes(&t->shape));
    else if (t->memory == MEMORY_PART) relora_tensor_release(t->whole);
    else if (t->deleter) t->deleter(t->user, t->data);
}

void relora_tensor_retain(relora_tensor *tensor)
{
    if (tensor) atomic_fetch_add_explicit(&tensor->refs, 1, memory_order_relaxed);
}

void relora_tensor_release(relora_tensor *tensor)
{
    if (!tensor || atomic_fetch_sub_explicit(&tensor->refs, 1, memory_order_acq_rel) != 1) return;
    release_memory(tensor);
    context_delete(tensor->ctx, tensor, sizeof *tensor);
}

relora_status tensor_preset(const struct call *c, relora_tensor *tensor, double value)
{
    const relora_device *device = tensor->device;
    return device_finish(c, device, device->backend->fill(device->queue, tensor_view(tensor), value));
}

void tensor_move_into(relora_tensor *tensor, relora_tensor *whole, size_t offset)
{
    release_memory(tensor);
    relora_tensor_retain(whole);
    whole->memory = MEMORY_WHOLE;
    tensor->memory = MEMORY_PART;
    tensor->whole = whole;
    tensor->data = (unsigned char *)whole->data + offset;
}

/* ---- what it is ---- */

relora_dtype relora_tensor_dtype(const relora_tensor *tensor)
{
    return tensor ? tensor->shape.dtype : 0;
}

int32_t relora_tensor_ndim(const relora_tensor *tensor)
{
    return tensor ? tensor->shape.ndim : -1;
}

int64_t relora_tensor_dim(const relora_tensor *tensor, int32_t axis)
{
    return tensor && axis >= 0 && axis < tensor->shape.ndim ? tensor->shape.dim[axis] : -1;
}

int64_t relora_tensor_stride(const relora_tensor *tensor, int32_t axis)
{
    return tensor && axis >= 0 && axis < tensor->shape.ndim ? tensor->shape.stride[axis] : 0;
}

int64_t relora_tensor_count(const relora_tensor *tensor)
{
    return tensor ? tensor->shape.count : -1;
}

void *relora_tensor_data(const relora_tensor *tensor)
{
    return tensor ? tensor->data : NULL;
}

relora_device *relora_tensor_device(const relora_tensor *tensor)
{
    return tensor ? tensor->device : NULL;
}

/* ---- transfers ---- */

relora_status tensor_check(const struct call *c, const relora_tensor *tensor, const char *name)
{
    if (!tensor) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", name);
    if (tensor->ctx != c->ctx) FAIL(c, RELORA_E_CONTEXT, "%s belongs to another context than stream", name);
    if (tensor->device != c->stream->device)
        FAIL(c, RELORA_E_DEVICE, "%s is on %s, stream on %s", name, tensor->device->name,
             c->stream->device->name);
    if (tensor_lacks_memory(tensor)) FAIL(c, RELORA_E_STATE, "%s " NO_MEMORY_YET, name);
    return RELORA_OK;
}

/* Begin a call about a tensor. */
static relora_status tensor_open(struct call *c, const relora_tensor *tensor, relora_stream *stream,
                                 const char *name)
{
    TRY(call_open(c, stream, name, tensor ? tensor->ctx : NULL, NULL));
    return tensor_check(c, tensor, name);
}

static relora_status open_transfer(struct call *c, const relora_tensor *tensor, relora_stream *stream,
                                   const char *name, const void *host, size_t bytes)
{
    TRY(tensor_open(c, tensor, stream, "tensor"));
    if (bytes != shape_bytes(&tensor->shape))
        FAIL(c, RELORA_E_SHAPE, "bytes is %zu, but the tensor has %zu", bytes, shape_bytes(&tensor->shape));
    if (!host && bytes) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", name);
    return RELORA_OK;
}

relora_status relora_tensor_write(relora_tensor *tensor, relora_stream *stream, const void *source,
                                  size_t bytes)
{
    struct call c = {.fn = "relora_tensor_write"};
    TRY(open_transfer(&c, tensor, stream, "source", source, bytes));
    const struct shape *s = &tensor->shape;
    size_t row = (size_t)s->cols * dtype_size(s->dtype), pitch = (size_t)s->ld * dtype_size(s->dtype);
    struct copy copy = {tensor->data, source, s->rows, row, pitch, row, COPY_TO_DEVICE};
    return call_queue(&c, c.backend->copy(c.queue, &copy));
}

relora_status tensor_read(const struct call *c, const relora_tensor *tensor, void *target)
{
    const struct shape *s = &tensor->shape;
    size_t row = (size_t)s->cols * dtype_size(s->dtype), pitch = (size_t)s->ld * dtype_size(s->dtype);
    struct copy copy = {target, tensor->data, s->rows, row, row, pitch, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

relora_status relora_tensor_read(const relora_tensor *tensor, relora_stream *stream, void *target,
                                 size_t bytes)
{
    struct call c = {.fn = "relora_tensor_read"};
    TRY(open_transfer(&c, tensor, stream, "target", target, bytes));
    return tensor_read(&c, tensor, target);
}

relora_status relora_tensor_copy(relora_tensor *target, const relora_tensor *source, relora_stream *stream)
{
    struct call c = {.fn = "relora_tensor_copy", .ctx = source ? source->ctx : NULL};
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    TRY(tensor_open(&c, target, stream, "target"));
    TRY(tensor_check(&c, source, "source"));
    if (!shape_equal(&target->shape, &source->shape))
        FAIL(&c, RELORA_E_SHAPE, "target is %s, but source is %s", shape_text(&target->shape, a),
             shape_text(&source->shape, b));
    if (target == source) return RELORA_OK;
    if (views_overlap(tensor_view(target), tensor_view(source)))
        FAIL(&c, RELORA_E_ARGUMENT, "the memory of target overlaps that of source");
    struct scale one = {.value = 1};
    return call_convert(&c, tensor_view(target), tensor_view(source), one);
}

relora_status relora_tensor_fill(relora_tensor *tensor, relora_stream *stream, double value)
{
    struct call c = {.fn = "relora_tensor_fill"};
    TRY(tensor_open(&c, tensor, stream, "tensor"));
    return call_queue(&c, c.backend->fill(c.queue, tensor_view(tensor), value));
}
