/* Forward and backward through the whole model. */
#include "model_private.h"

#include <stdlib.h>
#include "simd.h"

struct pass { /* what every step of the way needs */
    struct model *model;
    struct activations *acts;
    relora_stream *stream;
    const struct ops *ops;
    struct shape hidden, ffn;
    float eps;              /* of the norms */
    struct full_rank *step; /* NULL: of A and B alone */
};

static struct pass start(struct model *model, struct activations *acts, relora_stream *stream)
{
    const struct model_config *c = &model->config;
    int64_t n = acts->batch * acts->seq;
    const struct engine *engine = &model->engine;
    return (struct pass){model,
                         acts,
                         stream,
                         engine->ops,
                         {n, c->hidden, c->dtype, engine},
                         {n, ffn_stride(c), c->dtype, engine},
                         (float)c->norm_eps,
                         NULL};
}

static struct array *norm_of(const struct pass *p, int64_t layer, int which)
{
    return &p->model->arrays[2 + 2 * layer + which];
}

static struct attention_pass attention_of(const struct block *b)
{
    return (struct attention_pass){b->q.data, b->k.data, b->v.data, b->mixed.data, b->log_sum.data};
}

static relora_status forward_linear(const struct pass *p, int64_t layer, enum projection which,
                                    const struct matrix *x, struct matrix *y)
{
    return relora_linear_forward(p->model->linears[layer * PROJECTIONS + which], p->stream, x->tensor,
                                 y->tensor, p->acts->call, p->acts->layer_flags);
}

/* Projections first, first + 1, ... of one block, which read the same x. */
static relora_status forward_shared(const struct pass *p, int64_t layer, enum projection first, int32_t count,
                                    const struct matrix *x, relora_tensor *const *y)
{
    return relora_linear_forward_shared(p->model->linears + layer * PROJECTIONS + first, count, p->stream,
                                        x->tensor, y, p->acts->call, p->acts->layer_flags);
}

/* The step of a frozen W by the gradient that is in the model's memory: of all processes together. */
static relora_status move_weight(const struct pass *p, int64_t layer, enum projection which)
{
    relora_linear *linear = p->model->linears[layer * PROJECTIONS + which];
    relora_tensor *gradient = p->model->shaped[which];
    relora_full_rank_report report = {.struct_size = sizeof report};
    struct full_rank *step = p->step;
    if (step->adam) TRY(relora_adam_sum(step->adam, p->stream, gradient));
    relora_status status =
        relora_linear_full_rank_step(linear, p->stream, gradient, step->lr, step->number, &report);
    if (status == RELORA_E_NOT_FINITE) return RELORA_OK; /* W stays, and the optimizer skips this update */
    TRY(status);
    step->layers++;
    step->changed += report.delta_norm * report.delta_norm;
    step->weight += report.weight_norm * report.weight_norm;
    step->rank += report.grad_rank;
    return RELORA_OK;
}

/* When all that its layer had to make with W is made. */
static relora_status step_full_rank(const struct pass *p, int64_t layer, enum projection which,
                                    const struct matrix *x, const relora_tensor *dy)
{
    if (!p->step) return RELORA_OK;
    TRY(relora_linear_weight_grad(p->model->linears[layer * PROJECTIONS + which], p->stream, x->tensor, dy,
                                  p->model->shaped[which], RELORA_OVERWRITE));
    return move_weight(p, layer, which);
}

static relora_status backward_shared(const struct pass *p, int64_t layer, enum projection first,
                                     int32_t count, const struct matrix *x, relora_tensor *const *dy)
{
    TRY(relora_linear_backward_shared(p->model->linears + layer * PROJECTIONS + first, count, p->stream,
                                      x->tensor, dy, p->acts->dnormed.tensor, p->acts->call,
                                      p->acts->backward_flags));
    for (int32_t i = 0; i < count; i++) TRY(step_full_rank(p, layer, first + (enum projection)i, x, dy[i]));
    return RELORA_OK;
}

static relora_status backward_linear(const struct pass *p, int64_t layer, enum projection which,
                                     const struct matrix *x, const relora_tensor *dy, struct matrix *dx)
{
    TRY(relora_linear_backward(p->model->linears[layer * PROJECTIONS + which], p->stream, x->tensor, dy,
                               dx->tensor, p->acts->call, p->acts->backward_flags));
    return step_full_rank(p, layer, which, x, dy);
}

