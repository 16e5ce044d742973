/* One step of a weight in full rank: down the direction of a gradient, with no moments. */
#ifndef RELORA_SRC_FULL_RANK_H
#define RELORA_SRC_FULL_RANK_H

#include "relora/linear.h"
#include "tensor.h"

struct full_rank {            /* what one step works on */
    const char *name;         /* in sentences; "" for none */
    struct view weight, grad; /* of one shape, either way round */
    struct view delta;        /* may have no data */
    double lr;
    relora_rounding rounding;
    uint64_t seed, layer, count; /* of the random numbers */
    int only_looks;
};

relora_status full_rank_check_lr(const struct call *c, double lr);

/* Fills the report. Unless it is RELORA_OK, the weight and the delta are as they were, but for a failure of the
 * device. Waits for the stream. */
relora_status full_rank_run(const struct call *c, const struct full_rank *f, relora_full_rank_report *report);

#endif
