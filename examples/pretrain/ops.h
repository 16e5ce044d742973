/* The parts of a block that are neither matrix products nor attention. Arrays called `void` have the
 * dtype of the model; the residual stream x, norms and embedding are float. Work is cut by rows, and
 * sums over rows by columns, so results do not depend on the number of threads. */
#ifndef PRETRAIN_OPS_H
#define PRETRAIN_OPS_H

#include <stdint.h>
#include <relora/types.h>

struct shape { /* of a pass through rows of `width` elements */
    int64_t rows, width;
    relora_dtype dtype;
    int threads;
};

void embedding_forward(struct shape s, float *x, const float *table, const int32_t *tokens);
void embedding_backward(struct shape s, float *dtable, const float *dx, const int32_t *tokens);

/* y = w * x / rms(x); `inverse` [rows] keeps 1 / rms for the backward. */
void norm_forward(struct shape s, void *y, float *inverse, const float *x, const float *w);
/* dx += the gradient by x, dw += the gradient by w. */
void norm_backward(struct shape s, float *dx, float *dw, const void *dy, const float *x,
                   const float *inverse, const float *w);

/* y = x + branch, the residual connection. y may be x. */
void residual(struct shape s, float *y, const float *x, const void *branch);
/* to := from, in the dtype of the model: a residual gradient enters a projection. */
void convert(struct shape s, void *to, const float *from);

/* y = silu(gate) * up. */
void swiglu_forward(struct shape s, void *y, const void *gate, const void *up);
void swiglu_backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                     const void *up);

/* Cross-entropy of each row of logits, into `loss` [rows]. If factor is not 0, the row is replaced by
 * factor * (softmax - one at the target). */
void cross_entropy(struct shape s, void *logits, const int32_t *targets, float *loss, float factor);

#endif
