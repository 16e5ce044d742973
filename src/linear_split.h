/* The branch through the rank as products of its own. */
#ifndef RELORA_SRC_LINEAR_SPLIT_H
#define RELORA_SRC_LINEAR_SPLIT_H

#include "pass.h"

/* y (+)= the branch through the rank. Bias is NULL unless y starts here. */
relora_status split_forward(const struct pass *p, struct pass_memory *m, struct view y, int accumulate,
                            const float *bias);
/* The gradients of A, B and scale. Afterwards h holds s g B. */
relora_status split_backward(const struct pass *p, struct pass_memory *m, struct view g, int accumulate);
/* dx (+)= drop'(h A) */
relora_status split_input(const struct pass *p, struct pass_memory *m, struct view dx, int accumulate);

#endif
