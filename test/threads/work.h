/* What a thread of these tests does: it makes objects, trains with them, and keeps the numbers. */
#ifndef TEST_THREADS_WORK_H
#define TEST_THREADS_WORK_H

#include "context.h" /* TRY */
#include "threads/suites.h"

enum { WORKERS = 4, IN = 70, OUT = 50, RANK = 5, ROWS = 40, STEPS = 12 };

struct job {
    relora_context *ctx;   /* shared, or NULL for one of its own */
    relora_tensor *shared; /* a W for several layers, only read; or NULL for one of its own */
    int32_t threads;       /* of its own context */
    uint64_t layer;
    relora_status failed;
    float weight[OUT * IN], factor[OUT * RANK];
};

struct kit {
    relora_context *own;
    relora_stream *st;
    relora_linear *l;
    relora_adam *adam;
    relora_cycle *cycle; /* NULL with a shared W, which is not merged into */
    relora_tensor *w, *x, *y, *dy;
};

relora_status make(struct job *job, struct kit *k);
relora_status train(struct job *job, struct kit *k);
void drop(struct kit *k);
/** All three, for pthread_create: the job says how it went. */
void *work(void *job);

/** Random values, the same for the same seed. */
relora_status fill(relora_tensor *t, relora_stream *st, uint64_t seed);

/** One thread for each of `n` arguments of `size` bytes; returns when all are done. */
void together(void *(*run)(void *), void *arguments, size_t size, int n);
/** Each job gave what it gives alone, and no two the same factor. */
void compare(const struct job *jobs);

#endif
