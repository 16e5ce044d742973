/* The temporaries of passes, and which copies of factors they work with. */
#include "linear_stack.h"

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

static struct view add_cast(struct passes *all, int32_t i, struct view copy, relora_param param, int scaled)
{
    const struct pass *p = &all->pass[i];
    all->cast[all->casts++] = (struct conversion){
        .y = copy, .x = pass_param(p, param), .scale = scaled ? linear_scale(p->linear) : pass_unscaled};
    return copy;
}

/* A factor of layer i, with the scale or without: a copy, or itself. */
static struct view take_factor(struct passes *all, int32_t i, struct scratch *s, relora_param param,
                               int scaled)
{
    const struct pass *p = &all->pass[i];
    struct view own = pass_param(p, param);
    relora_dtype dtype = p->linear->options.dtype;
    if (!scaled && dtype == RELORA_F32) return own;
    return add_cast(all, i, take_rows(p, s, own.rows, own.cols, dtype), param, scaled);
}

/* The A that u is made with. */
static struct view take_a_of_u(struct passes *all, int32_t i, struct scratch *s, int scaled)
{
    if (!all->stack.rank) return take_factor(all, i, s, RELORA_PARAM_A, scaled);
    return add_cast(all, i, stack_rows(all, all->stack.a, i), RELORA_PARAM_A, scaled);
}

/* u or h: of its own, or columns of the stack's. */
static struct view take_thin(const struct passes *all, int32_t i, struct scratch *s, int stacked,
                             struct view stack)
{
    const struct pass *p = &all->pass[i];
    const relora_linear_options *o = &p->linear->options;
    return stacked ? stack_cols(all, stack, i) : take_rows(p, s, p->rows, o->rank, o->dtype);
}

static void layout_stack(struct passes *all, struct scratch *s)
{
    struct stack *k = &all->stack;
    const struct pass *p = &all->pass[0];
    const relora_linear_options *o = &p->linear->options;
    all->casts = 0;
    if (!k->rank) return;
    k->a = take_rows(p, s, k->rank, o->in_features, o->dtype);
    k->u = take_rows(p, s, p->rows, k->rank, o->dtype);
    if (!k->trains_a) return;
    k->h = take_rows(p, s, p->rows, k->rank, o->dtype);
    k->da = take_rows(p, s, k->rank, o->in_features, RELORA_F32);
}

/* What all layers need at once comes first, and then what one after the other uses. */
static void layout(struct passes *all, struct scratch *s,
                   void (*factors)(struct passes *, int32_t, struct scratch *),
                   void (*rest)(struct passes *, int32_t, struct scratch *))
{
    layout_stack(all, s);
    for (int32_t i = 0; i < all->count; i++) {
        all->memory[i] = (struct pass_memory){0};
        if (pass_has_branch(all->pass[i].linear)) factors(all, i, s);
    }
    size_t first = s->used, end = first;
    for (int32_t i = 0; i < all->count; i++) {
        s->used = first;
        rest(all, i, s);
        if (s->used > end) end = s->used;
    }
    s->used = end;
}

static void forward_factors(struct passes *all, int32_t i, struct scratch *s)
{
    struct pass_memory *m = &all->memory[i];
    m->a = take_a_of_u(all, i, s, 0);
    m->b = take_factor(all, i, s, RELORA_PARAM_B, 1);
}

static void layout_folded(const struct pass *p, struct pass_memory *m, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    m->folded = take_rows(p, s, linear_weight_rows(o), linear_weight_cols(o), o->dtype);
    if (o->dtype != RELORA_F32) m->slice = take_slice(p, s);
}

static void forward_rest(struct passes *all, int32_t i, struct scratch *s)
{
    const struct pass *p = &all->pass[i];
    struct pass_memory *m = &all->memory[i];
    const relora_linear_options *o = &p->linear->options;
    const relora_tensor *bias = p->linear->param[RELORA_PARAM_BIAS];
    if (bias && bias->shape.dtype != RELORA_F32) m->bias = take_rows(p, s, 1, o->out_features, RELORA_F32);
    if (!pass_has_branch(p->linear)) return;
    if (p->order != RELORA_ORDER_SPLIT) {
        layout_folded(p, m, s);
        return;
    }
    if (p->drops) m->dropped = take_rows(p, s, p->rows, o->in_features, o->dtype);
    m->has_u = all->stack.rank > 0;
    m->u = take_thin(all, i, s, m->has_u, all->stack.u);
}

void pass_layout_forward(struct passes *all, struct scratch *s)
{
    layout(all, s, forward_factors, forward_rest);
}

static int folds(const struct pass *p)
{
    return p->order != RELORA_ORDER_SPLIT && p->wants_dx;
}

/* The copies of the factors in F32 that take the scale to dA = s B^T G and dB = s G A^T. */
static void through_factors(struct passes *all, int32_t i, struct scratch *s)
{
    const struct pass *p = &all->pass[i];
    struct pass_memory *m = &all->memory[i];
    const relora_linear_options *o = &p->linear->options;
    if (pass_trains(p, RELORA_PARAM_B))
        m->wide_a = add_cast(all, i, take_rows(p, s, o->rank, o->in_features, RELORA_F32), RELORA_PARAM_A, 1);
    if (pass_trains(p, RELORA_PARAM_A))
        m->wide_b =
            add_cast(all, i, take_rows(p, s, o->out_features, o->rank, RELORA_F32), RELORA_PARAM_B, 1);
}

static void backward_factors(struct passes *all, int32_t i, struct scratch *s)
{
    const struct pass *p = &all->pass[i];
    struct pass_memory *m = &all->memory[i];
    int through = p->order == RELORA_ORDER_THROUGH, trained = linear_scale(p->linear).trainable != NULL;
    int u = !through && pass_needs_u(p), h = !through && pass_needs_h(p);
    if (through) through_factors(all, i, s);
    if (u) m->a_of_u = take_a_of_u(all, i, s, !trained);
    if (p->wants_dx) m->a = u && trained ? m->a_of_u : take_factor(all, i, s, RELORA_PARAM_A, 0);
    if (folds(p) || (h && !trained)) m->b = take_factor(all, i, s, RELORA_PARAM_B, 1);
    if (h) m->b_of_h = trained ? take_factor(all, i, s, RELORA_PARAM_B, 0) : m->b;
}

static void backward_rest(struct passes *all, int32_t i, struct scratch *s)
{
    const struct pass *p = &all->pass[i];
    struct pass_memory *m = &all->memory[i];
    const relora_linear_options *o = &p->linear->options;
    if (!pass_has_branch(p->linear)) return;
    if (folds(p)) layout_folded(p, m, s);
    if (p->order == RELORA_ORDER_THROUGH) {
        m->through = take_rows(p, s, o->out_features, o->in_features, RELORA_F32);
        return;
    }
    if (p->drops) m->dropped = take_rows(p, s, p->rows, o->in_features, o->dtype);
    if (p->drops && p->wants_dx) m->branch = take_rows(p, s, p->rows, o->in_features, o->dtype);
    m->has_u = all->stack.rank > 0;
    m->leaves_a = all->stack.trains_a;
    if (pass_needs_u(p)) m->u = take_thin(all, i, s, m->has_u, all->stack.u);
    if (pass_needs_h(p)) m->h = take_thin(all, i, s, m->leaves_a, all->stack.h);
}

void pass_layout_backward(struct passes *all, struct scratch *s)
{
    layout(all, s, backward_factors, backward_rest);
}