/* Where what o or down adds to the residual stream is on its way. */
static struct matrix *branch_of(struct activations *acts)
{
    return &acts->dnormed; /* free until the backward, and while that makes a block again */
}

/* From the residual stream to what enters gate and up. */
static void enter_ffn(const struct pass *p, int64_t layer, const float *x, const void *branch)
{
    struct block *b = &p->acts->blocks[layer];
    const struct norm norm = {.eps = p->eps,
                              .y = b->normed[1].data,
                              .inverse = b->inverse[1].data,
                              .x = x,
                              .w = array_value(norm_of(p, layer, 1)),
                              .branch = branch,
                              .sum = b->middle.data};
    p->ops->norm_forward(p->hidden, &norm);
}

/* From what enters q, k, v to what enters gate and up. */
static relora_status forward_attention(const struct pass *p, int64_t layer)
{
    struct activations *acts = p->acts;
    struct block *b = &acts->blocks[layer];
    struct attention_pass attention = attention_of(b);
    relora_tensor *const qkv[] = {b->q.tensor, b->k.tensor, b->v.tensor};

    TRY(forward_shared(p, layer, Q, 3, &b->normed[0], qkv));
    p->ops->rotate(&acts->attention, b->q.data, b->k.data);
    p->ops->attention_forward(&acts->attention, &attention);
    TRY(forward_linear(p, layer, O, &b->mixed, branch_of(acts)));
    enter_ffn(p, layer, b->x.data, branch_of(acts)->data);
    return RELORA_OK;
}

/* From there to what enters down. */
static relora_status forward_swiglu(const struct pass *p, int64_t layer)
{
    struct block *b = &p->acts->blocks[layer];
    relora_tensor *const gate_up[] = {b->gate.tensor, b->up.tensor};
    TRY(forward_shared(p, layer, GATE, 2, &b->normed[1], gate_up));
    p->ops->swiglu_forward(p->ffn, b->product.data, b->gate.data, b->up.data);
    return RELORA_OK;
}

/* What enters block `layer`, normed; past the last block, what enters the head. With `branch` the residual
 * connection into it is made as well. */
static void enter_block(const struct pass *p, int64_t layer, const float *x, const void *branch)
{
    struct activations *acts = p->acts;
    int last = layer == acts->block_count;
    struct block *b = last ? NULL : &acts->blocks[layer];
    const struct norm norm = {.eps = p->eps,
                              .y = last ? acts->normed.data : b->normed[0].data,
                              .inverse = last ? acts->inverse.data : b->inverse[0].data,
                              .x = x,
                              .w = array_value(last ? &p->model->arrays[1] : norm_of(p, layer, 0)),
                              .branch = branch,
                              .sum = last ? acts->x.data : b->x.data};
    p->ops->norm_forward(p->hidden, &norm);
}

static relora_status forward_trunk(const struct pass *p, const int32_t *tokens)
{
    struct activations *acts = p->acts;
    const struct model *model = p->model;
    if (model->head) /* the embedding may have been trained since */
        TRY(relora_tensor_copy(model->head, model->arrays[0].value.tensor, p->stream));
    p->ops->upload(&model->engine, acts->tokens.data, tokens, p->hidden.rows, model->config.vocab);
    p->ops->embedding_forward(p->hidden, acts->blocks[0].x.data, array_value(&model->arrays[0]),
                              acts->tokens.data);
    enter_block(p, 0, acts->blocks[0].x.data, NULL);
    for (int64_t layer = 0; layer < acts->block_count; layer++) {
        struct block *b = &acts->blocks[layer];
        TRY(forward_attention(p, layer));
        TRY(forward_swiglu(p, layer));
        TRY(forward_linear(p, layer, DOWN, &b->product, branch_of(acts)));
        enter_block(p, layer + 1, b->middle.data, branch_of(acts)->data);
    }
    return RELORA_OK;
}

/* Row `row` of an array in the dtype of the model. */
static void *row_of(const struct pass *p, const struct matrix *m, int64_t row)
{
    int64_t size = p->hidden.dtype == RELORA_F32 ? 4 : 2;
    return (char *)m->data + row * p->hidden.width * size;
}

