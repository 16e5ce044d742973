/* Rows that become orthonormal, and moments that go from one A to another. Compiles as C and as CUDA, without
 * fused multiply-adds, so that both give the same bits. */
#ifndef RELORA_SRC_SPAN_MATH_H
#define RELORA_SRC_SPAN_MATH_H

#include <math.h>

#include "adam_math.h"
#include "backend.h"

/* A sum of products has SPAN_LANES parts: part k has elements k, k + SPAN_LANES, ... Then the upper half of the
 * parts is added to the lower one, again and again. */
enum { SPAN_LANES = 32 };

/* What is left of a row outside of the rows before it is of use if it is more than rounding errors of F32 sums:
 * 1e-5 of the row, squared. A NaN or an infinity never is. */
RNG_INLINE int span_accepts(double before, double left)
{
    return left > 1e-10 * before;
}

/* ---- the rows to choose from, by number ---- */

RNG_INLINE int64_t span_candidates(const struct span *s)
{
    return 3 * s->rows + (s->complete ? s->cols : 0);
}

/* Where candidate `c` is, with `done` rows so far; NULL: nowhere, or it is unit vector c - 3 rows. */
RNG_INLINE const float *span_source(const struct span *s, int64_t c, int64_t done)
{
    const struct view *v = c < s->rows ? &s->first : c < 2 * s->rows ? &s->then : &s->last;
    if (c >= 3 * s->rows || !v->data || (v == &s->then && !done)) return 0;
    return (const float *)v->data + c % s->rows * v->ld;
}

RNG_INLINE int span_has(const struct span *s, int64_t c, int64_t done)
{
    return c >= 3 * s->rows || span_source(s, c, done) != 0;
}

/* Element j of the candidate whose row is `source`. */
RNG_INLINE double span_element(const struct span *s, const float *source, int64_t c, int64_t j)
{
    return source ? (double)source[j] : c - 3 * s->rows == j;
}

/* ---- moments ----
 *
 * The gradient of B is s G A^T, with G that of W. So the first moment is s M A^T, M the mean of G, of which the part
 * in the row space of A is known: m pinv(A)^T. Towards another A' it is m X, X = pinv(A)^T A'^T, or
 * X = (A A^T)^-1 A A'^T with a small ridge, so that rows of A that depend on each other blow up nothing. */

RNG_INLINE double project_ridge(double trace, int64_t rank)
{
    return 1e-6 * trace / (double)rank;
}

/* No A, no moments. */
RNG_INLINE double project_ratio(double above, double below)
{
    return below > 0 ? above / below : 0;
}

/* The second moment by its variance, v - m^2, which goes through the squares of X (LDAdam, arXiv 2410.16103), with
 * both moments freed of their bias first. */
struct project_bias {
    double first, second; /* 1 - beta^t */
};

RNG_INLINE struct project_bias project_bias_make(double beta1, double beta2, int64_t steps)
{
    struct project_bias b = {1, 1};
    if (steps > 0) b.first = 1 - adam_power(beta1, steps), b.second = 1 - adam_power(beta2, steps);
    return b;
}

RNG_INLINE double project_variance(struct project_bias b, double m, double v)
{
    double mean = m / b.first;
    return v / b.second - mean * mean;
}

RNG_INLINE float project_second(struct project_bias b, double m, double variance)
{
    double mean = m / b.first;
    return (float)(b.second * fabs(variance + mean * mean));
}

#endif
