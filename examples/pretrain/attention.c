#include "attention.h"

#include <math.h>
#include <stdlib.h>
#include "simd.h"

enum { BLOCK = 16 }; /* queries handled together; also what sizes are padded to */

static int64_t round_up(int64_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

int attention_create(struct attention *self, int64_t batch, int64_t seq, int64_t heads,
                     int64_t head_dim, relora_dtype dtype, int threads)
{
    int64_t half = head_dim / 2;
    *self = (struct attention){.batch = batch, .seq = seq, .heads = heads, .head_dim = head_dim,
                               .rows = round_up(seq), .width = round_up(head_dim), .dtype = dtype,
                               .threads = threads};
    self->scratch_size = 6 * self->rows * self->width + 2 * BLOCK * self->rows;
    self->cosine = malloc((size_t)(seq * half) * sizeof(float));
    self->sine = malloc((size_t)(seq * half) * sizeof(float));
    self->scratch = aligned_alloc(64, (size_t)(threads * self->scratch_size) * sizeof(float));
    if (!self->cosine || !self->sine || !self->scratch) {
        attention_destroy(self);
        return -1;
    }
    for (int64_t t = 0; t < seq; t++)
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)t * pow(10000.0, -2.0 * (double)i / (double)head_dim);
            self->cosine[t * half + i] = (float)cos(angle);
            self->sine[t * half + i] = (float)sin(angle);
        }
    return 0;
}

void attention_destroy(struct attention *self)
{
    free(self->cosine);
    free(self->sine);
    free(self->scratch);
    *self = (struct attention){0};
}

int64_t attention_saved_size(const struct attention *self)
{
    return self->batch * self->heads * self->rows * self->width;
}

/* The pair (i, i + half) of each row turns by the angle of its position, or back with sign -1. */
INLINE void rotate_rows(const struct attention *self, float *head, float sign)
{
    int64_t half = self->head_dim / 2;
    for (int64_t t = 0; t < self->seq; t++) {
        const float *c = self->cosine + t * half, *s = self->sine + t * half;
        float *a = head + t * self->width, *b = a + half;
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            float x = a[i], y = b[i];
            a[i] = x * c[i] - sign * y * s[i];
            b[i] = y * c[i] + sign * x * s[i];
        }
    }
}

/* Element of the outside array where row t of a head begins. */
INLINE int64_t outside(const struct attention *self, int64_t sequence, int64_t head, int64_t t)
{
    return ((sequence * self->seq + t) * self->heads + head) * self->head_dim;
}

INLINE void scale_row(float *row, float factor, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        row[i] *= factor;
}

static void pack_head(const struct attention *self, const void *from, float *to,
                      int64_t sequence, int64_t head, int rotate, float factor)
{
    for (int64_t t = 0; t < self->seq; t++) {
        load(to + t * self->width, from, self->dtype, outside(self, sequence, head, t),
             self->head_dim);
        if (factor != 1.0f)
            scale_row(to + t * self->width, factor, self->head_dim);
    }
    if (rotate)
        rotate_rows(self, to, 1.0f);
}

static void unpack_head(const struct attention *self, float *from, void *to,
                        int64_t sequence, int64_t head, int rotate, float factor)
{
    if (rotate)
        rotate_rows(self, from, -1.0f);
    for (int64_t t = 0; t < self->seq; t++) {
        if (factor != 1.0f)
            scale_row(from + t * self->width, factor, self->head_dim);
        store(to, self->dtype, outside(self, sequence, head, t), from + t * self->width,
              self->head_dim);
    }
}

INLINE void transpose(float *to, const float *from, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i += BLOCK)
        for (int64_t j = 0; j < cols; j++)
            for (int64_t k = i; k < i + BLOCK; k++)
                to[j * rows + k] = from[k * cols + j];
}

