/* Calls that sweep over all parameters: the step, the norm, and gradients in one piece. */
#include <float.h>
#include <math.h>

#include "adam.h"

enum { FLAT_ALIGN = 16 }; /* elements */

static relora_status read_back(const relora_adam *adam, relora_stream *stream, const char *fn, void *to,
                               const void *from, size_t bytes)
{
    struct copy up = {to, from, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, adam->device->backend->copy(stream->queue, &up));
    TRY_QUEUE(stream, fn, adam->device->backend->queue_sync(stream->queue));
    return RELORA_OK;
}

static relora_status read_control(const relora_adam *adam, relora_stream *stream, const char *fn,
                                  struct adam_control *control)
{
    return read_back(adam, stream, fn, control, adam->control, sizeof *control);
}

/* ---- step ---- */

static relora_status check_step(const relora_adam *adam, const char *fn, double grad_scale)
{
    if (!(fabs(grad_scale) <= (double)FLT_MAX))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: grad_scale is %g, not a finite number in F32", fn, grad_scale);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        if (e->is.linear && e->is.linear->generation != e->generation)
            FAIL(adam->ctx, RELORA_E_STATE,
                 "%s: the layer of \"%s\" has changed its mode or weight; make a new optimizer", fn,
                 e->is.name);
    }
    return RELORA_OK;
}

/* After adam_norm: the first gradient whose squares do not add up to a number, of which there is one. */
static relora_status fail_not_finite(const relora_adam *adam, relora_stream *stream, const char *fn)
{
    enum { MANY = 256 };
    double sums[MANY];
    struct adam_chunk chunk = {0};
    int64_t k = 0;
    for (int64_t first = 0; k == first && first < adam->chunk_count; first += MANY) {
        int64_t n = adam->chunk_count - first < MANY ? adam->chunk_count - first : MANY;
        TRY(read_back(adam, stream, fn, sums, adam->partials + first, (size_t)n * sizeof *sums));
        while (k < first + n && isfinite(sums[k - first])) k++;
    }
    if (k < adam->chunk_count) TRY(read_back(adam, stream, fn, &chunk, adam->device_chunks + k, sizeof chunk));
    FAIL(adam->ctx, RELORA_E_NOT_FINITE,
         "%s: the gradient of \"%s\" holds a NaN or an infinity, by which clipping would multiply all of them; "
         "nothing was changed", fn, adam_at(adam, chunk.param)->is.name);
}

/* With the learning rate on the device, if `lr_device` is not NULL. */
static relora_status step(relora_adam *adam, relora_stream *stream, const char *fn, double lr,
                          const float *lr_device, double grad_scale, relora_step_report *report)
{
    relora_step_report r = {.struct_size = sizeof r};
    struct adam sweep;
    struct adam_control control;
    TRY(check_step(adam, fn, grad_scale));
    TRY(context_write_report(adam->ctx, fn, "report", report, &r, sizeof r));
    TRY(adam_sweep_open(&sweep, adam, stream, fn));
    sweep.lr = lr;
    sweep.lr_device = lr_device;
    sweep.grad_scale = grad_scale;
    sweep.need_norm = report || sweep.max_norm > 0 || sweep.flags & RELORA_ADAM_SKIP_NOT_FINITE;
    const struct backend *backend = adam->device->backend;
    if (sweep.need_norm) TRY_QUEUE(stream, fn, backend->adam_norm(stream->queue, &sweep));
    TRY_QUEUE(stream, fn, backend->adam_step(stream->queue, &sweep));
    int refuses = sweep.max_norm > 0 && !(sweep.flags & RELORA_ADAM_SKIP_NOT_FINITE);
    if (!report && !(refuses && backend->kind == RELORA_DEVICE_CPU)) return RELORA_OK; /* others need not wait */
    TRY(read_control(adam, stream, fn, &control));
    r.skipped = control.skip;
    r.grad_norm = control.grad_norm;
    r.clip_factor = control.clip_factor;
    TRY(report_write(report, &r, sizeof r));
    return refuses && control.skip ? fail_not_finite(adam, stream, fn) : RELORA_OK;
}

relora_status relora_adam_step(relora_adam *adam, relora_stream *stream, double lr, double grad_scale,
                               relora_step_report *report)
{
    GIVEN(stream);
    const char *fn = "relora_adam_step";
    TRY(adam_check(adam, stream, fn));
    if (!(lr >= 0 && lr <= (double)FLT_MAX))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: lr is %g, and must be 0 or more, and finite in F32", fn, lr);
    return step(adam, stream, fn, lr, NULL, grad_scale, report);
}

relora_status relora_adam_step_lr(relora_adam *adam, relora_stream *stream, const relora_tensor *lr,
                                  double grad_scale, relora_step_report *report)
{
    GIVEN(stream);
    const char *fn = "relora_adam_step_lr";
    char text[SHAPE_TEXT];
    TRY(adam_check_tensor(adam, stream, fn, lr, "lr"));
    if (lr->shape.dtype != RELORA_F32)
        FAIL(adam->ctx, RELORA_E_DTYPE, "%s: lr is %s, but must be F32", fn, dtype_name(lr->shape.dtype));
    if (lr->shape.count != 1)
        FAIL(adam->ctx, RELORA_E_SHAPE, "%s: lr is %s, but must have one element", fn,
             shape_text(&lr->shape, text));
    return step(adam, stream, fn, 0, lr->data, grad_scale, report);
}

