/* The optimizer as an object: options, and the registry of parameters. */
#include "adam_comm.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "device.h"

/* ---- options ---- */

static const char *const flag_names[] = {"DECOUPLED", "SKIP_NOT_FINITE", "SHARD_STATE", NULL};

static const struct option adam_rows[] = {
    {FIELD(relora_adam_options, beta1), OPTION_F64, .value = 0.9, .high = 1, .below_high = 1},
    {FIELD(relora_adam_options, beta2), OPTION_F64, .value = 0.999, .high = 1, .below_high = 1},
    {FIELD(relora_adam_options, eps), OPTION_F64, .value = 1e-8, .above_low = 1, .high = NO_LIMIT},
    {FIELD(relora_adam_options, max_norm), OPTION_F64, .high = NO_LIMIT},
    {FIELD(relora_adam_options, flags), OPTION_FLAGS, .value = RELORA_ADAM_DECOUPLED, .names = flag_names,
     .quiet = RELORA_ADAM_SHARD_STATE},
    {FIELD(relora_adam_options, seed), OPTION_U64},
    {FIELD(relora_adam_options, rounding), OPTION_ENUM, .value = RELORA_ROUND_STOCHASTIC,
     .names = rounding_names, .as_number = 1},
    /* is each entry's */
    {FIELD(relora_adam_options, weight_decay), OPTION_F64, .high = (double)FLT_MAX, .quiet = QUIET},
    {FIELD(relora_adam_options, reserved), OPTION_I32, .quiet = QUIET},
    {FIELD(relora_adam_options, comm), OPTION_POINTER, .since = 6},
};
const struct options adam_table = {
    ROWS(adam_rows), .size = sizeof(relora_adam_options),
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

relora_status relora_adam_create(relora_adam **out, relora_device *device, const relora_adam_options *options)
{
    struct call c = {.fn = "relora_adam_create", .ctx = device ? device->ctx : NULL};
    relora_adam_options o;
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_context *ctx = device->ctx;
    struct comm comm;
    TRY(call_read_options(&c, "options", &adam_table, &o, options));
    if (o.eps <= 0x1p-150) FAIL(&c, RELORA_E_ARGUMENT, "options.eps is %g, which is 0 as F32", o.eps);
    TRY(comm_take(&c, "options.comm", &comm, device, o.comm));
    o.comm = NULL; /* it is copied */
    if (comm_has_others(&comm))
        TRY(comm_reserve(&c, &comm)); /* so that no exchange fails for want of memory */
    relora_adam *adam = context_new(ctx, sizeof *adam);
    if (!adam) {
        comm_free(&comm);
        return call_fail_memory(&c, sizeof *adam);
    }
    atomic_init(&adam->refs, 1);
    adam->ctx = ctx;
    adam->device = device;
    adam->options = o;
    adam->comm = comm;
    adam->registry = (struct registry){.ctx = ctx, .size = sizeof(struct adam_entry)};
    *out = adam;
    return RELORA_OK;
}

void adam_drop_entries(relora_adam *adam, int32_t count)
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
    adam_drop_entries(adam, 0);
    comm_free(&adam->comm);
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

relora_status adam_open(struct call *c, const relora_adam *adam, relora_stream *stream)
{
    return call_open(c, stream, "adam", adam ? adam->ctx : NULL, adam ? adam->device : NULL);
}

relora_status adam_check_entry_index(const struct call *c, const relora_adam *adam, int32_t index)
{
    if (index < 0 || index >= adam->registry.count)
        FAIL(c, RELORA_E_NOT_FOUND, "index is %d, but adam has %d parameters", index, adam->registry.count);
    return RELORA_OK;
}

relora_status adam_open_index(struct call *c, const relora_adam *adam, relora_stream *stream, int32_t index)
{
    TRY(adam_open(c, adam, stream));
    return adam_check_entry_index(c, adam, index);
}

/* ---- registration ---- */

relora_status adam_check_part(const struct call *c, const relora_adam *adam, const char *what,
                              const char *name, const relora_tensor *t)
{
    if (!t) FAIL(c, RELORA_E_ARGUMENT, "%s of \"%s\" is NULL", what, name);
    if (t->ctx != adam->ctx) FAIL(c, RELORA_E_CONTEXT, "%s of \"%s\" belongs to another context", what, name);
    if (t->device != adam->device)
        FAIL(c, RELORA_E_DEVICE, "%s of \"%s\" is on %s, adam on %s", what, name, t->device->name,
             adam->device->name);
    return RELORA_OK;
}

relora_status adam_check_dense(const struct call *c, const char *what, const char *name,
                               const relora_tensor *t)
{
    if (!shape_is_dense(&t->shape))
        FAIL(c, RELORA_E_LAYOUT, "%s of \"%s\" has rows %lld apart, but %lld long", what, name,
             (long long)t->shape.ld, (long long)t->shape.cols);
    return RELORA_OK;
}

relora_status adam_check_lent(const struct call *c, const relora_adam *adam, const char *name,
                              const struct member *m)
{
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        if (!e->first) continue; /* in a share, which nobody has lent */
        struct view first = tensor_view(e->first), second = tensor_view(e->second);
        struct view value = tensor_view(m->value), grad = tensor_view(m->grad);
        if (views_overlap(first, value) || views_overlap(second, value) || views_overlap(first, grad) ||
            views_overlap(second, grad))
            FAIL(c, RELORA_E_EXISTS, "param or grad of \"%s\" shares memory with a moment of \"%s\"", name,
                 e->is.name);
    }
    return RELORA_OK;
}

