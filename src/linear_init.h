/* How the factors of a layer begin. */
#ifndef RELORA_SRC_LINEAR_INIT_H
#define RELORA_SRC_LINEAR_INIT_H

#include "linear.h"
#include "moments.h"

/* A, B and a trainable scale of a layer that has just been made, or whose warm start ends: in the call's stream, if it
 * has one, for a gradient of W. */
relora_status linear_start_factors(const struct call *c, relora_linear *linear);

struct linear_reset {
    uint64_t cycle;
    int32_t measures;           /* into the sums of a merge */
    int32_t apart;              /* other ranks have another A */
    struct transport transport; /* of the moments of B, all but the two A; without data: none */
};

/* Look at the gradient that a reset needs, and take its memory: after it nothing but the device can fail. */
relora_status linear_reset_reserve(const struct call *c, const relora_linear *linear,
                                   const struct linear_reset *reset);
relora_status linear_reset_run(const struct call *c, relora_linear *linear, const struct linear_reset *reset);

#endif
