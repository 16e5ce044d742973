/* One forward or backward of one layer, as the orders of products see it. */
#ifndef RELORA_SRC_PASS_H
#define RELORA_SRC_PASS_H

#include "linear.h"
#include "plan.h"

struct pass {
    const relora_linear *linear;
    const struct call *call;
    struct view x;
    int64_t rows;
    struct draw mask, rounding; /* of the dropout; of a fold */
    int drops;                  /* dropout acts on this pass */
    int adds;                   /* forward: to y */
    int wants_dx;               /* backward */
    int sketches;               /* backward: it adds to the sketch of the layer, too */
    relora_order order;
};

/* Temporaries of a pass; what a pass does not need has no data. */
struct pass_memory {
    struct view dropped; /* d = drop(x) */
    struct view a, b;    /* the factors in the layer's dtype, b with the scale */
    struct view scaled_a;
    struct view u, h;           /* d A^T and g B */
    struct view branch;         /* h A, before its dropout */
    struct view folded;         /* W + s B A */
    struct view slice;          /* of B A, F32, if W is not */
    struct view through;        /* g^T x, F32 */
    struct view wide_a, wide_b; /* s A and s B in F32, if the layer is not */
    struct view bias;           /* in F32, if it is not */
};

static const struct scale pass_unscaled = {1, NULL};

static inline struct view pass_param(const struct pass *p, relora_param param)
{
    return tensor_view(p->linear->param[param]);
}

static inline struct view pass_grad(const struct pass *p, relora_param param)
{
    return tensor_view(p->linear->grad[param]);
}

int pass_has_branch(const relora_linear *linear);
int pass_drops(const relora_linear *linear, uint32_t flags); /* does dropout act? */
struct plan_case pass_plan_case(const relora_linear *linear, int64_t rows, int drops, int wants_dx);
struct pass_memory pass_layout_forward(const struct pass *p, struct scratch *s);
struct pass_memory pass_layout_backward(const struct pass *p, struct scratch *s);

/* Does a backward that does not go through the gradient of W make u = d A^T, for dB, and h = g B, for dA and dx? */
int pass_needs_u(const struct pass *p);
int pass_needs_h(const struct pass *p);

/* The fields of a report from forward_provider on, and a line at INFO. */
relora_status pass_tell(const struct call *call, const relora_linear *linear, int64_t rows,
                        relora_plan_report *report);

/* Backend calls that fail with a sentence. */
relora_status pass_product(const struct pass *p, struct gemm g);
relora_status pass_cast_a(const struct pass *p, struct pass_memory *m); /* m->a := A in the layer's dtype */
relora_status pass_bias(const struct pass *p, const struct pass_memory *m,
                        const float **bias); /* in F32, or NULL */
relora_status pass_convert(const struct pass *p, struct view y, struct view x, struct scale s);

#endif
