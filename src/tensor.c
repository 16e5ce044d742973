/* Arrays on a device: their own memory, or that of the host.
 *
 * Memory of the library is given back through the device's queue, which waits for work that is still queued.
 * Borrowed memory is the host's to time, so its deleter is called at once. */
#include "tensor.h"

#include "device.h"

static relora_status tensor_allocate(relora_tensor **out, relora_device *device, const char *fn,
                                     const struct shape *shape)
{
    relora_context *ctx = device->ctx;
    relora_tensor *t = context_new(ctx, sizeof *t);
    if (!t) return context_fail_memory(ctx, fn, sizeof *t);
    atomic_init(&t->refs, 1);
    t->ctx = ctx;
    t->device = device;
    t->shape = *shape;
    *out = t;
    return RELORA_OK;
}

relora_status tensor_new(relora_tensor **out, relora_device *device, const char *function,
                         relora_dtype dtype, int32_t ndim, const int64_t *shape)
{
    struct shape s;
    relora_tensor *t = NULL;
    *out = NULL;
    TRY(shape_make(&s, device->ctx, function, dtype, ndim, shape, NULL));
    TRY(tensor_allocate(&t, device, function, &s));
    t->memory = MEMORY_OWN;
    relora_status status = device_alloc(device, device->queue, function, shape_bytes(&s), &t->data);
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
    const char *fn = "relora_tensor_create";
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_new(out, device, fn, dtype, ndim, shape);
}

static relora_status check_data(const relora_context *ctx, const char *fn, const struct shape *shape,
                                const void *data)
{
    if (!data && shape->count)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: data is NULL, and the tensor has %lld elements", fn,
             (long long)shape->count);
    if ((uintptr_t)data % dtype_size(shape->dtype))
        FAIL(ctx, RELORA_E_LAYOUT, "%s: data is at %p, not a multiple of %zu bytes", fn, data,
             dtype_size(shape->dtype));
    return RELORA_OK;
}

relora_status tensor_over(relora_tensor **out, relora_device *device, const char *fn, relora_dtype dtype,
                          int32_t ndim, const int64_t *shape, const int64_t *strides, void *data,
                          struct owner owner)
{
    struct shape s;
    relora_tensor *t = NULL;
    TRY(shape_make(&s, device->ctx, fn, dtype, ndim, shape, strides));
    TRY(check_data(device->ctx, fn, &s, data));
    TRY(tensor_allocate(&t, device, fn, &s));
    t->memory = owner.memory;
    t->data = data;
    t->deleter = owner.deleter;
    t->user = owner.user;
    *out = t;
    return RELORA_OK;
}

relora_status relora_tensor_borrow(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                   int32_t ndim, const int64_t *shape, const int64_t *strides,
                                   void *data, relora_deleter_fn deleter, void *user)
{
    const char *fn = "relora_tensor_borrow";
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_over(out, device, fn, dtype, ndim, shape, strides, data,
                       (struct owner){MEMORY_BORROWED, deleter, user});
}

relora_status relora_tensor_borrow_matrix(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                          int64_t rows, int64_t cols, void *data)
{
    const char *fn = "relora_tensor_borrow_matrix";
    const int64_t shape[2] = {rows, cols};
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    return tensor_over(out, device, fn, dtype, 2, shape, NULL, data, (struct owner){.memory = MEMORY_BORROWED});
}

static relora_status check_set_data(const relora_tensor *tensor, const char *fn, const void *data)
{
    if (!tensor) return RELORA_E_ARGUMENT;
    if (tensor->memory != MEMORY_BORROWED)
        FAIL(tensor->ctx, RELORA_E_STATE, "%s: tensor was not made by relora_tensor_borrow", fn);
    return check_data(tensor->ctx, fn, &tensor->shape, data);
}

