/* Forward and backward through the whole model. */
#include "model_private.h"

#include <math.h>
#include <string.h>
#include "ops.h"

struct pass { /* what every step of the way needs */
    struct model *model;
    struct activations *acts;
    relora_stream *stream;
    struct shape hidden, ffn;
};

static struct pass start(struct model *model, struct activations *acts, relora_stream *stream)
{
    const struct model_config *c = &model->config;
    int64_t n = acts->batch * acts->seq;
    return (struct pass){model, acts, stream, {n, c->hidden, c->dtype, c->threads},
                         {n, c->ffn, c->dtype, c->threads}};
}

static struct array *norm_of(const struct pass *p, int64_t layer, int which)
{
    return &p->model->arrays[2 + 2 * layer + which];
}

static struct attention_saved saved_of(const struct block *b)
{
    return (struct attention_saved){b->q.data, b->k.data, b->v.data, b->log_sum.data};
}

static relora_status forward_linear(const struct pass *p, int64_t layer, enum projection which,
                                    const struct matrix *x, struct matrix *y)
{
    return relora_linear_forward(p->model->linears[layer * PROJECTIONS + which], p->stream,
                                 x->tensor, y->tensor, p->acts->call, p->acts->layer_flags);
}

/* Projections first, first + 1, ... of one block, which read the same x. */
static relora_status forward_shared(const struct pass *p, int64_t layer, enum projection first, int32_t count,
                                    const struct matrix *x, relora_tensor *const *y)
{
    return relora_linear_forward_shared(p->model->linears + layer * PROJECTIONS + first, count, p->stream,
                                        x->tensor, y, p->acts->call, p->acts->layer_flags);
}

static relora_status backward_shared(const struct pass *p, int64_t layer, enum projection first,
                                     int32_t count, const struct matrix *x,
                                     const relora_tensor *const *dy)
{
    return relora_linear_backward_shared(p->model->linears + layer * PROJECTIONS + first, count, p->stream,
                                         x->tensor, dy, p->acts->dnormed.tensor, p->acts->call,
                                         p->acts->layer_flags);
}

static relora_status backward_linear(const struct pass *p, int64_t layer, enum projection which,
                                     const struct matrix *x, const relora_tensor *dy,
                                     struct matrix *dx)
{
    return relora_linear_backward(p->model->linears[layer * PROJECTIONS + which], p->stream,
                                  x->tensor, dy, dx->tensor, p->acts->call, p->acts->layer_flags);
}

static relora_status forward_block(const struct pass *p, int64_t layer, float *next)
{
    struct activations *acts = p->acts;
    struct block *b = &acts->blocks[layer];
    struct attention_saved saved = saved_of(b);
    float factor = 1.0f / sqrtf((float)acts->attention.head_dim);
    relora_tensor *const qkv[] = {acts->dq.tensor, acts->dk.tensor, acts->dv.tensor}; /* free until backward */
    relora_tensor *const gate_up[] = {b->gate.tensor, b->up.tensor};

    norm_forward(p->hidden, b->normed[0].data, b->inverse[0].data, b->x.data,
                 array_value(norm_of(p, layer, 0)));
    TRY(forward_shared(p, layer, Q, 3, &b->normed[0], qkv));
    attention_pack(&acts->attention, acts->dq.data, saved.q, 1, factor);
    attention_pack(&acts->attention, acts->dk.data, saved.k, 1, 1.0f);
    attention_pack(&acts->attention, acts->dv.data, saved.v, 0, 1.0f);
    attention_forward(&acts->attention, &saved, b->mixed.data);
    TRY(forward_linear(p, layer, O, &b->mixed, &acts->y));
    residual(p->hidden, b->middle.data, b->x.data, acts->y.data);

    norm_forward(p->hidden, b->normed[1].data, b->inverse[1].data, b->middle.data,
                 array_value(norm_of(p, layer, 1)));
    TRY(forward_shared(p, layer, GATE, 2, &b->normed[1], gate_up));
    swiglu_forward(p->ffn, b->product.data, b->gate.data, b->up.data);
    TRY(forward_linear(p, layer, DOWN, &b->product, &acts->y));
    residual(p->hidden, next, b->middle.data, acts->y.data);
    return RELORA_OK;
}

/* Where the residual stream goes after block `layer`. */
static float *after_block(const struct pass *p, int64_t layer)
{
    int last = layer + 1 == p->acts->block_count;
    return last ? p->acts->x.data : p->acts->blocks[layer + 1].x.data;
}

static relora_status forward_trunk(const struct pass *p, const int32_t *tokens)
{
    struct activations *acts = p->acts;
    const struct model *model = p->model;
    embedding_forward(p->hidden, acts->blocks[0].x.data, array_value(&model->arrays[0]), tokens);
    for (int64_t layer = 0; layer < acts->block_count; layer++)
        TRY(forward_block(p, layer, after_block(p, layer)));
    norm_forward(p->hidden, acts->normed.data, acts->inverse.data, acts->x.data,
                 array_value(&model->arrays[1]));
    return RELORA_OK;
}

/* Row `row` of an array in the dtype of the model. */
static void *row_of(const struct pass *p, const struct matrix *m, int64_t row)
{
    int64_t size = p->hidden.dtype == RELORA_F32 ? 4 : 2;
    return (char *)m->data + row * p->hidden.width * size;
}

