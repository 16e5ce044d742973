/* Calls that sweep over all parameters: the step, the norm, and gradients in one piece. */
#include <float.h>
#include <math.h>

#include "adam_comm.h"

static relora_status read_back(const struct call *c, void *to, const void *from, size_t bytes)
{
    struct copy up = {to, from, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

static relora_status read_control(const struct call *c, const relora_adam *adam, struct adam_control *control)
{
    return read_back(c, control, adam->control, sizeof *control);
}

/* ---- step ---- */

static relora_status check_step(const struct call *c, const relora_adam *adam, double grad_scale)
{
    if (!(fabs(grad_scale) <= (double)FLT_MAX))
        FAIL(c, RELORA_E_ARGUMENT, "grad_scale is %g, not a finite number in F32", grad_scale);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        if (e->is.linear && e->is.linear->generation != e->generation)
            FAIL(c, RELORA_E_STATE,
                 "the layer of \"%s\" has changed its mode or weight; call relora_adam_refresh or make a new "
                 "optimizer",
                 e->is.name);
    }
    return RELORA_OK;
}

/* After adam_norm: the first gradient whose squares do not add up to a number, of which there is one. */
static relora_status fail_not_finite(const struct call *c, const relora_adam *adam)
{
    enum { MANY = 256 };
    double sums[MANY];
    struct adam_chunk chunk = {0};
    int64_t k = 0;
    for (int64_t first = 0; k == first && first < adam->chunk_count; first += MANY) {
        int64_t n = adam->chunk_count - first < MANY ? adam->chunk_count - first : MANY;
        TRY(read_back(c, sums, adam->partials + first, (size_t)n * sizeof *sums));
        while (k < first + n && isfinite(sums[k - first])) k++;
    }
    if (k == adam->chunk_count) /* it is in another rank's share */
        FAIL(c, RELORA_E_NOT_FINITE,
             "a gradient holds a NaN or an infinity, which clipping would spread to all; "
             "nothing was changed");
    TRY(read_back(c, &chunk, adam->device_chunks + k, sizeof chunk));
    FAIL(c, RELORA_E_NOT_FINITE,
         "the gradient of \"%s\" holds a NaN or an infinity, which clipping would spread to all; "
         "nothing was changed",
         adam_at(adam, chunk.param)->is.name);
}

/* What the step decides, equal on all ranks. */
static relora_status find_norm(const struct call *c, const relora_adam *adam, const struct adam *sweep)
{
    TRY(call_queue(c, c->backend->adam_norm(c->queue, sweep)));
    if (!sweep->squares) return RELORA_OK;
    TRY(adam_sum_squares(c, adam, sweep->squares));
    return call_queue(c, c->backend->adam_decide(c->queue, sweep));
}

/* The gradients of all ranks. */
static relora_status meet_others(const struct call *c, relora_adam *adam)
{
    if (!comm_has_others(&adam->comm)) return RELORA_OK;
    TRY(adam_check_same(c, adam));
    return adam_sum_grads(c, adam);
}

/* With the learning rate on the device, if `lr_device` is not NULL. */
static relora_status step(const struct call *c, relora_adam *adam, double lr, const float *lr_device,
                          double grad_scale, relora_step_report *report)
{
    relora_step_report r = {.struct_size = sizeof r};
    struct adam sweep;
    struct adam_control control;
    TRY(check_step(c, adam, grad_scale));
    TRY(call_write_report(c, "report", report, &r, sizeof r));
    TRY(adam_sweep_open(c, &sweep, adam));
    sweep.lr = lr;
    sweep.lr_device = lr_device;
    sweep.grad_scale = grad_scale;
    sweep.need_norm = report || sweep.max_norm > 0 || sweep.flags & RELORA_ADAM_SKIP_NOT_FINITE;
    TRY(meet_others(c, adam));
    if (sweep.need_norm) TRY(find_norm(c, adam, &sweep));
    TRY(call_queue(c, c->backend->adam_step(c->queue, &sweep)));
    if (adam_is_sharded(adam)) TRY(adam_gather_params(c, adam));
    int refuses = sweep.max_norm > 0 && !(sweep.flags & RELORA_ADAM_SKIP_NOT_FINITE);
    if (!report && !(refuses && c->backend->kind == RELORA_DEVICE_CPU))
        return RELORA_OK; /* others need not wait */
    TRY(read_control(c, adam, &control));
    r.skipped = control.skip;
    r.grad_norm = control.grad_norm;
    r.clip_factor = control.clip_factor;
    TRY(report_write(report, &r, sizeof r));
    return refuses && control.skip ? fail_not_finite(c, adam) : RELORA_OK;
}

/* For the cycle, which says so if it is to merge at a high rate. */
static void note_rate(relora_adam *adam, double lr)
{
    adam->last_rate = lr;
    adam->highest_rate = adam->rates++ && adam->highest_rate > lr ? adam->highest_rate : lr;
}

relora_status relora_adam_step(relora_adam *adam, relora_stream *stream, double lr, double grad_scale,
                               relora_step_report *report)
{
    struct call c = {.fn = "relora_adam_step"};
    TRY(adam_open(&c, adam, stream));
    if (!(lr >= 0 && lr <= (double)FLT_MAX))
        FAIL(&c, RELORA_E_ARGUMENT, "lr is %g, and must be 0 or more, and finite in F32", lr);
    TRY(step(&c, adam, lr, NULL, grad_scale, report));
    note_rate(adam, lr);
    return RELORA_OK;
}

relora_status relora_adam_step_lr(relora_adam *adam, relora_stream *stream, const relora_tensor *lr,
                                  double grad_scale, relora_step_report *report)
{
    struct call c = {.fn = "relora_adam_step_lr", .ctx = lr ? lr->ctx : NULL};
    char text[SHAPE_TEXT];
    TRY(adam_open(&c, adam, stream));
    TRY(tensor_check(&c, lr, "lr"));
    if (lr->shape.dtype != RELORA_F32)
        FAIL(&c, RELORA_E_DTYPE, "lr is %s, but must be F32", dtype_name(lr->shape.dtype));
    if (lr->shape.count != 1)
        FAIL(&c, RELORA_E_SHAPE, "lr is %s, but must have one element", shape_text(&lr->shape, text));
    adam->rates = 0; /* this one is known to the device alone */
    return step(&c, adam, 0, lr->data, grad_scale, report);
}

relora_status relora_adam_grad_norm(relora_adam *adam, relora_stream *stream, double *norm)
{
    struct call c = {.fn = "relora_adam_grad_norm"};
    struct adam sweep;
    struct adam_control control;
    TRY(adam_open(&c, adam, stream));
    if (!norm) FAIL(&c, RELORA_E_ARGUMENT, "norm is NULL");
    if (adam_is_sharded(adam))
        FAIL(&c, RELORA_E_UNSUPPORTED, "adam has RELORA_ADAM_SHARD_STATE; the report of a step has the norm");
    TRY(adam_sweep_open(&c, &sweep, adam));
    TRY(call_queue(&c, c.backend->adam_norm(c.queue, &sweep)));
    TRY(read_control(&c, adam, &control));
    *norm = control.grad_norm;
    return RELORA_OK;
}

relora_status relora_adam_zero_grad(relora_adam *adam, relora_stream *stream)
{
    struct call c = {.fn = "relora_adam_zero_grad"};
    TRY(adam_open(&c, adam, stream));
    for (int32_t i = 0; i < adam->registry.count; i++)
        TRY(adam_check_memory(&c, adam_at(adam, i), "grad", adam_at(adam, i)->is.grad));
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        TRY(call_queue(&c, c.backend->fill(c.queue, tensor_view(e->is.grad), 0)));
        if (e->role == RELORA_PARAM_B) TRY(linear_zero_sketch(&c, e->is.linear));
    }
    return RELORA_OK;
}

