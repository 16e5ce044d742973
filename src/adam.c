/* The optimizer as an object: options, and the registry of parameters. */
#include "adam.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "device.h"

/* ---- options ---- */

static const char *const flag_names[] = {"DECOUPLED", "SKIP_NOT_FINITE", NULL};

static const struct option adam_rows[] = {
    {FIELD(relora_adam_options, beta1), OPTION_F64, .value = 0.9, .high = 1, .below_high = 1},
    {FIELD(relora_adam_options, beta2), OPTION_F64, .value = 0.999, .high = 1, .below_high = 1},
    {FIELD(relora_adam_options, eps), OPTION_F64, .value = 1e-8, .above_low = 1, .high = NO_LIMIT},
    {FIELD(relora_adam_options, max_norm), OPTION_F64, .high = NO_LIMIT},
    {FIELD(relora_adam_options, flags), OPTION_FLAGS, .value = RELORA_ADAM_DECOUPLED, .names = flag_names},
    {FIELD(relora_adam_options, seed), OPTION_U64},
    {FIELD(relora_adam_options, rounding), OPTION_ENUM, .value = RELORA_ROUND_STOCHASTIC,
     .names = rounding_names, .as_number = 1},
    {FIELD(relora_adam_options, weight_decay), OPTION_F64, .high = (double)FLT_MAX, .quiet = QUIET}, /* is each entry's */
    {FIELD(relora_adam_options, reserved), OPTION_I32, .quiet = QUIET},
};
const struct options adam_table = {
    ROWS(adam_rows),
    .size = sizeof(relora_adam_options),
    .first_size = END_OF(relora_adam_options, reserved), /* 0.1 */
};

relora_status relora_adam_options_init(relora_adam_options *options, size_t size)
{
    return options_write(&adam_table, options, size);
}

static int is_rate(double x) /* 0 or more, and a number */
{
    return isfinite(x) && x >= 0;
}

static int is_decay(double x) /* it multiplies in F32 */
{
    return x >= 0 && x <= (double)FLT_MAX;
}

/* ---- life ---- */

relora_status relora_adam_create(relora_adam **out, relora_device *device,
                                 const relora_adam_options *options)
{
    const char *fn = "relora_adam_create";
    relora_adam_options o;
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_context *ctx = device->ctx;
    TRY(context_read_options(ctx, fn, "options", &adam_table, &o, options));
    if ((float)o.eps <= 0) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.eps is %g, which is 0 as F32", fn, o.eps);
    relora_adam *adam = context_new(ctx, sizeof *adam);
    if (!adam) return context_fail_memory(ctx, fn, sizeof *adam);
    atomic_init(&adam->refs, 1);
    adam->ctx = ctx;
    adam->device = device;
    adam->options = o;
    adam->registry = (struct registry){.ctx = ctx, .size = sizeof(struct adam_entry)};
    *out = adam;
    return RELORA_OK;
}

/* Let go of what the optimizer has made for the last parameters, and of them, so that `count` stay. */
static void drop_entries(relora_adam *adam, int32_t count)
{
    const relora_device *device = adam->device;
    for (int32_t i = adam->registry.count - 1; i >= count; i--) {
        struct adam_entry *e = adam_at(adam, i);
        relora_tensor_release(e->first);
        relora_tensor_release(e->second);
        if (e->steps) device->backend->release(device->queue, e->steps, sizeof *e->steps);
    }
    registry_shrink(&adam->registry, count);
}

void adam_plan_free(relora_adam *adam)
{
    const relora_device *device = adam->device;
    memory_free(&adam->ctx->memory, adam->params, (size_t)adam->planned * sizeof *adam->params);
    if (adam->plan) device->backend->release(device->queue, adam->plan, adam->plan_bytes);
    adam->params = NULL;
    adam->plan = NULL;
    adam->planned = 0;
}

static void destroy(relora_adam *adam)
{
    adam_plan_free(adam);
    drop_entries(adam, 0);
    registry_free(&adam->registry);
    relora_tensor_release(adam->flat);
    context_delete(adam->ctx, adam, sizeof *adam);
}

void adam_retain(relora_adam *adam)
{
    atomic_fetch_add_explicit(&adam->refs, 1, memory_order_relaxed);
}

void relora_adam_release(relora_adam *adam)
{
    if (adam && atomic_fetch_sub_explicit(&adam->refs, 1, memory_order_acq_rel) == 1) destroy(adam);
}

