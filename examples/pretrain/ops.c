/* The CPU's table, and its loops over rows: embedding, norm, SwiGLU. */
#include "ops.h"

#include <math.h>
#include "simd.h"

enum {
    CHUNK = 256,  /* floats converted at a time */
    COLUMNS = 16, /* that one task sums up */
    PARTS = 32    /* that the rows are cut into for a sum over them */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static relora_status cpu_open(struct engine *engine, relora_stream *stream)
{
    (void)stream;
    return engine->device ? RELORA_OK : RELORA_E_ARGUMENT;
}

static void cpu_close(struct engine *engine)
{
    (void)engine;
}

static relora_status cpu_status(const struct engine *engine)
{
    (void)engine;
    return RELORA_OK;
}

static int64_t cpu_scratch_floats(struct shape s, const struct attention *attention)
{
    int64_t for_attention = cpu_attention_scratch(attention), for_norm = PARTS * s.width;
    return for_attention > for_norm ? for_attention : for_norm;
}

static int64_t cpu_tokens_floats(int64_t count)
{
    return count;
}

static void cpu_upload(const struct engine *engine, int32_t *to, const int32_t *from, int64_t count,
                       int64_t vocab)
{
    (void)engine, (void)vocab;
    memcpy(to, from, (size_t)count * sizeof *to);
}

static void cpu_embedding_forward(struct shape s, float *x, const float *table, const int32_t *tokens)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++)
        memcpy(x + r * s.width, table + tokens[r] * s.width, (size_t)s.width * sizeof *x);
}

static void cpu_embedding_backward(struct shape s, float *dtable, float *dx, const int32_t *tokens)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t first = 0; first < s.width; first += COLUMNS) {
        int64_t last = smaller(first + COLUMNS, s.width);
        for (int64_t r = 0; r < s.rows; r++)
            for (int64_t i = first; i < last; i++) dtable[tokens[r] * s.width + i] += dx[r * s.width + i];
    }
}

/* sum = x + branch, and the sum of its squares. */
INLINE float residual_row(struct shape s, int64_t row, float *sum, const float *x, const void *branch)
{
    float squares = 0.0f, room[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        const float *chunk = look(room, branch, s.dtype, row + at, n);
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < n; i++) {
            float both = x[at + i] + chunk[i];
            sum[at + i] = both;
            squares += both * both;
        }
    }
    return squares;
}

INLINE float squares_of(const float *x, int64_t n)
{
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
    return squares;
}

static void norm_row(struct shape s, const struct norm *n, int64_t r)
{
    int64_t row = r * s.width;
    float room[CHUNK];
    const float *x = n->branch ? n->sum + row : n->x + row;
    float squares =
        n->branch ? residual_row(s, row, n->sum + row, n->x + row, n->branch) : squares_of(x, s.width);
    float scale = 1.0f / sqrtf(squares / (float)s.width + n->eps);
    n->inverse[r] = scale;
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t count = smaller(CHUNK, s.width - at);
        float *y = place(room, n->y, s.dtype, row + at);
#pragma omp simd
        for (int64_t i = 0; i < count; i++) y[i] = x[at + i] * scale * n->w[at + i];
        settle(n->y, s.dtype, row + at, y, count);
    }
}

static void cpu_norm_forward(struct shape s, const struct norm *n)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++) norm_row(s, n, r);
}

INLINE float dot_row(struct shape s, const struct norm_gradient *n, int64_t row)
{
    float sum = 0.0f, room[CHUNK];
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t count = smaller(CHUNK, s.width - at);
        const float *chunk = look(room, n->dy, s.dtype, row + at, count);
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < count; i++) sum += chunk[i] * n->w[at + i] * n->x[row + at + i];
    }
    return sum;
}

/* With y = x * inverse and g = dy * w: dx (+)= inverse * (g - y * mean(g * y)), and dw += dy * y. */
static void norm_row_backward(struct shape s, const struct norm_gradient *n, int64_t r, float *dw)
{
    int64_t row = r * s.width;
    float room[CHUNK], inverse = n->inverse[r], keep = n->first ? 0.0f : 1.0f;
    float mean = dot_row(s, n, row) * inverse * inverse / (float)s.width;
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t count = smaller(CHUNK, s.width - at);
        const float *x = n->x + row + at, *w = n->w + at;
        float *dx = n->dx + row + at, *column = dw + at;
        const float *chunk = look(room, n->dy, s.dtype, row + at, count);
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            column[i] += chunk[i] * x[i] * inverse;
            dx[i] = (keep > 0.0f ? dx[i] : 0.0f) + inverse * (chunk[i] * w[i] - x[i] * mean);
        }
        if (n->dx_rounded) store(n->dx_rounded, s.dtype, row + at, dx, count);
    }
}