/* Loss of all rows and, if wanted, the gradient of the head and by what enters it. */
static relora_status head_pass(const struct pass *p, const int32_t *targets, int gradient)
{
    struct activations *acts = p->acts;
    relora_linear *head = p->model->linears[p->model->linear_count - 1];
    struct shape chunk = {acts->head_rows, p->model->config.vocab, p->hidden.dtype,
                          p->hidden.threads};
    float factor = gradient ? 1.0f / (float)p->hidden.rows : 0.0f;
    float *losses = acts->losses.data;
    for (int64_t row = 0; row < p->hidden.rows; row += acts->head_rows) {
        TRY(relora_tensor_set_data(acts->head_x, row_of(p, &acts->normed, row)));
        TRY(relora_linear_forward(head, p->stream, acts->head_x, acts->logits.tensor, acts->call, 0));
        cross_entropy(chunk, acts->logits.data, targets + row, losses + row, factor);
        if (!gradient)
            continue;
        TRY(relora_tensor_set_data(acts->head_dx, row_of(p, &acts->dnormed, row)));
        TRY(relora_linear_backward(head, p->stream, acts->head_x, acts->logits.tensor,
                                   acts->head_dx, acts->call, 0));
    }
    return RELORA_OK;
}

relora_status model_forward(struct model *model, struct activations *acts, relora_stream *stream,
                            const int32_t *tokens, const int32_t *targets, uint64_t call,
                            unsigned flags, double *loss)
{
    struct pass p = start(model, acts, stream);
    acts->tokens = tokens;
    acts->call = call;
    acts->layer_flags = flags & MODEL_DROPOUT ? RELORA_TRAIN : 0;
    TRY(forward_trunk(&p, tokens));
    TRY(head_pass(&p, targets, (flags & MODEL_GRADIENT) != 0));
    const float *losses = acts->losses.data;
    double sum = 0.0;
    for (int64_t i = 0; i < p.hidden.rows; i++)
        sum += (double)losses[i];
    *loss = sum / (double)p.hidden.rows;
    return RELORA_OK;
}

relora_status model_next(struct model *model, struct activations *acts, relora_stream *stream,
                         const int32_t *tokens, int64_t position, float *logits)
{
    struct pass p = start(model, acts, stream);
    struct shape row = {1, model->config.vocab, RELORA_F32, 1};
    relora_linear *head = model->linears[model->linear_count - 1];
    acts->layer_flags = 0;
    TRY(forward_trunk(&p, tokens));
    TRY(relora_tensor_set_data(acts->last_x, row_of(&p, &acts->normed, position)));
    TRY(relora_linear_forward(head, stream, acts->last_x, acts->last_y, acts->call, 0));
    row.dtype = model->config.dtype;
    memset(logits, 0, (size_t)row.width * sizeof *logits);
    residual(row, logits, logits, acts->logits.data);
    return RELORA_OK;
}

/* The residual gradient as the dy of a projection: in F32 it is already one. */
static const relora_tensor *as_dy(const struct pass *p)
{
    if (p->hidden.dtype == RELORA_F32)
        return p->acts->dx.tensor;
    convert(p->hidden, p->acts->y.data, p->acts->dx.data);
    return p->acts->y.tensor;
}

static relora_status backward_block(const struct pass *p, int64_t layer)
{
    struct activations *acts = p->acts;
    struct block *b = &acts->blocks[layer];
    struct attention_saved saved = saved_of(b);
    struct array *norm = norm_of(p, layer, 1);
    const relora_tensor *const qkv[] = {acts->dq.tensor, acts->dk.tensor, acts->dv.tensor};
    const relora_tensor *const gate_up[] = {acts->dgate.tensor, acts->dup.tensor};

    TRY(backward_linear(p, layer, DOWN, &b->product, as_dy(p), &acts->dgate));
    swiglu_backward(p->ffn, acts->dgate.data, acts->dup.data, acts->dgate.data, b->gate.data,
                    b->up.data);
    TRY(backward_shared(p, layer, GATE, 2, &b->normed[1], gate_up));
    norm_backward(p->hidden, acts->dx.data, array_grad(norm), acts->dnormed.data, b->middle.data,
                  b->inverse[1].data, array_value(norm));

    norm = norm_of(p, layer, 0);
    TRY(backward_linear(p, layer, O, &b->mixed, as_dy(p), &acts->dnormed));
    attention_backward(&acts->attention, &saved, acts->dnormed.data, acts->dq.data, acts->dk.data,
                       acts->dv.data);
    TRY(backward_shared(p, layer, Q, 3, &b->normed[0], qkv));
    norm_backward(p->hidden, acts->dx.data, array_grad(norm), acts->dnormed.data, b->x.data,
                  b->inverse[0].data, array_value(norm));
    return RELORA_OK;
}

relora_status model_backward(struct model *model, struct activations *acts, relora_stream *stream)
{
    struct pass p = start(model, acts, stream);
    struct array *embedding = &model->arrays[0], *norm = &model->arrays[1];
    memset(acts->dx.data, 0, (size_t)(p.hidden.rows * p.hidden.width) * sizeof(float));
    norm_backward(p.hidden, acts->dx.data, array_grad(norm), acts->dnormed.data, acts->x.data,
                  acts->inverse.data, array_value(norm));
    for (int64_t layer = acts->block_count - 1; layer >= 0; layer--) {
        if (model->config.recompute && layer + 1 < acts->block_count) /* the last one's are still there */
            TRY(forward_block(&p, layer, after_block(&p, layer)));
        TRY(backward_block(&p, layer));
    }
    embedding_backward(p.hidden, array_grad(embedding), acts->dx.data, acts->tokens);
    return RELORA_OK;
}
