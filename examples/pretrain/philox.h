/* Philox4x32-10 (Salmon et al., SC 2011): random numbers as a pure function of a key and a counter,
 * so a batch can be drawn again from its step alone. */
#ifndef PRETRAIN_PHILOX_H
#define PRETRAIN_PHILOX_H

#include <stdint.h>

/* what a draw is for; the highest counter word */
enum stream { STREAM_INIT = 1, STREAM_BATCH = 2, STREAM_SAMPLE = 3 };

struct philox {
    uint32_t word[4];
};

static inline struct philox philox(const uint32_t counter[4], uint32_t key0, uint32_t key1)
{
    struct philox x = {{counter[0], counter[1], counter[2], counter[3]}};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x.word[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * x.word[2];
        x = (struct philox){{(uint32_t)(p1 >> 32) ^ x.word[1] ^ key0, (uint32_t)p1,
                             (uint32_t)(p0 >> 32) ^ x.word[3] ^ key1, (uint32_t)p0}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return x;
}

/* The draw number (index, step) of one stream. Steps are below 2^32. */
static inline struct philox draw(uint64_t seed, enum stream stream, uint64_t step, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)step, stream};
    return philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* Uniform in (0, 1): never an end, so its logarithm is finite. */
static inline double unit(uint32_t word)
{
    return (word + 0.5) * 0x1p-32;
}

#endif
