/* One step of subspace iteration on G^T G, where G = g^T x is the gradient of W: S = A G^T G. It is made from the right
 * to the left of x, so nothing is as large as W. Each backward adds its own, and S is A times the sum of all G^T G. */
#include "linear_sketch.h"

struct sketch_memory {
    struct view a;    /* A in the layer's dtype, if that is not F32 */
    struct view half; /* A G^T, [rank, out] */
    struct view thin; /* x A^T, then g (A G^T)^T: [rows, rank] */
};

int sketch_wanted(const relora_linear *linear, uint32_t flags)
{
    return (flags & RELORA_SKETCH) && linear->param[RELORA_PARAM_SKETCH];
}

static struct sketch_memory lay_out(const struct pass *p, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    struct sketch_memory m = {.a = pass_param(p, RELORA_PARAM_A)};
    if (o->dtype != RELORA_F32) m.a = scratch_take(s, o->rank, o->in_features, o->dtype);
    m.half = scratch_take(s, o->rank, o->out_features, o->dtype);
    m.thin = scratch_take(s, p->rows, o->rank, o->dtype);
    return m;
}

void sketch_reserve(const struct pass *p, struct scratch *scratch)
{
    struct scratch own = {0};
    if (!p->sketches) return;
    lay_out(p, &own);
    if (own.used > scratch->used) scratch->used = own.used;
}

relora_status sketch_add(const struct pass *p, int accumulate)
{
    struct scratch scratch = {0};
    if (!p->sketches) return RELORA_OK;
    struct view a = pass_param(p, RELORA_PARAM_A), sketch = pass_param(p, RELORA_PARAM_SKETCH), g = p->y;
    lay_out(p, &scratch);
    TRY(scratch_open(p->call, &scratch));
    struct sketch_memory m = lay_out(p, &scratch);
    if (p->linear->options.dtype != RELORA_F32) TRY(pass_convert(p, m.a, a, pass_unscaled));
    TRY(pass_product(p, (struct gemm){.a = p->x, .b = m.a, .tb = 1, .c = m.thin}));
    TRY(pass_product(p, (struct gemm){.a = m.thin, .ta = 1, .b = g, .c = m.half}));
    TRY(pass_product(p, (struct gemm){.a = g, .b = m.half, .tb = 1, .c = m.thin}));
    return pass_product(
        p, (struct gemm){.a = m.thin, .ta = 1, .b = p->x, .c = sketch, .accumulate = accumulate});
}

double sketch_products(const struct pass *p)
{
    const relora_linear_options *o = &p->linear->options;
    double sides = (double)o->in_features + (double)o->out_features;
    return p->sketches ? 2 * (double)p->rows * (double)o->rank * sides : 0;
}
