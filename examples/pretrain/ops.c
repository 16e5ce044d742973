#include "ops.h"

#include <math.h>
#include "simd.h"

enum { CHUNK = 256, COLUMNS = 16 }; /* floats converted at a time; columns that one task sums up */

#define NORM_EPS 1e-6f

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void embedding_forward(struct shape s, float *x, const float *table, const int32_t *tokens)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        memcpy(x + r * s.width, table + tokens[r] * s.width, (size_t)s.width * sizeof *x);
}

void embedding_backward(struct shape s, float *dtable, const float *dx, const int32_t *tokens)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t first = 0; first < s.width; first += COLUMNS) {
        int64_t last = smaller(first + COLUMNS, s.width);
        for (int64_t r = 0; r < s.rows; r++)
            for (int64_t i = first; i < last; i++)
                dtable[tokens[r] * s.width + i] += dx[r * s.width + i];
    }
}

static void norm_row(struct shape s, int64_t r, void *y, float *inverse, const float *x,
                     const float *w)
{
    float sum = 0.0f, chunk[CHUNK];
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < s.width; i++)
        sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)s.width + NORM_EPS);
    inverse[r] = scale;
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            chunk[i] = x[at + i] * scale * w[at + i];
        store(y, s.dtype, r * s.width + at, chunk, n);
    }
}

void norm_forward(struct shape s, void *y, float *inverse, const float *x, const float *w)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        norm_row(s, r, y, inverse, x + r * s.width, w);
}

/* With n = x * inverse and g = dy * w: dx += inverse * (g - n * mean(g * n)). */
static void norm_row_backward(struct shape s, int64_t r, float *dx, const void *dy,
                              const float *x, float inverse, const float *w)
{
    float sum = 0.0f, chunk[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        load(chunk, dy, s.dtype, r * s.width + at, n);
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++)
            sum += chunk[i] * w[at + i] * x[at + i];
    }
    float mean = sum * inverse * inverse / (float)s.width;
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        load(chunk, dy, s.dtype, r * s.width + at, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[at + i] += inverse * (chunk[i] * w[at + i] - x[at + i] * mean);
    }
}

/* dw += sum over the rows of dy * x * inverse, for a few columns. */
static void norm_columns(struct shape s, int64_t first, float *dw, const void *dy,
                         const float *x, const float *inverse)
{
    float sum[COLUMNS] = {0}, chunk[COLUMNS];
    int64_t n = smaller(COLUMNS, s.width - first);
    for (int64_t r = 0; r < s.rows; r++) {
        load(chunk, dy, s.dtype, r * s.width + first, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += chunk[i] * x[r * s.width + first + i] * inverse[r];
    }
    for (int64_t i = 0; i < n; i++)
        dw[first + i] += sum[i];
}

void norm_backward(struct shape s, float *dx, float *dw, const void *dy, const float *x,
                   const float *inverse, const float *w)
{
#pragma omp parallel num_threads(s.threads)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < s.rows; r++)
            norm_row_backward(s, r, dx + r * s.width, dy, x + r * s.width, inverse[r], w);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s.width; first += COLUMNS)
            norm_columns(s, first, dw, dy, x, inverse);
    }
}

static void residual_row(struct shape s, int64_t r, float *y, const float *x,
                         const void *branch)
{
    float chunk[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        load(chunk, branch, s.dtype, r * s.width + at, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[at + i] = x[at + i] + chunk[i];
    }
}

void residual(struct shape s, float *y, const float *x, const void *branch)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        residual_row(s, r, y + r * s.width, x + r * s.width, branch);
}

static void convert_row(struct shape s, int64_t r, void *to, const float *from)
{
    store(to, s.dtype, r * s.width, from + r * s.width, s.width);
}

void convert(struct shape s, void *to, const float *from)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        convert_row(s, r, to, from);
}

static void swiglu_row(struct shape s, int64_t r, void *y, const void *gate, const void *up)
{
    float g[CHUNK], u[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        load(g, gate, s.dtype, r * s.width + at, n);
        load(u, up, s.dtype, r * s.width + at, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            g[i] *= sigmoid(g[i]) * u[i];
        store(y, s.dtype, r * s.width + at, g, n);
    }
}

void swiglu_forward(struct shape s, void *y, const void *gate, const void *up)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        swiglu_row(s, r, y, gate, up);
}

static void swiglu_row_backward(struct shape s, int64_t r, void *dgate, void *dup,
                                const void *dy, const void *gate, const void *up)
{
    float g[CHUNK], u[CHUNK], d[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        load(g, gate, s.dtype, r * s.width + at, n);
        load(u, up, s.dtype, r * s.width + at, n);
        load(d, dy, s.dtype, r * s.width + at, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float p = sigmoid(g[i]), silu = g[i] * p;
            g[i] = d[i] * u[i] * (p + silu * (1.0f - p));
            u[i] = d[i] * silu;
        }
        store(dgate, s.dtype, r * s.width + at, g, n);
        store(dup, s.dtype, r * s.width + at, u, n);
    }
}

void swiglu_backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                     const void *up)
{
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        swiglu_row_backward(s, r, dgate, dup, dy, gate, up);
}
