/* Random elements: dropout, the rounding of a fold and the uniform start of A. */
#include "cpu.h"
#include "cpu_clones.h"
#include "element_math.h"

/* `words` below the threshold drop; what stays is multiplied by `keep`. */
CPU_CLONES static void dropout_f32(float *y, const float *x, int64_t n, const uint32_t *words,
                                   uint32_t threshold, float keep, int accumulate)
{
    if (accumulate)
        for (int64_t j = 0; j < n; j++) y[j] += dropout_element(x[j], words[j], threshold, keep);
    else
        for (int64_t j = 0; j < n; j++) y[j] = dropout_element(x[j], words[j], threshold, keep);
}

CPU_CLONES static void dropout_bf16(bf16 *y, const bf16 *x, int64_t n, const uint32_t *words,
                                    uint32_t threshold, float keep, int accumulate)
{
    for (int64_t j = 0; j < n; j++) {
        float kept = dropout_element(bf16_to_float(x[j]), words[j], threshold, keep);
        y[j] = bf16_nearest(accumulate ? bf16_to_float(y[j]) + kept : kept);
    }
}

static void dropout_batch(const struct dropout *d, int64_t i, int64_t j, int64_t n, const uint32_t *words,
                          uint32_t threshold, float keep)
{
    if (d->y.dtype == RELORA_F32)
        dropout_f32(row_f32(d->y, i) + j, row_f32(d->x, i) + j, n, words, threshold, keep, d->accumulate);
    else
        dropout_bf16(row_bf16(d->y, i) + j, row_bf16(d->x, i) + j, n, words, threshold, keep, d->accumulate);
}

relora_status cpu_dropout(struct queue *q, const struct dropout *d)
{
    (void)q;
    uint32_t threshold = (uint32_t)draw_threshold(d->p); /* p is below 1 */
    float keep = dropout_keep(threshold);
#pragma omp parallel for num_threads(q->threads) schedule(static) if (d->x.rows * d->x.cols > CPU_SERIAL)
    for (int64_t i = 0; i < d->x.rows; i++)
        for (int64_t j0 = 0; j0 < d->x.cols; j0 += DRAW_BATCH) {
            struct draw_words words;
            int64_t n = d->x.cols - j0 < DRAW_BATCH ? d->x.cols - j0 : DRAW_BATCH;
            uint64_t first = (uint64_t)(i * d->x.cols + j0);
            dropout_batch(d, i, j0, n, cpu_draw_words(&words, d->draw, first, n), threshold, keep);
        }
    return RELORA_OK;
}

CPU_CLONES static void fold_batch(bf16 *y, const bf16 *w, const float *x, int64_t n, const uint32_t *words)
{
    for (int64_t j = 0; j < n; j++) y[j] = bf16_stochastic(bf16_to_float(w[j]) + x[j], words[j]);
}

relora_status cpu_fold(struct queue *q, const struct fold *f)
{
    (void)q;
#pragma omp parallel for num_threads(q->threads) schedule(static) if (f->y.rows * f->y.cols > CPU_SERIAL)
    for (int64_t i = 0; i < f->y.rows; i++)
        for (int64_t j0 = 0; j0 < f->y.cols; j0 += DRAW_BATCH) {
            struct draw_words words;
            int64_t n = f->y.cols - j0 < DRAW_BATCH ? f->y.cols - j0 : DRAW_BATCH;
            uint64_t first = f->first + (uint64_t)(i * f->y.cols + j0);
            fold_batch(row_bf16(f->y, i) + j0, row_bf16(f->w, i) + j0, row_f32(f->x, i) + j0, n,
                       cpu_draw_words(&words, f->draw, first, n));
        }
    return RELORA_OK;
}

relora_status cpu_uniform(struct queue *q, struct view y, double bound, struct draw d)
{
    (void)q;
    float scale = (float)bound;
#pragma omp parallel for num_threads(q->threads) schedule(static) if (y.rows * y.cols > CPU_SERIAL)
    for (int64_t i = 0; i < y.rows; i++)
        for (int64_t j0 = 0; j0 < y.cols; j0 += DRAW_BATCH) {
            struct draw_words words;
            int64_t n = y.cols - j0 < DRAW_BATCH ? y.cols - j0 : DRAW_BATCH;
            const uint32_t *word = cpu_draw_words(&words, d, (uint64_t)(i * y.cols + j0), n);
            for (int64_t j = 0; j < n; j++) row_f32(y, i)[j0 + j] = uniform_element(word[j], scale);
        }
    return RELORA_OK;
}
