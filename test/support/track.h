/* An allocator for relora_context_options that counts what is outstanding, and checks that every
 * block comes back with the size and the alignment it was asked for. */
#ifndef TEST_SUPPORT_TRACK_H
#define TEST_SUPPORT_TRACK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include "relora/context.h"

struct track {
    pthread_mutex_t lock;
    int64_t bytes;      /* outstanding now */
    int64_t blocks;     /* outstanding now */
    int64_t requests;   /* ever made */
    int64_t mistakes;   /* wrong size or alignment at free, zero bytes, odd alignment */
};

void track_init(struct track *t);
void *track_alloc(void *user, size_t size, size_t alignment);
void track_free(void *user, void *ptr, size_t size, size_t alignment);
/** Fill in the allocator fields of `options`. */
void track_install(struct track *t, relora_context_options *options);

#endif
