/* The k-th smallest magnitude. The bits of |x| order like the numbers (a NaN above infinity), so a radix
 * selection finds it: three passes that count digits, no copy, no sort. Where there are many elements a
 * sample first tells two magnitudes between which the answer will lie; one fast pass counts what lies
 * outside and keeps the few inside. If the sample was wrong that is seen, and the radix has all of them. */
#include <math.h>
#include <string.h>

#include "cpu.h"
#include "cpu_clones.h"
#include "prune_math.h"

/* 31 bits of magnitude, cut into digits from the top */
enum { DIGITS = 3, BINS = 2048 };
static const int digit_shift[DIGITS] = {20, 10, 0}, digit_bits[DIGITS] = {11, 10, 10};

enum {
    SAMPLED = 1 << 16, /* from so many elements on */
    SAMPLES = 1 << 14, /* at most */
    SAMPLE_STEP = 64,  /* elements for each, at least */
    SWEEP = 64         /* elements that are counted before any of them is looked at */
};

struct bracket {
    uint32_t low, high;
};

/* elements below low, up to low, below high, up to high; of them kept: above low, below high */
struct tally {
    int64_t below, to_low, under, to_high, kept;
};

struct select { /* memory of a selection */
    const struct queue *q;
    int shares;
    uint64_t (*bins)[BINS];
    float *sample, *kept;
    int64_t samples, capacity; /* of kept, for each share */
};

/* Share t of n elements starts here: counts add up the same however the array is cut. */
static int64_t share_start(const struct select *s, int64_t n, int t)
{
    return t < s->shares ? n / s->shares * t : n;
}

/* ---- by digits ---- */

/* bins[d] += elements whose higher digits are those of `prefix` and whose digit is d */
static void count_range(const float *x, int64_t start, int64_t end, int digit, uint32_t prefix,
                        uint64_t *bins)
{
    int shift = digit_shift[digit], above = shift + digit_bits[digit];
    uint32_t mask = (1u << digit_bits[digit]) - 1;
    for (int64_t i = start; i < end; i++) {
        uint32_t key = magnitude(x[i]);
        if (key >> above == prefix >> above) bins[key >> shift & mask]++;
    }
}

struct counting { /* a digit of n elements */
    const struct select *s;
    const float *x;
    int64_t n;
    int digit;
    uint32_t prefix;
};

static void count_share(void *job, int64_t t)
{
    const struct counting *c = job;
    const struct select *s = c->s;
    count_range(c->x, share_start(s, c->n, (int)t), share_start(s, c->n, (int)t + 1), c->digit, c->prefix,
                s->bins[t]);
}

static void radix(const struct select *s, const float *x, int64_t n, int64_t k, struct rank *rank)
{
    *rank = (struct rank){0};
    for (int digit = 0; digit < DIGITS; digit++) {
        struct counting c = {s, x, n, digit, rank->magnitude};
        memset(s->bins, 0, (size_t)s->shares * sizeof *s->bins);
        cpu_loop(s->q, s->shares, n > CPU_SERIAL, count_share, &c);
        for (uint32_t d = 0;; d++) {
            rank->equal = 0;
            for (int t = 0; t < s->shares; t++) rank->equal += (int64_t)s->bins[t][d];
            if (rank->below + rank->equal > k) {
                rank->magnitude |= d << digit_shift[digit];
                break;
            }
            rank->below += rank->equal;
        }
    }
}

/* ---- by a sample ---- */

/* One element at an irregular place in each of `samples` equal pieces. Four standard deviations to either
 * side of where rank k should be in it: wrong once in some ten thousand times. */
static struct bracket guess(const struct select *s, const float *x, int64_t n, int64_t k)
{
    int64_t piece = n / s->samples;
    for (int64_t i = 0; i < s->samples; i++)
        s->sample[i] =
            x[i * piece + (int64_t)(((uint64_t)i * 0x9E3779B97F4A7C15u >> 32) * (uint64_t)piece >> 32)];
    double p = (double)k / (double)n, count = (double)s->samples;
    double margin = 4 * sqrt(count * p * (1 - p)) + 4;
    int64_t low = (int64_t)(p * count - margin), high = (int64_t)(p * count + margin) + 1;
    struct bracket b = {0, UINT32_MAX};
    struct rank rank;
    if (low >= 0) radix(s, s->sample, s->samples, low, &rank), b.low = rank.magnitude;
    if (high < s->samples) radix(s, s->sample, s->samples, high, &rank), b.high = rank.magnitude;
    return b;
}

