/* Loops over the elements of one or two matrices. */
#include <math.h>

#include "cpu.h"

float cpu_scale_value(struct scale s)
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
    float value = cpu_scale_value(s);
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

static uint32_t largest_f32(const float *x, int64_t n)
{
    uint32_t most = 0;
    for (int64_t j = 0; j < n; j++) {
        uint32_t bits = bits_of_float(x[j]) & 0x7FFFFFFFu;
        most = bits > most ? bits : most;
    }
    return most;
}

static uint32_t largest_bf16(const bf16 *x, int64_t n)
{
    bf16 most = 0;
    for (int64_t j = 0; j < n; j++) {
        bf16 bits = (bf16)(x[j] & 0x7FFFu);
        most = bits > most ? bits : most;
    }
    return (uint32_t)most << 16;
}

relora_status cpu_largest(struct queue *q, struct view x, uint32_t *bits)
{
    (void)q;
    uint32_t most = *bits;
#pragma omp parallel for num_threads(q->threads) schedule(static) reduction(max : most) if (is_large(x))
    for (int64_t i = 0; i < x.rows; i++) {
        uint32_t row = x.dtype == RELORA_F32 ? largest_f32(row_f32(x, i), x.cols) : largest_bf16(row_bf16(x, i), x.cols);
        most = row > most ? row : most;
    }
    *bits = most;
    return RELORA_OK;
}
