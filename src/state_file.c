/* A state as a file: one list of named tensors and descriptions, walked for saving, for checking and
 * for loading alike. */
#include <stdio.h>
#include <string.h>

#include "relora/version.h"
#include "state_ranks.h"

enum walk_mode { WALK_SAVE = 1, WALK_CHECK, WALK_LOAD };

struct walk {
    const relora_state *state;
    const struct call *call;
    enum walk_mode mode;
    relora_writer *writer;       /* saving */
    const relora_reader *reader; /* checking and loading */
    int32_t tensors;             /* met so far */
    int32_t *found;              /* checking and loading: which of the file they are, as they are met */
    unsigned char *taken;        /* and whether a tensor of the file was met */
    int64_t **steps;             /* saving: step counts, until the file is written */
    int32_t step_arrays;
    struct gathered *gathered; /* saving: moments from all ranks, in order; */
    int32_t moments;           /* and how many were met */
};

static const char format_key[] = "relora.state", format_value[] = "1";

/* ---- one tensor, one description ---- */

/* A tensor of the file is for one object only. */
static relora_status take(struct walk *w, const char *name)
{
    int32_t index = st_header_find(&w->reader->header, name);
    if (w->taken[index])
        FAIL(w->call, RELORA_E_EXISTS, "two objects of the state have a tensor \"%s\"", name);
    w->taken[index] = 1;
    w->found[w->tensors++] = index;
    return RELORA_OK;
}

/* Loading, which must not fail half way, needs no name and no memory: it knows what the check found. */
static relora_status visit_tensor(struct walk *w, const char *name, relora_tensor *tensor)
{
    if (w->mode == WALK_LOAD) return reader_copy(w->call, w->reader, w->found[w->tensors++], tensor);
    TRY(tensor_check(w->call, tensor, name));
    if (w->mode == WALK_SAVE) return writer_add(w->call, w->writer, name, tensor);
    TRY(reader_check(w->call, w->reader, name, tensor, 0));
    return take(w, name);
}

/* Bytes of the host's, where they lie. */
static relora_status check_bytes(struct walk *w, const struct state_part *part)
{
    int32_t index = -1;
    TRY(reader_find(w->call, w->reader, part->is.name, &index));
    const struct st_tensor *t = &w->reader->header.tensors[index];
    if (strcmp(t->dtype->name, "U8"))
        FAIL(w->call, RELORA_E_DTYPE, "\"%s\" is %s in the file, not bytes (U8)", t->name, t->dtype->name);
    if (t->end - t->begin != part->size)
        FAIL(w->call, RELORA_E_SHAPE, "\"%s\" has %zu bytes here, but %llu in the file", t->name, part->size,
             (unsigned long long)(t->end - t->begin));
    TRY(reader_check_sum(w->call, w->reader, index));
    return take(w, t->name);
}

static relora_status visit_bytes(struct walk *w, const struct state_part *part)
{
    int64_t shape = (int64_t)part->size;
    if (w->mode == WALK_SAVE)
        return writer_add_bytes(w->call, w->writer, part->is.name, "U8", 1, &shape, part->bytes, part->size);
    if (w->mode == WALK_CHECK) return check_bytes(w, part);
    const struct st_tensor *t = &w->reader->header.tensors[w->found[w->tensors++]];
    if (part->size) memcpy(part->bytes, reader_bytes_of(w->reader, t), part->size);
    return RELORA_OK;
}

static relora_status visit_joined(struct walk *w, const char *prefix, const char *name, const char *suffix,
                                  relora_tensor *tensor)
{
    struct text text = {.memory = &w->state->ctx->memory};
    if (w->mode == WALK_LOAD) return visit_tensor(w, NULL, tensor);
    text_join(&text, prefix, name);
    text_put(&text, "%s", suffix);
    relora_status status =
        text.failed ? call_fail_memory(w->call, text.capacity) : visit_tensor(w, text.data, tensor);
    text_free(&text);
    return status;
}

/* One pair of metadata for an object, or for the file's form: written, or compared with that of the file. */
static relora_status compare_pair(const struct walk *w, const struct state_part *part, const char *key,
                                  const char *ours)
{
    const char *stored = relora_reader_metadata(w->reader, key);
    struct text why = {.memory = &w->state->ctx->memory};
    if (!stored) FAIL(w->call, RELORA_E_NOT_FOUND, "the file has no \"%s\"", key);
    relora_status status = part->kind == PART_ADAM     ? adam_compare(part->adam, stored, &why)
                           : part->kind == PART_LINEAR ? linear_compare(ours, stored, &why)
                                                       : part->compare(ours, stored, &why);
    if (status == RELORA_E_NO_MEMORY) call_fail_memory(w->call, why.capacity);
    else if (status < 0) call_fail(w->call, status, "%s: %s", key, why.data);
    text_free(&why);
    return status;
}

