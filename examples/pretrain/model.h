/* A Llama-style decoder over bytes or tokens, forward and backward by hand.
 *
 * The seven projections of each block and the head are relora_linear layers over weight memory that
 * the model owns; embedding and norms are plain arrays; all of it lies on the device of the stream that
 * the model is made with, and what is queued on that stream is all there is. Nothing is global: a test can
 * link these files without main.c, make a model of any size, and compare gradients with finite differences.
 */
#ifndef PRETRAIN_MODEL_H
#define PRETRAIN_MODEL_H

#include <stdint.h>
#include <relora/relora.h>

/* How fast the pairs of a head turn: pair i by theta^(-2 i / head_dim) for each position, then scaled. */
struct rope {
    enum { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 } kind;
    double theta;
    double factor; /* LINEAR: all turn so many times slower; LLAMA3: the slow ones do, ... */
    /* ... those that turn at most `low` times in `original` positions; those that */
    double low, high;
    int64_t original; /* turn `high` times or more do not; in between it goes over smoothly */
};

enum recompute { /* what the backward makes again of what the forward made */
                 RECOMPUTE_NONE,
                 RECOMPUTE_BLOCKS, /* all but what enters a block, by another forward */
                 RECOMPUTE_LIGHT /* what one pass over the rest gives: what enters q, k, v; gate, up; and down */
};

struct model_config {
    int64_t vocab, hidden, ffn, heads, layers;
    int64_t kv_heads;        /* divides heads, neighbours share one; 0: heads */
    int64_t head_dim;        /* even; 0: hidden / heads */
    int64_t classes;         /* the head scores so many classes; 0: it scores the tokens of the vocabulary */
    int tied;                /* the head's weight is the embedding */
    double norm_eps;         /* 0: 1e-6 */
    struct rope rope;        /* theta 0: 10000 */
    relora_dtype dtype;      /* of projections, head, and what enters them; the rest is F32 */
    relora_linear_mode mode; /* of the projections: FULL or LOWRANK; model_set_lora() changes FULL */
    int64_t rank;            /* 0 if the model stays FULL for good */
    double alpha, dropout;   /* of the projections */
    relora_init init_a;      /* of each new A; 0: uniform */
    uint32_t frozen;         /* the flag of the factor that does not train; 0: both do */
    relora_order order;      /* of the products of the projections */
    int full_rank;           /* model_backward() may be asked for steps in full rank; not in LOWRANK */
    enum recompute recompute;
    double init_std; /* of every weight matrix and the embedding; the authors have 0.02 */
    uint64_t seed;
    relora_device_kind device; /* of which the first is taken; 0 for the CPU */
    int threads;               /* of our own loops; the library has its own setting */
};

/* Outputs of the head. */
static inline int64_t model_outputs(const struct model_config *config)
{
    return config->classes ? config->classes : config->vocab;
}

/* A weight of the plain model, which need not be there yet: every one that a file of it has, by the names that Hugging
 * Face's Llama has. kv_heads and head_dim are not 0. 0 if there is no such index, else 1. */
enum { MODEL_NAME = 96 };
struct model_name {
    char name[MODEL_NAME + 8]; /* "model.layers.0.self_attn.q_proj.weight" */
    int64_t rows, cols;        /* a vector has 0 rows */
};
int model_name_get(const struct model_config *config, int index, struct model_name *out);
/* Bytes that such a model takes in any case, with what trains it from the first update. */
double model_least_bytes(const struct model_config *config);

struct ops;
struct model;       /* parameters and layers */
struct activations; /* what one forward keeps for its backward, for one size of input */

/* Parameters get their first values from config->seed, the same on every device. `stream` is the one that all
 * later calls are given; it outlives the model. On failure *out is NULL and the text, if any,
 * is in relora_context_error(). */
relora_status model_create(struct model **out, relora_context *ctx, relora_stream *stream,
                           const struct model_config *config);
void model_destroy(struct model *model); /* NULL is allowed */
/* What runs the rest of a model on a kind of device; NULL if this program was built without it. */
const struct ops *model_ops(relora_device_kind kind);
/* As given, with numbers in the place of zeros. */
const struct model_config *model_get_config(const struct model *model);

/* One entry for everything that is trained now: in LORA the frozen W is not in the list. A head that is the
 * embedding is not in it either. */
