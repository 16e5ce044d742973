/* Attention on the CPU, one (sequence, head) at a time. Inside, a head is a float matrix of `rows` x `width`:
 * seq and head size, each rounded up to a multiple of 16 with zeros, so that no inner loop has a tail. */
#include "ops.h"

#include <math.h>
#include "simd.h"

enum { BLOCK = 16 }; /* queries handled together; also what sizes are padded to */

struct size { /* of a head inside */
    int64_t rows, width, floats;
};

static struct size size_of(const struct attention *a)
{
    int64_t rows = (a->seq + BLOCK - 1) / BLOCK * BLOCK, width = (a->head_dim + BLOCK - 1) / BLOCK * BLOCK;
    return (struct size){rows, width, rows * width};
}

/* Of one thread: eight heads and twice the scores of a block of queries, or a row of all heads. */
static int64_t piece_floats(const struct attention *a)
{
    struct size s = size_of(a);
    int64_t heads = 8 * s.floats + 2 * BLOCK * s.rows, row = a->heads * a->head_dim;
    return ((heads > row ? heads : row) + BLOCK - 1) / BLOCK * BLOCK;
}

int64_t cpu_attention_scratch(const struct attention *a)
{
    return a->engine->threads * piece_floats(a);
}

/* Work is cut by shape alone, so results do not depend on the number of threads; only the scratch
 * memory does. */
static float *piece(const struct attention *a, int64_t thread)
{
    return a->scratch + thread * piece_floats(a);
}

/* The pair (i, i + half) turns by the angle of position t, or back with sign -1. */
INLINE void turn(const struct attention *self, float *row, int64_t t, float sign)
{
    int64_t half = self->head_dim / 2;
    const float *c = self->cosine + t * half, *s = self->sine + t * half;
    float *a = row, *b = row + half;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float x = a[i], y = b[i];
        a[i] = x * c[i] - sign * y * s[i];
        b[i] = y * c[i] + sign * x * s[i];
    }
}

static void rotate_row(const struct attention *a, void *array, int64_t heads, int64_t r, float *row)
{
    int64_t n = heads * a->head_dim;
    row = place(row, array, a->dtype, r * n);
    if (a->dtype != RELORA_F32) load(row, array, a->dtype, r * n, n);
    for (int64_t h = 0; h < heads; h++) turn(a, row + h * a->head_dim, r % a->seq, 1.0f);
    settle(array, a->dtype, r * n, row, n);
}

void cpu_rotate(const struct attention *a, void *q, void *k)
{
    int64_t count = a->batch * a->seq, parts = a->engine->threads;
#pragma omp parallel for num_threads(a->engine->threads) schedule(static)
    for (int64_t part = 0; part < parts; part++)
        for (int64_t r = count * part / parts; r < count * (part + 1) / parts; r++) {
            rotate_row(a, q, a->heads, r, piece(a, part));
            rotate_row(a, k, a->kv_heads, r, piece(a, part));
        }
}

struct head {      /* one of an outside array */
    int64_t which; /* over all sequences */
    int64_t heads; /* that the array has */
};

/* Element of the outside array where row t of a head begins. */
INLINE int64_t outside(const struct attention *a, struct head h, int64_t t)
{
    return ((h.which / h.heads * a->seq + t) * h.heads + h.which % h.heads) * a->head_dim;
}

/* to = factor * from; both may be the same. */
INLINE void copy_scaled(float *to, const float *from, float factor, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = factor * from[i];
}

static void take_head(const struct attention *a, float *to, const void *from, struct head h, float factor)
{
    struct size s = size_of(a);
    if (s.width > a->head_dim || s.rows > a->seq) memset(to, 0, (size_t)s.floats * sizeof *to);
    for (int64_t t = 0; t < a->seq; t++) {
        float *row = to + t * s.width;
        copy_scaled(row, look(row, from, a->dtype, outside(a, h, t), a->head_dim), factor, a->head_dim);
    }
}

static void give_head(const struct attention *a, void *to, float *from, struct head h, int rotated,
                      float factor)
{
    int64_t width = size_of(a).width;
    for (int64_t t = 0; t < a->seq; t++) {
        float *row = from + t * width;
        if (rotated) turn(a, row, t, -1.0f);
        float *last = place(row, to, a->dtype, outside(a, h, t));
        copy_scaled(last, row, factor, a->head_dim);
        settle(to, a->dtype, outside(a, h, t), last, a->head_dim);
    }
}

INLINE void transpose(float *to, const float *from, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i += BLOCK)
        for (int64_t j = 0; j < cols; j++)
            for (int64_t k = i; k < i + BLOCK; k++) to[j * rows + k] = from[k * cols + j];
}

