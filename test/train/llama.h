/* A Llama-style decoder in double, forward only, written from its definition: RMSNorm, rotary positions
 * (rotate_half), causal attention, SwiGLU, low-rank branches, mean cross-entropy. Reads nothing but the
 * weights of the model under test. */
#ifndef TEST_TRAIN_LLAMA_H
#define TEST_TRAIN_LLAMA_H

#include "../examples/pretrain/model.h"

enum llama_projection { LL_Q, LL_K, LL_V, LL_O, LL_GATE, LL_UP, LL_DOWN, LL_PROJECTIONS };

struct llama_linear {
    double *w, *a, *b; /* w or a and b may be missing */
    int64_t out, in;
};

struct llama_block {
    double *norm[2];
    struct llama_linear p[LL_PROJECTIONS];
};

struct llama {
    struct model_config c;
    double *embed, *norm;
    struct llama_linear head;
    struct llama_block *blocks;
    int64_t batch, seq;
    const int32_t *tokens, *targets;
    double *logits; /* [batch * seq, vocab], of the last llama_loss() */
};

/** Copy every weight of `model`; memory lives until env_close(). */
struct llama *llama_read(const struct model *model, int64_t batch, int64_t seq, const int32_t *tokens,
                         const int32_t *targets);
/** Where the parameter called `name` lies in `l`; fails the test if there is none. */
double *llama_find(struct llama *l, const char *name);
double llama_loss(struct llama *l);

#endif