static relora_status visit_key(struct walk *w, const struct state_part *part, const char *key,
                               const char *description)
{
    if (w->mode == WALK_CHECK) return compare_pair(w, part, key, description);
    if (writer_has_metadata(w->writer, key))
        FAIL(w->call, RELORA_E_EXISTS, "the state has two of \"%s\"", key);
    return writer_set_metadata(w->call, w->writer, key, description);
}

static relora_status visit_description(struct walk *w, const struct state_part *part, const char *kind,
                                       struct text *description)
{
    struct text key = {.memory = &w->state->ctx->memory};
    text_put(&key, "relora.");
    text_put(&key, "%s%s%s", kind, part->is.name[0] ? "." : "", part->is.name);
    relora_status status = key.failed || description->failed
                               ? call_fail_memory(w->call, key.capacity)
                               : visit_key(w, part, key.data, description->data);
    text_free(&key);
    text_free(description);
    return status;
}

/* ---- objects ---- */

static relora_status visit_linear(struct walk *w, const struct state_part *part)
{
    struct text description = {.memory = &w->state->ctx->memory};
    if (w->mode != WALK_LOAD) {
        linear_describe(part->is.linear, &description);
        TRY(visit_description(w, part, "linear", &description));
    }
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (part->is.linear->param[p] &&
            p != RELORA_PARAM_SKETCH) /* which lives within an update, as gradients do */
            TRY(visit_joined(w, part->is.name, linear_param_name(p), "", part->is.linear->param[p]));
    return RELORA_OK;
}

static relora_status save_steps(struct walk *w, const char *name, relora_adam *adam)
{
    const struct memory *memory = &w->state->ctx->memory;
    int64_t shape = adam->registry.count;
    int64_t *steps = memory_alloc(memory, (size_t)adam->registry.count * sizeof *steps);
    if (!steps) return call_fail_memory(w->call, (size_t)adam->registry.count * sizeof *steps);
    w->steps[w->step_arrays++] = steps;
    for (int32_t i = 0; i < adam->registry.count; i++) TRY(adam_read_steps(w->call, adam, i, &steps[i]));
    return writer_add_bytes(w->call, w->writer, name, "I64", 1, &shape, steps,
                            (size_t)adam->registry.count * sizeof *steps);
}

static int64_t stored_steps(const struct walk *w, int32_t tensor, int32_t index)
{
    int64_t steps;
    const struct st_header *header = &w->reader->header;
    const unsigned char *data = w->reader->bytes + header->data + header->tensors[tensor].begin;
    memcpy(&steps, data + (size_t)index * sizeof steps, sizeof steps);
    return steps;
}

static relora_status check_steps(struct walk *w, const char *name, const relora_adam *adam)
{
    int32_t tensor = st_header_find(&w->reader->header, name);
    if (tensor < 0) FAIL(w->call, RELORA_E_NOT_FOUND, "the file has no tensor \"%s\"", name);
    const struct st_tensor *t = &w->reader->header.tensors[tensor];
    if (strcmp(t->dtype->name, "I64"))
        FAIL(w->call, RELORA_E_DTYPE, "\"%s\" is %s in the file, not I64", name, t->dtype->name);
    if (t->ndim != 1 || t->shape[0] != adam->registry.count)
        FAIL(w->call, RELORA_E_SHAPE, "\"%s\" must have the shape [%d]", name, adam->registry.count);
    TRY(reader_check_sum(w->call, w->reader, tensor));
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (stored_steps(w, tensor, i) < 0 || stored_steps(w, tensor, i) > ADAM_STEPS_MAX)
            FAIL(w->call, RELORA_E_FORMAT, "\"%s\"[%d] is %lld, outside 0 to 2^53", name, i,
                 (long long)stored_steps(w, tensor, i));
    return take(w, name);
}

static relora_status load_steps(struct walk *w, relora_adam *adam)
{
    int32_t tensor = w->found[w->tensors++];
    for (int32_t i = 0; i < adam->registry.count; i++)
        TRY(call_queue(w->call, adam_write_steps(adam, w->call->queue, i, stored_steps(w, tensor, i))));
    return RELORA_OK;
}

