/* The one list of layers and parameters: a group has it, an optimizer, a cycle and a state. */
#include "group.h"

#include <stdio.h>
#include <string.h>

#include "list.h"

/* ---- doubles ---- */

/* A member in a sentence: `"norm.weight"`, `layer "head"` or `layer 3`. */
static const char *member_text(const char *name, const struct member *m, char text[LABEL_TEXT])
{
    if (!m->value) return linear_label(m->linear, text);
    snprintf(text, LABEL_TEXT, "\"%.*s\"", (int)text_fit(name, LINEAR_NAME), name);
    return text;
}

/* The memory that training or merging writes; what is not there overlaps nothing. */
static struct view member_value(const struct member *m)
{
    const relora_tensor *t = m->value ? m->value : m->linear->param[RELORA_PARAM_WEIGHT];
    return t ? tensor_view(t) : (struct view){0};
}

static struct view member_grad(const struct member *m)
{
    return m->grad ? tensor_view(m->grad) : (struct view){0};
}

static int members_overlap(const struct member *a, const struct member *b)
{
    struct view av = member_value(a), ag = member_grad(a), bv = member_value(b), bg = member_grad(b);
    return views_overlap(av, bv) || views_overlap(av, bg) || views_overlap(ag, bv) || views_overlap(ag, bg);
}

static relora_status fail_overlap(const struct registry *r, const char *fn, const char *name,
                                  const struct member *new, const struct member *old)
{
    char ours[LABEL_TEXT], theirs[LABEL_TEXT];
    if (new->value)
        FAIL(r->ctx, RELORA_E_EXISTS, "%s: param or grad of %s shares memory with %s", fn,
             member_text(name, new, ours), member_text(old->name, old, theirs));
    FAIL(r->ctx, RELORA_E_EXISTS, "%s: linear (%s) shares its weight with %s", fn,
         member_text(name, new, ours), member_text(old->name, old, theirs));
}

relora_status registry_check(const struct registry *r, const char *fn, const char *name,
                             const struct member *new)
{
    char text[LABEL_TEXT];
    for (int32_t i = 0; i < r->count; i++) {
        const struct member *old = registry_at(r, i);
        if (name && !strcmp(old->name, name))
            FAIL(r->ctx, RELORA_E_EXISTS, "%s: name \"%s\" is registered already", fn, name);
        if (!new->value && !old->value && new->linear == old->linear)
            FAIL(r->ctx, RELORA_E_EXISTS, "%s: linear (%s) is registered already", fn,
                 linear_label(old->linear, text));
        if (members_overlap(old, new)) return fail_overlap(r, fn, name, new, old);
    }
    return RELORA_OK;
}

/* ---- adding ---- */

static void member_free(const struct memory *memory, struct member *m)
{
    if (m->name) memory_free(memory, m->name, strlen(m->name) + 1);
    relora_linear_release(m->linear);
    relora_tensor_release(m->value);
    relora_tensor_release(m->grad);
}

relora_status registry_add(struct registry *r, const char *fn, const char *name, const struct member *new,
                           void **item)
{
    struct member own = *new;
    TRY(list_grow(r->ctx, fn, &r->items, r->count, &r->capacity, r->size));
    own.name = name ? memory_string(&r->ctx->memory, name) : NULL;
    if (name && !own.name) return context_fail_memory(r->ctx, fn, strlen(name) + 1);
    *item = registry_at(r, r->count++);
    memset(*item, 0, r->size);
    memcpy(*item, &own, sizeof own);
    if (own.linear) linear_retain(own.linear);
    relora_tensor_retain(own.value);
    relora_tensor_retain(own.grad);
    return RELORA_OK;
}

/* ---- twins ---- */

/* Does the layer draw numbers, now or after a warm start? */
static int draws(const relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    int rounds = o->dtype != RELORA_F32 && o->rounding == RELORA_ROUND_STOCHASTIC;
    return o->mode != RELORA_MODE_FULL || o->rank || rounds;
}

static int are_twins(const relora_linear *a, const relora_linear *b)
{
    return a != b && a->options.seed == b->options.seed && a->options.layer == b->options.layer && draws(a) &&
           draws(b);
}

void registry_warn(struct registry *r, const char *fn, const relora_linear *linear)
{
    char ours[LABEL_TEXT], theirs[LABEL_TEXT];
    for (int32_t i = 0; i < r->count && !r->warned; i++) {
        const relora_linear *other = ((const struct member *)registry_at(r, i))->linear;
        if (!other || !are_twins(other, linear)) continue;
        r->warned = 1;
        context_log(r->ctx, RELORA_LOG_WARN,
                    "%s: %s and %s draw the same numbers: both have options.seed %llu and options.layer %llu",
                    fn, linear_label(other, theirs), linear_label(linear, ours),
                    (unsigned long long)linear->options.seed, (unsigned long long)linear->options.layer);
    }
}

