/* cuRAND's Philox 4x32-10 by its name and its arguments; the function itself is Salmon et al.'s (SC 2011). */
#ifndef EMULATED_CURAND_PHILOX_H
#define EMULATED_CURAND_PHILOX_H

#include "cuda_runtime.h"

static inline uint4 curand_Philox4x32_10(uint4 counter, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        uint64_t even = (uint64_t)0xD2511F53u * counter.x, odd = (uint64_t)0xCD9E8D57u * counter.z;
        counter = make_uint4((unsigned)(odd >> 32) ^ counter.y ^ key.x, (unsigned)odd,
                             (unsigned)(even >> 32) ^ counter.w ^ key.y, (unsigned)even);
        key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
    }
    return counter;
}

#endif
