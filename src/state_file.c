/* A state as a file: one list of named tensors and descriptions, walked for saving, for checking and
 * for loading alike. */
#include <stdio.h>
#include <string.h>

#include "relora/version.h"
#include "state.h"

enum walk_mode { WALK_SAVE = 1, WALK_CHECK, WALK_LOAD };

struct walk {
    const relora_state *state;
    relora_stream *stream;
    const char *fn;
    enum walk_mode mode;
    relora_writer *writer;       /* saving */
    const relora_reader *reader; /* checking and loading */
    int32_t tensors;             /* met so far */
    int64_t **steps;             /* saving: step counts, until the file is written */
    int32_t step_arrays;
};

static const char format_key[] = "relora.state", format_value[] = "1";

/* ---- one tensor, one description ---- */

static relora_status visit_tensor(struct walk *w, const char *name, relora_tensor *tensor)
{
    w->tensors++;
    if (w->mode == WALK_SAVE) return relora_writer_add(w->writer, name, tensor);
    if (w->mode == WALK_CHECK) return reader_check(w->reader, w->fn, name, tensor, 0);
    return reader_copy(w->reader, w->stream, w->fn, name, tensor);
}

static relora_status visit_joined(struct walk *w, const char *prefix, const char *name,
                                  const char *suffix, relora_tensor *tensor)
{
    struct text text = {.memory = &w->state->ctx->memory};
    text_join(&text, prefix, name);
    text_put(&text, "%s", suffix);
    relora_status status = text.failed ? context_fail_memory(w->state->ctx, w->fn, text.capacity)
                                       : visit_tensor(w, text.data, tensor);
    text_free(&text);
    return status;
}

/* The first line in which two descriptions differ, for the sentence. */
static relora_status fail_difference(const struct walk *w, const char *key, const char *ours,
                                     const char *theirs)
{
    size_t start = 0, i = 0;
    for (; ours[i] && ours[i] == theirs[i]; i++)
        if (ours[i] == '\n') start = i + 1;
    FAIL(w->state->ctx, RELORA_E_STATE, "%s: %s: %.*s here, but %.*s in the file", w->fn, key,
         (int)strcspn(ours + start, "\n"), ours + start, (int)strcspn(theirs + start, "\n"),
         theirs + start);
}

static relora_status visit_pair(struct walk *w, const char *key, const char *value)
{
    if (w->mode == WALK_SAVE) return relora_writer_set_metadata(w->writer, key, value);
    if (w->mode == WALK_LOAD) return RELORA_OK;
    const char *stored = relora_reader_metadata(w->reader, key);
    if (!stored)
        FAIL(w->state->ctx, RELORA_E_NOT_FOUND, "%s: the file has no \"%s\"", w->fn, key);
    return strcmp(stored, value) ? fail_difference(w, key, value, stored) : RELORA_OK;
}

static relora_status visit_description(struct walk *w, const char *kind, const char *prefix,
                                       struct text *description)
{
    struct text key = {.memory = &w->state->ctx->memory};
    text_put(&key, "relora.");
    text_join(&key, kind, prefix);
    relora_status status = key.failed || description->failed
                               ? context_fail_memory(w->state->ctx, w->fn, key.capacity)
                               : visit_pair(w, key.data, description->data);
    text_free(&key);
    text_free(description);
    return status;
}

/* ---- objects ---- */

static relora_status visit_linear(struct walk *w, const struct state_part *part)
{
    struct text description = {.memory = &w->state->ctx->memory};
    linear_describe(part->linear, &description);
    TRY(visit_description(w, "linear", part->name, &description));
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (part->linear->param[p])
            TRY(visit_joined(w, part->name, linear_param_name(p), "", part->linear->param[p]));
    return RELORA_OK;
}

static relora_status save_steps(struct walk *w, const char *name, relora_adam *adam)
{
    const struct memory *memory = &w->state->ctx->memory;
    int64_t shape = adam->count;
    int64_t *steps = memory_alloc(memory, (size_t)adam->count * sizeof *steps);
    if (!steps) return context_fail_memory(w->state->ctx, w->fn, (size_t)adam->count * sizeof *steps);
    w->steps[w->step_arrays++] = steps;
    for (int32_t i = 0; i < adam->count; i++) TRY(relora_adam_steps(adam, w->stream, i, &steps[i]));
    return relora_writer_add_bytes(w->writer, name, "I64", 1, &shape, steps,
                                   (size_t)adam->count * sizeof *steps);
}

static relora_status load_steps(const struct walk *w, const char *name, relora_adam *adam)
{
    const void *data;
    size_t bytes, expected = (size_t)adam->count * sizeof(int64_t);
    TRY(relora_reader_bytes(w->reader, name, &data, &bytes));
    if (w->mode == WALK_CHECK) {
        if (bytes != expected || strcmp(relora_reader_dtype(w->reader, name), "I64"))
            FAIL(w->state->ctx, RELORA_E_SHAPE, "%s: \"%s\" has %zu bytes, not %d numbers of type I64",
                 w->fn, name, bytes, adam->count);
        return reader_check_sum(w->reader, w->fn, st_header_find(&w->reader->header, name));
    }
    for (int32_t i = 0; i < adam->count; i++) {
        int64_t steps;
        memcpy(&steps, (const unsigned char *)data + (size_t)i * sizeof steps, sizeof steps);
        TRY(relora_adam_set_steps(adam, w->stream, i, steps));
    }
    return RELORA_OK;
}