/* Of a tile, whose sums stay in one half of the registers there are. */
enum { VECTORS = BLOCK / LANES, ROWS = REGISTERS / (2 * VECTORS) };

/* c [ROWS, 16] (+)= a b, where a[r][p] is a[r * row + p * col]. Each sum is one chain in the order of p: its bits do
 * not depend on the tile. A line is volatile to be read once: gcc 12 for Zen 3 would read it again for each row. */
INLINE void tile(float *c, int64_t ldc, const float *a, int64_t row, int64_t col, const float *b, int64_t ldb,
                 int64_t depth, int add)
{
    vec sum[ROWS][VECTORS] = {{{0}}};
    for (int r = 0; add && r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] = *(const vec *)(c + r * ldc + v * LANES);
    for (int64_t p = 0; p < depth; p++) {
        vec line[VECTORS];
        for (int v = 0; v < VECTORS; v++) line[v] = *(const volatile vec *)(b + p * ldb + v * LANES);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) sum[r][v] += a[r * row + p * col] * line[v];
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) *(vec *)(c + r * ldc + v * LANES) = sum[r][v];
}

/* c [m, n] (+)= a b; m and n are multiples of 16. */
INLINE void multiply(float *c, int64_t ldc, const float *a, int64_t row, int64_t col, const float *b,
                     int64_t ldb, int64_t m, int64_t n, int64_t depth, int add)
{
    for (int64_t i = 0; i < m; i += ROWS)
        for (int64_t j = 0; j < n; j += BLOCK)
            tile(c + i * ldc + j, ldc, a + i * row, row, col, b + j, ldb, depth, add);
}

/* Largest of the first `allowed`, in sixteen lanes; `count` is a multiple of 16. */
INLINE float row_max(const float *score, int64_t allowed, int64_t count)
{
    float lane[BLOCK], top = score[0];
    for (int i = 0; i < BLOCK; i++) lane[i] = top;
    for (int64_t j = 0; j < count; j += BLOCK)
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) {
            float value = j + i < allowed ? score[j + i] : top;
            lane[i] = value > lane[i] ? value : lane[i];
        }
    for (int i = 0; i < BLOCK; i++) top = lane[i] > top ? lane[i] : top;
    return top;
}

/* score[0 .. count) := exp(score - max) up to the query itself, 0 after it. Returns the sum, and the
 * maximum through `max`. */
INLINE float softmax_row(float *score, int64_t allowed, int64_t count, float *max)
{
    float top = row_max(score, allowed, count), sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        float p = j < allowed ? fast_exp(score[j] - top) : 0.0f;
        score[j] = p;
        sum += p;
    }
    *max = top;
    return sum;
}

static void forward_head(const struct attention *a, const struct attention_pass *p, int64_t which,
                         float *scratch)
{
    struct size s = size_of(a);
    struct head mine = {which, a->heads}, shared = {which / (a->heads / a->kv_heads), a->kv_heads};
    float *q = scratch, *k = q + s.floats, *k_t = k + s.floats, *v = k_t + s.floats, *result = v + s.floats;
    float *score = result + BLOCK * s.width, *log_sum = p->log_sum + which * a->seq;

    take_head(a, q, p->q, mine, a->factor);
    take_head(a, k, p->k, shared, 1.0f);
    take_head(a, v, p->v, shared, 1.0f);
    transpose(k_t, k, s.rows, s.width);
    for (int64_t first = 0; first < a->seq; first += BLOCK) {
        int64_t seen = first + BLOCK; /* keys that any query of this block may look at */
        multiply(score, s.rows, q + first * s.width, s.width, 1, k_t, s.rows, BLOCK, seen, s.width, 0);
        float inverse[BLOCK];
        for (int64_t i = 0; i < BLOCK; i++) {
            float max, sum = softmax_row(score + i * s.rows, first + i + 1, seen, &max);
            inverse[i] = 1.0f / sum;
            if (first + i < a->seq) log_sum[first + i] = max + logf(sum);
        }
        multiply(result, s.width, score, s.rows, 1, v, s.width, BLOCK, s.width, seen, 0);
        for (int64_t i = 0; i < BLOCK && first + i < a->seq; i++) {
            float *row = result + i * s.width,
                  *out = place(row, p->out, a->dtype, outside(a, mine, first + i));
            copy_scaled(out, row, inverse[i], a->head_dim);
            settle(p->out, a->dtype, outside(a, mine, first + i), out, a->head_dim);
        }
    }
}

/* From scores and dP: score := P, slope := P (dP - sum of P dP), the gradient by the scores. */
INLINE void softmax_row_backward(float *score, float *slope, float log_sum, int64_t allowed, int64_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        float p = j < allowed ? fast_exp(score[j] - log_sum) : 0.0f;
        score[j] = p;
        sum += p * slope[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < count; j++) slope[j] = score[j] * (slope[j] - sum);
}

