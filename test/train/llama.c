#include "train/llama.h"
#include <stdio.h>
#include "train/suites.h"

static const char *const projection_names[LL_PROJECTIONS] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/* ---- reading the weights ---- */

static void shape_linear(struct llama_linear *l, int64_t out, int64_t in, const struct model_config *c)
{
    l->out = out;
    l->in = in;
    l->w = doubles(out * in);
    l->a = doubles(c->rank * in);
    l->b = doubles(out * c->rank);
}

static void shape_block(struct llama_block *b, const struct model_config *c)
{
    for (int i = 0; i < 2; i++) b->norm[i] = doubles(c->hidden);
    int64_t wide = c->heads * c->head_dim, narrow = c->kv_heads * c->head_dim;
    shape_linear(&b->p[LL_Q], wide, c->hidden, c);
    shape_linear(&b->p[LL_K], narrow, c->hidden, c);
    shape_linear(&b->p[LL_V], narrow, c->hidden, c);
    shape_linear(&b->p[LL_O], c->hidden, wide, c);
    shape_linear(&b->p[LL_GATE], c->ffn, c->hidden, c);
    shape_linear(&b->p[LL_UP], c->ffn, c->hidden, c);
    shape_linear(&b->p[LL_DOWN], c->hidden, c->ffn, c);
}

double *llama_find(struct llama *l, const char *name)
{
    char full[96];
    if (!strcmp(name, "model.embed_tokens.weight")) return l->embed;
    if (!strcmp(name, "model.norm.weight")) return l->norm;
    if (!strcmp(name, "lm_head.weight")) return l->head.w;
    for (int i = 0; i < l->c.layers; i++) {
        struct llama_block *b = &l->blocks[i];
        snprintf(full, sizeof full, "model.layers.%d.input_layernorm.weight", i);
        if (!strcmp(name, full)) return b->norm[0];
        snprintf(full, sizeof full, "model.layers.%d.post_attention_layernorm.weight", i);
        if (!strcmp(name, full)) return b->norm[1];
        for (int p = 0; p < LL_PROJECTIONS; p++) {
            int n = snprintf(full, sizeof full, "model.layers.%d.%s.", i, projection_names[p]);
            if (strncmp(name, full, (size_t)n)) continue;
            if (!strcmp(name + n, "weight")) return b->p[p].w;
            if (!strcmp(name + n, "lora_A.weight")) return b->p[p].a;
            if (!strcmp(name + n, "lora_B.weight")) return b->p[p].b;
        }
    }
    ck_abort_msg("nobody knows the parameter %s", name);
}

/* W of a projection, which is in no list of trained parameters once it is frozen. */
static void read_frozen(struct llama *l, const struct model *model)
{
    for (int i = 0; i < l->c.layers * LL_PROJECTIONS; i++) {
        relora_tensor *w = relora_linear_param(model_projection(model, i), RELORA_PARAM_WEIGHT);
        struct llama_linear *p = &l->blocks[i / LL_PROJECTIONS].p[i % LL_PROJECTIONS];
        if (w) memcpy(p->w, get(w), (size_t)(p->out * p->in) * sizeof(double));
    }
    ck_assert_ptr_null(model_projection(model, (int)l->c.layers * LL_PROJECTIONS));
}

struct llama *llama_read(const struct model *model, int64_t batch, int64_t seq, const int32_t *tokens,
                         const int32_t *targets)
{
    struct llama *l = scratch(sizeof *l);
    struct model_param p;
    l->c = *model_get_config(model);
    l->batch = batch;
    l->seq = seq;
    l->tokens = tokens;
    l->targets = targets;
    l->embed = doubles(l->c.vocab * l->c.hidden);
    l->norm = doubles(l->c.hidden);
    l->logits = doubles(batch * seq * l->c.vocab);
    shape_linear(&l->head, l->c.vocab, l->c.hidden, &l->c);
    if (l->c.tied) l->head.w = l->embed;
    l->blocks = scratch((size_t)l->c.layers * sizeof *l->blocks);
    for (int i = 0; i < l->c.layers; i++) shape_block(&l->blocks[i], &l->c);
    read_frozen(l, model);
    for (int i = 0; model_param_get(model, i, &p); i++) {
        double *to = llama_find(l, p.name);
        ck_assert_int_eq(p.dtype, RELORA_F32);
        memcpy(to, get(p.value), (size_t)(p.rows * p.cols) * sizeof *to);
    }
    return l;
}