/* ---- arguments ---- */

relora_status adam_check(const relora_adam *adam, const relora_stream *stream, const char *fn)
{
    if (!adam) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    if (!stream) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != adam->ctx)
        FAIL(adam->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than adam", fn);
    if (stream->device != adam->device)
        FAIL(adam->ctx, RELORA_E_DEVICE, "%s: stream is on %s, adam on %s", fn, stream->device->name,
             adam->device->name);
    return stream_check(stream, fn);
}

relora_status adam_check_tensor(const relora_adam *adam, const relora_stream *stream, const char *fn,
                                const relora_tensor *tensor, const char *name)
{
    if (!adam && !stream && tensor) FAIL(tensor->ctx, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    TRY(adam_check(adam, stream, fn));
    return tensor_check(tensor, stream, fn, name);
}

relora_status adam_check_entry_index(const relora_adam *adam, const char *fn, int32_t index)
{
    if (index < 0 || index >= adam->registry.count)
        FAIL(adam->ctx, RELORA_E_NOT_FOUND, "%s: index is %d, but adam has %d parameters", fn, index,
             adam->registry.count);
    return RELORA_OK;
}

relora_status adam_check_index(const relora_adam *adam, const relora_stream *stream, const char *fn,
                               int32_t index)
{
    TRY(adam_check(adam, stream, fn));
    return adam_check_entry_index(adam, fn, index);
}

/* ---- registration ---- */

relora_status adam_check_part(const relora_adam *adam, const char *fn, const char *what, const char *name,
                              const relora_tensor *t)
{
    if (!t) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: %s of \"%s\" is NULL", fn, what, name);
    if (t->ctx != adam->ctx)
        FAIL(adam->ctx, RELORA_E_CONTEXT, "%s: %s of \"%s\" belongs to another context", fn, what, name);
    if (t->device != adam->device)
        FAIL(adam->ctx, RELORA_E_DEVICE, "%s: %s of \"%s\" is on %s, adam on %s", fn, what, name,
             t->device->name, adam->device->name);
    if (!shape_is_dense(&t->shape))
        FAIL(adam->ctx, RELORA_E_LAYOUT, "%s: %s of \"%s\" has rows %lld apart, but %lld long", fn, what,
             name, (long long)t->shape.ld, (long long)t->shape.cols);
    return RELORA_OK;
}

static relora_status check_entry(const relora_adam *adam, const char *fn, const char *name,
                                 const struct member *m)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!name[0]) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: name is empty", fn);
    TRY(adam_check_part(adam, fn, "param", name, m->value));
    TRY(adam_check_part(adam, fn, "grad", name, m->grad));
    if (!shape_equal(&m->value->shape, &m->grad->shape))
        FAIL(adam->ctx, RELORA_E_SHAPE, "%s: param of \"%s\" is %s, but grad is %s", fn, name,
             shape_text(&m->value->shape, a), shape_text(&m->grad->shape, b));
    if (views_overlap(tensor_view(m->value), tensor_view(m->grad)))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: param and grad of \"%s\" share memory", fn, name);
    TRY(registry_check(&adam->registry, fn, name, m));
    return adam_check_lent(adam, fn, name, m);
}

static relora_status make_moment(relora_tensor **out, const relora_adam *adam, const char *fn,
                                 const struct shape *shape)
{
    TRY(tensor_new(out, adam->device, fn, RELORA_F32, shape->ndim, shape->dim));
    return tensor_preset(*out, fn, 0);
}

/* Make what the optimizer adds to a parameter: two moments, a step count. */
static relora_status fill_entry(relora_adam *adam, const char *fn, struct adam_entry *e)
{
    TRY(make_moment(&e->first, adam, fn, &e->is.value->shape));
    TRY(make_moment(&e->second, adam, fn, &e->is.value->shape));
    struct queue *queue = adam->device->queue;
    void *steps = NULL;
    TRY(device_alloc(adam->device, queue, fn, sizeof *e->steps, &steps));
    e->steps = steps;
    int64_t zero = 0;
    struct copy copy = {e->steps, &zero, 1, sizeof zero, 0, 0, COPY_TO_DEVICE};
    return device_finish(adam->device, adam->device->backend->copy(queue, &copy), fn);
}