struct model_param {
    char name[96];        /* "model.layers.0.self_attn.q_proj.weight", or "….lora_A.weight" */
    int64_t rows, cols;   /* a vector has one row */
    relora_dtype dtype;   /* of value: F32, or BF16 for a W in a BF16 model */
    relora_tensor *value; /* borrowed; grad is F32 */
    relora_tensor *grad;
};
int model_param_count(const struct model *model);
/* Tensors are good until the next model_set_lora(). 0 if there is no such index, else 1. */
int model_param_get(const struct model *model, int index, struct model_param *out);
/* The same of the plain model, whatever is trained, in the order of model_name_get(). `grad` is NULL. Not for LOWRANK,
 * which has no such weights. */
int model_weight_get(const struct model *model, int index, struct model_param *out);
/* Bytes that parameters, their gradients and Adam's two moments take now, and a gradient of a frozen W; and the
 * number of parameters of the plain model, without A and B. */
struct model_memory {
    int64_t parameters, weights, gradients, moments;
    int64_t full_rank; /* the gradient of one W, which all layers take turns with */
};
void model_memory(const struct model *model, struct model_memory *out);
/* Number of elements in that list, or with the frozen matrices as well. */
int64_t model_count_trainable(const struct model *model);
int64_t model_count_all(const struct model *model);

/* The layers a restart is about, 7 per block; NULL past the last. */
relora_linear *model_projection(const struct model *model, int index);
/* All parameters and layers by their names, for the optimizer, the cycle and files. Borrowed. */
relora_group *model_group(const struct model *model);
/* End of the warm start: every projection FULL -> LORA, or none. The output does not change. Nothing if they are in
 * LORA already. */
relora_status model_set_lora(struct model *model, relora_stream *stream);

/* RELORA_E_UNSUPPORTED if the device cannot do the sizes of the model (ops.h). */
relora_status activations_create(struct activations **out, struct model *model, relora_stream *stream,
                                 int64_t batch, int64_t seq);
int64_t activations_bytes(const struct activations *acts); /* without the library's workspace */
void activations_destroy(struct activations *acts);        /* NULL is allowed */

/* flags of model_forward */
enum {
    MODEL_DROPOUT = 1,  /* apply LoRA dropout */
    MODEL_GRADIENT = 2, /* a model_backward() follows. The head's gradient is made here already,
                           chunk by chunk over the logits, so that they never exist all at once */
    MODEL_SKETCH = 4,   /* and it makes what a frozen A is renewed from */
    MODEL_FIRST = 8     /* all gradients are stored, by that backward too, not added to what is there */
};
/* Adds the mean cross-entropy in nats of `targets` [batch, seq] after `tokens` [batch, seq], each below vocab
 * or classes, to what model_take_loss() tells. A target below 0 is none: its loss is 0, and counts in the
 * mean. Both arrays may be reused on return. `call` names this use of the layers: dropout is a function of
 * it. Queues its work; does not wait. */
relora_status model_forward(struct model *model, struct activations *acts, relora_stream *stream,
                            const int32_t *tokens, const int32_t *targets, uint64_t call, unsigned flags);
/* The sum over all forwards since it was last asked for. Waits for them. */
relora_status model_take_loss(struct model *model, relora_stream *stream, double *sum);
/* A step of every frozen W in full rank (relora_linear_full_rank_step()), and what it did. */
struct full_rank {
    relora_adam *adam; /* whose ranks add up their gradients for it; NULL for a process alone */
    double lr;
    uint64_t number;        /* chooses the random numbers of its rounding: use each once */
    int layers;             /* that moved: those whose gradient was finite */
    double changed, weight; /* sums over those that moved: of |dW|^2 and |W|^2, */
    double rank;            /* and of the effective ranks of their gradients */
};
/* Add d loss / d parameter to every gradient. Tokens, call and dropout are those of the forward. With `step`, which
 * may be NULL, the frozen matrices move too, each as soon as its own layer is done, so that one gradient at a time is
 * enough; that waits for the device. */
relora_status model_backward(struct model *model, struct activations *acts, relora_stream *stream,
                             struct full_rank *step);
/* The same steps in a process that has no sequences for them, while others make that model_backward(). */
relora_status model_follow(struct model *model, struct activations *acts, relora_stream *stream,
                           struct full_rank *step);
/* Logits, or scores of the classes, of the token that follows tokens[0 .. position] of the first sequence. */
relora_status model_next(struct model *model, struct activations *acts, relora_stream *stream,
                         const int32_t *tokens, int64_t position, float *logits);

#endif
