/* Products of several layers that read one x, made as one. */
#ifndef RELORA_SRC_LINEAR_STACK_H
#define RELORA_SRC_LINEAR_STACK_H

#include "pass.h"

/* Decide what is made together, once orders are known and before the layout. */
void stack_plan_forward(struct passes *all);
void stack_plan_backward(struct passes *all);

/* The part of layer i of a matrix of the stack. */
struct view stack_rows(const struct passes *all, struct view v, int32_t i);
struct view stack_cols(const struct passes *all, struct view v, int32_t i);

relora_status stack_u(const struct passes *all);
/* The gradients of A, when every h is there. */
relora_status stack_a_grads(const struct passes *all, int accumulate);

#endif