/* ---- letting go ---- */

void registry_shrink(struct registry *r, int32_t count)
{
    while (r->count > count) member_free(&r->ctx->memory, registry_at(r, --r->count));
}

void registry_free(struct registry *r)
{
    registry_shrink(r, 0);
    memory_free(&r->ctx->memory, r->items, (size_t)r->capacity * r->size);
}

/* ---- a group ---- */

relora_status relora_group_create(relora_group **out, relora_device *device)
{
    const char *fn = "relora_group_create";
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_group *group = context_new(device->ctx, sizeof *group);
    if (!group) return context_fail_memory(device->ctx, fn, sizeof *group);
    group->ctx = device->ctx;
    group->device = device;
    group->members = (struct registry){.ctx = device->ctx, .size = sizeof(struct member)};
    *out = group;
    return RELORA_OK;
}

void relora_group_release(relora_group *group)
{
    if (!group) return;
    registry_free(&group->members);
    context_delete(group->ctx, group, sizeof *group);
}

relora_status group_check(const relora_group *group, const relora_stream *stream, const char *fn)
{
    if (!group) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: group is NULL", fn);
    if (!stream) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != group->ctx)
        FAIL(group->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than group", fn);
    if (stream->device != group->device)
        FAIL(group->ctx, RELORA_E_DEVICE, "%s: stream is on %s, group on %s", fn, stream->device->name,
             group->device->name);
    return stream_check(stream, fn);
}

relora_status group_check_given(const relora_group *group, const relora_context *ctx, const char *fn)
{
    if (!group) FAIL(ctx, RELORA_E_ARGUMENT, "%s: group is NULL", fn);
    if (group->ctx != ctx) FAIL(ctx, RELORA_E_CONTEXT, "%s: group belongs to another context", fn);
    return RELORA_OK;
}

/* Context and device of what is to be added; it goes by `what` in sentences. */
static relora_status check_home(const relora_group *group, const char *fn, const char *what,
                                const relora_context *ctx, const relora_device *device)
{
    if (ctx != group->ctx)
        FAIL(group->ctx, RELORA_E_CONTEXT, "%s: %s belongs to another context than group", fn, what);
    if (device != group->device)
        FAIL(group->ctx, RELORA_E_DEVICE, "%s: %s is on %s, group on %s", fn, what, device->name,
             group->device->name);
    return RELORA_OK;
}

static relora_status check_name(const relora_group *group, const char *fn, const char *name)
{
    if (!name) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: name is NULL", fn);
    if (!name[0]) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: name is empty", fn);
    return RELORA_OK;
}

static relora_status add_linear(relora_group *group, const char *fn, const char *name, relora_linear *linear)
{
    struct member m = {.linear = linear};
    void *item;
    TRY(registry_check(&group->members, fn, name, &m));
    TRY(registry_add(&group->members, fn, name, &m, &item));
    linear_set_name(linear, name);
    registry_warn(&group->members, fn, linear);
    return RELORA_OK;
}

relora_status relora_group_add_linear(relora_group *group, const char *name, relora_linear *linear)
{
    const char *fn = "relora_group_add_linear";
    if (!group) FAIL(linear ? linear->ctx : NULL, RELORA_E_ARGUMENT, "%s: group is NULL", fn);
    TRY(check_name(group, fn, name));
    if (!linear) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    TRY(check_home(group, fn, "linear", linear->ctx, linear->device));
    return add_linear(group, fn, name, linear);
}

/* ---- wrapping a weight ---- */

static uint64_t count_layers(const relora_group *group)
{
    uint64_t count = 0;
    for (int32_t i = 0; i < group->members.count; i++) count += !group_at(group, i)->value;
    return count;
}

/* A number of features that the host has set must be that of the weight. */
static relora_status take_features(const relora_group *group, const char *fn, const char *field,
                                   int64_t *features, const relora_tensor *weight, int32_t axis)
{
    char text[SHAPE_TEXT];
    if (*features && *features != weight->shape.dim[axis])
        FAIL(group->ctx, RELORA_E_SHAPE, "%s: options.%s is %lld, but weight is %s", fn, field,
             (long long)*features, shape_text(&weight->shape, text));
    *features = weight->shape.dim[axis];
    return RELORA_OK;
}