static relora_status visit_steps(struct walk *w, const struct state_part *part)
{
    struct text name = {.memory = &w->state->ctx->memory};
    text_join(&name, part->name, "steps");
    w->tensors++;
    relora_status status = name.failed ? context_fail_memory(w->state->ctx, w->fn, name.capacity)
                           : w->mode == WALK_SAVE ? save_steps(w, name.data, part->adam)
                                                  : load_steps(w, name.data, part->adam);
    text_free(&name);
    return status;
}

static relora_status visit_adam(struct walk *w, const struct state_part *part)
{
    struct text description = {.memory = &w->state->ctx->memory};
    adam_describe(part->adam, &description);
    TRY(visit_description(w, "adam", part->name, &description));
    for (int32_t i = 0; i < part->adam->count; i++) {
        const struct adam_entry *e = &part->adam->entries[i];
        TRY(visit_joined(w, part->name, e->name, ".exp_avg", e->first));
        TRY(visit_joined(w, part->name, e->name, ".exp_avg_sq", e->second));
    }
    return visit_steps(w, part);
}

static relora_status visit_part(struct walk *w, const struct state_part *part)
{
    switch (part->kind) {
    case PART_TENSOR: return visit_tensor(w, part->name, part->tensor);
    case PART_LINEAR: return visit_linear(w, part);
    case PART_ADAM: return visit_adam(w, part);
    default:
        /* what the host set is its own to read and compare; our descriptions have to agree */
        if (w->mode != WALK_SAVE && strncmp(part->name, "relora.", strlen("relora."))) return RELORA_OK;
        return visit_pair(w, part->name, part->text);
    }
}

static relora_status walk(struct walk *w, enum walk_mode mode)
{
    w->mode = mode;
    w->tensors = 0;
    TRY(visit_pair(w, format_key, format_value));
    for (int32_t i = 0; i < w->state->count; i++) TRY(visit_part(w, &w->state->parts[i]));
    return RELORA_OK;
}

/* ---- saving and loading ---- */

static relora_status check_handles(const relora_state *state, const relora_stream *stream,
                                   const char *fn)
{
    if (!state) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: state is NULL", fn);
    if (!stream) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != state->ctx)
        FAIL(state->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than state", fn);
    return stream_check(stream, fn);
}

static relora_status save(struct walk *w, const char *path, uint32_t flags)
{
    TRY(relora_writer_create(&w->writer, w->state->ctx));
    TRY(walk(w, WALK_SAVE));
    TRY(relora_writer_set_metadata(w->writer, "relora.version", relora_version_string()));
    return relora_writer_save(w->writer, w->stream, path, flags);
}

relora_status relora_state_save(relora_state *state, relora_stream *stream, const char *path,
                                uint32_t flags)
{
    const char *fn = "relora_state_save";
    TRY(check_handles(state, stream, fn));
    const struct memory *memory = &state->ctx->memory;
    struct walk w = {.state = state, .stream = stream, .fn = fn};
    size_t bytes = (size_t)state->count * sizeof *w.steps; /* no more optimizers than parts */
    w.steps = memory_alloc(memory, bytes);
    if (!w.steps) return context_fail_memory(state->ctx, fn, bytes);
    relora_status status = save(&w, path, flags);
    relora_writer_release(w.writer);
    int32_t array = 0;
    for (int32_t i = 0; i < state->count && array < w.step_arrays; i++)
        if (state->parts[i].kind == PART_ADAM)
            memory_free(memory, w.steps[array++], (size_t)state->parts[i].adam->count * sizeof(int64_t));
    memory_free(memory, w.steps, bytes);
    return status;
}

relora_status relora_state_load(relora_state *state, relora_stream *stream, relora_reader *reader)
{
    const char *fn = "relora_state_load";
    TRY(check_handles(state, stream, fn));
    if (!reader) FAIL(state->ctx, RELORA_E_ARGUMENT, "%s: reader is NULL", fn);
    if (reader->ctx != state->ctx)
        FAIL(state->ctx, RELORA_E_CONTEXT, "%s: reader belongs to another context than state", fn);
    struct walk w = {.state = state, .stream = stream, .fn = fn, .reader = reader};
    TRY(walk(&w, WALK_CHECK));
    if (w.tensors != reader->header.count)
        FAIL(state->ctx, RELORA_E_NOT_FOUND,
             "%s: the file has %d tensors, but the objects of the state take %d", fn,
             reader->header.count, w.tensors);
    TRY(walk(&w, WALK_LOAD));
    TRY_QUEUE(stream, fn, stream->device->backend->queue_sync(stream->queue)); /* the reader may go now */
    return RELORA_OK;
}
