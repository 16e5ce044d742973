/* Collecting the things that make up a run. */
#include "state.h"

#include <string.h>

#include "cycle.h"
#include "schedule.h"

/* ---- life ---- */

relora_status relora_state_create(relora_state **out, relora_context *ctx)
{
    const char *fn = "relora_state_create";
    if (!out) FAIL(ctx, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    relora_state *state = context_new(ctx, sizeof *state);
    if (!state) return context_fail_memory(ctx, fn, sizeof *state);
    state->ctx = ctx;
    state->parts = (struct registry){.ctx = ctx, .size = sizeof(struct state_part)};
    *out = state;
    return RELORA_OK;
}

/* Let go of what a part has beside its member. */
static void part_free(const struct memory *memory, struct state_part *part)
{
    if (part->text) memory_free(memory, part->text, strlen(part->text) + 1);
    relora_adam_release(part->adam);
}

void relora_state_release(relora_state *state)
{
    if (!state) return;
    for (int32_t i = 0; i < state->parts.count; i++) part_free(&state->ctx->memory, state_at(state, i));
    registry_free(&state->parts);
    context_delete(state->ctx, state, sizeof *state);
}

/* ---- adding ---- */

static int is_ours(const char *key)
{
    return !strncmp(key, "relora.", strlen("relora."));
}

static relora_status add(relora_state *state, const char *fn, const char *name, struct member m, int32_t kind,
                         struct state_part **part)
{
    void *item;
    TRY(registry_add(&state->parts, fn, name, &m, &item));
    *part = item;
    (*part)->kind = kind;
    return RELORA_OK;
}

/* The part with the pair of that key, or NULL. */
static struct state_part *find_pair(const relora_state *state, const char *key)
{
    for (int32_t i = 0; i < state->parts.count; i++) {
        struct state_part *part = state_at(state, i);
        if (part->kind == PART_TEXT && !strcmp(part->is.name, key)) return part;
    }
    return NULL;
}

/* Both are copied. A pair of the host replaces one of its key. */
static relora_status add_pair(relora_state *state, const char *fn, const char *key, const char *value,
                              compare_fn compare)
{
    const struct memory *memory = &state->ctx->memory;
    struct state_part *part = find_pair(state, key);
    if (part && is_ours(key))
        FAIL(state->ctx, RELORA_E_EXISTS, "%s: prefix: the state has \"%s\" already", fn, key);
    char *text = memory_string(memory, value);
    if (!text) return context_fail_memory(state->ctx, fn, strlen(value) + 1);
    relora_status status = part ? RELORA_OK : add(state, fn, key, (struct member){0}, PART_TEXT, &part);
    if (status < 0) {
        memory_free(memory, text, strlen(text) + 1);
        return status;
    }
    part_free(memory, part);
    part->text = text;
    part->compare = compare;
    return RELORA_OK;
}

/* NULL arguments, and whether the object is of this context. */
static relora_status check(const relora_state *state, const char *fn, const char *name_of, const char *name,
                           const char *object_of, const void *object, const relora_context *ctx)
{
    if (!state) FAIL(ctx, RELORA_E_ARGUMENT, "%s: state is NULL", fn);
    if (!name) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, name_of);
    if (!object) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, object_of);
    if (ctx != state->ctx)
        FAIL(state->ctx, RELORA_E_CONTEXT, "%s: %s belongs to another context than state", fn, object_of);
    return RELORA_OK;
}

relora_status relora_state_add_tensor(relora_state *state, const char *name, relora_tensor *tensor)
{
    const char *fn = "relora_state_add_tensor";
    struct state_part *part;
    TRY(check(state, fn, "name", name, "tensor", tensor, tensor ? tensor->ctx : NULL));
    if (!name[0]) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: name is empty", fn);
    return add(state, fn, name, (struct member){.value = tensor}, PART_TENSOR, &part);
}

relora_status relora_state_add_linear(relora_state *state, const char *prefix, relora_linear *linear)
{
    const char *fn = "relora_state_add_linear";
    struct state_part *part;
    TRY(check(state, fn, "prefix", prefix, "linear", linear, linear ? linear->ctx : NULL));
    TRY(add(state, fn, prefix, (struct member){.linear = linear}, PART_LINEAR, &part));
    linear_set_name(linear, prefix);
    return RELORA_OK;
}

relora_status relora_state_add_group(relora_state *state, const relora_group *group)
{
    const char *fn = "relora_state_add_group";
    struct state_part *part;
    if (!state) FAIL(group ? group->ctx : NULL, RELORA_E_ARGUMENT, "%s: state is NULL", fn);
    TRY(group_check_given(group, state->ctx, fn));
    int32_t before = state->parts.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        struct member own = {.linear = m->linear, .value = m->value};
        relora_status status = add(state, fn, m->name, own, m->value ? PART_TENSOR : PART_LINEAR, &part);
        if (status >= 0) continue;
        registry_shrink(&state->parts, before);
        return status;
    }
    return RELORA_OK;
}

relora_status relora_state_add_adam(relora_state *state, const char *prefix, relora_adam *adam)
{
    const char *fn = "relora_state_add_adam";
    struct state_part *part;
    TRY(check(state, fn, "prefix", prefix, "adam", adam, adam ? adam->ctx : NULL));
    TRY(add(state, fn, prefix, (struct member){0}, PART_ADAM, &part));
    adam_retain(adam);
    part->adam = adam;
    return RELORA_OK;
}

/* Descriptions of what has no tensors are pairs like those of the host, under a key of ours. */
static relora_status add_description(relora_state *state, const char *fn, compare_fn compare,
                                     const char *kind, const char *prefix, struct text *description)
{
    struct text key = {.memory = &state->ctx->memory};
    text_put(&key, "relora.");
    text_put(&key, "%s%s%s", kind, prefix[0] ? "." : "", prefix);
    relora_status status = key.failed || description->failed
                               ? context_fail_memory(state->ctx, fn, key.capacity)
                               : add_pair(state, fn, key.data, description->data, compare);
    text_free(&key);
    text_free(description);
    return status;
}

relora_status relora_state_add_schedule(relora_state *state, const char *prefix,
                                        const relora_schedule *schedule)
{
    const char *fn = "relora_state_add_schedule";
    TRY(check(state, fn, "prefix", prefix, "schedule", schedule, schedule_context(schedule)));
    struct text text = {.memory = &state->ctx->memory};
    schedule_describe(schedule, &text);
    return add_description(state, fn, schedule_compare, "schedule", prefix, &text);
}

relora_status relora_state_add_cycle(relora_state *state, const char *prefix, const relora_cycle *cycle)
{
    const char *fn = "relora_state_add_cycle";
    TRY(check(state, fn, "prefix", prefix, "cycle", cycle, cycle_context(cycle)));
    struct text text = {.memory = &state->ctx->memory};
    cycle_describe(cycle, &text);
    return add_description(state, fn, cycle_compare, "cycle", prefix, &text);
}

relora_status relora_state_set(relora_state *state, const char *key, const char *value)
{
    const char *fn = "relora_state_set";
    if (!state) return RELORA_E_ARGUMENT;
    if (!key) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: key is NULL", fn);
    if (!value) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: value is NULL", fn);
    if (is_ours(key))
        FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: key is \"%s\", but \"relora.\" is the library's", fn, key);
    return add_pair(state, fn, key, value, NULL);
}
