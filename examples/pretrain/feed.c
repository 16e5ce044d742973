#include "feed.h"

#include <pthread.h>
#include <stdlib.h>
#include "report.h"

enum { SLOTS = 2 }; /* one in use, one being made */

struct slot {
    int32_t *tokens, *targets;
    int result; /* of making it */
};

struct feed {
    const struct data *data;
    struct feed_shape shape;
    struct slot slots[SLOTS];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t made, wanted,
        taken; /* micro-batches since the first of the run; those below `wanted` may be made */
    int ending, started, broken; /* broken: the last one could not be made, and no more are tried */
};

int64_t feed_own(const struct feed_shape *s)
{
    return (s->accumulate - s->rank + s->ranks - 1) / s->ranks;
}

static int fill(const struct feed *feed, const struct slot *slot, int64_t which)
{
    const struct feed_shape *s = &feed->shape;
    int64_t own = feed_own(s), attempt = which / own, first = (s->rank + which % own * s->ranks) * s->batch;
    for (int64_t row = 0; row < s->batch; row++)
        if (data_train_row(feed->data, s->seed, attempt, first + row, s->seq, slot->tokens + row * s->seq,
                           slot->targets + row * s->seq))
            return -1;
    return 0;
}

static void *work(void *argument)
{
    struct feed *feed = argument;
    pthread_mutex_lock(&feed->lock);
    while (!feed->ending) {
        if (feed->made == feed->wanted || feed->broken) {
            pthread_cond_wait(&feed->changed, &feed->lock);
            continue;
        }
        struct slot *slot = &feed->slots[feed->made % SLOTS];
        pthread_mutex_unlock(&feed->lock);
        int result = fill(feed, slot, feed->made); /* nobody else writes `made` */
        pthread_mutex_lock(&feed->lock);
        slot->result = result;
        feed->broken = result != 0;
        feed->made++;
        pthread_cond_broadcast(&feed->changed);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

struct feed *feed_open(const struct data *data, const struct feed_shape *shape, int64_t first)
{
    struct feed *feed = calloc(1, sizeof *feed);
    size_t bytes = (size_t)(shape->batch * shape->seq) * sizeof(int32_t);
    int ready = feed != NULL;
    for (int i = 0; feed && i < SLOTS; i++) {
        feed->slots[i].tokens = malloc(bytes);
        feed->slots[i].targets = malloc(bytes);
        ready = ready && feed->slots[i].tokens && feed->slots[i].targets;
    }
    if (!ready) {
        feed_close(feed);
        fail("no memory for batches");
        return NULL;
    }
    feed->data = data;
    feed->shape = *shape;
    feed->made = feed->taken = first * feed_own(shape);
    feed->wanted = feed->made + 1;
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->changed, NULL);
    feed->started = pthread_create(&feed->thread, NULL, work, feed) == 0;
    if (feed->started) return feed;
    feed_close(feed);
    fail("cannot start the thread that makes batches");
    return NULL;
}

void feed_close(struct feed *feed)
{
    if (!feed) return;
    if (feed->started) {
        pthread_mutex_lock(&feed->lock);
        feed->ending = 1;
        pthread_cond_broadcast(&feed->changed);
        pthread_mutex_unlock(&feed->lock);
        pthread_join(feed->thread, NULL);
        pthread_mutex_destroy(&feed->lock);
        pthread_cond_destroy(&feed->changed);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(feed->slots[i].tokens);
        free(feed->slots[i].targets);
    }
    free(feed);
}

int feed_next(struct feed *feed, const int32_t **tokens, const int32_t **targets)
{
    pthread_mutex_lock(&feed->lock);
    while (feed->made == feed->taken && !feed->broken) pthread_cond_wait(&feed->changed, &feed->lock);
    if (feed->made == feed->taken) {
        pthread_mutex_unlock(&feed->lock);
        return -1;
    }
    const struct slot *slot = &feed->slots[feed->taken++ % SLOTS];
    feed->wanted = feed->taken + 1; /* goes into the slot that the last call gave out */
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    *tokens = slot->tokens;
    *targets = slot->targets;
    return slot->result;
}
