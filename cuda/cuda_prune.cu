/* Zero a share of two moments. As on the CPU, the threshold of MAGNITUDE comes from a radix selection on
 * the bits of |x|, all of it here: each pass over the data counts one digit, and the block that finishes
 * last picks the bin. Elements at the threshold stay up to an index, `cut`, which the same way gives. */
#include "cuda_random.cuh"
#include "cuda_tiles.cuh"
#include "prune_math.h"

typedef unsigned long long count64; /* what atomicAdd() takes */

enum { DIGITS = 3, BINS = 2048 }; /* of a magnitude, 31 bits: 11, 10 and 10 of them */

static __device__ inline int digit_shift(int digit)
{
    return 20 - 10 * digit;
}

static __device__ inline int digit_bits(int digit)
{
    return digit ? 10 : 11;
}

enum { RANK_TILE = 64 * CUDA_THREADS }; /* elements; where equals are counted one tile at a time */

struct selection { /* starts as zeros */
    count64 bins[DIGITS][BINS];
    count64 rank;       /* the wanted one, less what the digits so far are above */
    uint32_t magnitude; /* of it, as far as its digits are known */
    uint32_t above;     /* NOTHING - the next larger magnitude, for a quantile */
    int32_t nan;
    uint32_t done[DIGITS + 1]; /* blocks that have finished a pass */
    uint32_t threshold; /* stays: what is above; what equals it, before `cut` */
    int64_t cut;
    count64 ties; /* how many equals stay, if only some do */
    int32_t ranked;
};

/* Adds up a number of each thread: within a warp first, for in shared memory an addition of 64 bits is a loop that all who
 * want to add take turns in. */
static __device__ inline void add_up(count64 *sum, count64 mine)
{
    for (int lane = 16; lane > 0; lane /= 2) mine += __shfl_xor_sync(0xFFFFFFFFu, mine, lane);
    if (threadIdx.x % 32 == 0 && mine) atomicAdd(sum, mine);
}

static __device__ inline count64 fresh(const count64 *x) /* as other blocks left it */
{
    return *(const volatile count64 *)x;
}

/* Is this the block that finishes last? Then it sees what all others have written. */
static __device__ inline bool is_last_block(uint32_t *done)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(done, 1u) == gridDim.x - 1;
        __threadfence(); /* what comes after is read after */
    }
    __syncthreads();
    return last;
}

/* Threads own so many things each, one after the other: is thing `k` mine? *before: of the threads before me. */
static __device__ inline bool owns(count64 mine, count64 k, count64 *before)
{
    __shared__ count64 sums[CUDA_THREADS];
    unsigned thread = threadIdx.x;
    __syncthreads();
    sums[thread] = mine;
    for (unsigned step = 1; step < CUDA_THREADS; step *= 2) {
        __syncthreads();
        count64 left = thread >= step ? sums[thread - step] : 0;
        __syncthreads();
        sums[thread] += left;
    }
    *before = sums[thread] - mine;
    return *before <= k && k - *before < mine;
}

/* ---- selection ---- */

/* The bin of the wanted rank becomes a digit of the magnitude; by the last block. */
static __device__ inline void pick_bin(struct selection *s, int digit, count64 rank)
{
    enum { EACH = BINS / CUDA_THREADS };
    const count64 *bins = &s->bins[digit][threadIdx.x * EACH];
    count64 mine = 0, before;
    for (int d = 0; d < EACH; d++) mine += fresh(&bins[d]);
    if (!owns(mine, rank, &before)) return;
    int d = 0;
    for (rank -= before; rank >= fresh(&bins[d]); d++) rank -= fresh(&bins[d]);
    s->rank = rank;
    s->magnitude |= (threadIdx.x * EACH + d) << digit_shift(digit);
    if (digit < DIGITS - 1) return;
    s->threshold = s->magnitude;
    s->cut = INT64_MAX;
    s->ties = fresh(&bins[d]) - rank;
    s->ranked = rank > 0; /* so many equals go: the last ones */
}

/* Count a digit of those whose higher digits are the ones found. Neighbours are often alike, zeros above
 * all: a thread counts them itself as long as they are. */