/* Loss of all rows and, if wanted, the gradient of the head and by what enters it. */
static relora_status head_pass(const struct pass *p, int gradient)
{
    struct activations *acts = p->acts;
    relora_linear *head = p->model->linears[p->model->linear_count - 1];
    struct shape chunk = {acts->head_rows, model_outputs(&p->model->config), p->hidden.dtype,
                          p->hidden.engine};
    float factor = gradient ? 1.0f / (float)p->hidden.rows : 0.0f;
    const int32_t *targets = acts->targets.data;
    float *losses = acts->losses.data;
    for (int64_t row = 0; row < p->hidden.rows; row += acts->head_rows) {
        TRY(relora_tensor_set_data(acts->head_x, row_of(p, &acts->normed, row)));
        TRY(relora_linear_forward(head, p->stream, acts->head_x, acts->logits.tensor, acts->call, 0));
        p->ops->cross_entropy(chunk, acts->logits.data, targets + row, losses + row, factor);
        if (!gradient) continue;
        TRY(relora_tensor_set_data(acts->head_dx, row_of(p, &acts->dnormed, row)));
        TRY(relora_linear_backward(head, p->stream, acts->head_x, acts->logits.tensor, acts->head_dx,
                                   acts->call, row == 0 ? acts->backward_flags & RELORA_OVERWRITE : 0));
    }
    return RELORA_OK;
}

/* Those of embedding and norms, to which the backward always adds. */
static relora_status zero_arrays(const struct pass *p)
{
    for (int i = 0; i < p->model->array_count; i++)
        TRY(relora_tensor_fill(p->model->arrays[i].grad.tensor, p->stream, 0.0));
    return RELORA_OK;
}

relora_status model_forward(struct model *model, struct activations *acts, relora_stream *stream,
                            const int32_t *tokens, const int32_t *targets, uint64_t call, unsigned flags)
{
    struct pass p = start(model, acts, stream);
    acts->call = call;
    acts->layer_flags = flags & MODEL_DROPOUT ? RELORA_TRAIN : 0;
    acts->backward_flags = acts->layer_flags | (flags & MODEL_SKETCH ? RELORA_SKETCH : 0) |
                           (flags & MODEL_FIRST ? RELORA_OVERWRITE : 0);
    if (flags & MODEL_FIRST) TRY(zero_arrays(&p));
    p.ops->upload(&model->engine, acts->targets.data, targets, p.hidden.rows, 0);
    TRY(forward_trunk(&p, tokens));
    TRY(head_pass(&p, (flags & MODEL_GRADIENT) != 0));
    p.ops->add_mean(&model->engine, model->loss.data, acts->losses.data, p.hidden.rows);
    return p.ops->status(&model->engine);
}

relora_status model_take_loss(struct model *model, relora_stream *stream, double *sum)
{
    TRY(relora_tensor_read(model->loss.tensor, stream, sum, sizeof *sum));
    return relora_tensor_fill(model->loss.tensor, stream, 0.0);
}

relora_status model_next(struct model *model, struct activations *acts, relora_stream *stream,
                         const int32_t *tokens, int64_t position, float *logits)
{
    struct pass p = start(model, acts, stream);
    int64_t outputs = model_outputs(&model->config);
    size_t bytes = (size_t)outputs * (p.hidden.dtype == RELORA_F32 ? 4 : 2);
    relora_linear *head = model->linears[model->linear_count - 1];
    void *last = malloc(bytes);
    if (!last) return RELORA_E_NO_MEMORY;
    acts->layer_flags = 0;
    relora_status status = forward_trunk(&p, tokens);
    if (status == RELORA_OK)
        status = relora_tensor_set_data(acts->last_x, row_of(&p, &acts->normed, position));
    if (status == RELORA_OK)
        status = relora_linear_forward(head, stream, acts->last_x, acts->last_y, acts->call, 0);
    if (status == RELORA_OK) status = relora_tensor_read(acts->last_y, stream, last, bytes);
    if (status == RELORA_OK) load(logits, last, p.hidden.dtype, 0, outputs);
    free(last);
    return status < 0 ? status : p.ops->status(&model->engine);
}

/* The residual gradient as the dy of a projection: in F32 it is already one. */
static const relora_tensor *as_dy(const struct pass *p)
{
    return p->hidden.dtype == RELORA_F32 ? p->acts->dx.tensor : p->acts->dy.tensor;
}

