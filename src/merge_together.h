/* Ranks that train apart between merges: the factors of all of them, merged as one pair of N times the rank.
 * */
#ifndef RELORA_SRC_MERGE_TOGETHER_H
#define RELORA_SRC_MERGE_TOGETHER_H

#include "comm.h"
#include "merge.h"

struct together {
    const struct comm *comm;
    int64_t a_elements, b_elements; /* of the largest, of all ranks */
    relora_tensor *a, *b;           /* room for them */
};

/* Before together_open(), of each update. */
void together_count(struct together *t, const struct update *update);
relora_status together_open(const struct call *c, struct together *t, relora_device *device);
void together_close(struct together *t);

/* As merge_look() of the pair that will come: after it nothing but the device or another rank can fail. */
relora_status together_look(const struct call *c, const struct together *t, const struct update *update);

/* How many of the updates are sent at once, from the first one on. Then they are sent, and each, once, becomes that of the
 * mean over all ranks: W += 1/N [s B_1 .. s B_N] [A_1; ..; A_N]. Exact, where the product of the means of the factors is
 * not. Every rank has the same factors then, and so the same W. Nothing else may be exchanged in between. */
int32_t together_batch(const struct together *t, const struct update *updates, int32_t count);
relora_status together_send(const struct call *c, const struct together *t, const struct update *updates,
                            int32_t count);
relora_status together_take(const struct call *c, const struct together *t, const struct update *updates,
                            int32_t count, int32_t index, struct update *update);

#endif
