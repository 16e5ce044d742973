/* Forward and backward as sequences of backend calls.
 *
 * The order of products is the authors': x W^T, then the branch through the rank. The scale rides on
 * the copies of the factors, which are r/rows the size of an activation, so it costs no pass. */
#include "linear.h"

struct pass { /* what forward and backward share */
    relora_linear *linear;
    relora_stream *stream;
    const char *fn;
    const struct backend *backend;
    struct view x;
    int64_t rows;
    struct draw mask;
    int drops; /* dropout acts on this pass */
};

/* Temporaries of a pass; what a pass does not need has no data. */
struct pass_memory {
    struct view dropped;       /* d = drop(x) */
    struct view a, b;          /* the factors in the layer's dtype */
    struct view scaled_a, scaled_b;
    struct view u, h;          /* d A^T and g B */
    struct view branch;        /* h A, before its dropout */
};

static const struct scale unscaled = {1, NULL};

/* ---- arguments ---- */

static relora_status check_matrix(const struct pass *p, const char *name, const relora_tensor *t,
                                  int64_t cols)
{
    const relora_linear_options *o = &p->linear->options;
    char text[SHAPE_TEXT];
    TRY(tensor_check(t, p->stream, p->fn, name));
    if (t->shape.dtype != o->dtype)
        FAIL(t->ctx, RELORA_E_DTYPE, "%s: %s is %s, but the layer is %s", p->fn, name,
             dtype_name(t->shape.dtype), dtype_name(o->dtype));
    if (t->shape.cols != cols || t->shape.ndim < 1)
        FAIL(t->ctx, RELORA_E_SHAPE, "%s: %s is %s, but its last axis must be %lld", p->fn, name,
             shape_text(&t->shape, text), (long long)cols);
    if (t->shape.rows != p->rows)
        FAIL(t->ctx, RELORA_E_SHAPE, "%s: %s is %s with %lld rows, but x has %lld", p->fn, name,
             shape_text(&t->shape, text), (long long)t->shape.rows, (long long)p->rows);
    return RELORA_OK;
}

static relora_status check_apart(const struct pass *p, const char *name, const relora_tensor *t,
                                 const char *other_name, const relora_tensor *other)
{
    if (views_overlap(tensor_view(t), tensor_view(other)))
        FAIL(t->ctx, RELORA_E_ARGUMENT, "%s: the memory of %s overlaps that of %s", p->fn, name,
             other_name);
    return RELORA_OK;
}

/* Without layer and stream the text goes to the context of the first matrix. */
static relora_status check_layer(const char *fn, const relora_linear *linear, const relora_stream *stream,
                                 const relora_tensor *first)
{
    if (!linear && !stream && first) FAIL(first->ctx, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    return RELORA_OK;
}

static relora_status pass_open(struct pass *p, const char *fn, relora_linear *linear,
                               relora_stream *stream, const relora_tensor *x, uint64_t call,
                               uint32_t flags, uint32_t known)
{
    TRY(linear_check(linear, stream, fn));
    const relora_linear_options *o = &linear->options;
    *p = (struct pass){.linear = linear, .stream = stream, .fn = fn, .backend = stream->device->backend};
    if (x) p->rows = x->shape.rows;
    TRY(check_matrix(p, "x", x, o->in_features));
    p->x = tensor_view(x);
    if (flags & ~known)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: flags is 0x%x, and only 0x%x is known", fn, flags,
             known);
    if (o->mode != RELORA_MODE_LOWRANK && !linear->param[RELORA_PARAM_WEIGHT])
        FAIL(linear->ctx, RELORA_E_STATE, "%s: layer %llu has no weight; call relora_linear_set_weight",
             fn, (unsigned long long)o->layer);
    p->drops = (flags & RELORA_TRAIN) && o->dropout > 0 && o->mode != RELORA_MODE_FULL;
    p->mask = linear_draw(linear, DRAW_DROPOUT, call);
    return RELORA_OK;
}

/* ---- the branch through the rank ---- */

static int has_branch(const struct pass *p)
{
    return p->linear->options.mode != RELORA_MODE_FULL;
}

static struct view param_view(const struct pass *p, relora_param param)
{
    return tensor_view(p->linear->param[param]);
}

static struct pass_memory layout_forward(const struct pass *p, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    struct pass_memory m = {0};
    if (!has_branch(p)) return m;
    if (p->drops) m.dropped = scratch_take(s, p->rows, o->in_features, o->dtype);
    if (o->dtype != RELORA_F32) m.a = scratch_take(s, o->rank, o->in_features, o->dtype);
    m.scaled_b = scratch_take(s, o->out_features, o->rank, o->dtype);
    m.u = scratch_take(s, p->rows, o->rank, o->dtype);
    return m;
}

