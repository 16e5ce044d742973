/* The gradients of A and B through the one that W would have. */
#ifndef RELORA_SRC_LINEAR_THROUGH_H
#define RELORA_SRC_LINEAR_THROUGH_H

#include "pass.h"

/* The gradients of A and B from g^T x. */
relora_status through_backward(const struct pass *p, struct pass_memory *m, struct view g, int accumulate);

#endif
