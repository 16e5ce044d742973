/* The same work on the CPU and on the device, and what it left behind side by side. */
#ifndef TEST_CUDA_BOTH_H
#define TEST_CUDA_BOTH_H

#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

enum { RESULTS = 64 };

struct results {
    int n;
    struct result {
        char name[40];
        relora_dtype dtype; /* 0: bytes of another kind */
        void *bytes;
        size_t size;
    } of[RESULTS];
};

/** Remember what `t` holds now, or any bytes of the host. */
void keep(struct results *r, const char *name, const relora_tensor *t);
void keep_bytes(struct results *r, const char *name, const void *bytes, size_t size);

/** `work` in a context on the CPU, then in one on the device, which is env's afterwards; both live until
 *  env_close(). `variant` is passed on. */
typedef void (*work_fn)(struct results *results, int variant);
struct pair {
    struct results cpu, device;
} * on_both(work_fn work, int variant);
/** Everything bit for bit, but for what a NaN carries. At least one byte must differ from 0, lest nothing was compared. */
void same_on_both(work_fn work, int variant);
/** Everything within close_tolerance(0, its dtype, its largest value, k). */
void near_on_both(work_fn work, int variant, int64_t k);

#endif
