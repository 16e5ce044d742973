/* Which moments a reset zeroes. Compiles as C and as CUDA, without fused multiply-adds, so that both
 * give the same bits. */
#ifndef RELORA_SRC_PRUNE_MATH_H
#define RELORA_SRC_PRUNE_MATH_H

#include <math.h>

#include "convert.h"

/* The bits of |x| order like the numbers, a NaN above infinity: 31 of them, cut into digits from the top. */
enum { PRUNE_DIGITS = 3, PRUNE_BINS = 2048 };

RNG_INLINE int prune_shift(int digit)
{
    return 20 - 10 * digit;
}

RNG_INLINE int prune_bits(int digit)
{
    return digit ? 10 : 11;
}

RNG_INLINE uint32_t magnitude(float x)
{
    return bits_of_float(x) & 0x7FFFFFFFu;
}

#define PRUNE_NAN 0x7F800001u     /* the smallest magnitude of one */
#define PRUNE_NOTHING 0x80000000u /* a threshold above every magnitude */

/* How many of n elements go; rounding must not empty a tensor. */
RNG_INLINE int64_t prune_drop(double ratio, int64_t n)
{
    double gone = floor(ratio * (double)n);
    int64_t drop = gone >= (double)n ? n : (int64_t)gone;
    return drop >= n && ratio < 1 ? n - 1 : drop;
}

/* torch.quantile(|x|, ratio): the rank in F32, linear between its neighbours. */
struct quantile {
    int64_t below, above; /* ranks */
    float weight;         /* of the one above */
};

RNG_INLINE struct quantile quantile_make(double ratio, int64_t n)
{
    float position = (float)ratio * (float)(n - 1);
    struct quantile q;
    q.below = (int64_t)floorf(position);
    q.above = (int64_t)ceilf(position);
    if (q.below > n - 1) q.below = n - 1; /* n - 1 may have been rounded up */
    if (q.above > n - 1) q.above = n - 1;
    q.weight = position - floorf(position);
    return q;
}

RNG_INLINE float quantile_between(float a, float b, float weight)
{
    return a == b ? a : weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1 - weight);
}

/* The authors' way: what goes is multiplied by 0, so -x leaves -0 and a NaN stays. */
RNG_INLINE float pruned(float x, int multiply)
{
    return multiply ? x * 0.0f : 0.0f;
}

#endif
