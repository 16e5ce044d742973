/* Loops over the elements of one or two matrices. */
#include <math.h>
#include <stdatomic.h>

#include "cpu.h"

float cpu_scale_value(struct scale s)
{
    return s.trainable ? tanhf(*s.trainable) : (float)s.value;
}

struct fill {
    struct view y;
    float f;
    bf16 b;
};

static void fill_row(void *job, int64_t i)
{
    const struct fill *fill = job;
    struct view y = fill->y;
    if (y.dtype == RELORA_F32)
        for (int64_t j = 0; j < y.cols; j++) row_f32(y, i)[j] = fill->f;
    else
        for (int64_t j = 0; j < y.cols; j++) row_bf16(y, i)[j] = fill->b;
}

relora_status cpu_fill(struct queue *q, struct view y, double value)
{
    struct fill fill = {y, (float)value, bf16_of_double(value)};
    cpu_loop(q, y.rows, view_is_large(y), fill_row, &fill);
    return RELORA_OK;
}

struct convert {
    struct view y, x;
    float s;
};

/* One row of y = round(y + s * x), in F32 from F32. */
static void convert_onto_row(void *job, int64_t i)
{
    const struct convert *c = job;
    for (int64_t j = 0; j < c->y.cols; j++) row_f32(c->y, i)[j] += c->s * row_f32(c->x, i)[j];
}

/* One row of y = round(s * x); the four pairs of dtypes. */
static void convert_row(void *job, int64_t i)
{
    const struct convert *c = job;
    struct view y = c->y, x = c->x;
    float s = c->s;
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

relora_status cpu_convert(struct queue *q, const struct conversion *list, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        struct convert c = {list[i].y, list[i].x, cpu_scale_value(list[i].scale)};
        cpu_loop(q, c.y.rows, view_is_large(c.y), list[i].accumulate ? convert_onto_row : convert_row, &c);
    }
    return RELORA_OK;
}

/* ---- sums ---- */

enum { SUM_COLS = 64 };

struct sum_rows {
    float *sums;
    struct view x;
    int32_t accumulate;
};

static void sum_block(void *job, int64_t b)
{
    const struct sum_rows *s = job;
    struct view x = s->x;
    double sum[SUM_COLS] = {0};
    int64_t j0 = b * SUM_COLS, n = x.cols - j0 < SUM_COLS ? x.cols - j0 : SUM_COLS;
    for (int64_t i = 0; i < x.rows; i++) {
        if (x.dtype == RELORA_F32)
            for (int64_t j = 0; j < n; j++) sum[j] += (double)row_f32(x, i)[j0 + j];
        else
            for (int64_t j = 0; j < n; j++) sum[j] += (double)bf16_to_float(row_bf16(x, i)[j0 + j]);
    }
    for (int64_t j = 0; j < n; j++)
        s->sums[j0 + j] = (float)(sum[j] + (s->accumulate ? (double)s->sums[j0 + j] : 0));
}

relora_status cpu_sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate)
{
    struct sum_rows s = {sums, x, accumulate};
    cpu_loop(q, (x.cols + SUM_COLS - 1) / SUM_COLS, view_is_large(x), sum_block, &s);
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

relora_status cpu_scale_grad(struct queue *q, float *grad, const float *scale, struct view h, struct view u,
                             int32_t accumulate)
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

struct largest {
    struct view x;
    atomic_uint bits;
};

static void look_at_row(void *job, int64_t i)
{
    struct largest *l = job;
    struct view x = l->x;
    uint32_t row =
        x.dtype == RELORA_F32 ? largest_f32(row_f32(x, i), x.cols) : largest_bf16(row_bf16(x, i), x.cols);
    unsigned most = atomic_load(&l->bits);
    while (row > most && !atomic_compare_exchange_weak(&l->bits, &most, row)) {}
}

relora_status cpu_largest(struct queue *q, struct view x, uint32_t *bits)
{
    struct largest l = {.x = x};
    atomic_init(&l.bits, *bits);
    cpu_loop(q, x.rows, view_is_large(x), look_at_row, &l);
    *bits = atomic_load(&l.bits);
    return RELORA_OK;
}
