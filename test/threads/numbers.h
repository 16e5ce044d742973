/* All that the CPU computes, as a few numbers to compare: every class of product, and a layer and its optimizer
 * from the first pass over a merge to a partial reset. Nothing here asserts, so any thread may ask. */
#ifndef TEST_THREADS_NUMBERS_H
#define TEST_THREADS_NUMBERS_H

#include "threads/suites.h"

struct numbers { /* checksums; compared bit for bit */
    relora_status status;
    int32_t reserved;
    uint64_t products;   /* with the matrix library, if there is one */
    uint64_t portable;   /* with the portable product */
    uint64_t trained[2]; /* F32, BF16 */
    uint64_t lr;         /* of a schedule */
};

/** In a context of its own. `scale` is that of inputs and weights: tiny ones make denormals. */
struct numbers numbers_with(int32_t threads, double scale);
int numbers_differ(const struct numbers *a, const struct numbers *b);
/** For messages. */
const char *numbers_text(const struct numbers *n, char text[160]);

#endif
