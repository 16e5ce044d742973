/* Loops over the elements of one or two matrices. */
#include <math.h>
#include <string.h>

#include "cpu.h"

static float scale_value(struct scale s)
{
    return s.trainable ? tanhf(*s.trainable) : (float)s.value;
}

static int is_large(struct view v)
{
    return v.rows * v.cols > CPU_SERIAL;
}

relora_status cpu_fill(struct queue *q, struct view y, double value)
{
    (void)q;
    float f = (float)value;
    bf16 b = bf16_of_double(value);
#pragma omp parallel for num_threads(q->threads) schedule(static) if (is_large(y))
    for (int64_t i = 0; i < y.rows; i++) {
        if (y.dtype == RELORA_F32)
            for (int64_t j = 0; j < y.cols; j++) row_f32(y, i)[j] = f;
        else
            for (int64_t j = 0; j < y.cols; j++) row_bf16(y, i)[j] = b;
    }
    return RELORA_OK;
}

/* One row of y = round(s * x); the four pairs of dtypes. */
static void convert_row(struct view y, struct view x, int64_t i, float s)
{
    if (y.dtype == RELORA_F32 && x.dtype == RELORA_F32)
        for (int64_t j = 0; j < y.cols; j++) row_f32(y, i)[j] = s * row_f32(x, i)[j];
    else if (y.dtype == RELORA_F32)
        for (int64_t j = 0; j < y.cols; j++) row_f32(y, i)[j] = s * bf16_to_float(row_bf16(x, i)[j]);
    else if (x.dtype == RELORA_F32)
        for (int64_t j = 0; j < y.cols; j++) row_bf16(y, i)[j] = bf16_nearest(s * row_f32(x, i)[j]);
    else
        for (int64_t j = 0; j < y.cols; j++)
            row_bf16(y, i)[j] = bf16_nearest(s * bf16_to_float(row_bf16(x, i)[j]));
}

relora_status cpu_convert(struct queue *q, struct view y, struct view x, struct scale s)
{
    (void)q;
    float value = scale_value(s);
#pragma omp parallel for num_threads(q->threads) schedule(static) if (is_large(y))
    for (int64_t i = 0; i < y.rows; i++) convert_row(y, x, i, value);
    return RELORA_OK;
}

/* ---- sums ---- */

enum { SUM_COLS = 64 };

relora_status cpu_sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate)
{
    (void)q;
    int64_t blocks = (x.cols + SUM_COLS - 1) / SUM_COLS;
#pragma omp parallel for num_threads(q->threads) schedule(static) if (is_large(x))
    for (int64_t b = 0; b < blocks; b++) {
        double sum[SUM_COLS] = {0};
        int64_t j0 = b * SUM_COLS, n = x.cols - j0 < SUM_COLS ? x.cols - j0 : SUM_COLS;
        for (int64_t i = 0; i < x.rows; i++) {
            if (x.dtype == RELORA_F32)
                for (int64_t j = 0; j < n; j++) sum[j] += (double)row_f32(x, i)[j0 + j];
            else
                for (int64_t j = 0; j < n; j++) sum[j] += (double)bf16_to_float(row_bf16(x, i)[j0 + j]);
        }
        for (int64_t j = 0; j < n; j++)
            sums[j0 + j] = (float)(sum[j] + (accumulate ? (double)sums[j0 + j] : 0));
    }
    return RELORA_OK;
}

static double dot_row(struct view x, struct view y, int64_t i)
{
    double sum = 0;
    if (x.dtype == RELORA_F32)
        for (int64_t j = 0; j < x.cols; j++) sum += (double)row_f32(x, i)[j] * (double)row_f32(y, i)[j];
    else
        for (int64_t j = 0; j < x.cols; j++)
            sum += (double)bf16_to_float(row_bf16(x, i)[j]) * (double)bf16_to_float(row_bf16(y, i)[j]);
    return sum;
}

relora_status cpu_scale_grad(struct queue *q, float *grad, const float *scale, struct view h,
                             struct view u, int32_t accumulate)
{
    (void)q; /* rows x rank products: small beside the layer's own */
    double sum = 0, s = (double)tanhf(*scale);
    for (int64_t i = 0; i < h.rows; i++) sum += dot_row(h, u, i);
    *grad = (float)((1 - s * s) * sum + (accumulate ? (double)*grad : 0));
    return RELORA_OK;
}

relora_status cpu_not_finite(struct queue *q, struct view x, int32_t *flag)
{
    (void)q;
    int found = 0;
#pragma omp parallel for num_threads(q->threads) schedule(static) reduction(| : found) if (is_large(x))
    for (int64_t i = 0; i < x.rows; i++)
        for (int64_t j = 0; j < x.cols; j++) {
            float f = x.dtype == RELORA_F32 ? row_f32(x, i)[j] : bf16_to_float(row_bf16(x, i)[j]);
            found |= !isfinite(f);
        }
    *flag |= found;
    return RELORA_OK;
}

/* ---- merge ---- */

/* y = round(y + s * x), one row; norms[0] += |change|^2, norms[1] += |y|^2, of what is stored */
static void merge_row(const struct merge *m, int64_t i, float s, double norms[2])
{
    uint64_t first = m->first + (uint64_t)(i * m->y.cols), block = UINT64_MAX;
    uint32_t words[4] = {0};
    int stochastic = m->y.dtype == RELORA_BF16 && m->rounding == RELORA_ROUND_STOCHASTIC;
    const float *x = row_f32(m->x, i);
    float *delta = m->delta.data ? row_f32(m->delta, i) : NULL;
    for (int64_t j = 0; j < m->y.cols; j++) {
        float before, after;
        if (m->y.dtype == RELORA_F32) {
            before = row_f32(m->y, i)[j];
            row_f32(m->y, i)[j] = after = before + s * x[j];
        } else {
            uint64_t element = first + (uint64_t)j;
            if (stochastic && element / 4 != block) draw_block(m->draw, block = element / 4, words);
            before = bf16_to_float(row_bf16(m->y, i)[j]);
            after = before + s * x[j];
            bf16 rounded = stochastic ? bf16_stochastic(after, words[element % 4]) : bf16_nearest(after);
            row_bf16(m->y, i)[j] = rounded;
            after = bf16_to_float(rounded);
        }
        double change = (double)after - (double)before;
        if (delta) delta[j] += after - before;
        norms[0] += change * change;
        norms[1] += (double)after * (double)after;
    }
}

relora_status cpu_merge(struct queue *q, const struct merge *m)
{
    float s = scale_value(m->scale);
    (void)q;
#pragma omp parallel for num_threads(q->threads) schedule(static) if (is_large(m->y))
    for (int64_t i = 0; i < m->y.rows; i++) {
        double norms[2] = {0, 0};
        merge_row(m, i, s, norms);
        if (m->norms) memcpy(m->partials + 2 * i, norms, sizeof norms);
    }
    for (int64_t i = 0; i < m->y.rows && m->norms; i++) { /* in one order, whoever made them */
        m->norms[0] += m->partials[2 * i];
        m->norms[1] += m->partials[2 * i + 1];
    }
    return RELORA_OK;
}
