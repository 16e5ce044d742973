/* Memory of one pass. All of it is taken here: a training step allocates nothing. */
#include "model_private.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK_TENSORS = 14, SHARED_TENSORS = 18, BLOCK_VIEWS = 3, SHARED_VIEWS = 2 }; /* at most */

int64_t ffn_stride(const struct model_config *config)
{
    const int64_t unit = config->dtype == RELORA_F32 ? 4 : 8;
    return (config->ffn + unit - 1) / unit * unit;
}

/* A tensor over `rows` rows of something bigger, moved about by relora_tensor_set_data(). */
static relora_status window(relora_tensor **out, struct model *model, int64_t rows, int64_t cols, void *data)
{
    const int64_t shape[2] = {rows, cols};
    return relora_tensor_borrow(out, model->engine.device, model->config.dtype, 2, shape, NULL, data, NULL,
                                NULL);
}

/* Memory of `acts`, which keeps a list of what it has. */
static relora_status take(struct activations *acts, struct matrix *out, relora_dtype dtype, int64_t rows,
                          int64_t cols)
{
    TRY(matrix_create(out, acts->attention.engine->device, dtype, rows, cols));
    acts->owned[acts->owned_count++] = out->tensor;
    return RELORA_OK;
}

/* The same of `ffn` columns, ffn_stride() apart. */
static relora_status take_ffn(const struct model_config *c, struct activations *acts, relora_stream *stream,
                              struct matrix *out)
{
    const int64_t n = acts->batch * acts->seq, stride = ffn_stride(c), shape[2] = {n, c->ffn},
                  strides[2] = {stride, 1};
    TRY(take(acts, out, c->dtype, n, stride));
    if (stride == c->ffn) return RELORA_OK;
    TRY(relora_tensor_fill(out->tensor, stream, 0.0));
    TRY(relora_tensor_borrow(&out->tensor, relora_tensor_device(out->tensor), c->dtype, 2, shape, strides,
                             out->data, NULL, NULL));
    acts->views[acts->view_count++] = out->tensor;
    return RELORA_OK;
}

static relora_status create_block(const struct model_config *c, struct activations *acts,
                                  relora_stream *stream, struct block *b)
{
    int64_t n = acts->batch * acts->seq, wide = c->heads * c->head_dim, narrow = c->kv_heads * c->head_dim;
    int shares = c->recompute && b != acts->blocks; /* what is made again, in the memory of the first block */
    if (shares) *b = acts->blocks[0];
    TRY(take(acts, &b->x, RELORA_F32, n, c->hidden));
    if (shares && c->recompute == RECOMPUTE_BLOCKS) return RELORA_OK;
    TRY(take(acts, &b->middle, RELORA_F32, n, c->hidden));
    for (int i = 0; i < 2; i++) {
        TRY(take(acts, &b->inverse[i], RELORA_F32, 0, n));
        if (!shares) TRY(take(acts, &b->normed[i], c->dtype, n, c->hidden));
    }
    TRY(take(acts, &b->q, c->dtype, n, wide));
    TRY(take(acts, &b->k, c->dtype, n, narrow));
    TRY(take(acts, &b->v, c->dtype, n, narrow));
    TRY(take(acts, &b->log_sum, RELORA_F32, 0, n * c->heads));
    TRY(take(acts, &b->mixed, c->dtype, n, wide));
    TRY(take_ffn(c, acts, stream, &b->gate));
    TRY(take_ffn(c, acts, stream, &b->up));
    return shares ? RELORA_OK : take_ffn(c, acts, stream, &b->product);
}

static relora_status create_shared(struct model *model, struct activations *acts, relora_stream *stream)
{
    const struct model_config *c = &model->config;
    int64_t n = acts->batch * acts->seq, wide = c->heads * c->head_dim, narrow = c->kv_heads * c->head_dim;
    TRY(take(acts, &acts->x, RELORA_F32, n, c->hidden));
    TRY(take(acts, &acts->dx, RELORA_F32, n, c->hidden));
    TRY(take(acts, &acts->inverse, RELORA_F32, 0, n));
    TRY(take(acts, &acts->losses, RELORA_F32, 0, n));
    TRY(take(acts, &acts->tokens, RELORA_F32, 0, model->engine.ops->tokens_floats(n)));
    TRY(take(acts, &acts->targets, RELORA_F32, 0, n));
    TRY(take(acts, &acts->normed, c->dtype, n, c->hidden));
    TRY(take(acts, &acts->dnormed, c->dtype, n, c->hidden));
    TRY(take(acts, &acts->dq, c->dtype, n, wide));
    TRY(take(acts, &acts->dk, c->dtype, n, narrow));
    TRY(take(acts, &acts->dv, c->dtype, n, narrow));
    acts->dmixed = acts->dnormed; /* which is free then, */
    if (wide != c->hidden)        /* but of another shape */
        TRY(take(acts, &acts->dmixed, c->dtype, n, wide));
    if (c->dtype != RELORA_F32) TRY(take(acts, &acts->dy, c->dtype, n, c->hidden));
    TRY(take_ffn(c, acts, stream, &acts->dgate));
    TRY(take_ffn(c, acts, stream, &acts->dup));
    TRY(take(acts, &acts->logits, c->dtype, acts->head_rows, model_outputs(c)));
    TRY(window(&acts->head_x, model, acts->head_rows, c->hidden, acts->normed.data));
    TRY(window(&acts->head_dx, model, acts->head_rows, c->hidden, acts->dnormed.data));
    TRY(window(&acts->last_x, model, 1, c->hidden, acts->normed.data));
    return window(&acts->last_y, model, 1, model_outputs(c), acts->logits.data);
}

