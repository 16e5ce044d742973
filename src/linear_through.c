/* The gradients of A and B through the one that W would have. */
#include "linear_through.h"

/* With G = g^T x in F32: dA = s B^T G, dB = s G A^T, or one of them. */
relora_status through_backward(const struct pass *p, struct pass_memory *m, struct view g, int accumulate)
{
    TRY(pass_product(p, (struct gemm){.a = g, .ta = 1, .b = p->x, .c = m->through}));
    if (p->linear->grad[RELORA_PARAM_A])
        TRY(pass_product(p, (struct gemm){.a = m->wide_b,
                                          .ta = 1,
                                          .b = m->through,
                                          .c = pass_grad(p, RELORA_PARAM_A),
                                          .accumulate = accumulate}));
    if (!p->linear->grad[RELORA_PARAM_B]) return RELORA_OK;
    return pass_product(p, (struct gemm){.a = m->through,
                                         .b = m->wide_a,
                                         .tb = 1,
                                         .c = pass_grad(p, RELORA_PARAM_B),
                                         .accumulate = accumulate});
}
