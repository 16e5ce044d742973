/* Which sequences of an update a process has. */
#include "train.h"

#include <inttypes.h>
#include "report.h"

/* A rank that has the most sequences of an update decides how long it takes. So micro-batches become smaller where they do
 * not go round; of those that are as good, the largest. A step in full rank is by the last --batch sequences, of which no
 * rank may have more than one micro-batch. */
void division_make(struct trainer *t)
{
    const struct options *o = t->options;
    int64_t least = INT64_MAX;
    for (int64_t batch = o->batch; batch > 0; batch--) {
        if (o->batch % batch || (o->full_rank_every && o->batch / batch > t->ranks->count)) continue;
        int64_t count = o->batch / batch * o->accumulate;
        int64_t most = (count + t->ranks->count - 1) / t->ranks->count * batch;
        if (most >= least) continue;
        least = most;
        t->batch = batch;
        t->accumulate = count;
    }
}

int trainer_is_apart(const struct trainer *t)
{
    return t->ranks->count > 1 && t->options->sync && t->step >= t->options->warm_start;
}

/* What processes cannot do that meet at restarts alone. */
int division_check(const struct trainer *t)
{
    const struct options *o = t->options;
    if (!o->sync) return 0;
    if (o->method != METHOD_RELORA) return fail("--sync restart needs --method relora, which has restarts");
    if (o->full_rank_every)
        return fail(
            "--full-rank-every moves W in every update, but with --sync restart only merges may; use one of them");
    if (t->accumulate < t->ranks->count)
        return fail("--sync restart: %d processes have %" PRId64
                    " micro-batches, so one would learn nothing; use a "
                    "larger --batch or --accumulate",
                    t->ranks->count, t->accumulate);
    return 0;
}

int64_t division_last(const struct trainer *t)
{
    return t->accumulate - t->options->batch / t->batch;
}

int division_has_last(const struct trainer *t)
{
    int64_t first = division_last(t), after = (t->ranks->index - first) % t->ranks->count;
    return first + (after < 0 ? after + t->ranks->count : after) < t->accumulate;
}

int64_t division_micros(const struct trainer *t)
{
    int64_t others = t->ranks->count - 1 - t->ranks->index;
    return trainer_is_apart(t) ? (t->accumulate + others) / t->ranks->count : t->accumulate;
}
