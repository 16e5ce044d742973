/* The words of a draw on the device, by cuRAND's Philox: the same bits as src/rng.h. */
#ifndef RELORA_CUDA_RANDOM_CUH
#define RELORA_CUDA_RANDOM_CUH

#include <cuda_runtime.h>
#include <curand_philox4x32_x.h>

#include "rng.h"

/* Words 4 * block to 4 * block + 3. */
static __device__ inline uint4 cuda_draw_block(struct draw d, uint64_t block)
{
    uint4 counter = make_uint4((unsigned)block, (unsigned)(block >> 32), (unsigned)d.call, (unsigned)(d.call >> 32));
    return curand_Philox4x32_10(counter, make_uint2(d.key[0], d.key[1]));
}

/* The words of eight elements, from element `first` on: two blocks, or three that are shifted. */
static __device__ inline void cuda_draw_eight(uint32_t words[8], struct draw d, uint64_t first)
{
    uint4 a = cuda_draw_block(d, first / 4), b = cuda_draw_block(d, first / 4 + 1);
    uint32_t all[12] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    unsigned skip = (unsigned)(first % 4);
    if (skip) {
        uint4 c = cuda_draw_block(d, first / 4 + 2);
        all[8] = c.x, all[9] = c.y, all[10] = c.z, all[11] = c.w;
    }
    for (int k = 0; k < 11; k++) all[k] = skip & 1 ? all[k + 1] : all[k];
    for (int k = 0; k < 8; k++) words[k] = skip & 2 ? all[k + 2] : all[k];
}

#endif