static __global__ void digit_kernel(struct selection *s, struct view x, int digit, count64 rank, int step)
{
    __shared__ uint32_t bins[BINS];
    for (int d = (int)threadIdx.x; d < BINS; d += CUDA_THREADS) bins[d] = 0;
    __syncthreads();
    int shift = digit_shift(digit), higher = shift + digit_bits(digit);
    uint32_t mask = (1u << digit_bits(digit)) - 1, found = s->magnitude, bin = 0, alike = 0;
    tiling_walk(x, step, [&](int64_t i, struct eight e) {
        float from[EIGHT];
        load_eight(from, row_of<float>(x, i), e);
        for (int k = 0; k < EIGHT; k++) {
            uint32_t key = magnitude(from[k]);
            if (!e.has(k) || key >> higher != found >> higher) continue;
            uint32_t next = key >> shift & mask;
            if (next != bin) {
                if (alike) atomicAdd(&bins[bin], alike);
                bin = next, alike = 0;
            }
            alike++;
        }
    });
    if (alike) atomicAdd(&bins[bin], alike);
    __syncthreads();
    for (int d = (int)threadIdx.x; d < BINS; d += CUDA_THREADS)
        if (bins[d]) atomicAdd(&s->bins[digit][d], (count64)bins[d]);
    if (is_last_block(&s->done[digit])) pick_bin(s, digit, digit ? s->rank : rank);
}

/* ---- the threshold of a quantile ---- */

static __global__ void quantile_kernel(struct selection *s, struct view x, int64_t below, int64_t above,
                                       float weight, int step)
{
    uint32_t low = s->magnitude, next = 0;
    int nan = 0;
    tiling_walk(x, step, [&](int64_t i, struct eight e) {
        float from[EIGHT];
        load_eight(from, row_of<float>(x, i), e);
        for (int k = 0; k < EIGHT; k++) {
            uint32_t key = magnitude(from[k]);
            if (!e.has(k)) continue;
            nan |= key >= PRUNE_NAN;
            if (key > low && PRUNE_NOTHING - key > next) next = PRUNE_NOTHING - key;
        }
    });
    for (int lane = 16; lane > 0; lane /= 2) {
        uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, next, lane);
        next = other > next ? other : next;
    }
    nan = __any_sync(0xFFFFFFFFu, nan);
    if (threadIdx.x % 32 == 0) atomicMax(&s->above, next);
    if (threadIdx.x % 32 == 0 && nan) atomicOr(&s->nan, 1);
    if (!is_last_block(&s->done[DIGITS]) || threadIdx.x) return;
    next = PRUNE_NOTHING - *(volatile uint32_t *)&s->above;
    nan = *(volatile int32_t *)&s->nan;
    /* `ties` counts the wanted one and its equals after it: is the rank above among them? */
    float a = float_of_bits(low), b = (count64)(above - below) < s->ties ? a : float_of_bits(next);
    /* the next number above; of a NaN nothing is */
    s->threshold = nan ? PRUNE_NOTHING : bits_of_float(quantile_between(a, b, weight)) + 1;
}

/* ---- which of the equals stay ---- */

static __device__ inline count64 count_equals(const float *x, int64_t from, int64_t to, uint32_t threshold)
{
    count64 equals = 0;
    for (int64_t i = from; i < to; i++) equals += magnitude(x[i]) == threshold;
    return equals;
}

/* cut = index of the first that goes; by the last block, which looks for its tile and then into it */
static __device__ inline void find_cut(struct selection *s, const float *x, int64_t n, const count64 *tiles)
{
    __shared__ int64_t tile;
    __shared__ count64 rank;
    int64_t count = (n + RANK_TILE - 1) / RANK_TILE, each = (count + CUDA_THREADS - 1) / CUDA_THREADS;
    int64_t first = threadIdx.x * each, end = first + each < count ? first + each : count;
    count64 mine = 0, before;
    for (int64_t t = first; t < end; t++) mine += fresh(&tiles[t]);
    if (owns(mine, s->ties, &before)) {
        rank = s->ties - before;
        for (tile = first; rank >= fresh(&tiles[tile]); tile++) rank -= fresh(&tiles[tile]);
    }
    __syncthreads();
    first = tile * RANK_TILE + threadIdx.x * (RANK_TILE / CUDA_THREADS);
    end = first + RANK_TILE / CUDA_THREADS < n ? first + RANK_TILE / CUDA_THREADS : n;
    mine = count_equals(x, first, end, s->threshold);
    if (!owns(mine, rank, &before)) return;
    int64_t i = first;
    for (count64 left = rank - before; magnitude(x[i]) != s->threshold || left--; i++) {}
    s->cut = i;
}

