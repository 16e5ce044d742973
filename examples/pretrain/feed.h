/* The batches of a run, the next one made by a thread of its own while the last one is trained on. Which one
 * is next depends on nothing but the count, so a run repeats bit for bit. */
#ifndef PRETRAIN_FEED_H
#define PRETRAIN_FEED_H

#include "data.h"

struct feed;

struct feed_shape {
    uint64_t seed;
    int64_t seq, batch,
        accumulate;      /* micro-batches of batch x seq tokens, accumulate of them in an attempt */
    int64_t rank, ranks; /* of which this rank has every one whose number leaves `rank` divided by `ranks` */
};

/* Micro-batches of this rank in an attempt; with 0 there is nothing to open. */
int64_t feed_own(const struct feed_shape *shape);

/* The first batch is that of attempt `first`. NULL, after a sentence, if it cannot be had. */
struct feed *feed_open(const struct data *data, const struct feed_shape *shape, int64_t first);
void feed_close(struct feed *feed); /* NULL is allowed */
/* The next micro-batch, [batch, seq] twice, good until the next call. -1, after a sentence, if the data are
 * no good. */
int feed_next(struct feed *feed, const int32_t **tokens, const int32_t **targets);

#endif
