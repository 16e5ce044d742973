/* The parts of a model that are neither linear layers nor the optimizer: a table that each device fills.
 * ops.c, loss.c and attention.c do it for the CPU, cuda/ for a GPU; model.c, activations.c and pass.c
 * do not know which one they talk to.
 *
 * Pointers are the device's. Arrays called `void` have the dtype of the model; the residual stream, norms and
 * embedding are float. Work is cut by shape alone and sums have a fixed order, so results depend on
 * neither threads nor scheduling. Work is queued in the order of the calls; a failure of the device
 * is kept, and told by `status`. */
#ifndef PRETRAIN_OPS_H
#define PRETRAIN_OPS_H

#include <stdint.h>
#include <relora/relora.h>
#include "attention.h"

struct ops;
struct gpu; /* what cuda/ keeps */

struct engine { /* where they run */
    const struct ops *ops;
    relora_device *device;
    int threads;     /* of the CPU */
    struct gpu *gpu; /* NULL on the CPU */
};

struct shape { /* of a pass through rows of `width` elements */
    int64_t rows, width;
    relora_dtype dtype;
    const struct engine *engine;
};

struct norm {  /* y = w * x / rms(x); `inverse` [rows] keeps 1 / rms for the backward */
    float eps; /* added to the mean square */
    void *y;
    float *inverse;
    const float *x, *w;
    const void *branch; /* if not NULL, x + branch is what is normed, */
    float *sum;         /* and stored here: the residual connection; may be x */
};

struct norm_gradient {
    float *dx; /* the gradient by x is added to it, or stored if `first` */
    int first;
    void *dx_rounded; /* dx in the dtype of the model; may be NULL */
    float *dw;        /* += the gradient by w */
    const void *dy;
    const float *x, *inverse, *w;
    float *scratch; /* of scratch_floats */
};

struct ops {
    /* Begin and end the use of an engine whose device is set. */
    relora_status (*open)(struct engine *engine, relora_stream *stream);
    void (*close)(struct engine *engine);
    /* Of everything queued since the last call. Waits for nothing. */
    relora_status (*status)(const struct engine *engine);
    /* Floats that norm_backward or the attention want as scratch, whichever is more; -1 if a size is not
     * supported here. */
    int64_t (*scratch_floats)(struct shape s, const struct attention *attention);
    /* Rows of logits are made so many elements at a time. */
    int64_t logits_at_once;

    /* Tokens, each below `vocab`, to `to`, which has room for tokens_floats() elements of 4 bytes: the tokens
     * themselves, then what embedding_backward wants to know. Without that, if vocab is 0, `count` are
     * enough. `from` may be reused on return. */
    int64_t (*tokens_floats)(int64_t count);
    void (*upload)(const struct engine *engine, int32_t *to, const int32_t *from, int64_t count,
                   int64_t vocab);
    void (*embedding_forward)(struct shape s, float *x, const float *table, const int32_t *tokens);
    /* dx is spent. */
    void (*embedding_backward)(struct shape s, float *dtable, float *dx, const int32_t *tokens);

    void (*norm_forward)(struct shape s, const struct norm *n);
    void (*norm_backward)(struct shape s, const struct norm_gradient *n);

    /* y = silu(gate) * up. */
    void (*swiglu_forward)(struct shape s, void *y, const void *gate, const void *up);
    void (*swiglu_backward)(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                            const void *up); /* dgate or dup may be dy */

    /* Cross-entropy of each row of logits with its target, or 0 if that is below 0, into `loss` [rows]. If
     * factor is not 0, the row is replaced by factor * (softmax - one at the target). */
    void (*cross_entropy)(struct shape s, void *logits, const int32_t *targets, float *loss, float factor);
    /* *total += the mean of the losses, in double. */
    void (*add_mean)(const struct engine *engine, double *total, const float *losses, int64_t count);

    /* Causal attention; see attention.h. */
    void (*rotate)(const struct attention *a, void *q, void *k);
    void (*attention_forward)(const struct attention *a, const struct attention_pass *p);
    void (*attention_backward)(const struct attention *a, const struct attention_pass *p,
                               const struct attention_gradient *g);
};

extern const struct ops ops_cpu;
/* Of cuda/; its address is NULL in a program that was linked without. */
extern const struct ops ops_cuda __attribute__((weak));

/* What ops.c, loss.c and attention.c are to each other. */
void cpu_cross_entropy(struct shape s, void *logits, const int32_t *targets, float *loss, float factor);
int64_t cpu_attention_scratch(const struct attention *a);
void cpu_rotate(const struct attention *a, void *q, void *k);
void cpu_attention_forward(const struct attention *a, const struct attention_pass *p);
void cpu_attention_backward(const struct attention *a, const struct attention_pass *p,
                            const struct attention_gradient *g);

#endif
