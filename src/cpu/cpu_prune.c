/* Zero a share of two moments: decide which elements stay, then one sweep over both, block by block,
 * that also counts what is zero afterwards. */
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"
#include "cpu_clones.h"
#include "prune_math.h"

static int64_t block_count(int64_t n)
{
    return (n + CPU_BLOCK - 1) / CPU_BLOCK;
}

static int64_t block_length(int64_t block, int64_t n)
{
    return n - block * CPU_BLOCK < CPU_BLOCK ? n - block * CPU_BLOCK : CPU_BLOCK;
}

/* ---- which elements stay ---- */

struct mask { /* magnitudes above the threshold, and the first `ties` that equal it */
    uint32_t threshold;
    int64_t ties;
    int ranked;     /* some that equal it go: their order matters */
    int multiply;   /* of pruned() */
    int64_t *ranks; /* if ranked: how many equal it before each block, at last in all */
};

/* All but floor(ratio * n), the lowest index first among equals. */
static relora_status mask_exact(struct queue *q, struct mask *mask, const float *x, int64_t n, double ratio)
{
    struct rank rank;
    int64_t drop = prune_drop(ratio, n);
    *mask = (struct mask){.threshold = PRUNE_NOTHING};
    if (drop >= n) return RELORA_OK;
    relora_status status = cpu_select(q, x, n, drop, &rank); /* the smallest that stays */
    if (status < 0) return status;
    mask->threshold = rank.magnitude;
    mask->ties = rank.equal - (drop - rank.below);
    mask->ranked = mask->ties < rank.equal;
    return RELORA_OK;
}

struct look { /* for a NaN */
    const float *x;
    int64_t n;
    atomic_int found;
};

static void look_at_block(void *job, int64_t b)
{
    struct look *look = job;
    const float *x = look->x + b * CPU_BLOCK;
    int found = 0;
    for (int64_t i = 0; i < block_length(b, look->n); i++) found |= isnan(x[i]) != 0;
    if (found) atomic_store(&look->found, 1);
}

static int has_nan(struct queue *q, const float *x, int64_t n)
{
    struct look look = {.x = x, .n = n};
    atomic_init(&look.found, 0);
    cpu_loop(q, block_count(n), 1, look_at_block, &look);
    return atomic_load(&look.found);
}

/* What exceeds the quantile. */
static relora_status mask_quantile(struct queue *q, struct mask *mask, const float *x, int64_t n,
                                   double ratio)
{
    struct rank low, high;
    *mask = (struct mask){.threshold = PRUNE_NOTHING, .multiply = 1};
    if (has_nan(q, x, n)) return RELORA_OK; /* the quantile is a NaN, and nothing exceeds that */
    struct quantile rank = quantile_make(ratio, n);
    relora_status status = cpu_select(q, x, n, rank.below, &low);
    if (status < 0) return status;
    high = low;
    if (rank.above >= low.below + low.equal) status = cpu_select(q, x, n, rank.above, &high);
    if (status < 0) return status;
    float a = float_of_bits(low.magnitude), b = float_of_bits(high.magnitude);
    mask->threshold = bits_of_float(quantile_between(a, b, rank.weight)) + 1; /* the next number above */
    return RELORA_OK;
}

static relora_status mask_find(struct queue *q, const struct prune *p, struct mask *mask, const float *x)
{
    return p->flags & RELORA_RESET_QUANTILE ? mask_quantile(q, mask, x, p->count, p->ratio)
                                            : mask_exact(q, mask, x, p->count, p->ratio);
}

CPU_CLONES static int64_t count_equal(const float *x, int64_t n, uint32_t threshold)
{
    int64_t equal = 0;
    for (int64_t i = 0; i < n; i++) equal += magnitude(x[i]) == threshold;
    return equal;
}

struct ranking { /* of n elements */
    const struct mask *mask;
    const float *x;
    int64_t n;
};

static void rank_block(void *job, int64_t b)
{
    const struct ranking *r = job;
    r->mask->ranks[b] = count_equal(r->x + b * CPU_BLOCK, block_length(b, r->n), r->mask->threshold);
}

static void rank_blocks(struct queue *q, const struct mask *mask, const float *x, int64_t n)
{
    int64_t blocks = block_count(n), before = 0;
    struct ranking r = {mask, x, n};
    cpu_loop(q, blocks, 1, rank_block, &r);
    for (int64_t b = 0; b <= blocks; b++) {
        int64_t here = b < blocks ? mask->ranks[b] : 0;
        mask->ranks[b] = before;
        before += here;
    }
}

/* ---- one block ---- */

struct job {
    const struct prune *p;
    struct mask first, second; /* of m, and of v unless that goes with m */
    int joint;
    atomic_llong zeros_first, zeros_second, zeros_unpaired; /* afterwards */
};

/* What is below the threshold goes from x and, in the same places, from `also`. */
CPU_CLONES static void cut(float *x, float *also, int64_t n, uint32_t threshold, int multiply)
{
    for (int64_t i = 0; i < n && also; i++)
        also[i] = magnitude(x[i]) >= threshold ? also[i] : pruned(also[i], multiply);
    for (int64_t i = 0; i < n; i++) x[i] = magnitude(x[i]) >= threshold ? x[i] : pruned(x[i], multiply);
}

