/* What the weights of a model are called, as Hugging Face's Llama calls them, and their shapes. */
#include <stdio.h>
#include "model_private.h"

static const char *const projection_names[PROJECTIONS] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

int array_count(const struct model_config *c)
{
    return 2 + 2 * (int)c->layers;
}

int linear_count(const struct model_config *c)
{
    return PROJECTIONS * (int)c->layers + 1;
}

void linear_shape(const struct model_config *c, int index, int64_t *out, int64_t *in)
{
    int which = index % PROJECTIONS, head = index == linear_count(c) - 1;
    *out = *in = c->hidden;
    if (head) *out = model_outputs(c);
    else if (which == Q) *out = c->heads * c->head_dim;
    else if (which == K || which == V) *out = c->kv_heads * c->head_dim;
    else if (which == O) *in = c->heads * c->head_dim;
    else *(which == DOWN ? in : out) = c->ffn;
}

void linear_name(const struct model_config *c, int index, char name[MODEL_NAME])
{
    if (index == linear_count(c) - 1) snprintf(name, MODEL_NAME, "%s", c->classes ? "score" : "lm_head");
    else
        snprintf(name, MODEL_NAME, "model.layers.%d.%s", index / PROJECTIONS,
                 projection_names[index % PROJECTIONS]);
}

void array_name(int index, char name[MODEL_NAME])
{
    if (index < 2) snprintf(name, MODEL_NAME, "model.%s.weight", index ? "norm" : "embed_tokens");
    else
        snprintf(name, MODEL_NAME, "model.layers.%d.%s.weight", (index - 2) / 2,
                 index % 2 ? "post_attention_layernorm" : "input_layernorm");
}

int model_name_get(const struct model_config *c, int index, struct model_name *out)
{
    char layer[MODEL_NAME];
    int arrays = array_count(c), linear = index - arrays;
    if (index < 0 || linear >= linear_count(c) - (c->tied ? 1 : 0)) return 0;
    if (index < arrays) {
        array_name(index, out->name);
        out->rows = index ? 0 : c->vocab;
        out->cols = c->hidden;
        return 1;
    }
    linear_name(c, linear, layer);
    snprintf(out->name, sizeof out->name, "%s.weight", layer);
    linear_shape(c, linear, &out->rows, &out->cols);
    return 1;
}

double model_least_bytes(const struct model_config *c)
{
    struct model_name weight;
    double all = 0.0, element = c->dtype == RELORA_F32 ? 4.0 : 2.0, trained = element + 4.0 + 8.0;
    double projection = c->mode == RELORA_MODE_FULL ? trained : c->mode == RELORA_MODE_LORA ? element : 0.0;
    int last = array_count(c) + linear_count(c) - 1;
    for (int i = 0; model_name_get(c, i, &weight); i++)
        all += (double)(weight.rows ? weight.rows : 1) * (double)weight.cols *
               (i >= array_count(c) && i < last ? projection : trained);
    return all;
}
