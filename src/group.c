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
