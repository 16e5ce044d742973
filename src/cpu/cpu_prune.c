/* Zero a share of two moments. The threshold of MAGNITUDE is found by a radix selection on the bits
 * of |x|, which order like the numbers (a NaN above infinity): three passes, no copy, no sort. */
#include <math.h>
#include <string.h>

#include "cpu.h"
#include "prune_math.h"

static int64_t block_count(int64_t n)
{
    return (n + CPU_BLOCK - 1) / CPU_BLOCK;
}

static int64_t block_end(int64_t block, int64_t n)
{
    return (block + 1) * CPU_BLOCK < n ? (block + 1) * CPU_BLOCK : n;
}

/* ---- selection ---- */

/* bins[d] += elements whose higher digits are those of `prefix` and whose digit is d */
static void count_range(const float *x, int64_t start, int64_t end, int digit, uint32_t prefix,
                        uint64_t *bins)
{
    int shift = prune_shift(digit), above = shift + prune_bits(digit);
    uint32_t mask = (1u << prune_bits(digit)) - 1;
    for (int64_t i = start; i < end; i++) {
        uint32_t key = magnitude(x[i]);
        if (key >> above == prefix >> above) bins[key >> shift & mask]++;
    }
}

struct rank { /* of the k-th smallest magnitude, k from 0 */
    uint32_t magnitude;
    int64_t below, equal; /* how many are smaller, and how many are the same */
};

static relora_status select_magnitude(struct queue *q, const float *x, int64_t n, int64_t k,
                                      struct rank *rank)
{
    int shares = q->threads; /* counts add up the same however the array is cut */
    uint64_t(*bins)[PRUNE_BINS] = cpu_scratch(q, (size_t)shares * sizeof *bins);
    if (!bins) return RELORA_E_NO_MEMORY;
    *rank = (struct rank){0};
    for (int digit = 0; digit < PRUNE_DIGITS; digit++) {
        memset(bins, 0, (size_t)shares * sizeof *bins);
#pragma omp parallel for num_threads(q->threads) schedule(static)
        for (int t = 0; t < shares; t++)
            count_range(x, n / shares * t, t + 1 < shares ? n / shares * (t + 1) : n, digit,
                        rank->magnitude, bins[t]);
        for (uint32_t d = 0;; d++) {
            rank->equal = 0;
            for (int t = 0; t < shares; t++) rank->equal += (int64_t)bins[t][d];
            if (rank->below + rank->equal > k) {
                rank->magnitude |= d << prune_shift(digit);
                break;
            }
            rank->below += rank->equal;
        }
    }
    return RELORA_OK;
}

/* ---- which elements stay ---- */

struct mask { /* magnitudes above the threshold, and the first `ties` that equal it */
    uint32_t threshold;
    int64_t ties;
    int ranked;   /* some that equal it go: their order matters */
    int multiply; /* of pruned() */
};

/* All but floor(ratio * n), the lowest index first among equals. */
static relora_status mask_exact(struct queue *q, struct mask *mask, const float *x, int64_t n,
                                double ratio)
{
    struct rank rank;
    int64_t drop = prune_drop(ratio, n);
    *mask = (struct mask){.threshold = PRUNE_NOTHING};
    if (drop >= n) return RELORA_OK;
    relora_status status = select_magnitude(q, x, n, drop, &rank); /* the smallest that stays */
    if (status < 0) return status;
    mask->threshold = rank.magnitude;
    mask->ties = rank.equal - (drop - rank.below);
    mask->ranked = mask->ties < rank.equal;
    return RELORA_OK;
}

static int has_nan(struct queue *q, const float *x, int64_t n)
{
    (void)q;
    int found = 0;
#pragma omp parallel for num_threads(q->threads) schedule(static) reduction(| : found)
    for (int64_t i = 0; i < n; i++) found |= isnan(x[i]) != 0;
    return found;
}

/* What exceeds the quantile. */
static relora_status mask_quantile(struct queue *q, struct mask *mask, const float *x, int64_t n,
                                   double ratio)
{
    struct rank low, high;
    *mask = (struct mask){.threshold = PRUNE_NOTHING, .multiply = 1};
    if (has_nan(q, x, n)) return RELORA_OK; /* the quantile is a NaN, and nothing exceeds that */
    struct quantile rank = quantile_make(ratio, n);
    relora_status status = select_magnitude(q, x, n, rank.below, &low);
    if (status < 0) return status;
    high = low;
    if (rank.above >= low.below + low.equal) status = select_magnitude(q, x, n, rank.above, &high);
    if (status < 0) return status;
    float a = float_of_bits(low.magnitude), b = float_of_bits(high.magnitude);
    mask->threshold = bits_of_float(quantile_between(a, b, rank.weight)) + 1; /* the next number above */
    mask->ties = INT64_MAX;
    return RELORA_OK;
}

