#include "cuda/pretrain/pretrain.h"

static void free_model(void *p) { model_destroy(p); }
static void free_activations(void *p) { activations_destroy(p); }

static double value_for(const char *name, struct rnd *r)
{
    return strstr(name, "norm") ? rnd_uniform(r, 0.5, 1.5) : 0.1 * rnd_normal(r);
}

void stir(struct twin *t, uint64_t seed)
{
    struct model_param p;
    for (int side = CPU; side < SIDES; side++) {
        struct rnd r = rnd_seed(seed);
        for (int i = 0; model_param_get(t->model[side], i, &p); i++) {
            if (!strstr(p.name, "norm") && !strstr(p.name, "lora_")) continue;
            double *values = doubles(p.rows * p.cols);
            for (int64_t k = 0; k < p.rows * p.cols; k++) values[k] = value_for(p.name, &r);
            set_values(p.value, side, values);
        }
    }
    struct rnd r = rnd_seed(seed + 1);
    for (int64_t i = 0; i < t->batch * t->seq; i++) {
        t->tokens[i] = (int32_t)(rnd_bits(&r) % (uint64_t)t->config.vocab);
        t->targets[i] = (int32_t)(rnd_bits(&r) % (uint64_t)t->config.vocab);
    }
}

struct twin *new_twin(const struct model_config *config, int64_t batch, int64_t seq, int lora)
{
    struct twin *t = scratch(sizeof *t);
    t->config = *config;
    t->batch = batch;
    t->seq = seq;
    t->tokens = scratch((size_t)(batch * seq) * sizeof *t->tokens);
    t->targets = scratch((size_t)(batch * seq) * sizeof *t->targets);
    for (int side = CPU; side < SIDES; side++) {
        struct model_config c = *config;
        c.device = side == GPU ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU;
        OK(model_create(&t->model[side], env.ctx, stream_of(side), &c));
        defer(free_model, t->model[side]);
        if (lora) OK(model_set_lora(t->model[side], stream_of(side)));
        OK(activations_create(&t->acts[side], t->model[side], stream_of(side), batch, seq));
        defer(free_activations, t->acts[side]);
    }
    return t;
}
