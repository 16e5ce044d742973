/* The sweep over all parameters, as the device finds it: what they are, and pieces of even size. */
#include <string.h>

#include "adam_comm.h"
#include "device.h"

enum { CHUNK = 65536 }; /* elements; a multiple of 4, so that chunks start with a Philox block */

_Static_assert(sizeof(struct adam_param) == 120, "no padding, as refresh() compares bytes");

static int64_t chunks_of(int64_t count)
{
    return (count + CHUNK - 1) / CHUNK;
}

static size_t chunk_bytes(const relora_adam *adam)
{
    return size_mul((size_t)adam->chunk_count, sizeof(struct adam_chunk));
}

static void lay_out(relora_adam *adam, struct scratch *scratch)
{
    adam->device_params = scratch_bytes(scratch, (size_t)adam->registry.count * sizeof *adam->device_params);
    adam->device_chunks = scratch_bytes(scratch, chunk_bytes(adam));
    adam->partials = scratch_bytes(scratch, size_mul((size_t)adam->chunk_count, sizeof *adam->partials));
    adam->control = scratch_bytes(scratch, sizeof *adam->control);
    adam->squares = scratch_bytes(scratch, sizeof *adam->squares);
}

static relora_status allocate(const struct call *c, relora_adam *adam)
{
    const relora_device *device = adam->device;
    struct scratch scratch = {0};
    size_t bytes = (size_t)adam->registry.count * sizeof *adam->params;
    adam->chunk_count = 0;
    for (int32_t i = 0; i < adam->registry.count; i++)
        adam->chunk_count += chunks_of(adam_own(adam, i).count);
    adam->params = memory_alloc_zero(&adam->ctx->memory, bytes);
    if (!adam->params) return call_fail_memory(c, bytes);
    adam->planned = adam->registry.count;
    adam->stale = 1;
    lay_out(adam, &scratch);
    adam->plan_bytes = scratch.used;
    TRY(device_alloc(c, device, device->queue, adam->plan_bytes, &adam->plan));
    scratch = (struct scratch){adam->plan, 0};
    lay_out(adam, &scratch);
    return RELORA_OK;
}

/* Chunks stay as they are: through the device's own queue, and done. */
static relora_status send_chunks(const struct call *c, const relora_adam *adam)
{
    const relora_device *device = adam->device;
    const struct memory *memory = &adam->ctx->memory;
    size_t bytes = chunk_bytes(adam);
    if (!bytes) return RELORA_OK; /* fewer elements than ranks */
    struct adam_chunk *chunks = memory_alloc_zero(memory, bytes);
    if (!chunks) return call_fail_memory(c, bytes);
    int64_t k = 0;
    for (int32_t i = 0; i < adam->registry.count; i++) {
        int64_t n = adam_own(adam, i).count;
        for (int64_t start = 0; start < n; start += CHUNK)
            chunks[k++] = (struct adam_chunk){i, start, n - start < CHUNK ? n - start : CHUNK};
    }
    struct copy copy = {adam->device_chunks, chunks, 1, bytes, 0, 0, COPY_TO_DEVICE};
    relora_status status = device_finish(c, device, device->backend->copy(device->queue, &copy));
    memory_free(memory, chunks, bytes);
    return status;
}

static relora_status make_plan(const struct call *c, relora_adam *adam)
{
    if (adam->planned == adam->registry.count) return RELORA_OK;
    adam_plan_free(adam);
    relora_status status = allocate(c, adam);
    if (status >= 0) status = send_chunks(c, adam);
    if (status < 0) adam_plan_free(adam);
    return status;
}

static void *element_at(const relora_tensor *t, int64_t index)
{
    return (unsigned char *)t->data + (size_t)index * dtype_size(t->shape.dtype);
}

