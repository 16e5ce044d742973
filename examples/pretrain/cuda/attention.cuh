/* What the files of attention share. */
#ifndef PRETRAIN_ATTENTION_CUH
#define PRETRAIN_ATTENTION_CUH

#include "gpu.cuh"

enum { MOST_HEAD_DIM = 128, MOST_HEADS = 65535 /* of a batch: the blocks that a grid has in y */ };

struct heads { /* sizes, as kernels want them; heads are counted over all sequences */
    int seq, heads, kv_heads, head_dim;
    int group;       /* heads of q that share one of k and v */
    int row, kv_row; /* elements from one token to the next, of q and of k */
    float factor;
    const float *cosine, *sine;
};

static inline struct heads heads_of(const struct attention *a)
{
    struct heads h;
    h.seq = (int)a->seq, h.heads = (int)a->heads, h.kv_heads = (int)a->kv_heads, h.head_dim = (int)a->head_dim;
    h.group = h.heads / h.kv_heads;
    h.row = h.heads * h.head_dim, h.kv_row = h.kv_heads * h.head_dim;
    h.factor = a->factor, h.cosine = a->cosine, h.sine = a->sine;
    return h;
}

/* Element where a head of q begins, at its first token. */
static __device__ __forceinline__ int64_t head_begin(const struct heads &h, unsigned head)
{
    return (int64_t)(head / h.heads) * h.seq * h.row + (int64_t)(head % h.heads) * h.head_dim;
}

/* The same of a head of k or v. */
static __device__ __forceinline__ int64_t kv_begin(const struct heads &h, unsigned head)
{
    return (int64_t)(head / h.kv_heads) * h.seq * h.kv_row + (int64_t)(head % h.kv_heads) * h.head_dim;
}

/* Row t of a gradient, times `factor`, turned back if `rotated`; all threads of the block, of which `first`
 * is this. */
template <class T>
static __device__ __forceinline__ void give_row(const struct heads &h, T *to, const float *row, int t,
                                                bool rotated, float factor, int first, int threads)
{
    int half = h.head_dim / 2;
    for (int i = first; i < half; i += threads) {
        float x = row[i] * factor, y = row[i + half] * factor;
        float c = rotated ? h.cosine[t * half + i] : 1.0f, s = rotated ? h.sine[t * half + i] : 0.0f;
        narrow(to + i, x * c + y * s);
        narrow(to + i + half, y * c - x * s);
    }
}

/* F32, in attention_plain.cu; BF16 on the tensor cores, in the other two. `delta` [batch, heads, seq] is
 * scratch. */
void plain_forward(const struct attention *a, const struct attention_pass *p);
void plain_backward(const struct attention *a, const struct attention_pass *p,
                    const struct attention_gradient *g, float *delta);
void tensor_forward(const struct attention *a, const struct attention_pass *p);
void tensor_backward(const struct attention *a, const struct attention_pass *p,
                     const struct attention_gradient *g, float *delta);

#endif
