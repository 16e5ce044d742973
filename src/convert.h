/* F32 and BF16, both ways. Compiles as C and as CUDA. */
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

/* Away from zero with the probability of the part that is cut off, so right on average. */
RNG_INLINE bf16 bf16_stochastic(float x, uint32_t word)
{
    uint32_t bits = bits_of_float(x);
    bf16 rounded = (bf16)((bits + (word >> 16)) >> 16);
    return bf16_is_special(bits) ? bf16_special(bits) : rounded;
}

#endif