relora_status relora_tensor_set_data_owned(relora_tensor *tensor, void *data, relora_deleter_fn deleter,
                                           void *user)
{
    TRY(check_set_data(tensor, "relora_tensor_set_data_owned", data));
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
    TRY(check_set_data(tensor, "relora_tensor_set_data", data));
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
    else if (t->memory == MEMORY_PART)
        relora_tensor_release(t->whole);
    else if (t->deleter)
        t->deleter(t->user, t->data);
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

relora_status tensor_preset(relora_tensor *tensor, const char *function, double value)
{
    const relora_device *device = tensor->device;
    return device_finish(device, device->backend->fill(device->queue, tensor_view(tensor), value),
                         function);
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

relora_status tensor_check(const relora_tensor *tensor, const relora_stream *stream,
                           const char *function, const char *name)
{
    if (!tensor) FAIL(stream->ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", function, name);
    if (tensor->ctx != stream->ctx)
        FAIL(stream->ctx, RELORA_E_CONTEXT, "%s: %s belongs to another context than stream", function,
             name);
    if (tensor->device != stream->device)
        FAIL(stream->ctx, RELORA_E_DEVICE, "%s: %s is on %s, stream on %s", function, name,
             tensor->device->name, stream->device->name);
    return RELORA_OK;
}

/* The tensor a call is about, and the stream it runs on. */
static relora_status check_handles(const relora_tensor *tensor, const relora_stream *stream,
                                   const char *fn, const char *name)
{
    if (!tensor) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, name);
    if (!stream) FAIL(tensor->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != tensor->ctx)
        FAIL(tensor->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than %s", fn, name);
    TRY(tensor_check(tensor, stream, fn, name));
    return stream_check(stream, fn);
}

static relora_status check_transfer(const relora_tensor *tensor, const relora_stream *stream,
                                    const char *fn, const char *name, const void *host, size_t bytes)
{
    TRY(check_handles(tensor, stream, fn, "tensor"));
    if (bytes != shape_bytes(&tensor->shape))
        FAIL(tensor->ctx, RELORA_E_SHAPE, "%s: bytes is %zu, but the tensor has %zu", fn, bytes,
             shape_bytes(&tensor->shape));
    if (!host && bytes) FAIL(tensor->ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, name);
    return RELORA_OK;
}

relora_status relora_tensor_write(relora_tensor *tensor, relora_stream *stream, const void *source,
                                  size_t bytes)
{
    GIVEN(stream);
    const char *fn = "relora_tensor_write";
    TRY(check_transfer(tensor, stream, fn, "source", source, bytes));
    const struct shape *s = &tensor->shape;
    size_t row = (size_t)s->cols * dtype_size(s->dtype), pitch = (size_t)s->ld * dtype_size(s->dtype);
    struct copy copy = {tensor->data, source, s->rows, row, pitch, row, COPY_TO_DEVICE};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &copy));
    return RELORA_OK;
}

relora_status tensor_read(const relora_tensor *tensor, relora_stream *stream, const char *fn,
                          void *target)
{
    const struct shape *s = &tensor->shape;
    size_t row = (size_t)s->cols * dtype_size(s->dtype), pitch = (size_t)s->ld * dtype_size(s->dtype);
    struct copy copy = {target, tensor->data, s->rows, row, row, pitch, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, stream->device->backend->copy(stream->queue, &copy));
    TRY_QUEUE(stream, fn, stream->device->backend->queue_sync(stream->queue));
    return RELORA_OK;
}

relora_status relora_tensor_read(const relora_tensor *tensor, relora_stream *stream, void *target,
                                 size_t bytes)
{
    GIVEN(stream);
    const char *fn = "relora_tensor_read";
    TRY(check_transfer(tensor, stream, fn, "target", target, bytes));
    return tensor_read(tensor, stream, fn, target);
}

relora_status relora_tensor_copy(relora_tensor *target, const relora_tensor *source,
                                 relora_stream *stream)
{
    GIVEN(stream);
    const char *fn = "relora_tensor_copy";
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!target && !stream && source) FAIL(source->ctx, RELORA_E_ARGUMENT, "%s: target is NULL", fn);
    TRY(check_handles(target, stream, fn, "target"));
    TRY(tensor_check(source, stream, fn, "source"));
    const relora_context *ctx = target->ctx;
    if (!shape_equal(&target->shape, &source->shape))
        FAIL(ctx, RELORA_E_SHAPE, "%s: target is %s, but source is %s", fn,
             shape_text(&target->shape, a), shape_text(&source->shape, b));
    if (target == source) return RELORA_OK;
    if (views_overlap(tensor_view(target), tensor_view(source)))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: the memory of target overlaps that of source", fn);
    struct scale one = {.value = 1};
    TRY_QUEUE(stream, fn, stream->device->backend->convert(stream->queue, tensor_view(target),
                                                           tensor_view(source), one));
    return RELORA_OK;
}

relora_status relora_tensor_fill(relora_tensor *tensor, relora_stream *stream, double value)
{
    GIVEN(stream);
    const char *fn = "relora_tensor_fill";
    TRY(check_handles(tensor, stream, fn, "tensor"));
    TRY_QUEUE(stream, fn,
              stream->device->backend->fill(stream->queue, tensor_view(tensor), value));
    return RELORA_OK;
}
