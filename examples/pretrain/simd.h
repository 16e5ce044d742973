/* What the loops over floats share: vectors of floats, bfloat16, and an exp that vectorises. */
#ifndef PRETRAIN_SIMD_H
#define PRETRAIN_SIMD_H

#include <stdint.h>
#include <string.h>
#include <relora/types.h>

/* ISO C mode forbids gcc to contract a * b + c; here the fused result is welcome. Without traps a choice by a
 * comparison, as in fast_exp(), becomes a blend: AVX2 has no other way to vectorise it. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#pragma GCC optimize("fp-contract=fast", "no-trapping-math")
#endif
#define INLINE static inline __attribute__((always_inline))

/* As many floats as a vector register holds, at any float address, and how many such registers there are. */
#if defined(__AVX512F__)
enum { LANES = 16, REGISTERS = 32 };
#elif defined(__AVX__)
enum { LANES = 8, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { LANES = 4, REGISTERS = 32 };
#else
enum { LANES = 4, REGISTERS = 16 };
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE float from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* To nearest, ties to even; a NaN stays one. */
INLINE uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
}

/* `count` elements of an F32 or BF16 array, from element `at`. */
INLINE void load(float *to, const void *from, relora_dtype dtype, int64_t at, int64_t count)
{
    if (dtype == RELORA_F32) {
        memcpy(to, (const float *)from + at, (size_t)count * sizeof *to);
        return;
    }
    const uint16_t *bits = (const uint16_t *)from + at;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) to[i] = from_bf16(bits[i]);
}

INLINE void store(void *to, relora_dtype dtype, int64_t at, const float *from, int64_t count)
{
    if (dtype == RELORA_F32) {
        memcpy((float *)to + at, from, (size_t)count * sizeof *from);
        return;
    }
    uint16_t *bits = (uint16_t *)to + at;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) bits[i] = to_bf16(from[i]);
}

/* The same elements to be read: where they are if they are floats, else as floats in `room`. */
INLINE const float *look(float *room, const void *from, relora_dtype dtype, int64_t at, int64_t count)
{
    if (dtype == RELORA_F32) return (const float *)from + at;
    load(room, from, dtype, at, count);
    return room;
}

/* Where to write floats that are then stored: at their place if they are to be floats, else in `room`. */
INLINE float *place(float *room, void *to, relora_dtype dtype, int64_t at)
{
    return dtype == RELORA_F32 ? (float *)to + at : room;
}

INLINE void settle(void *to, relora_dtype dtype, int64_t at, const float *placed, int64_t count)
{
    if (dtype != RELORA_F32) store(to, dtype, at, placed, count);
}

/* exp(x) to 2 ulp or so, 0 below -87, and without a branch. x = n ln 2 + r, |r| <= ln 2 / 2; e^r by
 * its series; 2^n by the exponent bits. Adding 1.5 * 2^23 rounds to an integer and leaves it in the
 * low bits. */
INLINE float fast_exp(float x)
{
    float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = clamped * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = clamped - n * 0.693145752f - n * 1.42860677e-6f;
    float p = 1.0f +
              r * (1.0f + r * (0.5f + r * (0.166666667f +
                                           r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)))));
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (int32_t)((uint32_t)bits << 23) + 0x3F800000;
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

INLINE float sigmoid(float x)
{
    return 1.0f / (1.0f + fast_exp(-x));
}

#endif
