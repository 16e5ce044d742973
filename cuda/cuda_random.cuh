/* The words of a draw on the device, by cuRAND's Philox: the same bits as src/rng.h. */
#ifndef RELORA_CUDA_RANDOM_CUH
#define RELORA_CUDA_RANDOM_CUH

#include <curand_philox4x32_x.h>

#include "cuda_tiles.cuh"
#include "rng.h"

/* Words 4 * block to 4 * block + 3. */
static __device__ inline uint4 cuda_draw_block(struct draw d, uint64_t block)
{
    uint4 counter = make_uint4((unsigned)block, (unsigned)(block >> 32), (unsigned)d.call, (unsigned)(d.call >> 32));
    return curand_Philox4x32_10(counter, make_uint2(d.key[0], d.key[1]));
}

/* The words of four elements, from element `first` on: one block, or two that are shifted. */
static __device__ inline void cuda_draw_four(uint32_t words[4], struct draw d, uint64_t first)
{
    uint4 a = cuda_draw_block(d, first / 4);
    uint32_t all[8] = {a.x, a.y, a.z, a.w};
    unsigned skip = (unsigned)(first % 4);
    if (skip) {
        uint4 b = cuda_draw_block(d, first / 4 + 1);
        all[4] = b.x, all[5] = b.y, all[6] = b.z, all[7] = b.w;
    }
    for (int k = 0; k < 7; k++) all[k] = skip & 1 ? all[k + 1] : all[k];
    for (int k = 0; k < 4; k++) words[k] = skip & 2 ? all[k + 2] : all[k];
}

/* Those of the elements `e` of a row whose first one is number `base` of the draw. */
static __device__ inline void cuda_draw_eight(uint32_t words[EIGHT], struct draw d, uint64_t base, const struct eight &e)
{
    cuda_draw_four(words, d, base + (uint64_t)e.first);
    cuda_draw_four(words + FOUR, d, base + (uint64_t)(e.first + e.step));
}

#endif
