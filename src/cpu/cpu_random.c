/* Random elements: dropout and the uniform start of A. */
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
    else dropout_bf16(row_bf16(d->y, i) + j, row_bf16(d->x, i) + j, n, words, threshold, keep, d->accumulate);
}

static void dropout_row(void *job, int64_t i)
{
    const struct dropout *d = job;
    uint32_t threshold = (uint32_t)draw_threshold(d->p); /* p is below 1 */
    float keep = dropout_keep(threshold);
    for (int64_t j0 = 0; j0 < d->x.cols; j0 += DRAW_BATCH) {
        struct draw_words words;
        int64_t n = d->x.cols - j0 < DRAW_BATCH ? d->x.cols - j0 : DRAW_BATCH;
        uint64_t first = (uint64_t)(i * d->x.cols + j0);
        dropout_batch(d, i, j0, n, cpu_draw_words(&words, d->draw, first, n), threshold, keep);
    }
}

relora_status cpu_dropout(struct queue *q, const struct dropout *d)
{
    struct dropout job = *d;
    cpu_loop(q, d->x.rows, view_is_large(d->x), dropout_row, &job);
    return RELORA_OK;
}

struct uniform {
    struct view y;
    float bound;
    struct draw draw;
};

static void uniform_row(void *job, int64_t i)
{
    const struct uniform *u = job;
    for (int64_t j0 = 0; j0 < u->y.cols; j0 += DRAW_BATCH) {
        struct draw_words words;
        int64_t n = u->y.cols - j0 < DRAW_BATCH ? u->y.cols - j0 : DRAW_BATCH;
        const uint32_t *word = cpu_draw_words(&words, u->draw, (uint64_t)(i * u->y.cols + j0), n);
        for (int64_t j = 0; j < n; j++) row_f32(u->y, i)[j0 + j] = uniform_element(word[j], u->bound);
    }
}

relora_status cpu_uniform(struct queue *q, struct view y, double bound, struct draw d)
{
    struct uniform u = {y, (float)bound, d};
    cpu_loop(q, y.rows, view_is_large(y), uniform_row, &u);
    return RELORA_OK;
}