/* Each part of the rows has a sum of its own; then the parts are added, one after the other. */
static void cpu_norm_backward(struct shape s, const struct norm_gradient *n)
{
    int64_t parts = smaller(PARTS, s.rows);
#pragma omp parallel num_threads(s.engine->threads)
    {
#pragma omp for schedule(static)
        for (int64_t part = 0; part < parts; part++) {
            float *dw = n->scratch + part * s.width;
            memset(dw, 0, (size_t)s.width * sizeof *dw);
            for (int64_t r = s.rows * part / parts; r < s.rows * (part + 1) / parts; r++)
                norm_row_backward(s, n, r, dw);
        }
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s.width; first += COLUMNS)
            for (int64_t part = 0; part < parts; part++)
                for (int64_t i = first; i < smaller(first + COLUMNS, s.width); i++)
                    n->dw[i] += n->scratch[part * s.width + i];
    }
}

static void swiglu_row(struct shape s, int64_t r, void *y, const void *gate, const void *up)
{
    float room[3][CHUNK];
    for (int64_t begin = 0; begin < s.width; begin += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - begin), at = r * s.width + begin;
        const float *g = look(room[0], gate, s.dtype, at, n), *u = look(room[1], up, s.dtype, at, n);
        float *product = place(room[2], y, s.dtype, at);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) product[i] = g[i] * (sigmoid(g[i]) * u[i]);
        settle(y, s.dtype, at, product, n);
    }
}

static void cpu_swiglu_forward(struct shape s, void *y, const void *gate, const void *up)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++) swiglu_row(s, r, y, gate, up);
}

static void swiglu_row_backward(struct shape s, int64_t r, void *dgate, void *dup, const void *dy,
                                const void *gate, const void *up)
{
    float room[5][CHUNK];
    for (int64_t begin = 0; begin < s.width; begin += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - begin), at = r * s.width + begin;
        const float *g = look(room[0], gate, s.dtype, at, n), *u = look(room[1], up, s.dtype, at, n);
        const float *d = look(room[2], dy, s.dtype, at, n);
        float *dg = place(room[3], dgate, s.dtype, at), *du = place(room[4], dup, s.dtype, at);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) { /* d may be dg: it is read first */
            float p = sigmoid(g[i]), silu = g[i] * p, by_silu = d[i] * u[i], by_up = d[i] * silu;
            dg[i] = by_silu * (p + silu * (1.0f - p));
            du[i] = by_up;
        }
        settle(dgate, s.dtype, at, dg, n);
        settle(dup, s.dtype, at, du, n);
    }
}

static void cpu_swiglu_backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                                const void *up)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++) swiglu_row_backward(s, r, dgate, dup, dy, gate, up);
}

static void cpu_add_mean(const struct engine *engine, double *total, const float *losses, int64_t count)
{
    double sum = 0.0;
    (void)engine;
    for (int64_t i = 0; i < count; i++) sum += (double)losses[i];
    *total += sum / (double)count;
}

const struct ops ops_cpu = {.open = cpu_open,
                            .close = cpu_close,
                            .status = cpu_status,
                            .scratch_floats = cpu_scratch_floats,
                            .logits_at_once = 1 << 22,
                            .tokens_floats = cpu_tokens_floats,
                            .upload = cpu_upload,
                            .embedding_forward = cpu_embedding_forward,
                            .embedding_backward = cpu_embedding_backward,
                            .norm_forward = cpu_norm_forward,
                            .norm_backward = cpu_norm_backward,
                            .swiglu_forward = cpu_swiglu_forward,
                            .swiglu_backward = cpu_swiglu_backward,
                            .cross_entropy = cpu_cross_entropy,
                            .add_mean = cpu_add_mean,
                            .rotate = cpu_rotate,
                            .attention_forward = cpu_attention_forward,
                            .attention_backward = cpu_attention_backward};
