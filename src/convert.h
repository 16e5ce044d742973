/* F32 and BF16, both ways, and F16 and F64 into them. Compiles as C and as CUDA. */
#ifndef RELORA_SRC_CONVERT_H
#define RELORA_SRC_CONVERT_H

#include <string.h>

#include "rng.h"

typedef uint16_t bf16;

RNG_INLINE uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

RNG_INLINE float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

RNG_INLINE float bf16_to_float(bf16 x)
{
    return float_of_bits((uint32_t)x << 16);
}

/* Infinities and NaNs pass through both roundings; a NaN stays one though its low bits go. */
RNG_INLINE uint32_t bf16_is_special(uint32_t bits)
{
    return (bits & 0x7F800000u) == 0x7F800000u;
}

RNG_INLINE bf16 bf16_special(uint32_t bits)
{
    return (bf16)(bits >> 16 | ((bits & 0x007FFFFFu) ? 0x40u : 0u));
}

/* To nearest, ties to even. */
RNG_INLINE bf16 bf16_nearest(float x)
{
    uint32_t bits = bits_of_float(x);
    bf16 rounded = (bf16)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
    return bf16_is_special(bits) ? bf16_special(bits) : rounded;
}

/* To nearest in one rounding: on the way through F32, what is cut off leaves a mark in the last bit. */
RNG_INLINE bf16 bf16_of_double(double value)
{
    float f = (float)value;
    uint32_t bits = bits_of_float(f);
    double error = (double)f - value; /* 0, or a NaN for infinities and NaNs, needs no mark */
    if (error > 0 || error < 0) {
        int away = (error > 0) == (value > 0); /* F32 is further from 0 than the value: one step back */
        bits = (bits - (uint32_t)away) | 1u;
    }
    return bf16_nearest(float_of_bits(bits));
}

/* Exact. */
RNG_INLINE float f16_to_float(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, exponent = x >> 10 & 0x1Fu, fraction = x & 0x3FFu;
    if (exponent == 0x1Fu)
        return float_of_bits(sign | 0x7F800000u | fraction << 13 | (fraction ? 0x400000u : 0u));
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * (1.0f / 16777216); /* a denormal there, and none here */
    return float_of_bits(sign | bits_of_float(small));
}

/* Bits of an F64, to nearest, as bits of a number with an exponent of 8 bits and a fraction of `width`: 23 for F32, 7
 * for BF16. In integers, so that neither the host's rounding mode nor its flushing of denormals matters. */
RNG_INLINE uint32_t narrow_double_bits(uint64_t x, int width)
{
    const uint64_t hidden = (uint64_t)1 << 52;
    uint64_t size = x & 0x7FFFFFFFFFFFFFFFu, kept = size & (hidden - 1);
    uint32_t sign = (uint32_t)(x >> 63) << (8 + width), infinity = 0xFFu << width;
    int drop = 52 - width, exponent = (int)(size >> 52) - 896;
    if (size > 0x7FF0000000000000u) return sign | infinity | 1u << (width - 1) | (uint32_t)(kept >> drop);
    if (exponent > 0) kept |= (uint64_t)exponent << 52;
    else {
        kept |= hidden;
        drop += 1 - exponent;
    }
    if (drop > 63) return sign;
    uint64_t bits = (kept + ((uint64_t)1 << (drop - 1)) - 1 + (kept >> drop & 1)) >> drop;
    return sign | (bits < infinity ? (uint32_t)bits : infinity);
}

/* Away from zero with the probability of the part that is cut off, so right on average. */
RNG_INLINE bf16 bf16_stochastic(float x, uint32_t word)
{
    uint32_t bits = bits_of_float(x);
    bf16 rounded = (bf16)((bits + (word >> 16)) >> 16);
    return bf16_is_special(bits) ? bf16_special(bits) : rounded;
}

#endif
