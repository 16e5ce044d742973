/* Has the run died? A loss that comes back to that of a guess, or climbs and stays, gradients of nothing, and
 * numbers that are not finite, each for many updates in a row. */
#ifndef PRETRAIN_HEALTH_H
#define PRETRAIN_HEALTH_H

#include <stddef.h>
#include <stdint.h>

struct health {
    double chance;               /* loss of a guess among all tokens */
    double first;                /* loss of the first update */
    double mean, best;           /* the smoothed loss, and the least that it was; */
    double worst;                /* the most that it was since it is bad */
    int64_t seen;                /* updates */
    int64_t bad, still, skipped; /* in a row: no better than a guess; without a gradient; not finite */
    int64_t lost;                /* of the skipped ones, those of which the loss itself was not finite */
    int64_t all;                 /* steps skipped in the whole run */
    int64_t patience;            /* how many bad ones are too many */
    int64_t updates;             /* of the whole run */
};

void health_begin(struct health *health, int64_t vocab, int64_t updates);
/* Look at a step. 0 if all is well; else 1, and a sentence in `text`. */
int health_step(struct health *health, double loss, double grad_norm, int skipped, char *text, size_t size);
/* The same when no more steps follow: what looks bad now will not get better. */
int health_end(const struct health *health, double validation_loss, char *text, size_t size);
/* Does it look as if it had died? Then its checkpoints must not take the place of better ones. */
int health_is_bad(const struct health *health);

/* What a checkpoint keeps of it, and taking it back; a text that does not fit is no matter. */
void health_write(const struct health *health, char *text, size_t size);
void health_read(struct health *health, const char *text);

#endif