static __global__ void rank_kernel(struct selection *s, const float *x, int64_t n, count64 *tiles)
{
    __shared__ count64 equals;
    uint32_t threshold = s->threshold;
    if (!s->ranked) return;
    for (int64_t t = blockIdx.x; t * RANK_TILE < n; t += gridDim.x) {
        if (threadIdx.x == 0) equals = 0;
        __syncthreads();
        int64_t end = (t + 1) * RANK_TILE < n ? (t + 1) * RANK_TILE : n;
        count64 mine = 0;
        for (int64_t i = t * RANK_TILE + threadIdx.x; i < end; i += CUDA_THREADS)
            mine += magnitude(x[i]) == threshold;
        add_up(&equals, mine);
        __syncthreads();
        if (threadIdx.x == 0) tiles[t] = equals;
    }
    if (is_last_block(&s->done[DIGITS])) find_cut(s, x, n, tiles);
}

/* ---- zeroing ---- */

/* Those of eight elements whose bit is set in `gone`. */
static __device__ inline void zero_eight(float *row, const struct eight &e, unsigned gone, int multiply)
{
    const float zeros[EIGHT] = {0};
    if (gone == 0xFF && !multiply) {
        store_eight(row, zeros, e);
        return;
    }
    for (int k = 0; k < EIGHT; k++) /* with the device's NaN, if it is one: see pruned() */
        if (gone >> k & 1) row[e.at(k)] = multiply ? __fmul_rn(row[e.at(k)], 0.0f) : 0.0f;
}

/* x and, if it has data, also. */
static __global__ void mask_kernel(const struct selection *s, struct view x, struct view also, int multiply,
                                   int step)
{
    uint32_t threshold = s->threshold;
    int64_t cut = s->cut;
    tiling_walk(x, step, [&](int64_t i, struct eight e) {
        float from[EIGHT];
        unsigned gone = 0;
        load_eight(from, row_of<float>(x, i), e);
        for (int k = 0; k < EIGHT; k++) {
            uint32_t key = magnitude(from[k]);
            bool stays = key > threshold || (key == threshold && e.at(k) < cut);
            gone |= (unsigned)(!stays && e.has(k)) << k;
        }
        zero_eight(row_of<float>(x, i), e, gone, multiply);
        if (also.data) zero_eight(row_of<float>(also, i), e, gone, multiply);
    });
}

static __global__ void random_kernel(struct view x, struct view also, struct draw draw, uint64_t threshold, int step)
{
    tiling_walk(x, step, [&](int64_t i, struct eight e) {
        uint32_t words[EIGHT];
        unsigned gone = 0;
        cuda_draw_eight(words, draw, 0, e);
        for (int k = 0; k < EIGHT; k++) gone |= (unsigned)(words[k] < threshold && e.has(k)) << k;
        zero_eight(row_of<float>(x, i), e, gone, 0);
        if (also.data) zero_eight(row_of<float>(also, i), e, gone, 0);
    });
}

/* ---- counting ---- */

static __global__ void zeros_kernel(struct view m, struct view v, int64_t *counts, int step)
{
    __shared__ count64 zeros[3];
    if (threadIdx.x < 3) zeros[threadIdx.x] = 0;
    __syncthreads();
    count64 first = 0, second = 0, unpaired = 0;
    tiling_walk(m, step, [&](int64_t i, struct eight e) {
        float a[EIGHT], b[EIGHT];
        load_eight(a, row_of<float>(m, i), e);
        load_eight(b, row_of<float>(v, i), e);
        for (int k = 0; k < EIGHT; k++) {
            if (!e.has(k)) continue;
            first += a[k] == 0;
            second += b[k] == 0;
            unpaired += a[k] != 0 && b[k] == 0;
        }
    });
    add_up(&zeros[0], first);
    add_up(&zeros[1], second);
    add_up(&zeros[2], unpaired);
    __syncthreads();
    if (threadIdx.x < 3) atomicAdd((count64 *)&counts[threadIdx.x], zeros[threadIdx.x]);
}

