/* What the orders of products share: which of them a layer may take, what it needs, backend calls. */
#include "pass.h"

/* ---- the order of products ---- */

int pass_has_branch(const relora_linear *linear)
{
    return linear->options.mode != RELORA_MODE_FULL;
}

int pass_drops(const relora_linear *linear, uint32_t flags)
{
    const relora_linear_options *o = &linear->options;
    return (flags & RELORA_TRAIN) && o->dropout > 0 && o->mode != RELORA_MODE_FULL;
}

/* A fold is exact only without dropout, and loses small updates in a BF16 that is rounded to
 * nearest. A trainable scale needs h and u for its gradient. */
struct plan_case pass_plan_case(const relora_linear *linear, int64_t rows, int drops, int wants_dx)
{
    const relora_linear_options *o = &linear->options;
    const struct gemm_path *product = &linear->device->product[o->dtype];
    return (struct plan_case){
        .rows = rows,
        .in = o->in_features,
        .out = o->out_features,
        .rank = o->rank,
        .dtype = o->dtype,
        .device = linear->device->backend->kind,
        .provider = product->provider,
        .isa = product->isa,
        .converts = product->converts,
        .may_fold = o->mode == RELORA_MODE_LORA && !drops &&
                    (o->dtype == RELORA_F32 || o->rounding == RELORA_ROUND_STOCHASTIC),
        .may_through = !(o->flags & RELORA_LINEAR_TRAINABLE_SCALE),
        .freezes_a = (o->flags & RELORA_LINEAR_FREEZE_A) != 0,
        .freezes_b = (o->flags & RELORA_LINEAR_FREEZE_B) != 0,
        .wants_dx = wants_dx,
    };
}

int pass_trains(const struct pass *p, relora_param param)
{
    return p->linear->grad[param] != NULL;
}

int pass_needs_u(const struct pass *p)
{
    return pass_trains(p, RELORA_PARAM_B) || pass_trains(p, RELORA_PARAM_SCALE);
}

int pass_needs_h(const struct pass *p)
{
    return pass_trains(p, RELORA_PARAM_A) || pass_trains(p, RELORA_PARAM_SCALE) ||
           (p->wants_dx && p->order == RELORA_ORDER_SPLIT);
}

/* ---- backend calls ---- */

relora_status pass_product(const struct pass *p, struct gemm g)
{
    g.tf32 = (p->linear->options.flags & RELORA_LINEAR_TF32) != 0;
    return call_queue(p->call, p->call->backend->gemm(p->call->queue, &g));
}

relora_status pass_convert(const struct pass *p, struct view y, struct view x, struct scale s)
{
    return call_convert(p->call, y, x, s);
}

relora_status pass_cast(const struct passes *all)
{
    const struct call *c = all->pass[0].call;
    return all->casts ? call_queue(c, c->backend->convert(c->queue, all->cast, all->casts)) : RELORA_OK;
}

/* Products add it in F32, whatever its own type. */
relora_status pass_bias(const struct pass *p, const struct pass_memory *m, const float **bias)
{
    const relora_tensor *own = p->linear->param[RELORA_PARAM_BIAS];
    *bias = !own ? NULL : m->bias.data ? m->bias.data : own->data;
    return m->bias.data ? pass_convert(p, m->bias, tensor_view(own), pass_unscaled) : RELORA_OK;
}