/* c [4, 16] (+)= a b, where a[r][p] is a[r * row + p * col]: four rows of c stay in registers. */
INLINE void tile(float *c, int64_t ldc, const float *a, int64_t row, int64_t col, const float *b,
                 int64_t ldb, int64_t depth, int add)
{
    vec16 *to[4];
    vec16 sum[4] = {{0}};
    for (int r = 0; r < 4; r++) {
        to[r] = (vec16 *)(c + r * ldc);
        if (add)
            sum[r] = *to[r];
    }
    for (int64_t p = 0; p < depth; p++) {
        vec16 line = *(const vec16 *)(b + p * ldb);
        sum[0] += a[p * col] * line;
        sum[1] += a[row + p * col] * line;
        sum[2] += a[2 * row + p * col] * line;
        sum[3] += a[3 * row + p * col] * line;
    }
    for (int r = 0; r < 4; r++)
        *to[r] = sum[r];
}

/* c [m, n] (+)= a b; m is a multiple of 4, n of 16. */
INLINE void multiply(float *c, int64_t ldc, const float *a, int64_t row, int64_t col,
                     const float *b, int64_t ldb, int64_t m, int64_t n, int64_t depth, int add)
{
    for (int64_t i = 0; i < m; i += 4)
        for (int64_t j = 0; j < n; j += 16)
            tile(c + i * ldc + j, ldc, a + i * row, row, col, b + j, ldb, depth, add);
}

/* Largest of the first `allowed`, in sixteen lanes; `count` is a multiple of 16. */
INLINE float row_max(const float *score, int64_t allowed, int64_t count)
{
    float lane[BLOCK], top = score[0];
    for (int i = 0; i < BLOCK; i++)
        lane[i] = top;
    for (int64_t j = 0; j < count; j += BLOCK)
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) {
            float value = j + i < allowed ? score[j + i] : top;
            lane[i] = value > lane[i] ? value : lane[i];
        }
    for (int i = 0; i < BLOCK; i++)
        top = lane[i] > top ? lane[i] : top;
    return top;
}

/* score[0 .. count) := exp(score - max) up to the query itself, 0 after it. Returns the sum, and the
 * maximum through `max`. */
INLINE float softmax_row(float *score, int64_t allowed, int64_t count, float *max)
{
    float top = row_max(score, allowed, count), sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        float p = j < allowed ? fast_exp(score[j] - top) : 0.0f;
        score[j] = p;
        sum += p;
    }
    *max = top;
    return sum;
}

static void forward_head(const struct attention *self, const struct attention_saved *saved,
                         void *out, int64_t sequence, int64_t head, float *scratch)
{
    int64_t rows = self->rows, width = self->width, which = sequence * self->heads + head;
    const float *q = saved->q + which * rows * width, *v = saved->v + which * rows * width;
    float *log_sum = saved->log_sum + which * rows;
    float *k_t = scratch, *result = k_t + rows * width, *score = result + BLOCK * width;

    transpose(k_t, saved->k + which * rows * width, rows, width);
    for (int64_t first = 0; first < self->seq; first += BLOCK) {
        int64_t seen = first + BLOCK; /* keys that any query of this block may look at */
        multiply(score, rows, q + first * width, width, 1, k_t, rows, BLOCK, seen, width, 0);
        float inverse[BLOCK];
        for (int64_t i = 0; i < BLOCK; i++) {
            float max, sum = softmax_row(score + i * rows, first + i + 1, seen, &max);
            inverse[i] = 1.0f / sum;
            log_sum[first + i] = max + logf(sum);
        }
        multiply(result, width, score, rows, 1, v, width, BLOCK, width, seen, 0);
        for (int64_t i = 0; i < BLOCK && first + i < self->seq; i++) {
            scale_row(result + i * width, inverse[i], self->head_dim);
            store(out, self->dtype, outside(self, sequence, head, first + i), result + i * width,
                  self->head_dim);
        }
    }
}

/* From scores and dP: score := P, slope := P (dP - sum of P dP), the gradient by the scores. */
INLINE void softmax_row_backward(float *score, float *slope, float log_sum, int64_t allowed,
                                 int64_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        float p = j < allowed ? fast_exp(score[j] - log_sum) : 0.0f;
        score[j] = p;
        sum += p * slope[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < count; j++)
        slope[j] = score[j] * (slope[j] - sum);
}