static relora_status add(relora_adam *adam, const char *fn, const char *name, const struct member *m,
                         relora_param role)
{
    void *item;
    TRY(check_entry(adam, fn, name, m));
    TRY(registry_add(&adam->registry, fn, name, m, &item));
    struct adam_entry *e = item;
    e->lr_factor = 1;
    e->weight_decay = adam->options.weight_decay;
    e->generation = m->linear ? m->linear->generation : 0;
    e->role = role;
    relora_status status = fill_entry(adam, fn, e);
    if (status < 0) drop_entries(adam, adam->registry.count - 1);
    return status;
}

relora_status adam_add(relora_adam *adam, const char *fn, const char *name, relora_tensor *param, relora_tensor *grad)
{
    if (!adam) FAIL(param ? param->ctx : grad ? grad->ctx : NULL, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    if (!name) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: name is NULL", fn);
    return add(adam, fn, name, &(struct member){.value = param, .grad = grad}, 0);
}

void adam_drop_last(relora_adam *adam)
{
    drop_entries(adam, adam->registry.count - 1);
}

relora_status relora_adam_add(relora_adam *adam, const char *name, relora_tensor *param,
                              relora_tensor *grad, int32_t *index)
{
    const char *fn = "relora_adam_add";
    TRY(adam_add(adam, fn, name, param, grad));
    if (index) *index = adam->registry.count - 1;
    return RELORA_OK;
}

static relora_status add_part(relora_adam *adam, const char *fn, const char *prefix,
                              relora_linear *linear, relora_param role)
{
    const struct memory *memory = &adam->ctx->memory;
    size_t bytes = strlen(prefix) + 1 + strlen(linear_param_name(role)) + 1;
    char *name = memory_alloc(memory, bytes);
    if (!name) return context_fail_memory(adam->ctx, fn, bytes);
    snprintf(name, bytes, "%s.%s", prefix, linear_param_name(role));
    struct member m = {.linear = linear, .value = linear->param[role], .grad = linear->grad[role]};
    relora_status status = add(adam, fn, name, &m, role);
    memory_free(memory, name, bytes);
    return status;
}

static relora_status add_linear(relora_adam *adam, const char *fn, const char *prefix, relora_linear *linear)
{
    static const relora_param order[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_A, RELORA_PARAM_B,
                                         RELORA_PARAM_SCALE, RELORA_PARAM_BIAS};
    if (linear->ctx != adam->ctx)
        FAIL(adam->ctx, RELORA_E_CONTEXT, "%s: linear belongs to another context than adam", fn);
    if (linear->options.mode != RELORA_MODE_LOWRANK && !linear->param[RELORA_PARAM_WEIGHT])
        FAIL(adam->ctx, RELORA_E_STATE, "%s: linear \"%s\" has no weight; call relora_linear_set_weight",
             fn, prefix);
    int32_t before = adam->registry.count;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!linear->grad[order[i]]) continue;
        relora_status status = add_part(adam, fn, prefix, linear, order[i]);
        if (status >= 0) continue;
        drop_entries(adam, before);
        return status;
    }
    linear_set_name(linear, prefix);
    registry_warn(&adam->registry, fn, linear);
    return RELORA_OK;
}

relora_status relora_adam_add_linear(relora_adam *adam, const char *prefix, relora_linear *linear)
{
    const char *fn = "relora_adam_add_linear";
    if (!adam) FAIL(linear ? linear->ctx : NULL, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    if (!prefix) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: prefix is NULL", fn);
    if (!linear) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    return add_linear(adam, fn, prefix, linear);
}

static relora_status add_member(relora_adam *adam, const char *fn, const struct member *m)
{
    if (!m->value) return add_linear(adam, fn, m->name, m->linear);
    if (!m->grad) return RELORA_OK;
    return add(adam, fn, m->name, &(struct member){.value = m->value, .grad = m->grad}, 0);
}

relora_status relora_adam_add_group(relora_adam *adam, const relora_group *group)
{
    const char *fn = "relora_adam_add_group";
    if (!adam) FAIL(group ? group->ctx : NULL, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    TRY(group_check_given(group, adam->ctx, fn));
    int32_t before = adam->registry.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        relora_status status = add_member(adam, fn, group_at(group, i));
        if (status >= 0) continue;
        drop_entries(adam, before);
        return status;
    }
    if (adam->registry.count == before) FAIL(adam->ctx, RELORA_E_STATE, "%s: the group trains nothing", fn);
    return RELORA_OK;
}

relora_status relora_adam_set_factors(relora_adam *adam, int32_t index, double lr_factor,
                                      double weight_decay)
{
    const char *fn = "relora_adam_set_factors";
    if (!adam) return RELORA_E_ARGUMENT;
    TRY(adam_check_entry_index(adam, fn, index));
    if (!is_rate(lr_factor))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: lr_factor is %g, and must be 0 or more", fn, lr_factor);
    if (!is_decay(weight_decay))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: weight_decay is %g, and must be 0 or more", fn,
             weight_decay);
    adam_at(adam, index)->lr_factor = lr_factor;
    adam_at(adam, index)->weight_decay = weight_decay;
    return RELORA_OK;
}

