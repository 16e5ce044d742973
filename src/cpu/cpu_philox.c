/* Philox blocks, many at a time: in plain C that a compiler turns into vectors, and by hand for AVX-512,
 * whose multiplication of 32-bit words to 64 compilers do not find. Same words from both. */
#include <stddef.h>

#include "cpu.h"
#include "cpu_clones.h"

CPU_CLONES static void blocks_plain(uint32_t *words, struct draw d, uint64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++) draw_block(d, first + (uint64_t)i, words + 4 * i);
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(CPU_NO_AVX512)
#include <immintrin.h>

/* Eight blocks stand side by side, a word of each in the low half of a 64-bit lane; four such sets are
 * under way at once, because a multiplication takes several cycles. */
enum { SETS = 4, SET_BLOCKS = 8, GROUP = SETS * SET_BLOCKS };

struct set {
    __m512i c0, c1, c2, c3;
};

#define AVX512 __attribute__((target("avx512f"), always_inline)) static inline

AVX512 struct set set_start(struct draw d, uint64_t first)
{
    const __m512i lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    __m512i block = _mm512_add_epi64(_mm512_set1_epi64((long long)first), lanes);
    return (struct set){block, _mm512_srli_epi64(block, 32), _mm512_set1_epi64((long long)d.call),
                        _mm512_set1_epi64((long long)(d.call >> 32))};
}

/* One round of philox() in rng.h; the high halves of c0 and c2 are left as they come. */
AVX512 void set_round(struct set *s, __m512i k0, __m512i k1)
{
    __m512i p0 = _mm512_mul_epu32(s->c0, _mm512_set1_epi64(0xD2511F53));
    __m512i p1 = _mm512_mul_epu32(s->c2, _mm512_set1_epi64(0xCD9E8D57));
    s->c0 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p1, 32), s->c1), k0);
    s->c2 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), s->c3), k1);
    s->c1 = p1;
    s->c3 = p0;
}

AVX512 __m512i pair(__m512i low, __m512i high)
{
    return _mm512_mask_blend_epi32(0xAAAA, low, _mm512_slli_epi64(high, 32));
}

AVX512 void set_store(uint32_t *words, const struct set *s)
{
    __m512i c01 = pair(s->c0, s->c1), c23 = pair(s->c2, s->c3);
    const __m512i even = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    const __m512i odd = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    _mm512_storeu_si512(words, _mm512_permutex2var_epi64(c01, even, c23));
    _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi64(c01, odd, c23));
}

__attribute__((target("avx512f"))) static void group_avx512(uint32_t *words, struct draw d, uint64_t first)
{
    struct set set[SETS];
    uint32_t k0 = d.key[0], k1 = d.key[1];
    for (int i = 0; i < SETS; i++) set[i] = set_start(d, first + (uint64_t)(i * SET_BLOCKS));
    for (int round = 0; round < 10; round++) {
        __m512i wide0 = _mm512_set1_epi64(k0), wide1 = _mm512_set1_epi64(k1);
        for (int i = 0; i < SETS; i++) set_round(&set[i], wide0, wide1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < SETS; i++) set_store(words + (ptrdiff_t)(4 * i) * SET_BLOCKS, &set[i]);
}

static void blocks(uint32_t *words, struct draw d, uint64_t first, int64_t count)
{
    for (; count >= GROUP && __builtin_cpu_supports("avx512f"); count -= GROUP) {
        group_avx512(words, d, first);
        words += (ptrdiff_t)4 * GROUP;
        first += GROUP;
    }
    blocks_plain(words, d, first, count);
}

#else
#define blocks blocks_plain
#endif

const uint32_t *cpu_draw_words(struct draw_words *words, struct draw d, uint64_t first, int64_t n)
{
    int64_t skip = (int64_t)(first % 4);
    blocks(words->word, d, first / 4, (n + skip + 3) / 4);
    return words->word + skip;
}
