/* Memory of one pass. All of it is taken here: a training step allocates nothing. */
#include "model_private.h"

#include <stdlib.h>
#include <string.h>

enum { LOGITS_AT_ONCE = 1 << 22 };

/* A tensor over `rows` rows of something bigger, moved about by relora_tensor_set_data(). */
static relora_status window(relora_tensor **out, struct model *model, int64_t rows, int64_t cols,
                            void *data)
{
    const int64_t shape[2] = {rows, cols};
    return relora_tensor_borrow(out, model->device, model->config.dtype, 2, shape, NULL, data, NULL,
                                NULL);
}

static relora_status create_block(struct model *model, struct activations *acts, struct block *b)
{
    const struct model_config *c = &model->config;
    relora_device *device = model->device;
    int64_t n = acts->batch * acts->seq, padded = attention_saved_size(&acts->attention);
    if (c->recompute && b != acts->blocks) /* all blocks take turns in the memory of the first */
        *b = acts->blocks[0];
    b->x = (struct matrix){NULL, NULL};
    TRY(matrix_create(&b->x, device, RELORA_F32, n, c->hidden));
    if (c->recompute && b != acts->blocks)
        return RELORA_OK;
    TRY(matrix_create(&b->middle, device, RELORA_F32, n, c->hidden));
    for (int i = 0; i < 2; i++) {
        TRY(matrix_create(&b->inverse[i], device, RELORA_F32, 0, n));
        TRY(matrix_create(&b->normed[i], device, c->dtype, n, c->hidden));
    }
    TRY(matrix_create(&b->q, device, RELORA_F32, 0, padded));
    TRY(matrix_create(&b->k, device, RELORA_F32, 0, padded));
    TRY(matrix_create(&b->v, device, RELORA_F32, 0, padded));
    TRY(matrix_create(&b->log_sum, device, RELORA_F32, 0, padded / acts->attention.width));
    TRY(matrix_create(&b->mixed, device, c->dtype, n, c->hidden));
    TRY(matrix_create(&b->gate, device, c->dtype, n, c->ffn));
    TRY(matrix_create(&b->up, device, c->dtype, n, c->ffn));
    return matrix_create(&b->product, device, c->dtype, n, c->ffn);
}

static relora_status create_shared(struct model *model, struct activations *acts)
{
    const struct model_config *c = &model->config;
    relora_device *device = model->device;
    int64_t n = acts->batch * acts->seq;
    TRY(matrix_create(&acts->x, device, RELORA_F32, n, c->hidden));
    TRY(matrix_create(&acts->dx, device, RELORA_F32, n, c->hidden));
    TRY(matrix_create(&acts->inverse, device, RELORA_F32, 0, n));
    TRY(matrix_create(&acts->losses, device, RELORA_F32, 0, n));
    struct matrix *wide[] = {&acts->normed, &acts->y, &acts->dnormed, &acts->dq, &acts->dk, &acts->dv};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        TRY(matrix_create(wide[i], device, c->dtype, n, c->hidden));
    TRY(matrix_create(&acts->dgate, device, c->dtype, n, c->ffn));
    TRY(matrix_create(&acts->dup, device, c->dtype, n, c->ffn));
    TRY(matrix_create(&acts->logits, device, c->dtype, acts->head_rows, c->vocab));
    TRY(window(&acts->head_x, model, acts->head_rows, c->hidden, acts->normed.data));
    TRY(window(&acts->head_dx, model, acts->head_rows, c->hidden, acts->dnormed.data));
    TRY(window(&acts->last_x, model, 1, c->hidden, acts->normed.data));
    return window(&acts->last_y, model, 1, c->vocab, acts->logits.data);
}

/* As many whole sequences as keep the logits small, in a number that divides the batch. */
static int64_t rows_per_head(int64_t batch, int64_t seq, int64_t vocab)
{
    int64_t sequences = batch;
    while (sequences > 1 && (batch % sequences != 0 || sequences * seq * vocab > LOGITS_AT_ONCE))
        sequences--;
    return sequences * seq;
}