/* Through a norm: to the residual gradient, which is left as the next projection's dy too. */
static void backward_norm(const struct pass *p, const struct array *norm, const struct matrix *x,
                          const struct matrix *inverse, int first)
{
    struct activations *acts = p->acts;
    const struct norm_gradient gradient = {.dx = acts->dx.data,
                                           .first = first,
                                           .dx_rounded = acts->dy.data,
                                           .dw = array_grad(norm),
                                           .dy = acts->dnormed.data,
                                           .x = x->data,
                                           .inverse = inverse->data,
                                           .w = array_value(norm),
                                           .scratch = acts->scratch.data};
    p->ops->norm_backward(p->hidden, &gradient);
}

/* What the forward made of block `layer`, from what was kept; the last block's is still there. */
static relora_status recompute_block(const struct pass *p, int64_t layer)
{
    struct block *b = &p->acts->blocks[layer];
    if (!p->acts->recompute || layer + 1 == p->acts->block_count) return RELORA_OK;
    enter_block(p, layer, b->x.data, NULL);
    if (p->acts->recompute == RECOMPUTE_LIGHT) {
        enter_ffn(p, layer, b->middle.data, NULL);
        p->ops->swiglu_forward(p->ffn, b->product.data, b->gate.data, b->up.data);
        return RELORA_OK;
    }
    TRY(forward_attention(p, layer));
    return forward_swiglu(p, layer);
}

static relora_status backward_block(const struct pass *p, int64_t layer)
{
    struct activations *acts = p->acts;
    struct block *b = &acts->blocks[layer];
    struct attention_pass attention = attention_of(b);
    const struct attention_gradient gradient = {acts->dmixed.data, acts->dq.data, acts->dk.data,
                                                acts->dv.data};
    relora_tensor *const qkv[] = {acts->dq.tensor, acts->dk.tensor, acts->dv.tensor};
    relora_tensor *const gate_up[] = {acts->dgate.tensor, acts->dup.tensor};

    TRY(backward_linear(p, layer, DOWN, &b->product, as_dy(p), &acts->dgate));
    p->ops->swiglu_backward(p->ffn, acts->dgate.data, acts->dup.data, acts->dgate.data, b->gate.data,
                            b->up.data);
    TRY(backward_shared(p, layer, GATE, 2, &b->normed[1], gate_up));
    backward_norm(p, norm_of(p, layer, 1), &b->middle, &b->inverse[1], 0);

    TRY(backward_linear(p, layer, O, &b->mixed, as_dy(p), &acts->dmixed));
    p->ops->attention_backward(&acts->attention, &attention, &gradient);
    TRY(backward_shared(p, layer, Q, 3, &b->normed[0], qkv));
    backward_norm(p, norm_of(p, layer, 0), &b->x, &b->inverse[0], 0);
    return RELORA_OK;
}

relora_status model_backward(struct model *model, struct activations *acts, relora_stream *stream,
                             struct full_rank *step)
{
    struct pass p = start(model, acts, stream);
    struct array *embedding = &model->arrays[0], *norm = &model->arrays[1];
    p.step = step;
    backward_norm(&p, norm, &acts->x, &acts->inverse, 1);
    for (int64_t layer = acts->block_count - 1; layer >= 0; layer--) {
        TRY(recompute_block(&p, layer));
        TRY(backward_block(&p, layer));
    }
    p.ops->embedding_backward(p.hidden, array_grad(embedding), acts->dx.data, acts->tokens.data);
    return p.ops->status(&model->engine);
}

relora_status model_follow(struct model *model, struct activations *acts, relora_stream *stream,
                           struct full_rank *step)
{
    static const enum projection order[PROJECTIONS] = {DOWN, GATE, UP, O, Q, K, V}; /* of backward_block() */
    struct pass p = start(model, acts, stream);
    p.step = step;
    for (int64_t layer = acts->block_count - 1; layer >= 0; layer--)
        for (int i = 0; i < PROJECTIONS; i++) {
            TRY(relora_tensor_fill(model->shaped[order[i]], stream, 0.0));
            TRY(move_weight(&p, layer, order[i]));
        }
    return p.ops->status(&model->engine);
}
