/* U V^T of a matrix U S V^T: its direction, with every singular value 1. */
#ifndef RELORA_SRC_POLAR_H
#define RELORA_SRC_POLAR_H

#include "tensor.h"

struct polar_memory {         /* on the device */
    struct view gram, square; /* of the shorter side: X X^T, or X^T X, and its square */
    struct view slice;        /* of X, along its longer side */
    double *norms,
        *partials; /* of struct merge: three pairs of norms, 0 at first; two doubles for each row of X */
};

struct polar_memory polar_lay_out(struct view x, struct scratch *scratch);

struct polar_sizes { /* of the matrix before */
    double norm;     /* the root of the sum of the squares of its singular values */
    double rank;     /* how many equal ones would have that sum and the same sum of fourth powers */
};

/* x := U V^T. `largest` has the bits of the largest |x|, which is finite and not 0. Waits for the stream. */
relora_status polar_factor(const struct call *c, struct view x, uint32_t largest,
                           const struct polar_memory *memory, struct polar_sizes *sizes);

#endif
