/* What model.c, activations.c and pass.c share. */
#ifndef PRETRAIN_MODEL_PRIVATE_H
#define PRETRAIN_MODEL_PRIVATE_H

#include "model.h"
#include "ops.h"

#define TRY(expr)                                       \
    do {                                                \
        relora_status try_status = (expr);              \
        if (try_status != RELORA_OK) return try_status; \
    } while (0)

struct matrix { /* memory on the device */
    relora_tensor *tensor;
    void *data;
};
/* Contents undefined; rows 0 makes a vector of `cols`. */
relora_status matrix_create(struct matrix *out, relora_device *device, relora_dtype dtype, int64_t rows,
                            int64_t cols);

struct array {          /* an ordinary parameter: the embedding or a norm */
    int64_t rows, cols; /* rows 0 for a vector */
    struct matrix value, grad;
};

enum projection { Q, K, V, O, GATE, UP, DOWN, PROJECTIONS };

/* names.c: arrays and layers of a model that need not be there; the last layer is the head. */
int array_count(const struct model_config *config);
int linear_count(const struct model_config *config);
void linear_shape(const struct model_config *config, int index, int64_t *out, int64_t *in);
void linear_name(const struct model_config *config, int index, char name[MODEL_NAME]);
void array_name(int index, char name[MODEL_NAME]);

struct model {
    struct model_config config;
    struct engine engine;
    struct array *arrays;    /* embedding, final norm, then two norms per block */
    relora_linear **linears; /* PROJECTIONS per block, then the head */
    relora_group *group;     /* both, by the names that Hugging Face's Llama has */
    relora_tensor *head;     /* its weight, if that is the embedding in another dtype; else NULL */
    int array_count, linear_count;
    struct matrix gradient;             /* of the largest W, for steps in full rank; */
    relora_tensor *shaped[PROJECTIONS]; /* and its memory in the shape of each projection */
    struct matrix loss;                 /* a double: sum of the losses not yet taken */
};

static inline float *array_value(const struct array *array)
{
    return array->value.data;
}

static inline float *array_grad(const struct array *array)
{
    return array->grad.data;
}

struct block {                             /* activations of one block */
    struct matrix x, middle;               /* residual stream at the two norms, F32 */
    struct matrix inverse[2];              /* 1 / rms at both */
    struct matrix normed[2];               /* what enters q, k, v; and gate, up */
    struct matrix q, k, v, log_sum, mixed; /* of attention, q and k rotated; `mixed` enters o */
    struct matrix gate, up, product;       /* `product` enters down */
};

/* Elements from a row of gate, up and product, or of their gradients, to the next. Rows begin at a multiple
 * of 16 bytes: fast products want that. What is between them is 0. */
int64_t ffn_stride(const struct model_config *config);

struct activations {
    int64_t batch, seq;
    struct attention attention;
    struct block *blocks;
    relora_tensor **owned; /* all memory below and of the blocks */
    relora_tensor **views; /* of columns of it */
    int64_t block_count, owned_count, view_count;
    enum recompute recompute;         /* what is made again has but one memory for all blocks */
    struct matrix x, inverse, normed; /* after the last block */
    struct matrix dx;                 /* gradient by the residual stream, F32 */
    struct matrix dy;                 /* the same in the dtype of the model; nothing if that is F32 */
    struct matrix dnormed, dmixed, dq, dk, dv; /* backward */
    struct matrix dgate, dup;
    struct matrix losses;            /* one for each row */
    struct matrix rotary, scratch;   /* cosines, then sines; of the engine */
    struct matrix tokens, targets;   /* 4-byte integers of the forward under way */
    struct matrix logits;            /* of head_rows rows */
    relora_tensor *head_x, *head_dx; /* windows of head_rows rows on normed and dnormed */
    relora_tensor *last_x, *last_y;  /* windows of one row on normed and logits */
    int64_t head_rows;
    uint64_t call; /* of the forward under way */
    uint32_t layer_flags, backward_flags;
};

#endif
