/* What GRADIENT makes the next A of where A is frozen, and so has no gradient. */
#ifndef RELORA_SRC_LINEAR_SKETCH_H
#define RELORA_SRC_LINEAR_SKETCH_H

#include "pass.h"

/* Does this backward add to the sketch of the layer? */
int sketch_wanted(const relora_linear *linear, uint32_t flags);

/* Make the scratch of a backward at least as large as its sketch needs, which comes after it in the same memory. */
void sketch_reserve(const struct pass *p, struct scratch *scratch);

/* sketch += A G^T G with G = dy^T x, or store it, if it is wanted; the memory must have been reserved. */
relora_status sketch_add(const struct pass *p, int accumulate);

/* Multiply-adds of that. */
double sketch_products(const struct pass *p);

#endif
