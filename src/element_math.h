/* What one element becomes where it is drawn, dropped or rounded. Compiles as C and as CUDA, without
 * fused multiply-adds, so that both give the same bits. */
#ifndef RELORA_SRC_ELEMENT_MATH_H
#define RELORA_SRC_ELEMENT_MATH_H

#include "convert.h"

/* 1 / the share that really stays; a threshold has 32 bits because p is below 1. */
RNG_INLINE float dropout_keep(uint32_t threshold)
{
    return (float)(4294967296.0 / (4294967296.0 - threshold));
}

RNG_INLINE float dropout_element(float x, uint32_t word, uint32_t threshold, float keep)
{
    return word < threshold ? 0.0f : keep * x;
}

/* Uniform in [-bound, bound). */
RNG_INLINE float uniform_element(uint32_t word, float bound)
{
    return bound * draw_symmetric(word);
}

#endif