/* As many whole sequences as keep the logits small, in a number that divides the batch. */
static int64_t rows_per_head(int64_t batch, int64_t seq, int64_t vocab, int64_t at_once)
{
    int64_t sequences = batch;
    while (sequences > 1 && (batch % sequences != 0 || sequences * seq * vocab > at_once)) sequences--;
    return sequences * seq;
}

/* Radians that pair `pair` of a head turns from one position to the next. */
static double speed_of(const struct rope *rope, int64_t pair, int64_t head_dim)
{
    double speed = pow(rope->theta, -2.0 * (double)pair / (double)head_dim);
    if (rope->kind == ROPE_LINEAR) return speed / rope->factor;
    if (rope->kind == ROPE_DEFAULT) return speed;
    double turns = (double)rope->original * speed / 6.283185307179586;
    double kept = (turns - rope->low) / (rope->high - rope->low);
    kept = kept < 0.0 ? 0.0 : kept > 1.0 ? 1.0 : kept;
    return (1.0 - kept) * speed / rope->factor + kept * speed;
}

/* Sizes, the angles of all positions, and the engine's scratch memory. */
static relora_status create_attention(struct model *model, struct activations *acts, relora_stream *stream)
{
    const struct model_config *c = &model->config;
    struct attention *a = &acts->attention;
    int64_t head_dim = c->head_dim, half = head_dim / 2, count = acts->seq * half;
    *a = (struct attention){.engine = &model->engine,
                            .batch = acts->batch,
                            .seq = acts->seq,
                            .heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .head_dim = head_dim,
                            .dtype = c->dtype,
                            .factor = 1.0f / sqrtf((float)head_dim)};
    struct shape hidden = {acts->batch * acts->seq, c->hidden, c->dtype, &model->engine};
    int64_t floats = model->engine.ops->scratch_floats(hidden, a);
    if (floats < 0) return RELORA_E_UNSUPPORTED;
    TRY(take(acts, &acts->scratch, RELORA_F32, 0, floats));
    TRY(take(acts, &acts->rotary, RELORA_F32, 0, 2 * count));
    a->scratch = acts->scratch.data;
    a->cosine = acts->rotary.data;
    a->sine = a->cosine + count;
    float *angles = malloc((size_t)(2 * count) * sizeof *angles);
    if (!angles) return RELORA_E_NO_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        int64_t position = i / half, pair = i % half;
        double angle = (double)position * speed_of(&c->rope, pair, head_dim);
        angles[i] = (float)cos(angle);
        angles[count + i] = (float)sin(angle);
    }
    relora_status status =
        relora_tensor_write(acts->rotary.tensor, stream, angles, (size_t)(2 * count) * sizeof *angles);
    free(angles);
    return status;
}

relora_status activations_create(struct activations **out, struct model *model, relora_stream *stream,
                                 int64_t batch, int64_t seq)
{
    const struct model_config *c = &model->config;
    *out = NULL;
    struct activations *acts = calloc(1, sizeof *acts);
    if (!acts) return RELORA_E_NO_MEMORY;
    acts->batch = batch;
    acts->seq = seq;
    acts->recompute = c->recompute;
    acts->head_rows = rows_per_head(batch, seq, model_outputs(c), model->engine.ops->logits_at_once);
    relora_status status = RELORA_E_NO_MEMORY;
    acts->blocks = calloc((size_t)c->layers, sizeof *acts->blocks);
    acts->owned = calloc((size_t)(c->layers * BLOCK_TENSORS + SHARED_TENSORS), sizeof *acts->owned);
    acts->views = calloc((size_t)(c->layers * BLOCK_VIEWS + SHARED_VIEWS), sizeof *acts->views);
    acts->block_count = c->layers;
    if (acts->blocks && acts->owned && acts->views) status = create_attention(model, acts, stream);
    if (status == RELORA_OK) status = create_shared(model, acts, stream);
    for (int64_t i = 0; status == RELORA_OK && i < c->layers; i++)
        status = create_block(c, acts, stream, &acts->blocks[i]);
    if (status != RELORA_OK) {
        activations_destroy(acts);
        return status;
    }
    *out = acts;
    return RELORA_OK;
}

static int64_t bytes_of(const relora_tensor *tensor)
{
    return relora_tensor_count(tensor) * (relora_tensor_dtype(tensor) == RELORA_F32 ? 4 : 2);
}

int64_t activations_bytes(const struct activations *acts)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < acts->owned_count; i++) bytes += bytes_of(acts->owned[i]);
    return bytes;
}

void activations_destroy(struct activations *acts)
{
    if (!acts) return;
    relora_tensor *const windows[] = {acts->head_x, acts->head_dx, acts->last_x, acts->last_y};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) relora_tensor_release(windows[i]);
    for (int64_t i = 0; i < acts->view_count; i++) relora_tensor_release(acts->views[i]);
    for (int64_t i = 0; i < acts->owned_count; i++) relora_tensor_release(acts->owned[i]);
    free(acts->views);
    free(acts->owned);
    free(acts->blocks);
    free(acts);
}
