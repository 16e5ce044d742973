/* The branch through the rank as products of its own: the authors' order. The scale rides on the
 * copies of the factors, which are r/rows the size of an activation, so it costs no pass. */
#include "linear_split.h"

/* d = drop(x), or x itself. */
static relora_status drop_input(const struct pass *p, struct pass_memory *m)
{
    if (!p->drops) {
        m->dropped = p->x;
        return RELORA_OK;
    }
    struct dropout d = {m->dropped, p->x, p->linear->options.dropout, p->mask, 0};
    return call_queue(p->call, p->call->backend->dropout(p->call->queue, &d));
}

relora_status split_forward(const struct pass *p, struct pass_memory *m, struct view y, int accumulate,
                            const float *bias)
{
    TRY(drop_input(p, m));
    if (!m->has_u) TRY(pass_product(p, (struct gemm){.a = m->dropped, .b = m->a, .tb = 1, .c = m->u}));
    return pass_product(
        p, (struct gemm){.a = m->u, .b = m->b, .tb = 1, .c = y, .accumulate = accumulate, .bias = bias});
}

/* c = op(a) op(b) by steps of a few terms. A sum in F32 is off by about the square root of half as many roundings as it
 * has terms, and the gradient of a trainable scale adds up rows * rank products of such sums, which may cancel. By
 * steps, whatever multiplies is off by six roundings at 512 terms, and not by sixteen. */
static relora_status product_by_steps(const struct pass *p, struct gemm g)
{
    const int64_t most = 64, depth = g.a.cols;
    for (int64_t k = 0; k < depth; k += most) {
        int64_t terms = depth - k < most ? depth - k : most;
        struct gemm step = g;
        step.a = view_cols(g.a, k, terms);
        step.b = g.tb ? view_cols(g.b, k, terms) : view_rows(g.b, k, terms);
        step.accumulate = k > 0;
        TRY(pass_product(p, step));
    }
    return RELORA_OK;
}

/* A product into u or h. Where those are BF16, a step would be rounded to that. */
static relora_status rank_product(const struct pass *p, struct gemm g)
{
    int for_scale = p->linear->grad[RELORA_PARAM_SCALE] != NULL;
    return for_scale && g.c.dtype == RELORA_F32 ? product_by_steps(p, g) : pass_product(p, g);
}

/* u = d A^T and h = g B, as far as they are needed, with the scale unless it is trainable. */
static relora_status through_rank(const struct pass *p, struct pass_memory *m, struct view g)
{
    TRY(drop_input(p, m));
    if (pass_needs_u(p) && !m->has_u)
        TRY(rank_product(p, (struct gemm){.a = m->dropped, .b = m->a_of_u, .tb = 1, .c = m->u}));
    if (!pass_needs_h(p)) return RELORA_OK;
    return rank_product(p, (struct gemm){.a = g, .b = m->b_of_h, .c = m->h});
}

/* The gradient of a trainable scale needs h and u without it. */
static relora_status scale_backward(const struct pass *p, struct pass_memory *m, struct scale s,
                                    int accumulate)
{
    const struct backend *backend = p->call->backend;
    float *grad = p->linear->grad[RELORA_PARAM_SCALE]->data;
    TRY(call_queue(p->call, backend->scale_grad(p->call->queue, grad, s.trainable, m->h, m->u, accumulate)));
    const struct conversion both[] = {{.y = m->h, .x = m->h, .scale = s}, {.y = m->u, .x = m->u, .scale = s}};
    return call_queue(p->call, backend->convert(p->call->queue, both, 2));
}

relora_status split_backward(const struct pass *p, struct pass_memory *m, struct view g, int accumulate)
{
    const relora_linear *linear = p->linear;
    struct scale s = linear_scale(linear);
    TRY(through_rank(p, m, g));
    if (s.trainable) TRY(scale_backward(p, m, s, accumulate));
    if (linear->grad[RELORA_PARAM_A] && !m->leaves_a)
        TRY(pass_product(p, (struct gemm){.a = m->h,
                                          .ta = 1,
                                          .b = m->dropped,
                                          .c = pass_grad(p, RELORA_PARAM_A),
                                          .accumulate = accumulate}));
    if (!linear->grad[RELORA_PARAM_B]) return RELORA_OK;
    return pass_product(
        p, (struct gemm){
               .a = g, .ta = 1, .b = m->u, .c = pass_grad(p, RELORA_PARAM_B), .accumulate = accumulate});
}

relora_status split_input(const struct pass *p, struct pass_memory *m, struct view dx, int accumulate)
{
    struct view target = p->drops ? m->branch : dx;
    TRY(pass_product(
        p, (struct gemm){.a = m->h, .b = m->a, .c = target, .accumulate = accumulate && !p->drops}));
    if (!p->drops) return RELORA_OK;
    struct dropout d = {dx, m->branch, p->linear->options.dropout, p->mask, accumulate};
    return call_queue(p->call, p->call->backend->dropout(p->call->queue, &d));
}
