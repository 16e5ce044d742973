/* Products of several layers that read one x, made as one where that x is what they wait for: u = x A^T with the rows
 * of all A one below the other, and dA = h^T x. A device reads x once then, and not once a layer. */
#include "linear_stack.h"

/* ---- whether ---- */

/* Rows and columns of the stack begin where products like them to; factors in F32 would have to be copied first. */
static int may_stack(const struct pass *p)
{
    const relora_linear_options *o = &p->linear->options;
    struct plan_case c = pass_plan_case(p->linear, p->rows, p->drops, p->wants_dx);
    return pass_has_branch(p->linear) && !p->drops && o->dtype == RELORA_BF16 && plan_waits(&c) &&
           o->rank * (int64_t)dtype_size(o->dtype) % p->linear->device->backend->row_bytes == 0;
}

static void plan_stack(struct passes *all, int (*needs)(const struct pass *))
{
    int64_t rank = 0;
    all->stack = (struct stack){0};
    if (all->count < 2) return;
    for (int32_t i = 0; i < all->count; i++) {
        if (!may_stack(&all->pass[i]) || !needs(&all->pass[i])) return;
        rank += all->pass[i].linear->options.rank;
    }
    all->stack.rank = rank;
}

static int forward_needs_u(const struct pass *p)
{
    return p->order == RELORA_ORDER_SPLIT;
}

void stack_plan_forward(struct passes *all)
{
    plan_stack(all, forward_needs_u);
}

static int backward_needs_u(const struct pass *p)
{
    return p->order != RELORA_ORDER_THROUGH && pass_needs_u(p);
}

/* Layers may share a gradient of the host's, which is added to by one after the other then. */
static int train_apart(const struct passes *all)
{
    for (int32_t i = 0; i < all->count; i++) {
        if (!pass_trains(&all->pass[i], RELORA_PARAM_A)) return 0;
        for (int32_t j = 0; j < i; j++)
            if (views_overlap(pass_grad(&all->pass[i], RELORA_PARAM_A),
                              pass_grad(&all->pass[j], RELORA_PARAM_A)))
                return 0;
    }
    return 1;
}

void stack_plan_backward(struct passes *all)
{
    plan_stack(all, backward_needs_u);
    if (all->stack.rank) all->stack.trains_a = train_apart(all);
}

/* ---- its parts ---- */

static int64_t first_of(const struct passes *all, int32_t i)
{
    int64_t first = 0;
    while (i-- > 0) first += all->pass[i].linear->options.rank;
    return first;
}

/* Before there is memory, views have no data to move. */
struct view stack_rows(const struct passes *all, struct view v, int32_t i)
{
    return v.data ? view_rows(v, first_of(all, i), all->pass[i].linear->options.rank) : v;
}

struct view stack_cols(const struct passes *all, struct view v, int32_t i)
{
    return v.data ? view_cols(v, first_of(all, i), all->pass[i].linear->options.rank) : v;
}

/* ---- its products ---- */

relora_status stack_u(const struct passes *all)
{
    const struct pass *p = &all->pass[0];
    if (!all->stack.rank) return RELORA_OK;
    return pass_product(p, (struct gemm){.a = p->x, .b = all->stack.a, .tb = 1, .c = all->stack.u});
}

relora_status stack_a_grads(const struct passes *all, int accumulate)
{
    const struct pass *p = &all->pass[0];
    struct conversion add[PASSES];
    if (!all->stack.trains_a) return RELORA_OK;
    TRY(pass_product(p, (struct gemm){.a = all->stack.h, .ta = 1, .b = p->x, .c = all->stack.da}));
    for (int32_t i = 0; i < all->count; i++)
        add[i] = (struct conversion){.y = pass_grad(&all->pass[i], RELORA_PARAM_A),
                                     .x = stack_rows(all, all->stack.da, i),
                                     .scale = pass_unscaled,
                                     .accumulate = accumulate};
    return call_queue(p->call, p->call->backend->convert(p->call->queue, add, all->count));
}