static relora_status visit_steps(struct walk *w, const struct state_part *part)
{
    struct text name = {.memory = &w->state->ctx->memory};
    if (w->mode == WALK_LOAD) return load_steps(w, part->adam);
    text_join(&name, part->is.name, "steps");
    relora_status status;
    if (name.failed) status = call_fail_memory(w->call, name.capacity);
    else
        status = w->mode == WALK_SAVE ? save_steps(w, name.data, part->adam)
                                      : check_steps(w, name.data, part->adam);
    text_free(&name);
    return status;
}

/* Moments that lie in shares: the file has all of them, and each rank takes its own. */
static relora_status visit_share(struct walk *w, const char *name, const relora_adam *adam, int32_t index,
                                 relora_moment moment)
{
    struct shape shape = adam_at(adam, index)->is.value->shape;
    relora_tensor whole = {.ctx = adam->ctx, .device = adam->device};
    shape.dtype = RELORA_F32;
    whole.shape = shape;
    if (w->mode == WALK_LOAD) {
        const struct st_tensor *t = &w->reader->header.tensors[w->found[w->tensors++]];
        return state_load_share(w->call, adam, index, moment, reader_bytes_of(w->reader, t));
    }
    if (w->mode == WALK_SAVE) {
        const void *bytes = w->gathered->moments[w->moments++];
        return writer_add_bytes(w->call, w->writer, name, "F32", shape.ndim, shape.dim, bytes,
                                shape_bytes(&shape));
    }
    TRY(reader_check(w->call, w->reader, name, &whole, 0));
    return take(w, name);
}

static relora_status visit_moment(struct walk *w, const struct state_part *part, int32_t index,
                                  relora_moment moment)
{
    const struct adam_entry *e = adam_at(part->adam, index);
    const char *suffix = moment == RELORA_MOMENT_FIRST ? ".exp_avg" : ".exp_avg_sq";
    struct text text = {.memory = &w->state->ctx->memory};
    if (!adam_is_sharded(part->adam))
        return visit_joined(w, part->is.name, e->is.name, suffix,
                            moment == RELORA_MOMENT_FIRST ? e->first : e->second);
    text_join(&text, part->is.name, e->is.name);
    text_put(&text, "%s", suffix);
    relora_status status = text.failed ? call_fail_memory(w->call, text.capacity)
                                       : visit_share(w, text.data, part->adam, index, moment);
    text_free(&text);
    return status;
}

static relora_status visit_adam(struct walk *w, const struct state_part *part)
{
    struct text description = {.memory = &w->state->ctx->memory};
    if (w->mode != WALK_LOAD) {
        adam_describe(part->adam, &description);
        TRY(visit_description(w, part, "adam", &description));
    }
    if (w->mode == WALK_CHECK) TRY(adam_share(w->call, part->adam));
    for (int32_t i = 0; i < part->adam->registry.count; i++) {
        TRY(visit_moment(w, part, i, RELORA_MOMENT_FIRST));
        TRY(visit_moment(w, part, i, RELORA_MOMENT_SECOND));
    }
    return visit_steps(w, part);
}

/* What the host set is its own to read and compare; our descriptions have to agree. */
static relora_status visit_text(struct walk *w, const struct state_part *part)
{
    if (w->mode == WALK_SAVE) return writer_set_metadata(w->call, w->writer, part->is.name, part->text);
    if (w->mode == WALK_LOAD || !part->compare) return RELORA_OK;
    return compare_pair(w, part, part->is.name, part->text);
}

static relora_status visit_part(struct walk *w, const struct state_part *part)
{
    switch (part->kind) {
    case PART_TENSOR: return visit_tensor(w, part->is.name, part->is.value);
    case PART_LINEAR: return visit_linear(w, part);
    case PART_ADAM: return visit_adam(w, part);
    case PART_BYTES: return visit_bytes(w, part);
    default: return visit_text(w, part);
    }
}

static relora_status visit_format(struct walk *w)
{
    if (w->mode == WALK_SAVE) return writer_set_metadata(w->call, w->writer, format_key, format_value);
    const char *stored = relora_reader_metadata(w->reader, format_key);
    if (!stored)
        FAIL(w->call, RELORA_E_NOT_FOUND, "the file has no \"%s\", so it is not the checkpoint of a state",
             format_key);
    if (strcmp(stored, format_value))
        FAIL(w->call, RELORA_E_STATE, "%s: %s here, but %s in the file", format_key, format_value, stored);
    return RELORA_OK;
}