relora_status relora_adam_grad_norm(relora_adam *adam, relora_stream *stream, double *norm)
{
    GIVEN(stream);
    const char *fn = "relora_adam_grad_norm";
    struct adam sweep;
    struct adam_control control;
    TRY(adam_check(adam, stream, fn));
    if (!norm) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: norm is NULL", fn);
    TRY(adam_sweep_open(&sweep, adam, stream, fn));
    TRY_QUEUE(stream, fn, adam->device->backend->adam_norm(stream->queue, &sweep));
    TRY(read_control(adam, stream, fn, &control));
    *norm = control.grad_norm;
    return RELORA_OK;
}

relora_status relora_adam_zero_grad(relora_adam *adam, relora_stream *stream)
{
    GIVEN(stream);
    const char *fn = "relora_adam_zero_grad";
    TRY(adam_check(adam, stream, fn));
    for (int32_t i = 0; i < adam->registry.count; i++)
        TRY_QUEUE(stream, fn, adam->device->backend->fill(stream->queue,
                                                          tensor_view(adam_at(adam, i)->is.grad), 0));
    return RELORA_OK;
}

/* ---- gradients in one piece ---- */

static int64_t flat_span(const relora_tensor *grad) /* elements it takes in the buffer */
{
    return (grad->shape.count + FLAT_ALIGN - 1) / FLAT_ALIGN * FLAT_ALIGN;
}

static relora_status check_flatten(const relora_adam *adam, const char *fn, int64_t *elements)
{
    *elements = 0;
    if (adam->flat) FAIL(adam->ctx, RELORA_E_STATE, "%s: the gradients are in one buffer already", fn);
    if (!adam->registry.count) FAIL(adam->ctx, RELORA_E_STATE, "%s: no parameter is registered", fn);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        if (e->is.grad->shape.dtype != RELORA_F32)
            FAIL(adam->ctx, RELORA_E_DTYPE, "%s: the gradient of \"%s\" is %s, but must be F32", fn,
                 e->is.name, dtype_name(e->is.grad->shape.dtype));
        if (e->is.grad->memory == MEMORY_BORROWED || e->is.grad->memory == MEMORY_MANAGED)
            FAIL(adam->ctx, RELORA_E_STATE, "%s: the memory of the gradient of \"%s\" is borrowed", fn,
                 e->is.name);
        if (e->is.grad->memory == MEMORY_WHOLE)
            FAIL(adam->ctx, RELORA_E_STATE, "%s: the gradient of \"%s\" is a buffer in which gradients lie",
                 fn, e->is.name);
        *elements += flat_span(e->is.grad);
    }
    return RELORA_OK;
}

/* Where the gradient of a parameter will lie in the buffer, as its present shape. */
static struct view flat_part(const relora_tensor *flat, const relora_tensor *grad, int64_t offset)
{
    struct view v = tensor_view(grad);
    v.data = (float *)flat->data + offset;
    v.ld = v.cols;
    return v;
}

static relora_status copy_gradients(relora_adam *adam, relora_stream *stream, const char *fn,
                                    relora_tensor *flat)
{
    const struct backend *backend = adam->device->backend;
    struct scale one = {.value = 1};
    int64_t offset = 0;
    TRY_QUEUE(stream, fn, backend->fill(stream->queue, tensor_view(flat), 0));
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const relora_tensor *grad = adam_at(adam, i)->is.grad;
        TRY_QUEUE(stream, fn, backend->convert(stream->queue, flat_part(flat, grad, offset),
                                               tensor_view(grad), one));
        offset += flat_span(grad);
    }
    return RELORA_OK;
}

relora_status relora_adam_flatten_grads(relora_adam *adam, relora_stream *stream)
{
    GIVEN(stream);
    const char *fn = "relora_adam_flatten_grads";
    relora_tensor *flat = NULL;
    int64_t elements, offset = 0;
    TRY(adam_check(adam, stream, fn));
    TRY(check_flatten(adam, fn, &elements));
    TRY(stream_note(stream, tensor_new(&flat, adam->device, fn, RELORA_F32, 1, &elements)));
    relora_status status = copy_gradients(adam, stream, fn, flat);
    if (status < 0) {
        relora_tensor_release(flat);
        return status;
    }
    for (int32_t i = 0; i < adam->registry.count; i++) {
        relora_tensor *grad = adam_at(adam, i)->is.grad;
        tensor_move_into(grad, flat, (size_t)offset * sizeof(float));
        offset += flat_span(grad);
    }
    adam->flat = flat;
    return RELORA_OK;
}

relora_status relora_step_report_init(relora_step_report *report, size_t size)
{
    return report_init(report, size);
}