static relora_status check_entry(const struct call *c, const relora_adam *adam, const char *name,
                                 const struct member *m)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (adam->share)
        FAIL(c, RELORA_E_STATE, "the moments lie in shares already; register \"%s\" before the first step",
             name);
    if (!name[0]) FAIL(c, RELORA_E_ARGUMENT, "name is empty");
    TRY(adam_check_part(c, adam, "param", name, m->value));
    TRY(adam_check_part(c, adam, "grad", name, m->grad));
    TRY(adam_check_dense(c, "grad", name, m->grad));
    if (!shape_equal(&m->value->shape, &m->grad->shape))
        FAIL(c, RELORA_E_SHAPE, "param of \"%s\" is %s, but grad is %s", name,
             shape_text(&m->value->shape, a), shape_text(&m->grad->shape, b));
    if (views_overlap(tensor_view(m->value), tensor_view(m->grad)))
        FAIL(c, RELORA_E_ARGUMENT, "param and grad of \"%s\" share memory", name);
    TRY(registry_check(c, &adam->registry, name, m));
    return adam_check_lent(c, adam, name, m);
}

static relora_status make_moment(const struct call *c, relora_tensor **out, const relora_adam *adam,
                                 const struct shape *shape)
{
    TRY(tensor_new(c, out, adam->device, RELORA_F32, shape->ndim, shape->dim));
    return tensor_preset(c, *out, 0);
}

static relora_status make_steps(const struct call *c, relora_adam *adam, struct adam_entry *e)
{
    struct queue *queue = adam->device->queue;
    void *steps = NULL;
    TRY(device_alloc(c, adam->device, queue, sizeof *e->steps, &steps));
    e->steps = steps;
    int64_t zero = 0;
    struct copy copy = {e->steps, &zero, 1, sizeof zero, 0, 0, COPY_TO_DEVICE};
    return device_finish(c, adam->device, adam->device->backend->copy(queue, &copy));
}

/* Make what the optimizer adds to a parameter: two moments, a step count. */
static relora_status fill_entry(const struct call *c, relora_adam *adam, struct adam_entry *e)
{
    e->lr_factor = 1;
    e->weight_decay = adam->options.weight_decay;
    if (!adam_is_sharded(adam)) { /* shares are made when all parameters are known */
        TRY(make_moment(c, &e->first, adam, &e->is.value->shape));
        TRY(make_moment(c, &e->second, adam, &e->is.value->shape));
    }
    return make_steps(c, adam, e);
}

/* ... or go on with what it has. */
static relora_status inherit_entry(const struct call *c, relora_adam *adam, struct adam_entry *e,
                                   const struct adam_entry *from)
{
    e->lr_factor = from->lr_factor;
    e->weight_decay = from->weight_decay;
    linear_replace(&e->first, from->first);
    linear_replace(&e->second, from->second);
    TRY(make_steps(c, adam, e));
    struct copy copy = {e->steps, from->steps, 1, sizeof *e->steps, 0, 0, COPY_ON_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &copy));
}

