/* Random elements: dropout, the rounding of a fold and the uniform start of A. Words are made in batches, so that the
 * compiler can run several Philox blocks side by side. */
#include "cpu.h"
#include "cpu_clones.h"

CPU_CLONES static void draw_blocks(uint32_t *words, struct draw d, uint64_t first, int64_t n)
{
    for (int64_t k = 0; k < n; k += 4) draw_block(d, first++, words + k);
}

const uint32_t *cpu_draw_words(struct draw_words *words, struct draw d, uint64_t first, int64_t n)
{
    int64_t skip = (int64_t)(first % 4);
    draw_blocks(words->word, d, first / 4, n + skip);
    return words->word + skip;
}

CPU_CLONES static void dropout_batch(const struct dropout *d, int64_t i, int64_t j0, int64_t n,
                          const uint32_t *words, uint64_t threshold, float keep)
{
    if (d->y.dtype == RELORA_F32) {
        const float *x = row_f32(d->x, i) + j0;
        float *y = row_f32(d->y, i) + j0;
        for (int64_t j = 0; j < n; j++)
            y[j] = (d->accumulate ? y[j] : 0.0f) + (words[j] < threshold ? 0.0f : keep * x[j]);
    } else {
        const bf16 *x = row_bf16(d->x, i) + j0;
        bf16 *y = row_bf16(d->y, i) + j0;
        for (int64_t j = 0; j < n; j++) {
            float kept = words[j] < threshold ? 0.0f : keep * bf16_to_float(x[j]);
            y[j] = bf16_nearest((d->accumulate ? bf16_to_float(y[j]) : 0.0f) + kept);
        }
    }
}

relora_status cpu_dropout(struct queue *q, const struct dropout *d)
{
    (void)q;
    uint64_t threshold = draw_threshold(d->p);
    float keep = (float)(4294967296.0 / (4294967296.0 - (double)threshold)); /* of what really stays */
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
            for (int64_t j = 0; j < n; j++) row_f32(y, i)[j0 + j] = scale * draw_symmetric(word[j]);
        }
    return RELORA_OK;
}
