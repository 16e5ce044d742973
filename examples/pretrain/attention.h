/* Causal self-attention with rotary positions, one (sequence, head) at a time. */
#ifndef PRETRAIN_ATTENTION_H
#define PRETRAIN_ATTENTION_H

#include <stdint.h>
#include <relora/types.h>

/* Inside, a head is a float matrix of `rows` x `width`: seq and head size, each rounded up to a
 * multiple of 16 with zeros, so that no inner loop has a tail. */
struct attention {
    int64_t batch, seq, heads, head_dim;
    int64_t rows, width;
    relora_dtype dtype; /* of q, k, v, out and their gradients outside: [batch * seq, heads * head_dim] */
    int threads;
    float *cosine, *sine; /* [seq, head_dim / 2] */
    float *scratch;       /* one piece per thread */
    int64_t scratch_size; /* of a piece, in floats */
};

/* What forward keeps of one layer: rotated and scaled q, rotated k, v as padded heads, and the
 * logarithm of each row's softmax denominator. */
struct attention_saved {
    float *q, *k, *v; /* [batch, heads, rows, width], zero at first */
    float *log_sum;   /* [batch, heads, rows] */
};

/* 0, or -1 without memory. */
int attention_create(struct attention *self, int64_t batch, int64_t seq, int64_t heads,
                     int64_t head_dim, relora_dtype dtype, int threads);
void attention_destroy(struct attention *self);
int64_t attention_saved_size(const struct attention *self); /* floats in one of q, k, v */

/* Rotate and repack what the q, k or v layer made; the factor is 1 / sqrt(head_dim) for q. */
void attention_pack(const struct attention *self, const void *from, float *to, int rotate,
                    float factor);
void attention_forward(const struct attention *self, const struct attention_saved *saved, void *out);
/* dq, dk, dv := gradients by the unrotated outputs of the q, k and v layers. */
void attention_backward(const struct attention *self, const struct attention_saved *saved,
                        const void *dout, void *dq, void *dk, void *dv);

#endif