/* The block in which the last of those equal to the threshold that stay is. */
static void cut_ranked(const struct mask *mask, float *x, float *also, int64_t n, int64_t rank)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t key = magnitude(x[i]);
        if (key > mask->threshold || (key == mask->threshold && rank++ < mask->ties)) continue;
        x[i] = pruned(x[i], mask->multiply);
        if (also) also[i] = pruned(also[i], mask->multiply);
    }
}

static void mask_block(const struct mask *mask, float *x, float *also, int64_t n, int64_t b)
{
    int64_t rank = mask->ranked ? mask->ranks[b] : 0, next = mask->ranked ? mask->ranks[b + 1] : 0;
    x += b * CPU_BLOCK;
    if (also) also += b * CPU_BLOCK;
    if (!mask->ranked || next <= mask->ties) cut(x, also, n, mask->threshold, mask->multiply);
    else if (rank >= mask->ties) cut(x, also, n, mask->threshold + 1, mask->multiply);
    else cut_ranked(mask, x, also, n, rank);
}

CPU_CLONES static void drop(float *x, int64_t n, const uint32_t *words, uint64_t threshold)
{
    for (int64_t i = 0; i < n; i++) x[i] = words[i] < threshold ? 0 : x[i];
}

static void random_block(const struct prune *p, struct draw draw, float *x, float *also, int64_t n, int64_t b)
{
    uint64_t threshold = draw_threshold(p->ratio);
    for (int64_t i = b * CPU_BLOCK, end = i + n; i < end; i += DRAW_BATCH) {
        struct draw_words memory;
        int64_t count = end - i < DRAW_BATCH ? end - i : DRAW_BATCH;
        const uint32_t *words = cpu_draw_words(&memory, draw, (uint64_t)i, count);
        drop(x + i, count, words, threshold);
        if (also) drop(also + i, count, words, threshold);
    }
}

static void reset_block(const struct job *job, int64_t b)
{
    const struct prune *p = job->p;
    int64_t n = block_length(b, p->count);
    float *also = job->joint ? p->v : NULL;
    if (p->mode == RELORA_RESET_ZERO) {
        memset(p->m + b * CPU_BLOCK, 0, (size_t)n * sizeof *p->m);
        memset(p->v + b * CPU_BLOCK, 0, (size_t)n * sizeof *p->v);
    } else if (p->mode == RELORA_RESET_RANDOM) {
        random_block(p, p->first, p->m, also, n, b);
        if (!also) random_block(p, p->second, p->v, NULL, n, b);
    } else {
        mask_block(&job->first, p->m, also, n, b);
        if (!also) mask_block(&job->second, p->v, NULL, n, b);
    }
}

struct zeros {
    int64_t first, second, unpaired;
};

CPU_CLONES static struct zeros count_zeros(const float *m, const float *v, int64_t n)
{
    int32_t first = 0, second = 0, both = 0;
    for (int64_t i = 0; i < n; i++) {
        first += m[i] == 0;
        second += v[i] == 0;
        both += (m[i] == 0) & (v[i] == 0);
    }
    return (struct zeros){first, second, second - both};
}

static void prune_block(void *user, int64_t b)
{
    struct job *job = user;
    const struct prune *p = job->p;
    reset_block(job, b);
    if (!p->counts) return;
    struct zeros z = count_zeros(p->m + b * CPU_BLOCK, p->v + b * CPU_BLOCK, block_length(b, p->count));
    atomic_fetch_add(&job->zeros_first, z.first);
    atomic_fetch_add(&job->zeros_second, z.second);
    atomic_fetch_add(&job->zeros_unpaired, z.unpaired);
}

/* ---- all of it ---- */

static relora_status find_masks(struct queue *q, struct job *job)
{
    const struct prune *p = job->p;
    relora_status status = mask_find(q, p, &job->first, p->m);
    if (status >= 0 && !job->joint) status = mask_find(q, p, &job->second, p->v);
    if (status < 0 || !(job->first.ranked || job->second.ranked)) return status;
    int64_t *ranks = cpu_scratch(q, 2 * (size_t)(block_count(p->count) + 1) * sizeof *ranks);
    if (!ranks) return RELORA_E_NO_MEMORY;
    job->first.ranks = ranks;
    job->second.ranks = ranks + block_count(p->count) + 1;
    if (job->first.ranked) rank_blocks(q, &job->first, p->m, p->count);
    if (job->second.ranked) rank_blocks(q, &job->second, p->v, p->count);
    return RELORA_OK;
}

relora_status cpu_prune(struct queue *q, const struct prune *p)
{
    struct job job = {.p = p, .joint = !(p->flags & RELORA_RESET_INDEPENDENT)};
    atomic_init(&job.zeros_first, 0);
    atomic_init(&job.zeros_second, 0);
    atomic_init(&job.zeros_unpaired, 0);
    if (p->count && p->mode == RELORA_RESET_MAGNITUDE) {
        relora_status status = find_masks(q, &job);
        if (status < 0) return status;
    }
    cpu_loop(q, block_count(p->count), 1, prune_block, &job);
    if (!p->counts) return RELORA_OK;
    p->counts[0] += atomic_load(&job.zeros_first);
    p->counts[1] += atomic_load(&job.zeros_second);
    p->counts[2] += atomic_load(&job.zeros_unpaired);
    return RELORA_OK;
}