static void backward_head(const struct attention *self, const struct attention_saved *saved,
                          const void *dout, int64_t sequence, int64_t head, float *scratch)
{
    int64_t rows = self->rows, width = self->width, size = rows * width;
    int64_t which = sequence * self->heads + head;
    const float *q = saved->q + which * size, *k = saved->k + which * size;
    const float *log_sum = saved->log_sum + which * rows;
    float *dq = scratch, *dk = dq + size, *dv = dk + size, *d_out = dv + size;
    float *k_t = d_out + size, *v_t = k_t + size, *score = v_t + size, *slope = score + BLOCK * rows;

    memset(dq, 0, (size_t)(4 * size) * sizeof(float));
    for (int64_t t = 0; t < self->seq; t++)
        load(d_out + t * width, dout, self->dtype, outside(self, sequence, head, t), self->head_dim);
    transpose(k_t, k, rows, width);
    transpose(v_t, saved->v + which * size, rows, width);
    for (int64_t first = 0; first < self->seq; first += BLOCK) {
        int64_t seen = first + BLOCK;
        const float *query = q + first * width, *slice = d_out + first * width;
        multiply(score, rows, query, width, 1, k_t, rows, BLOCK, seen, width, 0);
        multiply(slope, rows, slice, width, 1, v_t, rows, BLOCK, seen, width, 0);
        for (int64_t i = 0; i < BLOCK; i++)
            softmax_row_backward(score + i * rows, slope + i * rows, log_sum[first + i],
                                 first + i + 1, seen);
        multiply(dq + first * width, width, slope, rows, 1, k, width, BLOCK, width, seen, 0);
        multiply(dk, width, slope, 1, rows, query, width, seen, width, BLOCK, 1);
        multiply(dv, width, score, 1, rows, slice, width, seen, width, BLOCK, 1);
    }
}

/* Work is cut by (sequence, head) alone, so results do not depend on the number of threads; only
 * the scratch memory does. */
static float *piece(const struct attention *self, int64_t thread)
{
    return self->scratch + thread * self->scratch_size;
}

void attention_pack(const struct attention *self, const void *from, float *to, int rotate,
                    float factor)
{
#pragma omp parallel for num_threads(self->threads) schedule(static)
    for (int64_t i = 0; i < self->batch * self->heads; i++)
        pack_head(self, from, to + i * self->rows * self->width, i / self->heads, i % self->heads,
                  rotate, factor);
}

void attention_forward(const struct attention *self, const struct attention_saved *saved, void *out)
{
    int64_t count = self->batch * self->heads;
#pragma omp parallel for num_threads(self->threads) schedule(static)
    for (int64_t part = 0; part < self->threads; part++)
        for (int64_t i = count * part / self->threads; i < count * (part + 1) / self->threads; i++)
            forward_head(self, saved, out, i / self->heads, i % self->heads, piece(self, part));
}

void attention_backward(const struct attention *self, const struct attention_saved *saved,
                        const void *dout, void *dq, void *dk, void *dv)
{
    int64_t count = self->batch * self->heads, size = self->rows * self->width;
    float factor = 1.0f / sqrtf((float)self->head_dim); /* q was scaled when it was packed */
#pragma omp parallel for num_threads(self->threads) schedule(static)
    for (int64_t part = 0; part < self->threads; part++)
        for (int64_t i = count * part / self->threads; i < count * (part + 1) / self->threads; i++) {
            float *mine = piece(self, part);
            backward_head(self, saved, dout, i / self->heads, i % self->heads, mine);
            unpack_head(self, mine, dq, i / self->heads, i % self->heads, 1, factor);
            unpack_head(self, mine + size, dk, i / self->heads, i % self->heads, 1, 1.0f);
            unpack_head(self, mine + 2 * size, dv, i / self->heads, i % self->heads, 0, 1.0f);
        }
}
