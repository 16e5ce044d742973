/* W plus s B A: stored as the new W with norms of what changed, or as the fold of one pass. */
#include <string.h>

#include "cpu.h"
#include "cpu_clones.h"

enum { SUM_LANES = 8 };

struct piece { /* a batch of elements before and after a merge, and sums of squares of a row */
    float before[DRAW_BATCH], after[DRAW_BATCH];
    double change[SUM_LANES], weight[SUM_LANES];
};

CPU_CLONES static void merge_f32(struct piece *p, float *y, const float *x, int64_t n, float s)
{
    for (int64_t j = 0; j < n; j++) {
        p->before[j] = y[j];
        y[j] = p->after[j] = y[j] + s * x[j];
    }
}

CPU_CLONES static void merge_nearest(struct piece *p, bf16 *y, const float *x, int64_t n, float s)
{
    for (int64_t j = 0; j < n; j++) {
        p->before[j] = bf16_to_float(y[j]);
        y[j] = bf16_nearest(p->before[j] + s * x[j]);
        p->after[j] = bf16_to_float(y[j]);
    }
}

CPU_CLONES static void merge_stochastic(struct piece *p, bf16 *y, const float *x, int64_t n, float s,
                                        const uint32_t *words)
{
    for (int64_t j = 0; j < n; j++) {
        p->before[j] = bf16_to_float(y[j]);
        y[j] = bf16_stochastic(p->before[j] + s * x[j], words[j]);
        p->after[j] = bf16_to_float(y[j]);
    }
}

/* Lane k has elements k, k + SUM_LANES, ... of the row: one order, whatever the vectors. */
CPU_CLONES static void add_squares(struct piece *p, int64_t n)
{
    for (int64_t j = n; j % SUM_LANES; j++) p->before[j] = p->after[j] = 0;
    for (int64_t j = 0; j < n; j += SUM_LANES)
        for (int k = 0; k < SUM_LANES; k++) {
            double after = (double)p->after[j + k], change = after - (double)p->before[j + k];
            p->change[k] += change * change;
            p->weight[k] += after * after;
        }
}

CPU_CLONES static void add_change(float *delta, const struct piece *p, int64_t n)
{
    for (int64_t j = 0; j < n; j++) delta[j] += p->after[j] - p->before[j];
}

struct merge_job {
    const struct merge *m;
    float s;
};

/* y = round(y + s * x), one row; the partials are |change|^2 and |y|^2, of what is stored */
static void merge_row(void *user, int64_t i)
{
    const struct merge_job *job = user;
    const struct merge *m = job->m;
    float s = job->s;
    struct piece p = {.change = {0}};
    int stochastic = m->y.dtype == RELORA_BF16 && m->rounding == RELORA_ROUND_STOCHASTIC;
    for (int64_t j = 0; j < m->y.cols; j += DRAW_BATCH) {
        int64_t n = m->y.cols - j < DRAW_BATCH ? m->y.cols - j : DRAW_BATCH;
        const float *x = row_f32(m->x, i) + j;
        if (stochastic) {
            struct draw_words words;
            uint64_t first = m->first + (uint64_t)(i * m->y.cols + j);
            merge_stochastic(&p, row_bf16(m->y, i) + j, x, n, s, cpu_draw_words(&words, m->draw, first, n));
        } else if (m->y.dtype == RELORA_BF16) {
            merge_nearest(&p, row_bf16(m->y, i) + j, x, n, s);
        } else {
            merge_f32(&p, row_f32(m->y, i) + j, x, n, s);
        }
        if (m->delta.data) add_change(row_f32(m->delta, i) + j, &p, n);
        if (m->norms) add_squares(&p, n);
    }
    double norms[2] = {0};
    for (int k = 0; k < SUM_LANES; k++) norms[0] += p.change[k], norms[1] += p.weight[k];
    if (m->norms) memcpy(m->partials + 2 * i, norms, sizeof norms);
}

relora_status cpu_merge(struct queue *q, const struct merge *m)
{
    struct merge_job job = {m, cpu_scale_value(m->scale)};
    cpu_loop(q, m->y.rows, view_is_large(m->y), merge_row, &job);
    for (int64_t i = 0; i < m->y.rows && m->norms; i++) { /* in one order, whoever made them */
        m->norms[0] += m->partials[2 * i];
        m->norms[1] += m->partials[2 * i + 1];
    }
    return RELORA_OK;
}

CPU_CLONES static void fold_batch(bf16 *y, const bf16 *w, const float *x, int64_t n, const uint32_t *words)
{
    for (int64_t j = 0; j < n; j++) y[j] = bf16_stochastic(bf16_to_float(w[j]) + x[j], words[j]);
}

static void fold_row(void *job, int64_t i)
{
    const struct fold *f = job;
    for (int64_t j0 = 0; j0 < f->y.cols; j0 += DRAW_BATCH) {
        struct draw_words words;
        int64_t n = f->y.cols - j0 < DRAW_BATCH ? f->y.cols - j0 : DRAW_BATCH;
        uint64_t first = f->first + (uint64_t)(i * f->y.cols + j0);
        fold_batch(row_bf16(f->y, i) + j0, row_bf16(f->w, i) + j0, row_f32(f->x, i) + j0, n,
                   cpu_draw_words(&words, f->draw, first, n));
    }
}

relora_status cpu_fold(struct queue *q, const struct fold *f)
{
    struct fold job = *f;
    cpu_loop(q, f->y.rows, view_is_large(f->y), fold_row, &job);
    return RELORA_OK;
}