/* What is rounded as its layer says, W and a BF16 bias, draws as a function of the layer. */
static struct draw param_draw(const relora_adam *adam, const struct adam_entry *e, int32_t i)
{
    switch (e->role) {
    case RELORA_PARAM_WEIGHT: return linear_draw(e->is.linear, DRAW_TRAIN, 0);
    case RELORA_PARAM_BIAS: return linear_draw(e->is.linear, DRAW_TRAIN_BIAS, 0);
    default: return draw_make(adam->options.seed, (uint64_t)i, DRAW_TRAIN_PARAM, 0);
    }
}

static struct adam_param param_now(const relora_adam *adam, int32_t i)
{
    const struct adam_entry *e = adam_at(adam, i);
    struct adam_own own = adam_own(adam, i);
    const struct shape *s = &e->is.value->shape;
    int64_t gap = shape_is_dense(s) ? 0 : s->ld - s->cols;
    return (struct adam_param){
        .param = element_at(e->is.value, gap ? 0 : own.first),
        .grad = element_at(e->is.grad, own.first),
        .m = e->first ? e->first->data : NULL,
        .v = e->second ? e->second->data : NULL,
        .count = own.count,
        .cols = s->cols,
        .gap = gap,
        .param_dtype = s->dtype,
        .grad_dtype = e->is.grad->shape.dtype,
        .lr_factor = e->lr_factor,
        .weight_decay = e->weight_decay,
        .rounding = e->is.linear ? e->is.linear->options.rounding : adam->options.rounding,
        .draw = param_draw(adam, e, i),
        .steps = e->steps,
        .first = own.first,
    };
}

/* Pointers may have moved since the last sweep, and factors changed. If not, nothing is queued: a graph
 * that was captured from a step has no copy from the host in it. */
static relora_status refresh(const struct call *c, relora_adam *adam)
{
    int32_t failures = atomic_load(&adam->device->failures);
    if (adam->failures != failures) adam->stale = 1; /* who knows what became of a copy */
    for (int32_t i = 0; i < adam->registry.count; i++) {
        struct adam_param now = param_now(adam, i);
        if (!memcmp(&adam->params[i], &now, sizeof now)) continue;
        adam->params[i] = now;
        adam->stale = 1;
    }
    if (!adam->stale) return RELORA_OK;
    size_t bytes = (size_t)adam->registry.count * sizeof *adam->params;
    struct copy copy = {adam->device_params, adam->params, 1, bytes, 0, 0, COPY_TO_DEVICE};
    TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
    adam->stale = 0;
    adam->failures = failures;
    return RELORA_OK;
}

static relora_status check_memory(const struct call *c, const relora_adam *adam)
{
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        TRY(adam_check_memory(c, e, "param", e->is.value));
        TRY(adam_check_memory(c, e, "grad", e->is.grad));
        TRY(adam_check_moments(c, adam, i));
    }
    return RELORA_OK;
}

static int have_gaps(const relora_adam *adam)
{
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (adam->params[i].gap) return 1;
    return 0;
}

relora_status adam_sweep_open(const struct call *c, struct adam *sweep, relora_adam *adam)
{
    if (!adam->registry.count) FAIL(c, RELORA_E_STATE, "no parameter is registered");
    TRY(check_memory(c, adam));
    TRY(adam_share(c, adam));
    TRY(make_plan(c, adam));
    TRY(refresh(c, adam));
    *sweep = (struct adam){
        .params = adam->device_params,
        .chunks = adam->device_chunks,
        .param_count = adam->registry.count,
        .chunk_count = adam->chunk_count,
        .gaps = have_gaps(adam),
        .grad_scale = 1,
        .beta1 = adam->options.beta1,
        .beta2 = adam->options.beta2,
        .eps = adam->options.eps,
        .max_norm = adam->options.max_norm,
        .flags = adam->options.flags,
        .partials = adam->partials,
        .control = adam->control,
        .squares = adam_is_sharded(adam) ? adam->squares : NULL,
    };
    return RELORA_OK;
}