static relora_status walk(struct walk *w, enum walk_mode mode)
{
    w->mode = mode;
    w->tensors = 0;
    TRY(visit_format(w));
    for (int32_t i = 0; i < w->state->parts.count; i++) TRY(visit_part(w, state_at(w->state, i)));
    return RELORA_OK;
}

/* ---- saving and loading ---- */

static relora_status open_state(struct call *c, const relora_state *state, relora_stream *stream)
{
    return call_open(c, stream, "state", state ? state->ctx : NULL, NULL);
}

static relora_status write_file(struct walk *w, const char *path, uint32_t flags)
{
    TRY(writer_create(w->call, &w->writer));
    TRY(walk(w, WALK_SAVE));
    TRY(writer_set_metadata(w->call, w->writer, "relora.version", relora_version_string()));
    return writer_save(w->call, w->writer, path, flags);
}

static relora_status save(struct walk *w, const char *path, uint32_t flags)
{
    const relora_state *state = w->state;
    const struct memory *memory = &state->ctx->memory;
    size_t bytes = (size_t)state->parts.count * sizeof *w->steps; /* no more optimizers than parts */
    w->steps = memory_alloc(memory, bytes);
    if (!w->steps) return call_fail_memory(w->call, bytes);
    relora_status status = write_file(w, path, flags);
    relora_writer_release(w->writer);
    int32_t array = 0;
    for (int32_t i = 0; i < state->parts.count && array < w->step_arrays; i++)
        if (state_at(state, i)->kind == PART_ADAM)
            memory_free(memory, w->steps[array++],
                        (size_t)state_at(state, i)->adam->registry.count * sizeof(int64_t));
    memory_free(memory, w->steps, bytes);
    return status;
}

relora_status relora_state_save(relora_state *state, relora_stream *stream, const char *path, uint32_t flags)
{
    struct call c = {.fn = "relora_state_save"};
    TRY(open_state(&c, state, stream));
    if (!state->parts.count) FAIL(&c, RELORA_E_STATE, "nothing was added to the state");
    const struct comm *comm = state_comm(state);
    struct gathered gathered = {0};
    struct walk w = {.state = state, .call = &c, .gathered = &gathered};
    if (!comm) return save(&w, path, flags);
    TRY(call_check_device(&c, "adam", comm->device));
    relora_status status = state_gather(&c, state, comm, &gathered);
    if (status >= 0 && comm->table.rank == 0) status = save(&w, path, flags);
    state_gather_free(state, &gathered);
    return status == RELORA_E_COMM ? status : comm_agree(&c, comm, status);
}

static relora_status load(struct walk *w)
{
    if (!w->found || !w->taken) return call_fail_memory(w->call, (size_t)w->reader->header.count);
    TRY(walk(w, WALK_CHECK));
    for (int32_t i = 0; i < w->reader->header.count; i++)
        if (!w->taken[i])
            FAIL(w->call, RELORA_E_NOT_FOUND,
                 "the file has %d tensors, but the objects of the state take %d: \"%s\" is left over",
                 w->reader->header.count, w->tensors, relora_reader_name(w->reader, i));
    TRY(walk(w, WALK_LOAD));
    /* the reader may go now */
    return call_queue(w->call, w->call->backend->queue_sync(w->call->queue));
}

relora_status relora_state_load(relora_state *state, relora_stream *stream, relora_reader *reader)
{
    struct call c = {.fn = "relora_state_load", .ctx = reader ? reader->ctx : NULL};
    TRY(open_state(&c, state, stream));
    if (!reader) FAIL(&c, RELORA_E_ARGUMENT, "reader is NULL");
    if (reader->ctx != state->ctx) FAIL(&c, RELORA_E_CONTEXT, "reader belongs to another context than state");
    struct walk w = {.state = state, .call = &c, .reader = reader};
    const struct memory *memory = &state->ctx->memory;
    size_t n = (size_t)reader->header.count;
    w.found = memory_alloc(memory, n * sizeof *w.found);
    w.taken = memory_alloc_zero(memory, n);
    relora_status status = load(&w);
    memory_free(memory, w.found, n * sizeof *w.found);
    memory_free(memory, w.taken, n);
    return status;
}
