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

/* What two layers would both be merged into. A parameter may be the target of a layer: it is saved with it. */
static int targets_overlap(const struct member *a, const struct member *b)
{
    if (a->value || b->value) return 0;
    const relora_tensor *s = linear_weight(a->linear), *t = linear_weight(b->linear);
    return s && t && views_overlap(tensor_view(s), tensor_view(t));
}

static int members_overlap(const struct member *a, const struct member *b)
{
    if (targets_overlap(a, b)) return 1;
    struct view av = member_value(a), ag = member_grad(a), bv = member_value(b), bg = member_grad(b);
    return views_overlap(av, bv) || views_overlap(av, bg) || views_overlap(ag, bv) || views_overlap(ag, bg);
}

static relora_status fail_overlap(const struct call *c, const char *name, const struct member *added,
                                  const struct member *old)
{
    char ours[LABEL_TEXT], theirs[LABEL_TEXT];
    if (added->value)
        FAIL(c, RELORA_E_EXISTS, "param or grad of %s shares memory with %s", member_text(name, added, ours),
             member_text(old->name, old, theirs));
    FAIL(c, RELORA_E_EXISTS, "linear (%s) shares its weight with %s", member_text(name, added, ours),
         member_text(old->name, old, theirs));
}

relora_status registry_check(const struct call *c, const struct registry *r, const char *name,
                             const struct member *added)
{
    char text[LABEL_TEXT];
    for (int32_t i = 0; i < r->count; i++) {
        const struct member *old = registry_at(r, i);
        if (name && !strcmp(old->name, name))
            FAIL(c, RELORA_E_EXISTS, "name \"%s\" is registered already", name);
        if (!added->value && !old->value && added->linear == old->linear)
            FAIL(c, RELORA_E_EXISTS, "linear (%s) is registered already", linear_label(old->linear, text));
        if (members_overlap(old, added)) return fail_overlap(c, name, added, old);
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

relora_status registry_add(const struct call *c, struct registry *r, const char *name,
                           const struct member *added, void **item)
{
    struct member own = *added;
    TRY(list_grow(c, &r->items, r->count, &r->capacity, r->size));
    own.name = name ? memory_string(&r->ctx->memory, name) : NULL;
    if (name && !own.name) return call_fail_memory(c, strlen(name) + 1);
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

void registry_warn(const struct call *c, struct registry *r, const relora_linear *linear)
{
    char ours[LABEL_TEXT], theirs[LABEL_TEXT];
    for (int32_t i = 0; i < r->count && !r->warned; i++) {
        const relora_linear *other = ((const struct member *)registry_at(r, i))->linear;
        if (!other || !are_twins(other, linear)) continue;
        r->warned = 1;
        call_log(c, RELORA_LOG_WARN,
                 "%s and %s draw the same numbers: both have options.seed %llu and options.layer %llu",
                 linear_label(other, theirs), linear_label(linear, ours),
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
    struct call c = {.fn = "relora_group_create", .ctx = device ? device->ctx : NULL};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_group *group = context_new(device->ctx, sizeof *group);
    if (!group) return call_fail_memory(&c, sizeof *group);
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

relora_status group_open(struct call *c, const relora_group *group, relora_stream *stream)
{
    return call_open(c, stream, "group", group ? group->ctx : NULL, group ? group->device : NULL);
}

relora_status group_check_given(const struct call *c, const relora_group *group)
{
    if (!group) FAIL(c, RELORA_E_ARGUMENT, "group is NULL");
    if (group->ctx != c->ctx) FAIL(c, RELORA_E_CONTEXT, "group belongs to another context");
    return RELORA_OK;
}

/* Context and device of what is to be added; it goes by `what` in sentences. */
static relora_status check_home(const struct call *c, const relora_group *group, const char *what,
                                const relora_context *ctx, const relora_device *device)
{
    if (ctx != group->ctx) FAIL(c, RELORA_E_CONTEXT, "%s belongs to another context than group", what);
    if (device != group->device)
        FAIL(c, RELORA_E_DEVICE, "%s is on %s, group on %s", what, device->name, group->device->name);
    return RELORA_OK;
}

static relora_status check_name(const struct call *c, const char *name)
{
    if (!name) FAIL(c, RELORA_E_ARGUMENT, "name is NULL");
    if (!name[0]) FAIL(c, RELORA_E_ARGUMENT, "name is empty");
    return RELORA_OK;
}

static relora_status add_linear(const struct call *c, relora_group *group, const char *name,
                                relora_linear *linear)
{
    struct member m = {.linear = linear};
    void *item;
    TRY(registry_check(c, &group->members, name, &m));
    TRY(registry_add(c, &group->members, name, &m, &item));
    linear_set_name(linear, name);
    registry_warn(c, &group->members, linear);
    return RELORA_OK;
}

relora_status relora_group_add_linear(relora_group *group, const char *name, relora_linear *linear)
{
    struct call c = {.fn = "relora_group_add_linear",
                     .ctx = group    ? group->ctx
                            : linear ? linear->ctx
                                     : NULL};
    if (!group) FAIL(&c, RELORA_E_ARGUMENT, "group is NULL");
    TRY(check_name(&c, name));
    if (!linear) FAIL(&c, RELORA_E_ARGUMENT, "linear is NULL");
    TRY(check_home(&c, group, "linear", linear->ctx, linear->device));
    return add_linear(&c, group, name, linear);
}

/* ---- wrapping a weight ---- */

static uint64_t count_layers(const relora_group *group)
{
    uint64_t count = 0;
    for (int32_t i = 0; i < group->members.count; i++) count += !group_at(group, i)->value;
    return count;
}

/* The number is what tells the layer apart from others that are made from the same options. */
static relora_status wrap(const struct call *c, relora_group *group, const char *name, relora_tensor *weight,
                          relora_tensor *bias, const relora_linear_options *options, relora_linear **linear)
{
    relora_linear_options o;
    TRY(check_name(c, name));
    TRY(linear_options_read(c, &o, options));
    o.layer = count_layers(group);
    TRY(linear_wrap(c, linear, group->device, weight, bias, &o));
    return add_linear(c, group, name, *linear);
}

relora_status group_wrap(const struct call *c, relora_group *group, const char *name, relora_tensor *weight,
                         relora_tensor *bias, const relora_linear_options *options, relora_linear **linear)
{
    relora_linear *made = NULL;
    relora_status status = wrap(c, group, name, weight, bias, options, &made);
    if (status >= 0 && linear) *linear = made;
    relora_linear_release(made); /* the group has a reference of its own */
    return status;
}

relora_status relora_group_wrap(relora_group *group, const char *name, relora_tensor *weight,
                                relora_tensor *bias, const relora_linear_options *options,
                                relora_linear **linear)
{
    const relora_tensor *first = weight ? weight : bias; /* where a sentence may go */
    struct call c = {.fn = "relora_group_wrap", .ctx = group ? group->ctx : first ? first->ctx : NULL};
    if (linear) *linear = NULL;
    if (!group) FAIL(&c, RELORA_E_ARGUMENT, "group is NULL");
    return group_wrap(&c, group, name, weight, bias, options, linear);
}

/* ---- parameters ---- */

relora_status group_add_param(const struct call *c, relora_group *group, const char *name,
                              relora_tensor *param, relora_tensor *grad)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    struct member m = {.value = param, .grad = grad};
    void *item;
    TRY(check_name(c, name));
    if (!param) FAIL(c, RELORA_E_ARGUMENT, "param is NULL");
    TRY(check_home(c, group, "param", param->ctx, param->device));
    if (grad) TRY(check_home(c, group, "grad", grad->ctx, grad->device));
    if (grad && !shape_equal(&param->shape, &grad->shape))
        FAIL(c, RELORA_E_SHAPE, "param is %s, but grad is %s", shape_text(&param->shape, a),
             shape_text(&grad->shape, b));
    if (grad && views_overlap(tensor_view(param), tensor_view(grad)))
        FAIL(c, RELORA_E_ARGUMENT, "param and grad share memory");
    TRY(registry_check(c, &group->members, name, &m));
    return registry_add(c, &group->members, name, &m, &item);
}

relora_status relora_group_add_param(relora_group *group, const char *name, relora_tensor *param,
                                     relora_tensor *grad)
{
    const relora_tensor *first = param ? param : grad; /* where a sentence may go */
    struct call c = {.fn = "relora_group_add_param", .ctx = group ? group->ctx : first ? first->ctx : NULL};
    if (!group) FAIL(&c, RELORA_E_ARGUMENT, "group is NULL");
    return group_add_param(&c, group, name, param, grad);
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
    if (!group) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_group_find", .ctx = group->ctx};
    if (!name) FAIL(&c, RELORA_E_ARGUMENT, "name is NULL");
    if (!index) FAIL(&c, RELORA_E_ARGUMENT, "index is NULL");
    for (int32_t i = 0; i < group->members.count; i++) {
        if (strcmp(group_at(group, i)->name, name)) continue;
        *index = i;
        return RELORA_OK;
    }
    FAIL(&c, RELORA_E_NOT_FOUND, "no member is called \"%s\"", name);
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
