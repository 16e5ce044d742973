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
    struct prune p = {.m = first,
                      .v = second,
                      .count = count,
                      .mode = o->mode,
                      .flags = o->flags,
                      .ratio = o->ratio,
                      .first = draw_make(o->seed, index, DRAW_PRUNE_FIRST, o->cycle),
                      .second = draw_make(o->seed, index, DRAW_PRUNE_SECOND, o->cycle),
                      .counts = counts};
    return call_queue(c, c->backend->prune(c->queue, &p));
}
