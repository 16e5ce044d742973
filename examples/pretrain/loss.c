/* Cross-entropy, fused with its gradient, in place over the logits. */
#include "ops.h"

#include <math.h>
#include <string.h>
#include "simd.h"

enum { CHUNK = 256 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

INLINE float chunk_max(const float *chunk, int64_t n)
{
    float lane[LANES], top = chunk[0];
    for (int i = 0; i < LANES; i++) lane[i] = top;
    for (int64_t at = 0; at + LANES <= n; at += LANES)
#pragma omp simd
        for (int i = 0; i < LANES; i++) lane[i] = chunk[at + i] > lane[i] ? chunk[at + i] : lane[i];
    for (int64_t i = n / LANES * LANES; i < n; i++) top = chunk[i] > top ? chunk[i] : top;
    for (int i = 0; i < LANES; i++) top = lane[i] > top ? lane[i] : top;
    return top;
}

/* Largest logit of the row and sum of exp(logit - largest), in one pass: when the largest grows, the
 * sum so far shrinks. */
INLINE float row_sum(struct shape s, const void *logits, int64_t row, float *max)
{
    float room[CHUNK], top = -INFINITY, total = 0.0f;
    for (int64_t at = 0; at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        const float *chunk = look(room, logits, s.dtype, row + at, n);
        float before = top, local = chunk_max(chunk, n), sum = 0.0f;
        top = local > top ? local : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += fast_exp(chunk[i] - top);
        total = (at ? total * fast_exp(before - top) : 0.0f) + sum;
    }
    *max = top;
    return total;
}

/* A row without a target moves nothing. */
static float no_loss(struct shape s, void *logits, int64_t row, float factor)
{
    float room[CHUNK];
    for (int64_t at = 0; factor != 0.0f && at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        float *gradient = place(room, logits, s.dtype, row + at);
        memset(gradient, 0, (size_t)n * sizeof *gradient);
        settle(logits, s.dtype, row + at, gradient, n);
    }
    return 0.0f;
}

static float loss_row(struct shape s, void *logits, int64_t r, int32_t target, float factor)
{
    int64_t row = r * s.width;
    if (target < 0) return no_loss(s, logits, row, factor);
    float room[CHUNK], max, wanted;
    float sum = row_sum(s, logits, row, &max), scale = factor / sum;
    load(&wanted, logits, s.dtype, row + target, 1);
    for (int64_t at = 0; factor != 0.0f && at < s.width; at += CHUNK) {
        int64_t n = smaller(CHUNK, s.width - at);
        const float *chunk = look(room, logits, s.dtype, row + at, n);
        float *gradient = place(room, logits, s.dtype, row + at);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) gradient[i] = scale * fast_exp(chunk[i] - max);
        if (target >= at && target < at + n) gradient[target - at] -= factor;
        settle(logits, s.dtype, row + at, gradient, n);
    }
    return logf(sum) + max - wanted;
}

void cpu_cross_entropy(struct shape s, void *logits, const int32_t *targets, float *loss, float factor)
{
#pragma omp parallel for num_threads(s.engine->threads) schedule(static)
    for (int64_t r = 0; r < s.rows; r++) loss[r] = loss_row(s, logits, r, targets[r], factor);
}
