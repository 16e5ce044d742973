/* The words of a draw on the device, by cuRAND's Philox: the same bits as src/rng.h. */
#ifndef RELORA_CUDA_RANDOM_CUH
#define RELORA_CUDA_RANDOM_CUH

#include <curand_philox4x32_x.h>

#include "rng.h"

/* Words 4 * block to 4 * block + 3. */
static __device__ inline uint4 cuda_draw_block(struct draw d, uint64_t block)
{
    uint4 counter = make_uint4((unsigned)block, (unsigned)(block >> 32), (unsigned)d.call, (unsigned)(d.call >> 32));
    return curand_Philox4x32_10(counter, make_uint2(d.key[0], d.key[1]));
}

#endif
