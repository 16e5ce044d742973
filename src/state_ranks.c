/* Saving a state in several ranks: what lies in shares comes together first, rank 0 writes, and then all
 * know how it went. No rank leaves before, as the others would wait for it. */
#include "state_ranks.h"

const struct comm *state_comm(const relora_state *state)
{
    for (int32_t i = 0; i < state->parts.count; i++) {
        const struct state_part *part = state_at(state, i);
        if (part->kind == PART_ADAM && comm_has_others(&part->adam->comm)) return &part->adam->comm;
    }
    return NULL;
}

/* ---- moments in shares ---- */

static int is_sharded(const struct state_part *part)
{
    return part->kind == PART_ADAM && adam_is_sharded(part->adam);
}

static relora_status make_room(const struct call *c, const relora_state *state, struct gathered *g)
{
    int64_t most = 0;
    relora_device *device = NULL;
    for (int32_t i = 0; i < state->parts.count; i++) {
        const struct state_part *part = state_at(state, i);
        if (!is_sharded(part)) continue;
        TRY(adam_share(c, part->adam));
        TRY(call_check_device(c, "adam", part->adam->device));
        device = part->adam->device;
        g->count += 2 * part->adam->registry.count;
        for (int32_t k = 0; k < part->adam->registry.count; k++)
            if (adam_at(part->adam, k)->is.value->shape.count > most)
                most = adam_at(part->adam, k)->is.value->shape.count;
    }
    return most ? tensor_new(c, &g->whole, device, RELORA_F32, 1, &most) : RELORA_OK;
}

static size_t moment_bytes(const relora_adam *adam, int32_t index)
{
    return (size_t)adam_at(adam, index)->is.value->shape.count * sizeof(float);
}

/* What has come to rank 0 goes to the host. */
static relora_status keep(const struct call *c, void **kept, const relora_tensor *whole, size_t bytes)
{
    *kept = memory_alloc(&c->ctx->memory, bytes ? bytes : 1);
    if (!*kept) return call_fail_memory(c, bytes);
    struct copy up = {*kept, whole->data, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

static relora_status gather(const struct call *c, const relora_adam *adam, struct gathered *g, int32_t *next)
{
    relora_status kept = RELORA_OK;
    for (int32_t i = 0; i < adam->registry.count; i++)
        for (int32_t k = 0; k < 2; k++, ++*next) {
            relora_moment moment = k ? RELORA_MOMENT_SECOND : RELORA_MOMENT_FIRST;
            TRY(adam_gather_moment(c, adam, i, moment, g->whole->data));
            if (kept < 0 || !g->moments) continue;
            kept = keep(c, &g->moments[*next], g->whole, moment_bytes(adam, i));
        }
    return kept;
}

relora_status state_gather(const struct call *c, const relora_state *state, const struct comm *comm,
                           struct gathered *g)
{
    const struct memory *memory = &state->ctx->memory;
    relora_status status = make_room(c, state, g);
    if (status >= 0 && g->count && comm->table.rank == 0) {
        size_t bytes = (size_t)g->count * sizeof *g->moments;
        g->moments = memory_alloc_zero(memory, bytes);
        if (!g->moments) status = call_fail_memory(c, bytes);
    }
    TRY(comm_agree(c, comm, status)); /* all have room, or none goes on */
    int32_t next = 0;
    for (int32_t i = 0; i < state->parts.count; i++) {
        if (!is_sharded(state_at(state, i))) continue;
        relora_status kept = gather(c, state_at(state, i)->adam, g, &next);
        if (kept == RELORA_E_COMM || kept == RELORA_E_BACKEND) return kept;
        if (kept < 0) status = kept;
    }
    return status;
}

void state_gather_free(const relora_state *state, struct gathered *g)
{
    const struct memory *memory = &state->ctx->memory;
    int32_t next = 0;
    for (int32_t i = 0; g->moments && i < state->parts.count; i++) {
        const struct state_part *part = state_at(state, i);
        if (!is_sharded(part)) continue;
        for (int32_t k = 0; k < 2 * part->adam->registry.count; k++, next++) {
            size_t bytes = moment_bytes(part->adam, k / 2);
            memory_free(memory, g->moments[next], bytes ? bytes : 1);
        }
    }
    memory_free(memory, g->moments, (size_t)g->count * sizeof *g->moments);
    relora_tensor_release(g->whole);
}

relora_status state_load_share(const struct call *c, const relora_adam *adam, int32_t index,
                               relora_moment moment, const unsigned char *whole)
{
    const struct adam_entry *e = adam_at(adam, index);
    const struct adam_own own = adam_own(adam, index);
    const relora_tensor *share = moment == RELORA_MOMENT_FIRST ? e->first : e->second;
    if (!share) return RELORA_OK;
    struct copy down = {
        share->data,   whole + (size_t)own.first * sizeof(float), 1, (size_t)own.count * sizeof(float), 0, 0,
        COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &down));
}