/* What tells the layer apart from others that are made from the same options. */
static relora_status fill_options(const relora_group *group, const char *fn, const relora_tensor *weight,
                                  const relora_tensor *bias, relora_linear_options *o)
{
    char text[SHAPE_TEXT];
    o->layer = count_layers(group);
    if (bias) o->flags |= RELORA_LINEAR_BIAS;
    if (!weight) return RELORA_OK;
    TRY(check_home(group, fn, "weight", weight->ctx, weight->device));
    if (weight->shape.ndim != 2)
        FAIL(group->ctx, RELORA_E_SHAPE, "%s: weight is %s, and must be %s", fn, shape_text(&weight->shape, text),
             linear_in_out(o) ? "[in, out]" : "[out, in]");
    o->dtype = weight->shape.dtype;
    TRY(take_features(group, fn, "out_features", &o->out_features, weight, linear_in_out(o)));
    return take_features(group, fn, "in_features", &o->in_features, weight, !linear_in_out(o));
}

static relora_status wrap(relora_group *group, const char *fn, const char *name, relora_tensor *weight,
                          relora_tensor *bias, const relora_linear_options *options, relora_linear **linear)
{
    relora_linear_options o;
    TRY(check_name(group, fn, name));
    TRY(linear_options_read(&o, group->ctx, fn, options));
    TRY(fill_options(group, fn, weight, bias, &o));
    TRY(linear_create(linear, group->device, fn, &o));
    TRY(linear_set_weight(*linear, fn, weight, bias));
    return add_linear(group, fn, name, *linear);
}

relora_status relora_group_wrap(relora_group *group, const char *name, relora_tensor *weight,
                                relora_tensor *bias, const relora_linear_options *options,
                                relora_linear **linear)
{
    const char *fn = "relora_group_wrap";
    relora_linear *made = NULL;
    if (linear) *linear = NULL;
    if (!group)
        FAIL(weight ? weight->ctx : bias ? bias->ctx : NULL, RELORA_E_ARGUMENT, "%s: group is NULL", fn);
    relora_status status = wrap(group, fn, name, weight, bias, options, &made);
    if (status >= 0 && linear) *linear = made;
    relora_linear_release(made); /* the group has a reference of its own */
    return status;
}

/* ---- parameters ---- */

relora_status relora_group_add_param(relora_group *group, const char *name, relora_tensor *param,
                                     relora_tensor *grad)
{
    const char *fn = "relora_group_add_param";
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    struct member m = {.value = param, .grad = grad};
    void *item;
    if (!group)
        FAIL(param ? param->ctx : grad ? grad->ctx : NULL, RELORA_E_ARGUMENT, "%s: group is NULL", fn);
    TRY(check_name(group, fn, name));
    if (!param) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: param is NULL", fn);
    TRY(check_home(group, fn, "param", param->ctx, param->device));
    if (grad) TRY(check_home(group, fn, "grad", grad->ctx, grad->device));
    if (grad && !shape_equal(&param->shape, &grad->shape))
        FAIL(group->ctx, RELORA_E_SHAPE, "%s: param is %s, but grad is %s", fn,
             shape_text(&param->shape, a), shape_text(&grad->shape, b));
    if (grad && views_overlap(tensor_view(param), tensor_view(grad)))
        FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: param and grad share memory", fn);
    TRY(registry_check(&group->members, fn, name, &m));
    return registry_add(&group->members, fn, name, &m, &item);
}

/* ---- what is in it ---- */

int32_t relora_group_count(const relora_group *group)
{
    return group ? group->members.count : -1;
}

static const struct member *member_of(const relora_group *group, int32_t index)
{
    return group && index >= 0 && index < group->members.count ? group_at(group, index) : NULL;
}

relora_status relora_group_find(const relora_group *group, const char *name, int32_t *index)
{
    const char *fn = "relora_group_find";
    if (!group) return RELORA_E_ARGUMENT;
    if (!name) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: name is NULL", fn);
    if (!index) FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: index is NULL", fn);
    for (int32_t i = 0; i < group->members.count; i++) {
        if (strcmp(group_at(group, i)->name, name)) continue;
        *index = i;
        return RELORA_OK;
    }
    FAIL(group->ctx, RELORA_E_NOT_FOUND, "%s: no member is called \"%s\"", fn, name);
}

const char *relora_group_name(const relora_group *group, int32_t index)
{
    const struct member *m = member_of(group, index);
    return m ? m->name : NULL;
}

relora_linear *relora_group_linear(const relora_group *group, int32_t index)
{
    const struct member *m = member_of(group, index);
    return m ? m->linear : NULL;
}

relora_tensor *relora_group_value(const relora_group *group, int32_t index)
{
    const struct member *m = member_of(group, index);
    return m ? m->value : NULL;
}

relora_tensor *relora_group_grad(const relora_group *group, int32_t index)
{
    const struct member *m = member_of(group, index);
    return m ? m->grad : NULL;
}
