/* Which order of products is the cheapest, by a closed form. A pure function of shape, dtype and what
 * multiplies. */
#ifndef RELORA_SRC_PLAN_H
#define RELORA_SRC_PLAN_H

#include "relora/linear.h"

struct plan_case { /* one forward or backward of a layer with W, A and B */
    int64_t rows, in, out, rank;
    relora_dtype dtype;
    relora_device_kind device;
    relora_provider provider; /* of a large product of this dtype, as are the next two; 0: not known */
    relora_isa isa;
    int32_t converts;    /* it is made of F32 operands */
    int32_t may_fold;    /* dropout does not act, and small updates survive the rounding of W + s B A */
    int32_t may_through; /* the gradient of W may stand for those of A and B */
    int32_t wants_dx;
    int32_t freezes_a, freezes_b; /* the gradient of A is not made, or that of B */
};

struct plan {
    relora_order order; /* never AUTO */
    double flops;       /* of the products; a multiply-add counts as two */
};

/* Do products with a factor wait for x or g to be read, rather than for their multiplications? Then layers that read
 * one x do well to read it together. */
int plan_waits(const struct plan_case *c);

/* The cheapest order if `wanted` is AUTO, else `wanted`, or SPLIT where that is not allowed. */
struct plan plan_forward(const struct plan_case *c, relora_order wanted);
struct plan plan_backward(const struct plan_case *c, relora_order wanted);

#endif
