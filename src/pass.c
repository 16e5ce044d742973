/* What the orders of products share: which of them a layer may take, the temporaries, backend calls. */
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

static int trains(const struct pass *p, relora_param param)
{
    return p->linear->grad[param] != NULL;
}

int pass_needs_u(const struct pass *p)
{
    return trains(p, RELORA_PARAM_B) || trains(p, RELORA_PARAM_SCALE);
}

int pass_needs_h(const struct pass *p)
{
    return trains(p, RELORA_PARAM_A) || trains(p, RELORA_PARAM_SCALE) ||
           (p->wants_dx && p->order == RELORA_ORDER_SPLIT);
}

/* ---- temporaries ---- */

/* A matrix whose rows begin where the device likes them to. */
static struct view take_rows(const struct pass *p, struct scratch *s, int64_t rows, int64_t cols,
                             relora_dtype dtype)
{
    int64_t item = (int64_t)dtype_size(dtype), bytes = p->linear->device->backend->row_bytes;
    int64_t unit = bytes > item ? bytes / item : 1, ld = (cols + unit - 1) / unit * unit;
    struct view v = scratch_take(s, rows, ld, dtype);
    v.cols = cols;
    return v;
}

/* Rows of B A, or of its transpose, in F32. */
static struct view take_slice(const struct pass *p, struct scratch *s)
{
    return take_rows(p, s, linear_slice_rows(p->linear, 0), linear_weight_cols(&p->linear->options),
                     RELORA_F32);
}

struct pass_memory pass_layout_forward(const struct pass *p, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    const relora_tensor *bias = p->linear->param[RELORA_PARAM_BIAS];
    struct pass_memory m = {0};
    if (bias && bias->shape.dtype != RELORA_F32) m.bias = take_rows(p, s, 1, o->out_features, RELORA_F32);
    if (!pass_has_branch(p->linear)) return m;
    if (o->dtype != RELORA_F32) m.a = take_rows(p, s, o->rank, o->in_features, o->dtype);
    m.b = take_rows(p, s, o->out_features, o->rank, o->dtype);
    if (p->order == RELORA_ORDER_SPLIT) {
        if (p->drops) m.dropped = take_rows(p, s, p->rows, o->in_features, o->dtype);
        m.u = take_rows(p, s, p->rows, o->rank, o->dtype);
    } else {
        m.folded = take_rows(p, s, linear_weight_rows(o), linear_weight_cols(o), o->dtype);
        if (o->dtype != RELORA_F32) m.slice = take_slice(p, s);
    }
    return m;
}

/* The copies of the factors in F32 that take the scale to dA = s B^T G and dB = s G A^T. */
static void layout_through(const struct pass *p, struct pass_memory *m, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    m->through = take_rows(p, s, o->out_features, o->in_features, RELORA_F32);
    if (trains(p, RELORA_PARAM_B)) m->wide_a = take_rows(p, s, o->rank, o->in_features, RELORA_F32);
    if (trains(p, RELORA_PARAM_A)) m->wide_b = take_rows(p, s, o->out_features, o->rank, RELORA_F32);
}

struct pass_memory pass_layout_backward(const struct pass *p, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    int through = p->order == RELORA_ORDER_THROUGH, folds = p->order != RELORA_ORDER_SPLIT && p->wants_dx;
    struct pass_memory m = {0};
    if (!pass_has_branch(p->linear)) return m;
    if (o->dtype != RELORA_F32) m.a = take_rows(p, s, o->rank, o->in_features, o->dtype);
    if (folds || (!through && pass_needs_h(p))) m.b = take_rows(p, s, o->out_features, o->rank, o->dtype);
    if (folds) m.folded = take_rows(p, s, linear_weight_rows(o), linear_weight_cols(o), o->dtype);
    if (folds && o->dtype != RELORA_F32) m.slice = take_slice(p, s);
    if (through) {
        layout_through(p, &m, s);
        return m;
    }
    if (p->drops) m.dropped = take_rows(p, s, p->rows, o->in_features, o->dtype);
    if (p->drops && p->wants_dx) m.branch = take_rows(p, s, p->rows, o->in_features, o->dtype);
    if (pass_needs_u(p)) {
        m.scaled_a = take_rows(p, s, o->rank, o->in_features, o->dtype);
        m.u = take_rows(p, s, p->rows, o->rank, o->dtype);
    }
    if (pass_needs_h(p)) m.h = take_rows(p, s, p->rows, o->rank, o->dtype);
    return m;
}

/* ---- backend calls ---- */

relora_status pass_product(const struct pass *p, struct gemm g)
{
    g.tf32 = (p->linear->options.flags & RELORA_LINEAR_TF32) != 0;
    return call_queue(p->call, p->call->backend->gemm(p->call->queue, &g));
}

relora_status pass_convert(const struct pass *p, struct view y, struct view x, struct scale s)
{
    return call_queue(p->call, p->call->backend->convert(p->call->queue, y, x, s));
}

/* A copy if the layer is not F32. */
relora_status pass_cast_a(const struct pass *p, struct pass_memory *m)
{
    struct view a = pass_param(p, RELORA_PARAM_A);
    if (m->a.data) return pass_convert(p, m->a, a, pass_unscaled);
    m->a = a;
    return RELORA_OK;
}

/* Products add it in F32, whatever its own type. */
relora_status pass_bias(const struct pass *p, const struct pass_memory *m, const float **bias)
{
    const relora_tensor *own = p->linear->param[RELORA_PARAM_BIAS];
    *bias = !own ? NULL : m->bias.data ? m->bias.data : own->data;
    return m->bias.data ? pass_convert(p, m->bias, tensor_view(own), pass_unscaled) : RELORA_OK;
}
