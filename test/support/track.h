/* An allocator for relora_context_options that counts what is outstanding, checks that every block comes
 * back with the size and the alignment it was asked for, and refuses requests when told to. */
#ifndef TEST_SUPPORT_TRACK_H
#define TEST_SUPPORT_TRACK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include "relora/context.h"

struct track {
    pthread_mutex_t lock;
    int64_t bytes;       /* outstanding now */
    int64_t blocks;      /* outstanding now */
    int64_t peak;        /* the most bytes outstanding since track_peak() */
    int64_t requests;    /* ever made, those refused included */
    int64_t refused;     /* since track_refuse() */
    int64_t mistakes;    /* wrong size or alignment at free, zero bytes, odd alignment */
    int64_t first, last; /* the requests to refuse, as `requests` counts them */
};

void track_init(struct track *t);
void *track_alloc(void *user, size_t size, size_t alignment);
void track_free(void *user, void *ptr, size_t size, size_t alignment);
/** Refuse the `nth` request from now on, 1 being the next; with `lasting` every one after it too, until
 *  track_refuse(t, 0, 0), which refuses none. */
void track_refuse(struct track *t, int64_t nth, int lasting);
/** Measure `peak` anew. */
void track_peak(struct track *t);
/** Fill in the allocator fields of `options`. */
void track_install(struct track *t, relora_context_options *options);

#endif