/* ---- forward, one sequence at a time ---- */

static void linear(const struct llama *l, const struct llama_linear *p, const double *x, double *y)
{
    double s = l->c.rank ? l->c.alpha / (double)l->c.rank : 0;
    for (int64_t t = 0; t < l->seq; t++)
        for (int64_t o = 0; o < p->out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < p->in; i++) sum += p->w[o * p->in + i] * x[t * p->in + i];
            y[t * p->out + o] = sum;
        }
    for (int64_t t = 0; t < l->seq; t++)
        for (int64_t r = 0; r < l->c.rank; r++) {
            double u = 0;
            for (int64_t i = 0; i < p->in; i++) u += p->a[r * p->in + i] * x[t * p->in + i];
            for (int64_t o = 0; o < p->out; o++) y[t * p->out + o] += s * p->b[o * l->c.rank + r] * u;
        }
}

static void rms_norm(const struct llama *l, const double *w, const double *x, double *y)
{
    int64_t n = l->c.hidden;
    for (int64_t t = 0; t < l->seq; t++) {
        double square = 0;
        for (int64_t i = 0; i < n; i++) square += x[t * n + i] * x[t * n + i];
        double inverse = 1 / sqrt(square / (double)n + l->c.norm_eps);
        for (int64_t i = 0; i < n; i++) y[t * n + i] = w[i] * x[t * n + i] * inverse;
    }
}

/* The frequency of a pair, scaled as the wavelength says: as transformers' modeling_rope_utils.py has it. */
static double frequency(const struct rope *rope, int64_t i, int64_t d)
{
    double f = 1 / pow(rope->theta, 2 * (double)i / (double)d), wavelength = 2 * acos(-1) / f;
    double longest = (double)rope->original / rope->low, shortest = (double)rope->original / rope->high;
    if (rope->kind == ROPE_LINEAR) return f / rope->factor;
    if (rope->kind != ROPE_LLAMA3 || wavelength < shortest) return f;
    if (wavelength > longest) return f / rope->factor;
    double smooth = ((double)rope->original / wavelength - rope->low) / (rope->high - rope->low);
    return (1 - smooth) * f / rope->factor + smooth * f;
}

/* x cos + rotate_half(x) sin; rotate_half of (first, second half) is (-second, first). */
static void rotary(const struct llama *l, double *x, int64_t heads)
{
    int64_t d = l->c.head_dim, half = d / 2;
    for (int64_t t = 0; t < l->seq; t++)
        for (int64_t h = 0; h < heads; h++) {
            double *v = x + (t * heads + h) * d;
            for (int64_t i = 0; i < half; i++) {
                double angle = (double)t * frequency(&l->c.rope, i, d);
                double a = v[i], b = v[i + half];
                v[i] = a * cos(angle) - b * sin(angle);
                v[i + half] = b * cos(angle) + a * sin(angle);
            }
        }
}

static void attention_row(const struct llama *l, const double *q, const double *k, const double *v,
                          double *out, int64_t t, int64_t h)
{
    int64_t d = l->c.head_dim, n = l->c.heads * d, kn = l->c.kv_heads * d;
    int64_t other = h / (l->c.heads / l->c.kv_heads);
    double weight[64], sum = 0;
    ck_assert_int_lt(t, 64);
    for (int64_t j = 0; j <= t; j++) {
        double dot = 0;
        for (int64_t i = 0; i < d; i++) dot += q[t * n + h * d + i] * k[j * kn + other * d + i];
        sum += weight[j] = exp(dot / sqrt((double)d));
    }
    for (int64_t i = 0; i < d; i++) {
        double mixed = 0;
        for (int64_t j = 0; j <= t; j++) mixed += weight[j] / sum * v[j * kn + other * d + i];
        out[t * n + h * d + i] = mixed;
    }
}