relora_status adam_register(const struct call *c, relora_adam *adam, const char *name, const struct member *m,
                            relora_param role, const struct adam_entry *from)
{
    void *item;
    TRY(check_entry(c, adam, name, m));
    int64_t at = adam_row(adam);
    TRY(registry_add(c, &adam->registry, name, m, &item));
    struct adam_entry *e = item;
    e->at = at;
    e->generation = m->linear ? m->linear->generation : 0;
    e->role = role;
    relora_status status = from ? inherit_entry(c, adam, e, from) : fill_entry(c, adam, e);
    if (status < 0) adam_drop_entries(adam, adam->registry.count - 1);
    return status;
}

relora_status adam_add(const struct call *c, relora_adam *adam, const char *name, relora_tensor *param,
                       relora_tensor *grad)
{
    if (!adam) FAIL(c, RELORA_E_ARGUMENT, "adam is NULL");
    if (!name) FAIL(c, RELORA_E_ARGUMENT, "name is NULL");
    return adam_register(c, adam, name, &(struct member){.value = param, .grad = grad}, 0, NULL);
}

void adam_drop_last(relora_adam *adam)
{
    adam_drop_entries(adam, adam->registry.count - 1);
}

relora_status relora_adam_add(relora_adam *adam, const char *name, relora_tensor *param, relora_tensor *grad,
                              int32_t *index)
{
    const relora_tensor *first = param ? param : grad; /* where a sentence may go */
    struct call c = {.fn = "relora_adam_add", .ctx = adam ? adam->ctx : first ? first->ctx : NULL};
    TRY(adam_add(&c, adam, name, param, grad));
    if (index) *index = adam->registry.count - 1;
    return RELORA_OK;
}

static relora_status add_part(const struct call *c, relora_adam *adam, const char *prefix,
                              relora_linear *linear, relora_param role, const struct adam_entry *from)
{
    const struct memory *memory = &adam->ctx->memory;
    size_t bytes = strlen(prefix) + 1 + strlen(linear_param_name(role)) + 1;
    char *name = memory_alloc(memory, bytes);
    if (!name) return call_fail_memory(c, bytes);
    snprintf(name, bytes, "%s.%s", prefix, linear_param_name(role));
    struct member m = {.linear = linear, .value = linear->param[role], .grad = linear->grad[role]};
    relora_status status = adam_register(c, adam, name, &m, role, from);
    memory_free(memory, name, bytes);
    return status;
}

/* Of a sum in shares each rank has but a part after a step, and would make another A of it. */
static relora_status check_gradient(const struct call *c, const relora_adam *adam, const char *prefix,
                                    const relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    int uses = (linear->grad[RELORA_PARAM_WEIGHT] && o->rank) || linear->grad[RELORA_PARAM_A];
    if (o->init == RELORA_INIT_GRADIENT && uses && adam_is_sharded(adam))
        FAIL(
            c, RELORA_E_UNSUPPORTED,
            "linear \"%s\" has init GRADIENT, but with RELORA_ADAM_SHARD_STATE no rank has all of a gradient",
            prefix);
    return RELORA_OK;
}

relora_status adam_add_linear(const struct call *c, relora_adam *adam, const char *prefix,
                              relora_linear *linear, const struct registry *old)
{
    static const relora_param order[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_A, RELORA_PARAM_B,
                                         RELORA_PARAM_SCALE, RELORA_PARAM_BIAS};
    if (linear->ctx != adam->ctx) FAIL(c, RELORA_E_CONTEXT, "linear belongs to another context than adam");
    if (linear->options.mode != RELORA_MODE_LOWRANK && !linear->param[RELORA_PARAM_WEIGHT])
        FAIL(c, RELORA_E_STATE, "linear \"%s\" has no weight; call relora_linear_set_weight", prefix);
    TRY(check_gradient(c, adam, prefix, linear));
    int32_t before = adam->registry.count;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!linear->grad[order[i]]) continue;
        const struct adam_entry *from = old ? adam_find_part(old, linear, order[i]) : NULL;
        relora_status status = add_part(c, adam, prefix, linear, order[i], from);
        if (status >= 0) continue;
        adam_drop_entries(adam, before);
        return status;
    }
    linear_set_name(linear, prefix);
    registry_warn(c, &adam->registry, linear);
    return RELORA_OK;
}