/* ---- applying a mask ---- */

/* One block of `x` and, under the same mask, of `also`; `rank` equals come before it. */
static void mask_block(const struct mask *mask, float *x, float *also, int64_t start, int64_t end,
                       int64_t rank)
{
    for (int64_t i = start; i < end; i++) {
        uint32_t key = magnitude(x[i]);
        int stays = key > mask->threshold || (key == mask->threshold && rank++ < mask->ties);
        if (stays) continue;
        x[i] = pruned(x[i], mask->multiply);
        if (also) also[i] = pruned(also[i], mask->multiply);
    }
}

/* ranks[b] = elements equal to the threshold before block b */
static int64_t *rank_blocks(struct queue *q, const struct mask *mask, const float *x, int64_t n)
{
    int64_t blocks = block_count(n), before = 0;
    int64_t *ranks = cpu_scratch(q, (size_t)blocks * sizeof *ranks);
    if (!ranks) return NULL;
#pragma omp parallel for num_threads(q->threads) schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        ranks[b] = 0;
        for (int64_t i = b * CPU_BLOCK; i < block_end(b, n); i++)
            ranks[b] += magnitude(x[i]) == mask->threshold;
    }
    for (int64_t b = 0; b < blocks; b++) {
        int64_t here = ranks[b];
        ranks[b] = before;
        before += here;
    }
    return ranks;
}

static relora_status prune_magnitude(struct queue *q, const struct prune *p, float *x, float *also)
{
    struct mask mask;
    relora_status status = p->flags & RELORA_RESET_QUANTILE
                               ? mask_quantile(q, &mask, x, p->count, p->ratio)
                               : mask_exact(q, &mask, x, p->count, p->ratio);
    if (status < 0) return status;
    int64_t *ranks = mask.ranked ? rank_blocks(q, &mask, x, p->count) : NULL;
    if (mask.ranked && !ranks) return RELORA_E_NO_MEMORY;
#pragma omp parallel for num_threads(q->threads) schedule(static)
    for (int64_t b = 0; b < block_count(p->count); b++)
        mask_block(&mask, x, also, b * CPU_BLOCK, block_end(b, p->count), ranks ? ranks[b] : 0);
    return RELORA_OK;
}

static void random_block(struct draw draw, uint64_t threshold, float *x, float *also, int64_t start,
                         int64_t end)
{
    uint32_t words[4] = {0};
    for (int64_t i = start; i < end; i++) {
        if (i % 4 == 0) draw_block(draw, (uint64_t)i / 4, words);
        if (words[i % 4] >= threshold) continue;
        x[i] = 0;
        if (also) also[i] = 0;
    }
}

static relora_status prune_random(struct queue *q, const struct prune *p, struct draw draw, float *x,
                                  float *also)
{
    (void)q;
    uint64_t threshold = draw_threshold(p->ratio);
#pragma omp parallel for num_threads(q->threads) schedule(static)
    for (int64_t b = 0; b < block_count(p->count); b++)
        random_block(draw, threshold, x, also, b * CPU_BLOCK, block_end(b, p->count));
    return RELORA_OK;
}

static void count_zeros(struct queue *q, const struct prune *p)
{
    (void)q;
    int64_t first = 0, second = 0, unpaired = 0;
#pragma omp parallel for num_threads(q->threads) schedule(static) reduction(+ : first, second, unpaired)
    for (int64_t i = 0; i < p->count; i++) {
        int zero_m = p->m[i] == 0, zero_v = p->v[i] == 0;
        first += zero_m;
        second += zero_v;
        unpaired += !zero_m && zero_v;
    }
    p->counts[0] += first;
    p->counts[1] += second;
    p->counts[2] += unpaired;
}

relora_status cpu_prune(struct queue *q, const struct prune *p)
{
    int joint = !(p->flags & RELORA_RESET_INDEPENDENT);
    float *also = joint ? p->v : NULL;
    relora_status status = RELORA_OK;
    if (p->count && p->mode == RELORA_RESET_ZERO) {
        struct view m = {p->m, 1, p->count, p->count, RELORA_F32};
        struct view v = {p->v, 1, p->count, p->count, RELORA_F32};
        status = cpu_fill(q, m, 0);
        if (status >= 0) status = cpu_fill(q, v, 0);
    } else if (p->count && p->mode == RELORA_RESET_RANDOM) {
        status = prune_random(q, p, p->first, p->m, also);
        if (status >= 0 && !joint) status = prune_random(q, p, p->second, p->v, NULL);
    } else if (p->count) {
        status = prune_magnitude(q, p, p->m, also);
        if (status >= 0 && !joint) status = prune_magnitude(q, p, p->v, NULL);
    }
    if (status >= 0 && p->counts) count_zeros(q, p);
    return status;
}