static struct pass_memory layout_backward(const struct pass *p, int wants_dx, struct scratch *s)
{
    const relora_linear_options *o = &p->linear->options;
    struct pass_memory m = {0};
    if (!has_branch(p)) return m;
    if (p->drops) m.dropped = scratch_take(s, p->rows, o->in_features, o->dtype);
    if (p->drops && wants_dx) m.branch = scratch_take(s, p->rows, o->in_features, o->dtype);
    if (o->dtype != RELORA_F32) m.a = scratch_take(s, o->rank, o->in_features, o->dtype);
    m.scaled_a = scratch_take(s, o->rank, o->in_features, o->dtype);
    m.scaled_b = scratch_take(s, o->out_features, o->rank, o->dtype);
    m.u = scratch_take(s, p->rows, o->rank, o->dtype);
    m.h = scratch_take(s, p->rows, o->rank, o->dtype);
    return m;
}

static relora_status product(const struct pass *p, struct gemm g)
{
    return stream_result(p->stream, p->backend->gemm(p->stream->queue, &g), p->fn);
}

static relora_status convert(const struct pass *p, struct view y, struct view x, struct scale s)
{
    return stream_result(p->stream, p->backend->convert(p->stream->queue, y, x, s), p->fn);
}

/* d = drop(x), or x itself. */
static relora_status drop_input(const struct pass *p, struct pass_memory *m)
{
    if (!p->drops) {
        m->dropped = p->x;
        return RELORA_OK;
    }
    struct dropout d = {m->dropped, p->x, p->linear->options.dropout, p->mask, 0};
    return stream_result(p->stream, p->backend->dropout(p->stream->queue, &d), p->fn);
}

/* A in the layer's dtype: a copy if that is not F32. */
static relora_status cast_a(const struct pass *p, struct pass_memory *m)
{
    struct view a = param_view(p, RELORA_PARAM_A);
    if (m->a.data) return convert(p, m->a, a, unscaled);
    m->a = a;
    return RELORA_OK;
}

/* ---- forward ---- */

static relora_status forward_branch(const struct pass *p, struct pass_memory *m, struct view y,
                                    const float *bias)
{
    TRY(drop_input(p, m));
    TRY(cast_a(p, m));
    TRY(convert(p, m->scaled_b, param_view(p, RELORA_PARAM_B), linear_scale(p->linear)));
    TRY(product(p, (struct gemm){.a = m->dropped, .b = m->a, .tb = 1, .c = m->u}));
    int lowrank = p->linear->options.mode == RELORA_MODE_LOWRANK; /* then y starts here, with b */
    return product(p, (struct gemm){.a = m->u,
                                    .b = m->scaled_b,
                                    .tb = 1,
                                    .c = y,
                                    .accumulate = !lowrank,
                                    .bias = lowrank ? bias : NULL});
}

relora_status relora_linear_forward(relora_linear *linear, relora_stream *stream,
                                    const relora_tensor *x, relora_tensor *y, uint64_t call,
                                    uint32_t flags)
{
    const char *fn = "relora_linear_forward";
    struct pass p;
    struct scratch scratch = {0};
    TRY(check_layer(fn, linear, stream, x ? x : y));
    TRY(pass_open(&p, fn, linear, stream, x, call, flags, RELORA_TRAIN));
    TRY(check_matrix(&p, "y", y, linear->options.out_features));
    TRY(check_apart(&p, "y", y, "x", x));
    layout_forward(&p, &scratch);
    TRY(scratch_open(&scratch, stream, p.fn));
    struct pass_memory m = layout_forward(&p, &scratch);

    const relora_tensor *b = linear->param[RELORA_PARAM_BIAS];
    const float *bias = b ? b->data : NULL;
    if (linear->options.mode != RELORA_MODE_LOWRANK)
        TRY(product(&p, (struct gemm){.a = p.x,
                                      .b = param_view(&p, RELORA_PARAM_WEIGHT),
                                      .tb = 1,
                                      .c = tensor_view(y),
                                      .bias = bias}));
    return has_branch(&p) ? forward_branch(&p, &m, tensor_view(y), bias) : RELORA_OK;
}

/* ---- backward ---- */

