/* Everything random is Philox 4x32-10 (Salmon et al., SC 2011): a pure function of a key and a
 * counter. Draws are named by (seed, id, purpose) and `call`; element i of a draw is word i % 4 of
 * block i / 4. So a draw depends on neither threads nor device. Compiles as C and as CUDA. */
#ifndef RELORA_SRC_RNG_H
#define RELORA_SRC_RNG_H

#include <stdint.h>

#ifdef __CUDACC__
#define RNG_INLINE static __host__ __device__ inline
#else
#define RNG_INLINE static inline
#endif

struct draw {
    uint32_t key[2];
    uint64_t call;
};

/* pinned: a checkpoint continues with the same numbers */
enum draw_purpose {
    DRAW_FACTOR_A = 1,
    DRAW_DROPOUT = 2,
    DRAW_MERGE = 3,
    DRAW_TRAIN = 4,
    DRAW_PRUNE_FIRST = 5,
    DRAW_PRUNE_SECOND = 6,
    DRAW_TRAIN_PARAM = 7, /* of what is no layer's: ids of layers and of parameters may be equal */
    DRAW_FOLD = 8,
    DRAW_FACTOR_B = 9,
    DRAW_FULL_RANK = 10,
    DRAW_TRAIN_BIAS = 11,
    DRAW_SKETCH = 12,
    DRAW_MEAN = 13 /* of a parameter over ranks */
};

RNG_INLINE void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The key of all draws for one purpose of one layer or parameter: Philox itself mixes the three. */
RNG_INLINE struct draw draw_make(uint64_t seed, uint64_t id, enum draw_purpose purpose, uint64_t call)
{
    uint32_t counter[4] = {(uint32_t)id, (uint32_t)(id >> 32), (uint32_t)purpose, 0x52654C6Fu};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, mixed[4];
    philox(counter, key, mixed);
    struct draw d = {{mixed[0], mixed[1]}, call};
    return d;
}

RNG_INLINE void draw_block(struct draw d, uint64_t block, uint32_t out[4])
{
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)d.call,
                           (uint32_t)(d.call >> 32)};
    philox(counter, d.key, out);
}

/* An event of probability p happens where word < draw_threshold(p); p in [0, 1]. */
RNG_INLINE uint64_t draw_threshold(double p)
{
    return (uint64_t)(p * 4294967296.0);
}

/* A word as a number in [-1, 1), by steps of 2^-23: exact in F32. */
RNG_INLINE float draw_symmetric(uint32_t word)
{
    return (float)(word >> 8) * 1.1920928955078125e-7f - 1.0f;
}

#endif