/* ---- gradients in one piece ---- */

static int64_t flat_span(const relora_tensor *grad) /* elements it takes in the buffer */
{
    return adam_span(grad->shape.count);
}

/* Nobody else may look at memory that is given back. */
static relora_status check_movable(const struct call *c, const relora_tensor *grad, const char *name)
{
    if (grad->shape.dtype != RELORA_F32)
        FAIL(c, RELORA_E_DTYPE, "the gradient of \"%s\" is %s, but must be F32", name,
             dtype_name(grad->shape.dtype));
    if (grad->memory == MEMORY_BORROWED || grad->memory == MEMORY_MANAGED)
        FAIL(c, RELORA_E_STATE, "the memory of the gradient of \"%s\" is borrowed", name);
    if (grad->memory == MEMORY_WHOLE)
        FAIL(c, RELORA_E_STATE, "the gradient of \"%s\" is itself a buffer of gradients", name);
    if (atomic_load_explicit(&grad->shares, memory_order_acquire))
        FAIL(c, RELORA_E_STATE, "the gradient of \"%s\" is shared by relora_tensor_to_dlpack", name);
    return RELORA_OK;
}

static relora_status check_flatten(const struct call *c, const relora_adam *adam, int64_t *elements)
{
    *elements = 0;
    if (adam->flat) FAIL(c, RELORA_E_STATE, "the gradients are in one buffer already");
    if (!adam->registry.count) FAIL(c, RELORA_E_STATE, "no parameter is registered");
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        TRY(check_movable(c, e->is.grad, e->is.name));
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

static relora_status copy_gradients(const struct call *c, relora_adam *adam, relora_tensor *flat)
{
    struct scale one = {.value = 1};
    int64_t offset = 0;
    TRY(call_queue(c, c->backend->fill(c->queue, tensor_view(flat), 0)));
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const relora_tensor *grad = adam_at(adam, i)->is.grad;
        TRY(call_convert(c, flat_part(flat, grad, offset), tensor_view(grad), one));
        offset += flat_span(grad);
    }
    return RELORA_OK;
}

relora_status relora_adam_flatten_grads(relora_adam *adam, relora_stream *stream)
{
    struct call c = {.fn = "relora_adam_flatten_grads"};
    relora_tensor *flat = NULL;
    int64_t elements, offset = 0;
    TRY(adam_open(&c, adam, stream));
    TRY(check_flatten(&c, adam, &elements));
    TRY(tensor_new(&c, &flat, adam->device, RELORA_F32, 1, &elements));
    relora_status status = copy_gradients(&c, adam, flat);
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