struct room {
    double *x, *normed, *q, *k, *v, *mixed, *y, *gate, *up;
}; /* for one sequence */

static void block(const struct llama *l, const struct llama_block *b, struct room *m)
{
    int64_t n = l->seq * l->c.hidden;
    rms_norm(l, b->norm[0], m->x, m->normed);
    linear(l, &b->p[LL_Q], m->normed, m->q);
    linear(l, &b->p[LL_K], m->normed, m->k);
    linear(l, &b->p[LL_V], m->normed, m->v);
    rotary(l, m->q, l->c.heads);
    rotary(l, m->k, l->c.kv_heads);
    for (int64_t t = 0; t < l->seq; t++)
        for (int64_t h = 0; h < l->c.heads; h++) attention_row(l, m->q, m->k, m->v, m->mixed, t, h);
    linear(l, &b->p[LL_O], m->mixed, m->y);
    for (int64_t i = 0; i < n; i++) m->x[i] += m->y[i];
    rms_norm(l, b->norm[1], m->x, m->normed);
    linear(l, &b->p[LL_GATE], m->normed, m->gate);
    linear(l, &b->p[LL_UP], m->normed, m->up);
    for (int64_t i = 0; i < l->seq * l->c.ffn; i++) m->gate[i] *= m->up[i] / (1 + exp(-m->gate[i]));
    linear(l, &b->p[LL_DOWN], m->gate, m->y);
    for (int64_t i = 0; i < n; i++) m->x[i] += m->y[i];
}

static double cross_entropy(const struct llama *l, const double *logits, const int32_t *targets)
{
    double loss = 0;
    for (int64_t t = 0; t < l->seq; t++) {
        double sum = 0;
        if (targets[t] < 0) continue;
        for (int64_t i = 0; i < l->c.vocab; i++) sum += exp(logits[t * l->c.vocab + i]);
        loss += log(sum) - logits[t * l->c.vocab + targets[t]];
    }
    return loss;
}

static struct room new_room(const struct llama *l)
{
    struct room m;
    int64_t n = l->seq * l->c.hidden, f = l->seq * l->c.ffn, wide = l->seq * l->c.heads * l->c.head_dim;
    double **hidden[] = {&m.x, &m.normed, &m.y}, **heads[] = {&m.q, &m.k, &m.v, &m.mixed};
    for (int i = 0; i < 3; i++) *hidden[i] = malloc((size_t)n * sizeof(double));
    for (int i = 0; i < 4; i++) *heads[i] = malloc((size_t)wide * sizeof(double));
    m.gate = malloc((size_t)f * sizeof(double));
    m.up = malloc((size_t)f * sizeof(double));
    return m;
}

static void free_room(struct room *m)
{
    double *all[] = {m->x, m->normed, m->q, m->k, m->v, m->mixed, m->y, m->gate, m->up};
    for (int i = 0; i < 9; i++) free(all[i]);
}

double llama_loss(struct llama *l)
{
    struct room m = new_room(l);
    double loss = 0;
    for (int64_t s = 0; s < l->batch; s++) {
        const int32_t *tokens = l->tokens + s * l->seq;
        double *logits = l->logits + s * l->seq * l->c.vocab;
        for (int64_t t = 0; t < l->seq; t++)
            memcpy(m.x + t * l->c.hidden, l->embed + tokens[t] * l->c.hidden,
                   (size_t)l->c.hidden * sizeof(double));
        for (int i = 0; i < l->c.layers; i++) block(l, &l->blocks[i], &m);
        rms_norm(l, l->norm, m.x, m.normed);
        linear(l, &l->head, m.normed, logits);
        loss += cross_entropy(l, logits, l->targets + s * l->seq);
    }
    free_room(&m);
    return loss / (double)(l->batch * l->seq);
}