/* ---- the modes ---- */

static struct view moment_view(float *x, int64_t n)
{
    struct view v = {x, 1, n, n, RELORA_F32};
    return v;
}

static relora_status prune_all(struct queue *q, struct view x, struct view also)
{
    relora_status status = cuda_fill(q, x, 0);
    return status < 0 || !also.data ? status : cuda_fill(q, also, 0);
}

static relora_status prune_random(struct queue *q, const struct prune *p, struct draw draw, struct view x,
                                  struct view also)
{
    struct tiling t = cuda_tiling(tiling_most(q), x, also);
    return cuda_launch(q, "a random reset", random_kernel, t.blocks, t.threads, x, also, draw,
                       draw_threshold(p->ratio), t.step);
}

/* After this the selection has a threshold, and a cut unless some equals go. */
static relora_status select_rank(struct queue *q, struct selection *s, struct view x, int64_t rank)
{
    relora_status status = cuda_fill(q, moment_view((float *)s, sizeof *s / sizeof(float)), 0);
    struct tiling t = cuda_tiling(tiling_most(q), x);
    for (int digit = 0; digit < DIGITS && status >= 0; digit++)
        status = cuda_launch(q, "the selection of a magnitude", digit_kernel, t.blocks, t.threads, s, x, digit,
                             rank, t.step);
    return status;
}

static relora_status prune_magnitude(struct queue *q, const struct prune *p, struct view x, struct view also)
{
    int64_t n = p->count, tiles = (n + RANK_TILE - 1) / RANK_TILE, drop = prune_drop(p->ratio, n);
    int by_quantile = (p->flags & RELORA_RESET_QUANTILE) != 0;
    struct quantile rank = quantile_make(p->ratio, n);
    if (!by_quantile && drop >= n) return prune_all(q, x, also);
    if (!by_quantile && drop <= 0) return RELORA_OK;

    struct tiling t = cuda_tiling(tiling_most(q), x, also);
    struct selection *s =
        (struct selection *)cuda_scratch(q, sizeof *s + (size_t)tiles * sizeof(count64));
    if (!s) return RELORA_E_NO_MEMORY;
    relora_status status = select_rank(q, s, x, by_quantile ? rank.below : drop); /* the smallest that stays */
    if (status < 0) return status;
    if (by_quantile)
        status = cuda_launch(q, "the quantile of a reset", quantile_kernel, t.blocks, t.threads, s, x, rank.below,
                             rank.above, rank.weight, t.step);
    else
        status = cuda_launch(q, "the order of equals", rank_kernel, cuda_blocks(q, tiles, 1), CUDA_THREADS, s,
                             (const float *)x.data, n, (count64 *)(s + 1));
    if (status < 0) return status;
    return cuda_launch(q, "a reset by magnitude", mask_kernel, t.blocks, t.threads, s, x, also, by_quantile, t.step);
}

static relora_status prune_one(struct queue *q, const struct prune *p, struct draw draw, struct view x,
                               struct view also)
{
    if (p->mode == RELORA_RESET_ZERO) return prune_all(q, x, also);
    if (p->mode == RELORA_RESET_RANDOM) return prune_random(q, p, draw, x, also);
    return prune_magnitude(q, p, x, also);
}

relora_status cuda_prune(struct queue *q, const struct prune *p)
{
    struct view m = moment_view(p->m, p->count), v = moment_view(p->v, p->count), none = {NULL, 0, 0, 0, RELORA_F32};
    int joint = !(p->flags & RELORA_RESET_INDEPENDENT);
    if (!p->count) return RELORA_OK;
    relora_status status = prune_one(q, p, p->first, m, joint ? v : none);
    if (status >= 0 && !joint) status = prune_one(q, p, p->second, v, none);
    if (status < 0 || !p->counts) return status;
    struct tiling t = cuda_tiling(tiling_most(q), m, v);
    return cuda_launch(q, "the count of a reset", zeros_kernel, t.blocks, t.threads, m, v, p->counts, t.step);
}

cudaError_t cuda_load_prune(void)
{
    return cuda_load(digit_kernel, quantile_kernel, rank_kernel, mask_kernel, random_kernel, zeros_kernel);
}