CPU_CLONES static void sweep(struct tally *tally, struct bracket b, const float *x, int64_t start,
                             int64_t end, float *kept, int64_t capacity)
{
    struct tally all = {0};
    for (int64_t i = start; i < end; i += SWEEP) {
        int n = end - i < SWEEP ? (int)(end - i) : SWEEP;
        uint32_t below = 0, to_low = 0, under = 0, to_high = 0;
        for (int j = 0; j < n; j++) {
            uint32_t key = magnitude(x[i + j]);
            below += key < b.low;
            to_low += key <= b.low;
            under += key < b.high;
            to_high += key <= b.high;
        }
        all.below += below, all.to_low += to_low, all.under += under, all.to_high += to_high;
        if (under <= to_low || all.kept + SWEEP > capacity) continue;
        for (int j = 0; j < n; j++) {
            uint32_t key = magnitude(x[i + j]);
            kept[all.kept] = x[i + j];
            all.kept += key > b.low && key < b.high;
        }
    }
    *tally = all;
}

struct sweeping { /* of n elements */
    const struct select *s;
    struct tally *tally;
    struct bracket b;
    const float *x;
    int64_t n;
};

static void sweep_share(void *job, int64_t t)
{
    const struct sweeping *w = job;
    const struct select *s = w->s;
    sweep(&w->tally[t], w->b, w->x, share_start(s, w->n, (int)t), share_start(s, w->n, (int)t + 1),
          s->kept + t * s->capacity, s->capacity);
}

static struct tally sweep_all(const struct select *s, struct bracket b, const float *x, int64_t n)
{
    int64_t below = 0, to_low = 0, under = 0, to_high = 0, kept = 0;
    struct tally *tally = (struct tally *)(void *)s->bins; /* free between selections, and large enough */
    struct sweeping w = {s, tally, b, x, n};
    cpu_loop(s->q, s->shares, 1, sweep_share, &w);
    for (int t = 0; t < s->shares; t++) {
        memmove(s->kept + kept, s->kept + t * s->capacity, (size_t)tally[t].kept * sizeof *s->kept);
        below += tally[t].below, to_low += tally[t].to_low, under += tally[t].under;
        to_high += tally[t].to_high, kept += tally[t].kept;
    }
    return (struct tally){below, to_low, under, to_high, kept};
}

/* 1: found; 0: the bracket does not hold it, or more than there is room for. */
static int find_within(const struct select *s, const float *x, int64_t n, int64_t k, struct rank *rank)
{
    struct bracket b = guess(s, x, n, k);
    struct tally t = sweep_all(s, b, x, n);
    if (k < t.below || k >= t.to_high) return 0;
    if (k < t.to_low) {
        *rank = (struct rank){b.low, t.below, t.to_low - t.below};
    } else if (k >= t.under) {
        *rank = (struct rank){b.high, t.under, t.to_high - t.under};
    } else {
        if (t.kept < t.under - t.to_low) return 0;
        radix(s, s->kept, t.kept, k - t.to_low, rank);
        rank->below += t.to_low;
    }
    return 1;
}

static size_t layout(struct select *s, const struct queue *q, int64_t n, unsigned char *base)
{
    int shares = q->threads;
    *s = (struct select){.q = q, .shares = shares};
    size_t bins = (size_t)shares * sizeof *s->bins;
    if (n >= SAMPLED) {
        s->samples = n / SAMPLE_STEP < SAMPLES ? n / SAMPLE_STEP : SAMPLES;
        s->capacity = (n / 16 + SAMPLES) / shares + SWEEP;
    }
    if (base) {
        s->bins = (void *)base;
        s->sample = (void *)(base + bins);
        s->kept = s->sample + s->samples;
    }
    return bins + (size_t)(s->samples + shares * s->capacity) * sizeof(float);
}

relora_status cpu_select(struct queue *q, const float *x, int64_t n, int64_t k, struct rank *rank)
{
    struct select s;
    void *memory = cpu_scratch(q, layout(&s, q, n, NULL));
    if (!memory) return RELORA_E_NO_MEMORY;
    layout(&s, q, n, memory);
    if (n < SAMPLED || !find_within(&s, x, n, k, rank)) radix(&s, x, n, k, rank);
    return RELORA_OK;
}