relora_status activations_create(struct activations **out, struct model *model, int64_t batch,
                                 int64_t seq)
{
    const struct model_config *c = &model->config;
    *out = NULL;
    struct activations *acts = calloc(1, sizeof *acts);
    if (!acts)
        return RELORA_E_NO_MEMORY;
    acts->batch = batch;
    acts->seq = seq;
    acts->recompute = c->recompute;
    acts->head_rows = rows_per_head(batch, seq, c->vocab);
    relora_status status = RELORA_E_NO_MEMORY;
    acts->blocks = calloc((size_t)c->layers, sizeof *acts->blocks);
    acts->block_count = c->layers;
    if (acts->blocks && attention_create(&acts->attention, batch, seq, c->heads,
                                         c->hidden / c->heads, c->dtype, c->threads) == 0)
        status = create_shared(model, acts);
    for (int64_t i = 0; status == RELORA_OK && i < c->layers; i++)
        status = create_block(model, acts, &acts->blocks[i]);
    if (status != RELORA_OK) {
        activations_destroy(acts);
        return status;
    }
    *out = acts;
    return RELORA_OK;
}

enum { BLOCK_TENSORS = 14, SHARED_TENSORS = 13, WINDOWS = 4 };

/* What a block owns; with `shares` that is x alone. Returns how many. */
static int list_block(const struct block *b, int shares, relora_tensor *list[BLOCK_TENSORS])
{
    relora_tensor *const all[BLOCK_TENSORS] = {
        b->x.tensor,         b->middle.tensor,    b->inverse[0].tensor, b->inverse[1].tensor,
        b->normed[0].tensor, b->normed[1].tensor, b->q.tensor,          b->k.tensor,
        b->v.tensor,         b->log_sum.tensor,   b->mixed.tensor,      b->gate.tensor,
        b->up.tensor,        b->product.tensor};
    memcpy(list, all, sizeof all);
    return shares ? 1 : BLOCK_TENSORS;
}

static void list_shared(const struct activations *acts, relora_tensor *list[SHARED_TENSORS])
{
    relora_tensor *const all[SHARED_TENSORS] = {
        acts->x.tensor,  acts->inverse.tensor, acts->normed.tensor, acts->y.tensor,  acts->dx.tensor,
        acts->dq.tensor, acts->dnormed.tensor, acts->dk.tensor,     acts->dv.tensor, acts->dgate.tensor,
        acts->dup.tensor, acts->losses.tensor, acts->logits.tensor};
    memcpy(list, all, sizeof all);
}

static int64_t bytes_of(const relora_tensor *tensor)
{
    return relora_tensor_count(tensor) * (relora_tensor_dtype(tensor) == RELORA_F32 ? 4 : 2);
}

int64_t activations_bytes(const struct activations *acts)
{
    relora_tensor *list[BLOCK_TENSORS];
    int64_t bytes = 0;
    list_shared(acts, list);
    for (int i = 0; i < SHARED_TENSORS; i++)
        bytes += bytes_of(list[i]);
    for (int64_t b = 0; b < acts->block_count; b++) {
        int count = list_block(&acts->blocks[b], acts->recompute && b > 0, list);
        for (int i = 0; i < count; i++)
            bytes += bytes_of(list[i]);
    }
    return bytes;
}

void activations_destroy(struct activations *acts)
{
    relora_tensor *list[BLOCK_TENSORS];
    if (!acts)
        return;
    relora_tensor *const windows[WINDOWS] = {acts->head_x, acts->head_dx, acts->last_x, acts->last_y};
    for (int i = 0; i < WINDOWS; i++)
        relora_tensor_release(windows[i]);
    list_shared(acts, list);
    for (int i = 0; i < SHARED_TENSORS; i++)
        relora_tensor_release(list[i]);
    for (int64_t b = 0; acts->blocks && b < acts->block_count; b++) {
        int count = list_block(&acts->blocks[b], acts->recompute && b > 0, list);
        for (int i = 0; i < count; i++)
            relora_tensor_release(list[i]);
    }
    free(acts->blocks);
    attention_destroy(&acts->attention);
    free(acts);
}
