/* Causal self-attention with rotary positions: its sizes and arrays, the same on every device.
 *
 * q, k, v, out and their gradients are what the linear layers make and take, in the dtype of the model: q and
 * out [batch * seq, heads * head_dim], k and v [batch * seq, kv_heads * head_dim]. Each head of k and v serves
 * heads / kv_heads neighbouring heads of q. Positions are turned into q and k in place (`rotate`); the backward
 * turns the gradients back. Scores never exist all at once: the backward makes them again, from log_sum. */
#ifndef PRETRAIN_ATTENTION_H
#define PRETRAIN_ATTENTION_H

#include <stdint.h>
#include <relora/types.h>

struct engine;

struct attention {
    const struct engine *engine;
    int64_t batch, seq, heads, kv_heads, head_dim; /* head_dim is even */
    relora_dtype dtype;
    float factor;               /* of the scores: 1 / sqrt(head_dim) */
    const float *cosine, *sine; /* [seq, head_dim / 2], on the device */
    float *scratch;             /* of scratch_floats */
};

struct attention_pass {
    const void *q, *k, *v; /* q and k rotated */
    void *out;
    float *log_sum; /* [batch, heads, seq], the logarithm of each row's softmax denominator */
};

struct attention_gradient {
    const void *dout;
    void *dq, *dk, *dv; /* by the unrotated outputs of the q, k and v layers */
};

#endif
