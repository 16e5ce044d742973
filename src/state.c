/* Collecting the things that make up a run. */
#include "state.h"

#include <string.h>

#include "cycle.h"
#include "schedule.h"

/* ---- life ---- */

relora_status relora_state_create(relora_state **out, relora_context *ctx)
{
    struct call c = {.fn = "relora_state_create", .ctx = ctx};
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!ctx) return RELORA_E_ARGUMENT;
    relora_state *state = context_new(ctx, sizeof *state);
    if (!state) return call_fail_memory(&c, sizeof *state);
    state->ctx = ctx;
    state->layout = RELORA_LAYOUT_OWN;
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

static relora_status add(const struct call *c, relora_state *state, const char *name, struct member m,
                         int32_t kind, struct state_part **part)
{
    void *item;
    TRY(registry_add(c, &state->parts, name, &m, &item));
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
static relora_status add_pair(const struct call *c, relora_state *state, const char *key, const char *value,
                              compare_fn compare)
{
    const struct memory *memory = &state->ctx->memory;
    struct state_part *part = find_pair(state, key);
    if (part && is_ours(key)) FAIL(c, RELORA_E_EXISTS, "prefix: the state has \"%s\" already", key);
    char *text = memory_string(memory, value);
    if (!text) return call_fail_memory(c, strlen(value) + 1);
    relora_status status = part ? RELORA_OK : add(c, state, key, (struct member){0}, PART_TEXT, &part);
    if (status < 0) {
        memory_free(memory, text, strlen(text) + 1);
        return status;
    }
    part_free(memory, part);
    part->text = text;
    part->compare = compare;
    return RELORA_OK;
}

/* Begin a call that adds an object of `ctx`: nothing is NULL, and the object is of the state's context. */
static relora_status open_add(struct call *c, const relora_state *state, const char *name_of,
                              const char *name, const char *object_of, const void *object,
                              relora_context *ctx)
{
    c->ctx = state ? state->ctx : ctx;
    if (!state) FAIL(c, RELORA_E_ARGUMENT, "state is NULL");
    if (!name) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", name_of);
    if (!object) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", object_of);
    if (ctx != c->ctx) FAIL(c, RELORA_E_CONTEXT, "%s belongs to another context than state", object_of);
    return RELORA_OK;
}

relora_status relora_state_add_tensor(relora_state *state, const char *name, relora_tensor *tensor)
{
    struct call c = {.fn = "relora_state_add_tensor"};
    struct state_part *part;
    TRY(open_add(&c, state, "name", name, "tensor", tensor, tensor ? tensor->ctx : NULL));
    if (!name[0]) FAIL(&c, RELORA_E_ARGUMENT, "name is empty");
    return add(&c, state, name, (struct member){.value = tensor}, PART_TENSOR, &part);
}

relora_status relora_state_add_bytes(relora_state *state, const char *name, void *data, size_t bytes)
{
    struct call c = {.fn = "relora_state_add_bytes", .ctx = state ? state->ctx : NULL};
    struct state_part *part;
    if (!state) return RELORA_E_ARGUMENT;
    if (!name) FAIL(&c, RELORA_E_ARGUMENT, "name is NULL");
    if (!name[0]) FAIL(&c, RELORA_E_ARGUMENT, "name is empty");
    if (!data && bytes) FAIL(&c, RELORA_E_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
    if (bytes > INT64_MAX) FAIL(&c, RELORA_E_OVERFLOW, "bytes is %zu, more than any file has", bytes);
    TRY(add(&c, state, name, (struct member){0}, PART_BYTES, &part));
    part->bytes = data;
    part->size = bytes;
    return RELORA_OK;
}

relora_status relora_state_add_linear(relora_state *state, const char *prefix, relora_linear *linear)
{
    struct call c = {.fn = "relora_state_add_linear"};
    struct state_part *part;
    TRY(open_add(&c, state, "prefix", prefix, "linear", linear, linear ? linear->ctx : NULL));
    TRY(add(&c, state, prefix, (struct member){.linear = linear}, PART_LINEAR, &part));
    linear_set_name(linear, prefix);
    return RELORA_OK;
}

relora_status relora_state_add_group(relora_state *state, const relora_group *group)
{
    struct call c = {.fn = "relora_state_add_group", .ctx = state ? state->ctx : group ? group->ctx : NULL};
    struct state_part *part;
    if (!state) FAIL(&c, RELORA_E_ARGUMENT, "state is NULL");
    TRY(group_check_given(&c, group));
    int32_t before = state->parts.count;
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        struct member own = {.linear = m->linear, .value = m->value};
        relora_status status = add(&c, state, m->name, own, m->value ? PART_TENSOR : PART_LINEAR, &part);
        if (status >= 0) continue;
        registry_shrink(&state->parts, before);
        return status;
    }
    return RELORA_OK;
}

relora_status relora_state_add_adam(relora_state *state, const char *prefix, relora_adam *adam)
{
    struct call c = {.fn = "relora_state_add_adam"};
    struct state_part *part;
    TRY(open_add(&c, state, "prefix", prefix, "adam", adam, adam ? adam->ctx : NULL));
    TRY(add(&c, state, prefix, (struct member){0}, PART_ADAM, &part));
    adam_retain(adam);
    part->adam = adam;
    return RELORA_OK;
}

/* Descriptions of what has no tensors are pairs like those of the host, under a key of ours. */
static relora_status add_description(const struct call *c, relora_state *state, compare_fn compare,
                                     const char *kind, const char *prefix, struct text *description)
{
    struct text key = {.memory = &state->ctx->memory};
    text_put(&key, "relora.");
    text_put(&key, "%s%s%s", kind, prefix[0] ? "." : "", prefix);
    relora_status status = key.failed || description->failed
                               ? call_fail_memory(c, key.capacity)
                               : add_pair(c, state, key.data, description->data, compare);
    text_free(&key);
    text_free(description);
    return status;
}

relora_status relora_state_add_schedule(relora_state *state, const char *prefix,
                                        const relora_schedule *schedule)
{
    struct call c = {.fn = "relora_state_add_schedule"};
    TRY(open_add(&c, state, "prefix", prefix, "schedule", schedule, schedule_context(schedule)));
    struct text text = {.memory = &state->ctx->memory};
    schedule_describe(schedule, &text);
    return add_description(&c, state, schedule_compare, "schedule", prefix, &text);
}

relora_status relora_state_add_cycle(relora_state *state, const char *prefix, const relora_cycle *cycle)
{
    struct call c = {.fn = "relora_state_add_cycle"};
    TRY(open_add(&c, state, "prefix", prefix, "cycle", cycle, cycle_context(cycle)));
    struct text text = {.memory = &state->ctx->memory};
    cycle_describe(cycle, &text);
    return add_description(&c, state, cycle_compare, "cycle", prefix, &text);
}

relora_status relora_state_set(relora_state *state, const char *key, const char *value)
{
    if (!state) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_state_set", .ctx = state->ctx};
    if (!key) FAIL(&c, RELORA_E_ARGUMENT, "key is NULL");
    if (!value) FAIL(&c, RELORA_E_ARGUMENT, "value is NULL");
    if (is_ours(key)) FAIL(&c, RELORA_E_ARGUMENT, "key is \"%s\", but \"relora.\" is the library's", key);
    return add_pair(&c, state, key, value, NULL);
}
