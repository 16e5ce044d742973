/* A forward or backward as the orders of products see it: of one layer, or of several that read one x. */
#ifndef RELORA_SRC_PASS_H
#define RELORA_SRC_PASS_H

#include "linear.h"
#include "plan.h"

struct pass {
    const relora_linear *linear;
    const struct call *call;
    struct view x, y; /* backward: y is dy */
    int64_t rows;
    struct draw mask, rounding; /* of the dropout; of a fold */
    int drops;                  /* dropout acts on this pass */
    int adds;                   /* forward: to y */
    int wants_dx;               /* backward */
    int sketches;               /* backward: it adds to the sketch of the layer, too */
    relora_order order;
};

/* Temporaries of a pass; what a pass does not need has no data. Factors are copies in the layer's dtype, or the
 * parameter itself if it is F32 and needs no scale. */
struct pass_memory {
    struct view dropped;        /* d = drop(x) */
    struct view a, b;           /* A and s B */
    struct view a_of_u, b_of_h; /* backward: s A and s B; A and B if s is trained, for its gradient */
    struct view u, h;           /* d A^T and g B */
    struct view branch;         /* h A, before its dropout */
    struct view folded;         /* W + s B A */
    struct view slice;          /* of B A, F32, if W is not */
    struct view through;        /* g^T x, F32 */
    struct view wide_a, wide_b; /* s A and s B in F32, if the layer is not */
    struct view bias;           /* in F32, if it is not */
    int has_u, leaves_a;        /* u is there; the gradient of A is made later: with those of other layers */
};

enum { PASSES = 4, PASS_CASTS = 4 }; /* layers of one x at a time, and copies of factors of each, at most */
_Static_assert(PASSES *PASS_CASTS <= CONVERSIONS, "all copies of factors are made by one call");

/* What layers that read one x have in one matrix, if they do (linear_stack.c): rows of A, columns of u and h. */
struct stack {
    int64_t rank;            /* the sum of theirs; 0: nothing */
    int trains_a;            /* backward: the gradients of A are a stack, too */
    struct view a, u, h, da; /* da is F32; it and h are there if trains_a */
};

struct passes {
    int32_t count;
    struct pass pass[PASSES];
    struct pass_memory memory[PASSES];
    struct stack stack;
    struct conversion cast[CONVERSIONS];
    int32_t casts;
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
/* Fill in the memory, the views of the stack, and the casts. */
void pass_layout_forward(struct passes *all, struct scratch *s);
void pass_layout_backward(struct passes *all, struct scratch *s);

int pass_trains(const struct pass *p, relora_param param); /* has it a gradient? */

/* Does a backward that does not go through the gradient of W make u = d A^T, for dB, and h = g B, for dA and dx? */
int pass_needs_u(const struct pass *p);
int pass_needs_h(const struct pass *p);

/* The fields of a report from forward_provider on, and a line at INFO. */
relora_status pass_tell(const struct call *call, const relora_linear *linear, int64_t rows,
                        relora_plan_report *report);

/* Backend calls that fail with a sentence. */
relora_status pass_product(const struct pass *p, struct gemm g);
relora_status pass_cast(const struct passes *all); /* all copies of factors, before the first product */
relora_status pass_bias(const struct pass *p, const struct pass_memory *m,
                        const float **bias); /* in F32, or NULL */
relora_status pass_convert(const struct pass *p, struct view y, struct view x, struct scale s);

#endif