/* The scratch memory of a backward: of a head of q, and of the head of k and v that several of those share. */
struct room {
    float *dq, *d_out, *q;          /* of a head of q */
    float *dk, *dv, *k, *k_t, *v_t; /* shared */
    float *score, *slope;           /* of a block of queries */
};

static struct room rooms(struct size s, float *scratch)
{
    struct room r = {.dq = scratch};
    r.dk = r.dq + s.floats;
    r.dv = r.dk + s.floats;
    r.d_out = r.dv + s.floats;
    r.q = r.d_out + s.floats;
    r.k = r.q + s.floats;
    r.k_t = r.k + s.floats;
    r.v_t = r.k_t + s.floats;
    r.score = r.v_t + s.floats;
    r.slope = r.score + BLOCK * s.rows;
    return r;
}

/* One head of q: its dq, and what it adds to dk and dv. */
static void backward_head(const struct attention *a, const struct attention_pass *p,
                          const struct attention_gradient *g, int64_t which, const struct room *r)
{
    struct size s = size_of(a);
    struct head mine = {which, a->heads};
    const float *log_sum = p->log_sum + which * a->seq;

    take_head(a, r->q, p->q, mine, a->factor);
    take_head(a, r->d_out, g->dout, mine, 1.0f);
    for (int64_t first = 0; first < a->seq; first += BLOCK) {
        int64_t seen = first + BLOCK;
        const float *query = r->q + first * s.width, *slice = r->d_out + first * s.width;
        multiply(r->score, s.rows, query, s.width, 1, r->k_t, s.rows, BLOCK, seen, s.width, 0);
        multiply(r->slope, s.rows, slice, s.width, 1, r->v_t, s.rows, BLOCK, seen, s.width, 0);
        for (int64_t i = 0; i < BLOCK; i++) /* a row of the padding has no gradient: its d_out is 0 */
            softmax_row_backward(r->score + i * s.rows, r->slope + i * s.rows,
                                 first + i < a->seq ? log_sum[first + i] : 0.0f, first + i + 1, seen);
        multiply(r->dq + first * s.width, s.width, r->slope, s.rows, 1, r->k, s.width, BLOCK, s.width, seen,
                 0);
        multiply(r->dk, s.width, r->slope, 1, s.rows, query, s.width, seen, s.width, BLOCK, 1);
        multiply(r->dv, s.width, r->score, 1, s.rows, slice, s.width, seen, s.width, BLOCK, 1);
    }
    give_head(a, g->dq, r->dq, mine, 1, a->factor);
}

/* One head of k and v, with the heads of q that it serves, one after the other. */
static void backward_group(const struct attention *a, const struct attention_pass *p,
                           const struct attention_gradient *g, int64_t which, float *scratch)
{
    struct size s = size_of(a);
    const struct room r = rooms(s, scratch);
    struct head shared = {which, a->kv_heads};
    int64_t group = a->heads / a->kv_heads;

    memset(r.dk, 0, (size_t)s.floats * sizeof(float));
    memset(r.dv, 0, (size_t)s.floats * sizeof(float));
    take_head(a, r.q, p->v, shared, 1.0f); /* on its way to v_t */
    transpose(r.v_t, r.q, s.rows, s.width);
    take_head(a, r.k, p->k, shared, 1.0f);
    transpose(r.k_t, r.k, s.rows, s.width);
    for (int64_t i = which * group; i < (which + 1) * group; i++) backward_head(a, p, g, i, &r);
    give_head(a, g->dk, r.dk, shared, 1, 1.0f);
    give_head(a, g->dv, r.dv, shared, 0, 1.0f);
}

void cpu_attention_forward(const struct attention *a, const struct attention_pass *p)
{
    int64_t count = a->batch * a->heads, parts = a->engine->threads;
#pragma omp parallel for num_threads(a->engine->threads) schedule(static)
    for (int64_t part = 0; part < parts; part++)
        for (int64_t i = count * part / parts; i < count * (part + 1) / parts; i++)
            forward_head(a, p, i, piece(a, part));
}

void cpu_attention_backward(const struct attention *a, const struct attention_pass *p,
                            const struct attention_gradient *g)
{
    int64_t count = a->batch * a->kv_heads, parts = a->engine->threads;
#pragma omp parallel for num_threads(a->engine->threads) schedule(static)
    for (int64_t part = 0; part < parts; part++)
        for (int64_t i = count * part / parts; i < count * (part + 1) / parts; i++)
            backward_group(a, p, g, i, piece(a, part));
}
