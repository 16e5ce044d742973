/* The partial reset of two moments, in place, and counting what it left. */
#include "moments.h"

enum { COUNTS = 3 }; /* zero in the first, zero in the second, first without second */

relora_status moments_count(const struct call *c, int64_t **counts)
{
    static const int64_t zeros[COUNTS] = {0};
    struct scratch scratch = {0};
    scratch_bytes(&scratch, sizeof zeros);
    TRY(scratch_open(c, &scratch));
    *counts = scratch_bytes(&scratch, sizeof zeros);
    struct copy down = {*counts, zeros, 1, sizeof zeros, 0, 0, COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &down));
}

relora_status moments_counted(const struct call *c, const int64_t *counts, relora_reset_report *report)
{
    int64_t host[COUNTS] = {0};
    struct copy up = {host, counts, 1, sizeof host, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    TRY(call_queue(c, c->backend->queue_sync(c->queue)));
    report->zeroed_first = host[0];
    report->zeroed_second = host[1];
    report->unpaired = host[2];
    return RELORA_OK;
}

relora_status moments_reset(const struct call *c, float *first, float *second, int64_t count, uint64_t index,
                            const relora_reset_options *o, int64_t *counts)
{
    /* KEEP and PROJECT zero nothing here, and are only counted */
    int passive = o->mode == RELORA_RESET_KEEP || o->mode == RELORA_RESET_PROJECT;
    if (passive && !counts) return RELORA_OK;
    struct prune p = {.m = first,
                      .v = second,
                      .count = count,
                      .mode = passive ? RELORA_RESET_RANDOM : o->mode,
                      .flags = o->flags,
                      .ratio = passive ? 0 : o->ratio,
                      .first = draw_make(o->seed, index, DRAW_PRUNE_FIRST, o->cycle),
                      .second = draw_make(o->seed, index, DRAW_PRUNE_SECOND, o->cycle),
                      .counts = counts};
    return call_queue(c, c->backend->prune(c->queue, &p));
}

/* ---- from one A to another ---- */

struct transport_memory transport_lay_out(int64_t out, int64_t rank, struct scratch *scratch)
{
    struct transport_memory memory;
    memory.first = scratch_take(scratch, out, rank, RELORA_F32);
    memory.second = scratch_take(scratch, out, rank, RELORA_F32);
    memory.map = scratch_bytes(scratch, size_mul(size_mul((size_t)rank, (size_t)rank), 2 * sizeof(double)));
    return memory;
}

relora_status moments_transport(const struct call *c, const struct transport *t,
                                const struct transport_memory *memory)
{
    const struct scale one = {.value = 1};
    struct project p = {.m = t->first,
                        .v = t->second,
                        .m_from = memory->first,
                        .v_from = memory->second,
                        .old = t->old,
                        .now = t->now,
                        .beta1 = t->beta1,
                        .beta2 = t->beta2,
                        .steps = t->steps,
                        .count = t->count,
                        .map = memory->map};
    TRY(call_convert(c, p.m_from, p.m, one));
    TRY(call_convert(c, p.v_from, p.v, one));
    return call_queue(c, c->backend->project(c->queue, &p));
}