/* h, u and the gradients of A, B and scale. Afterwards h holds s g B. */
static relora_status backward_factors(const struct pass *p, struct pass_memory *m, struct view g,
                                      int accumulate)
{
    relora_linear *linear = p->linear;
    struct scale s = linear_scale(linear);
    /* the gradient of a trainable scale needs h and u without it */
    struct scale early = s.trainable ? unscaled : s, late = s.trainable ? s : unscaled;
    TRY(drop_input(p, m));
    TRY(cast_a(p, m));
    TRY(convert(p, m->scaled_a, param_view(p, RELORA_PARAM_A), early));
    TRY(convert(p, m->scaled_b, param_view(p, RELORA_PARAM_B), early));
    TRY(product(p, (struct gemm){.a = m->dropped, .b = m->scaled_a, .tb = 1, .c = m->u}));
    TRY(product(p, (struct gemm){.a = g, .b = m->scaled_b, .c = m->h}));
    if (s.trainable) {
        float *grad = linear->grad[RELORA_PARAM_SCALE]->data;
        TRY_QUEUE(p->stream, p->fn, p->backend->scale_grad(p->stream->queue, grad, s.trainable, m->h,
                                                           m->u, accumulate));
        TRY(convert(p, m->h, m->h, late));
        TRY(convert(p, m->u, m->u, late));
    }
    TRY(product(p, (struct gemm){.a = m->h,
                                 .ta = 1,
                                 .b = m->dropped,
                                 .c = tensor_view(linear->grad[RELORA_PARAM_A]),
                                 .accumulate = accumulate}));
    return product(p, (struct gemm){.a = g,
                                    .ta = 1,
                                    .b = m->u,
                                    .c = tensor_view(linear->grad[RELORA_PARAM_B]),
                                    .accumulate = accumulate});
}

/* dx = g W + drop'(h A), stored or added */
static relora_status backward_input(const struct pass *p, struct pass_memory *m, struct view g,
                                    struct view dx, int accumulate)
{
    if (p->linear->options.mode != RELORA_MODE_LOWRANK) {
        TRY(product(p, (struct gemm){.a = g,
                                     .b = param_view(p, RELORA_PARAM_WEIGHT),
                                     .c = dx,
                                     .accumulate = accumulate}));
        accumulate = 1;
    }
    if (!has_branch(p)) return RELORA_OK;
    struct view target = p->drops ? m->branch : dx;
    TRY(product(p, (struct gemm){.a = m->h,
                                 .b = m->a,
                                 .c = target,
                                 .accumulate = accumulate && !p->drops}));
    if (!p->drops) return RELORA_OK;
    struct dropout d = {dx, m->branch, p->linear->options.dropout, p->mask, accumulate};
    return stream_result(p->stream, p->backend->dropout(p->stream->queue, &d), p->fn);
}

static relora_status backward_check(const struct pass *p, const relora_tensor *x,
                                    const relora_tensor *dy, const relora_tensor *dx)
{
    TRY(check_matrix(p, "dy", dy, p->linear->options.out_features));
    if (!dx) return RELORA_OK;
    TRY(check_matrix(p, "dx", dx, p->linear->options.in_features));
    TRY(check_apart(p, "dx", dx, "dy", dy));
    return check_apart(p, "dx", dx, "x", x);
}

relora_status relora_linear_backward(relora_linear *linear, relora_stream *stream,
                                     const relora_tensor *x, const relora_tensor *dy,
                                     relora_tensor *dx, uint64_t call, uint32_t flags)
{
    const char *fn = "relora_linear_backward";
    struct pass p;
    struct scratch scratch = {0};
    const uint32_t known = RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX;
    TRY(check_layer(fn, linear, stream, x ? x : dy ? dy : dx));
    TRY(pass_open(&p, fn, linear, stream, x, call, flags, known));
    TRY(backward_check(&p, x, dy, dx));
    layout_backward(&p, dx != NULL, &scratch);
    TRY(scratch_open(&scratch, stream, p.fn));
    struct pass_memory m = layout_backward(&p, dx != NULL, &scratch);

    struct view g = tensor_view(dy);
    int accumulate = !(flags & RELORA_OVERWRITE);
    if (has_branch(&p)) TRY(backward_factors(&p, &m, g, accumulate));
    else
        TRY(product(&p, (struct gemm){.a = g,
                                      .ta = 1,
                                      .b = p.x,
                                      .c = tensor_view(linear->grad[RELORA_PARAM_WEIGHT]),
                                      .accumulate = accumulate}));
    relora_tensor *db = linear->grad[RELORA_PARAM_BIAS];
    if (db)
        TRY_QUEUE(stream, p.fn, p.backend->sum_rows(stream->queue, db->data, g, accumulate));
    if (!dx) return RELORA_OK;
    return backward_input(&p, &m, g, tensor_view(dx), (flags & RELORA_ACCUMULATE_DX) != 0);
}