/* ---- what is registered ---- */

int32_t relora_adam_count(const relora_adam *adam)
{
    return adam ? adam->registry.count : -1;
}

static struct adam_entry *entry(const relora_adam *adam, int32_t index)
{
    return adam && index >= 0 && index < adam->registry.count ? adam_at(adam, index) : NULL;
}

const char *relora_adam_name(const relora_adam *adam, int32_t index)
{
    const struct adam_entry *e = entry(adam, index);
    return e ? e->is.name : NULL;
}

relora_status relora_adam_find(const relora_adam *adam, const char *name, int32_t *index)
{
    const char *fn = "relora_adam_find";
    if (!adam) return RELORA_E_ARGUMENT;
    if (!name) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: name is NULL", fn);
    if (!index) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: index is NULL", fn);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        if (strcmp(adam_at(adam, i)->is.name, name)) continue;
        *index = i;
        return RELORA_OK;
    }
    FAIL(adam->ctx, RELORA_E_NOT_FOUND, "%s: no parameter is called \"%s\"", fn, name);
}

int32_t adam_index_of(const relora_adam *adam, const relora_linear *linear, relora_param role)
{
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (adam_at(adam, i)->is.linear == linear && adam_at(adam, i)->role == role) return i;
    return -1;
}

relora_tensor *relora_adam_moment(relora_adam *adam, int32_t index, relora_moment moment)
{
    const struct adam_entry *e = entry(adam, index);
    if (!e) return NULL;
    return moment == RELORA_MOMENT_FIRST ? e->first : moment == RELORA_MOMENT_SECOND ? e->second : NULL;
}

relora_tensor *relora_adam_flat_grad(relora_adam *adam)
{
    return adam ? adam->flat : NULL;
}

/* ---- step counts ---- */

relora_status adam_write_steps(relora_adam *adam, struct queue *queue, int32_t index, int64_t steps)
{
    struct copy copy = {adam_at(adam, index)->steps, &steps, 1, sizeof steps, 0, 0, COPY_TO_DEVICE};
    return adam->device->backend->copy(queue, &copy);
}

relora_status adam_read_steps(const relora_adam *adam, relora_stream *stream, const char *fn,
                              int32_t index, int64_t *steps)
{
    const struct backend *backend = adam->device->backend;
    struct copy copy = {steps, adam_at(adam, index)->steps, 1, sizeof *steps, 0, 0, COPY_TO_HOST};
    TRY_QUEUE(stream, fn, backend->copy(stream->queue, &copy));
    TRY_QUEUE(stream, fn, backend->queue_sync(stream->queue));
    return RELORA_OK;
}

relora_status relora_adam_steps(relora_adam *adam, relora_stream *stream, int32_t index,
                                int64_t *steps)
{
    GIVEN(stream);
    const char *fn = "relora_adam_steps";
    TRY(adam_check_index(adam, stream, fn, index));
    if (!steps) FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: steps is NULL", fn);
    return adam_read_steps(adam, stream, fn, index, steps);
}

relora_status relora_adam_set_steps(relora_adam *adam, relora_stream *stream, int32_t index,
                                    int64_t steps)
{
    GIVEN(stream);
    const char *fn = "relora_adam_set_steps";
    TRY(adam_check_index(adam, stream, fn, index));
    if (steps < 0 || steps > ADAM_STEPS_MAX)
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: steps is %lld, outside 0 to 2^53", fn, (long long)steps);
    TRY_QUEUE(stream, fn, adam_write_steps(adam, stream->queue, index, steps));
    return RELORA_OK;
}
