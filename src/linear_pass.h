/* Forward and backward: linear_pass.c checks the arguments, asks plan.c for an order, lays out the
 * temporaries and calls one of the orders. */
#ifndef RELORA_SRC_LINEAR_PASS_H
#define RELORA_SRC_LINEAR_PASS_H

#include "pass.h"

/* Check every argument and change nothing; then do it. y and dy go by a name in sentences. */
relora_status pass_forward_open(const struct call *c, struct pass *p, relora_linear *linear,
                                const relora_tensor *x, const char *y_name, const relora_tensor *y,
                                uint64_t call, uint32_t flags);
relora_status pass_forward_run(struct passes *all);
relora_status pass_backward_open(const struct call *c, struct pass *p, relora_linear *linear,
                                 const relora_tensor *x, const char *dy_name, const relora_tensor *dy,
                                 const relora_tensor *dx, uint64_t call, uint32_t flags);
relora_status pass_backward_run(struct passes *all, relora_tensor *dx, uint32_t flags);

#endif
