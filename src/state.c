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
    *out = state;
    return RELORA_OK;
}

static void part_free(const struct memory *memory, struct state_part *part)
{
    if (part->name) memory_free(memory, part->name, strlen(part->name) + 1);
    if (part->text) memory_free(memory, part->text, strlen(part->text) + 1);
    relora_tensor_release(part->tensor);
    relora_linear_release(part->linear);
    relora_adam_release(part->adam);
}

void relora_state_release(relora_state *state)
{
    if (!state) return;
    const struct memory *memory = &state->ctx->memory;
    for (int32_t i = 0; i < state->count; i++) part_free(memory, &state->parts[i]);
    memory_free(memory, state->parts, (size_t)state->capacity * sizeof *state->parts);
    context_delete(state->ctx, state, sizeof *state);
}

/* ---- adding ---- */

static relora_status grow(relora_state *state, const char *fn)
{
    if (state->count < state->capacity) return RELORA_OK;
    const struct memory *memory = &state->ctx->memory;
    size_t old = (size_t)state->capacity, capacity = old ? 2 * old : 32;
    struct state_part *parts = memory_alloc(memory, size_mul(capacity, sizeof *parts));
    if (!parts) return context_fail_memory(state->ctx, fn, size_mul(capacity, sizeof *parts));
    if (state->count) memcpy(parts, state->parts, (size_t)state->count * sizeof *parts);
    memory_free(memory, state->parts, old * sizeof *parts);
    state->parts = parts;
    state->capacity = (int32_t)capacity;
    return RELORA_OK;
}

static int is_ours(const char *key)
{
    return !strncmp(key, "relora.", strlen("relora."));
}

/* Add `part`, taking over its references; name and text are copied. A pair of the host replaces one of
 * its key. */
static relora_status add(relora_state *state, const char *fn, struct state_part part, const char *name,
                         const char *text)
{
    part.name = memory_string(&state->ctx->memory, name);
    part.text = text ? memory_string(&state->ctx->memory, text) : NULL;
    relora_status status = grow(state, fn);
    if (status >= 0 && (!part.name || (text && !part.text)))
        status = context_fail_memory(state->ctx, fn, strlen(name) + 1);
    if (status < 0) {
        part_free(&state->ctx->memory, &part);
        return status;
    }
    for (int32_t i = 0; text && i < state->count; i++) {
        struct state_part *old = &state->parts[i];
        if (old->kind != PART_TEXT || strcmp(old->name, name)) continue;
        if (is_ours(name)) {
            part_free(&state->ctx->memory, &part);
            FAIL(state->ctx, RELORA_E_EXISTS, "%s: prefix: the state has \"%s\" already", fn, name);
        }
        part_free(&state->ctx->memory, old);
        *old = part;
        return RELORA_OK;
    }
    state->parts[state->count++] = part;
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
    TRY(check(state, fn, "name", name, "tensor", tensor, tensor ? tensor->ctx : NULL));
    if (!name[0]) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: name is empty", fn);
    relora_tensor_retain(tensor);
    return add(state, fn, (struct state_part){.kind = PART_TENSOR, .tensor = tensor}, name, NULL);
}

relora_status relora_state_add_linear(relora_state *state, const char *prefix, relora_linear *linear)
{
    const char *fn = "relora_state_add_linear";
    TRY(check(state, fn, "prefix", prefix, "linear", linear, linear ? linear->ctx : NULL));
    linear_retain(linear);
    return add(state, fn, (struct state_part){.kind = PART_LINEAR, .linear = linear}, prefix, NULL);
}

relora_status relora_state_add_adam(relora_state *state, const char *prefix, relora_adam *adam)
{
    const char *fn = "relora_state_add_adam";
    TRY(check(state, fn, "prefix", prefix, "adam", adam, adam ? adam->ctx : NULL));
    adam_retain(adam);
    return add(state, fn, (struct state_part){.kind = PART_ADAM, .adam = adam}, prefix, NULL);
}

/* Descriptions of what has no tensors are pairs like those of the host, under a key of ours. */
static relora_status add_description(relora_state *state, const char *fn, struct state_part part,
                                     const char *kind, const char *prefix, struct text *description)
{
    struct text key = {.memory = &state->ctx->memory};
    text_put(&key, "relora.");
    text_put(&key, "%s%s%s", kind, prefix[0] ? "." : "", prefix);
    relora_status status = key.failed || description->failed
                               ? context_fail_memory(state->ctx, fn, key.capacity)
                               : add(state, fn, part, key.data, description->data);
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
    const struct state_part part = {.kind = PART_TEXT, .compare = schedule_compare};
    return add_description(state, fn, part, "schedule", prefix, &text);
}

relora_status relora_state_add_cycle(relora_state *state, const char *prefix, const relora_cycle *cycle)
{
    const char *fn = "relora_state_add_cycle";
    TRY(check(state, fn, "prefix", prefix, "cycle", cycle, cycle_context(cycle)));
    struct text text = {.memory = &state->ctx->memory};
    cycle_describe(cycle, &text);
    const struct state_part part = {.kind = PART_TEXT, .compare = cycle_compare};
    return add_description(state, fn, part, "cycle", prefix, &text);
}

relora_status relora_state_set(relora_state *state, const char *key, const char *value)
{
    const char *fn = "relora_state_set";
    if (!state) return RELORA_E_ARGUMENT;
    if (!key) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: key is NULL", fn);
    if (!value) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: value is NULL", fn);
    if (is_ours(key))
        FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: key is \"%s\", but \"relora.\" is the library's", fn, key);
    return add(state, fn, (struct state_part){.kind = PART_TEXT}, key, value);
}
