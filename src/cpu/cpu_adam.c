/* The optimizer: one sweep over the chunks of all parameters for the norm, one for the update. */

#include "adam_math.h"
#include "cpu.h"

static float grad_at(const struct adam_param *p, int64_t i)
{
    return p->grad_dtype == RELORA_F32 ? ((const float *)p->grad)[i]
                                       : bf16_to_float(((const bf16 *)p->grad)[i]);
}

/* Squares of F32 cannot overflow a double, so the sum is finite exactly if all gradients are. */
static double chunk_squares(const struct adam_param *p, const struct adam_chunk *chunk)
{
    enum { LANES = 8 }; /* independent sums, in a fixed order: vectors without reassociation */
    double lane[LANES] = {0}, sum = 0;
    int64_t end = chunk->start + chunk->count, i = chunk->start;
    if (p->grad_dtype == RELORA_F32) {
        const float *g = p->grad;
        for (; i + LANES <= end; i += LANES)
            for (int k = 0; k < LANES; k++) lane[k] += (double)g[i + k] * (double)g[i + k];
    }
    for (; i < end; i++) sum += (double)grad_at(p, i) * (double)grad_at(p, i);
    for (int k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

static void norm_chunk(void *job, int64_t k)
{
    const struct adam *a = job;
    a->partials[k] = chunk_squares(&a->params[a->chunks[k].param], &a->chunks[k]);
}

relora_status cpu_adam_norm(struct queue *q, const struct adam *a)
{
    struct adam job = *a;
    double sum = 0;
    cpu_loop(q, a->chunk_count, 1, norm_chunk, &job);
    for (int64_t k = 0; k < a->chunk_count; k++) sum += a->partials[k];
    if (a->squares) *a->squares = sum;
    else *a->control = adam_control_make(a, sum);
    return RELORA_OK;
}

relora_status cpu_adam_decide(struct queue *q, const struct adam *a)
{
    (void)q;
    *a->control = adam_control_make(a, *a->squares);
    return RELORA_OK;
}

static void update_f32(const struct adam_constants *c, const struct adam_param *p,
                       const struct adam_chunk *chunk)
{
    float *w = p->param, *m = p->m, *v = p->v;
    const float *g = p->grad;
    for (int64_t i = chunk->start; i < chunk->start + chunk->count; i++)
        w[i] = adam_element(c, w[i], g[i], &m[i], &v[i]);
}

/* Batches for any other pair of dtypes: widen, update, round. */

static void load(float *to, const void *from, relora_dtype dtype, int64_t start, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        to[k] = dtype == RELORA_F32 ? ((const float *)from)[start + k]
                                    : bf16_to_float(((const bf16 *)from)[start + k]);
}

static void store(const struct adam_param *p, struct draw draw, const float *from, int64_t start, int64_t n)
{
    if (p->param_dtype == RELORA_F32) {
        for (int64_t k = 0; k < n; k++) ((float *)p->param)[start + k] = from[k];
    } else if (p->rounding == RELORA_ROUND_NEAREST) {
        for (int64_t k = 0; k < n; k++) ((bf16 *)p->param)[start + k] = bf16_nearest(from[k]);
    } else {
        struct draw_words words;
        const uint32_t *word = cpu_draw_words(&words, draw, (uint64_t)(p->first + start), n);
        for (int64_t k = 0; k < n; k++) ((bf16 *)p->param)[start + k] = bf16_stochastic(from[k], word[k]);
    }
}

static void update_mixed(const struct adam_constants *c, const struct adam_param *p,
                         const struct adam_chunk *chunk, struct draw draw)
{
    float w[DRAW_BATCH], g[DRAW_BATCH];
    for (int64_t done = 0; done < chunk->count; done += DRAW_BATCH) {
        int64_t start = chunk->start + done, left = chunk->count - done;
        int64_t n = left < DRAW_BATCH ? left : DRAW_BATCH;
        load(w, p->param, p->param_dtype, start, n);
        load(g, p->grad, p->grad_dtype, start, n);
        for (int64_t k = 0; k < n; k++)
            w[k] = adam_element(c, w[k], g[k], &p->m[start + k], &p->v[start + k]);
        store(p, draw, w, start, n);
    }
}

static void update(const struct adam_constants *c, const struct adam_param *p, const struct adam_chunk *chunk,
                   struct draw draw)
{
    if (p->param_dtype == RELORA_F32 && p->grad_dtype == RELORA_F32) update_f32(c, p, chunk);
    else update_mixed(c, p, chunk, draw);
}

/* Row by row, each as if there were no gaps before it. */
static void update_rows(const struct adam_constants *c, const struct adam_param *p,
                        const struct adam_chunk *chunk, struct draw draw)
{
    const int64_t item = p->param_dtype == RELORA_F32 ? sizeof(float) : sizeof(bf16);
    const int64_t end = chunk->start + chunk->count;
    for (int64_t i = chunk->start; i < end;) {
        struct adam_param row = *p;
        int64_t above = (p->first + i) / p->cols, last = (above + 1) * p->cols - p->first;
        struct adam_chunk part = {chunk->param, i, (last < end ? last : end) - i};
        row.param = (char *)p->param + (p->first + above * p->gap) * item;
        update(c, &row, &part, draw);
        i += part.count;
    }
}

static void update_chunk(void *job, int64_t k)
{
    const struct adam *a = job;
    const struct adam_chunk *chunk = &a->chunks[k];
    const struct adam_param *p = &a->params[chunk->param];
    double clip = a->need_norm ? a->control->clip_factor : 1;
    struct adam_constants c = adam_constants_make(a, p, clip, *p->steps);
    struct draw draw = {{p->draw.key[0], p->draw.key[1]}, (uint64_t)*p->steps};
    if (p->gap) update_rows(&c, p, chunk, draw);
    else update(&c, p, chunk, draw);
}

relora_status cpu_adam_step(struct queue *q, const struct adam *a)
{
    struct adam job = *a;
    if (a->need_norm && a->control->skip) return RELORA_OK;
    for (int64_t k = 0; k < a->param_count; k++) ++*a->params[k].steps;
    cpu_loop(q, a->chunk_count, 1, update_chunk, &job);
    return RELORA_OK;
}