relora_status relora_adam_add_linear(relora_adam *adam, const char *prefix, relora_linear *linear)
{
    struct call c = {.fn = "relora_adam_add_linear", .ctx = adam ? adam->ctx : linear ? linear->ctx : NULL};
    if (!adam) FAIL(&c, RELORA_E_ARGUMENT, "adam is NULL");
    if (!prefix) FAIL(&c, RELORA_E_ARGUMENT, "prefix is NULL");
    if (!linear) FAIL(&c, RELORA_E_ARGUMENT, "linear is NULL");
    return adam_add_linear(&c, adam, prefix, linear, NULL);
}

static relora_status add_member(const struct call *c, relora_adam *adam, const struct member *m)
{
    if (!m->value) return adam_add_linear(c, adam, m->name, m->linear, NULL);
    if (!m->grad) return RELORA_OK;
    return adam_register(c, adam, m->name, &(struct member){.value = m->value, .grad = m->grad}, 0, NULL);
}

relora_status relora_adam_add_group(relora_adam *adam, const relora_group *group)
{
    struct call c = {.fn = "relora_adam_add_group", .ctx = adam ? adam->ctx : group ? group->ctx : NULL};
    if (!adam) FAIL(&c, RELORA_E_ARGUMENT, "adam is NULL");
    TRY(group_check_given(&c, group));
    int32_t before = adam->registry.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        relora_status status = add_member(&c, adam, group_at(group, i));
        if (status >= 0) continue;
        adam_drop_entries(adam, before);
        return status;
    }
    if (adam->registry.count == before) FAIL(&c, RELORA_E_STATE, "the group trains nothing");
    return RELORA_OK;
}

relora_status relora_adam_set_factors(relora_adam *adam, int32_t index, double lr_factor, double weight_decay)
{
    if (!adam) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_adam_set_factors", .ctx = adam->ctx};
    TRY(adam_check_entry_index(&c, adam, index));
    if (!is_rate(lr_factor)) FAIL(&c, RELORA_E_ARGUMENT, "lr_factor is %g, and must be 0 or more", lr_factor);
    if (!is_decay(weight_decay))
        FAIL(&c, RELORA_E_ARGUMENT, "weight_decay is %g, and must be 0 or more", weight_decay);
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
    if (!adam) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_adam_find", .ctx = adam->ctx};
    if (!name) FAIL(&c, RELORA_E_ARGUMENT, "name is NULL");
    if (!index) FAIL(&c, RELORA_E_ARGUMENT, "index is NULL");
    for (int32_t i = 0; i < adam->registry.count; i++) {
        if (strcmp(adam_at(adam, i)->is.name, name)) continue;
        *index = i;
        return RELORA_OK;
    }
    FAIL(&c, RELORA_E_NOT_FOUND, "no parameter is called \"%s\"", name);
}

struct adam_entry *adam_find_part(const struct registry *parameters, const relora_linear *linear,
                                  relora_param role)
{
    for (int32_t i = 0; i < parameters->count; i++) {
        struct adam_entry *e = registry_at(parameters, i);
        if (e->is.linear == linear && e->role == role) return e;
    }
    return NULL;
}

int32_t adam_index_of(const relora_adam *adam, const relora_linear *linear, relora_param role)
{
    const struct adam_entry *e = adam_find_part(&adam->registry, linear, role);
    return e ? (int32_t)(e - adam_at(adam, 0)) : -1;
}

relora_tensor *relora_adam_moment(relora_adam *adam, int32_t index, relora_moment moment)
{
    const struct adam_entry *e = entry(adam, index);
    if (!e || adam_is_sharded(adam)) return NULL;
    return moment == RELORA_MOMENT_FIRST ? e->first : moment == RELORA_MOMENT_SECOND ? e->second : NULL;
}

relora_tensor *relora_adam_flat_grad(relora_adam *adam)
{
    return adam ? adam->flat : NULL;
}
