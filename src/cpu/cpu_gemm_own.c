/* The library's own product, for what the matrix library cannot do on this processor, and where there is none.
 * After Goto and van de Geijn (TOMS 2008): a block of b is packed and stays in the second cache, a block of a in
 * the first, and a tile of c in registers (cpu_tile.h). Packing widens BF16, so both types are as fast.
 * Sums are F32, over blocks of fixed depth and then over the blocks, in one order for each element. */
#include "cpu.h"
#include "cpu_clones.h"

enum {
    DEPTH = 512,     /* of a block; where one ends is seen in the bits */
    WIDE = 768,      /* columns of a block of b, at most */
    TALL = 120,      /* rows of a block of a, about */
    ROUNDED = 768,   /* rows whose sums wait in F32 until they are rounded to BF16 */
    WIDEST_ROW = 32, /* columns and rows of any tile, at most */
    WIDEST_COL = 16
};

struct panel { /* depth x count elements of an operand; of them `filled` are there */
    const void *data;
    int64_t along, across; /* from one element to the next in depth, and in the panel */
    int64_t depth, filled;
    relora_dtype dtype;
};

struct tile {
    int64_t rows, cols;
    void (*multiply)(int64_t depth, const float *a, const float *b, float *c, int64_t ldc, int add);
    void (*pack_a)(float *to, const struct panel *p);
    void (*pack_b)(float *to, const struct panel *p);
};

/* ---- packing ---- */

enum { CHUNK = 16 }; /* of depth: what a cache line holds of a row that is read across */

#define INLINE static inline __attribute__((always_inline))

INLINE float element(const struct panel *p, int64_t k, int64_t i)
{
    int64_t at = k * p->along + i * p->across;
    return p->dtype == RELORA_F32 ? ((const float *)p->data)[at] : bf16_to_float(((const bf16 *)p->data)[at]);
}

/* The elements of a row of the panel lie side by side. */
INLINE void pack_along(float *to, const struct panel *p, int64_t count)
{
    for (int64_t k = 0; k < p->depth; k++)
        for (int64_t i = 0; i < count; i++) to[k * count + i] = element(p, k, i);
}

/* Those of a column do: as much of each is taken at a time as comes from memory with the first. */
INLINE void pack_across(float *to, const struct panel *p, int64_t count)
{
    int64_t k = 0;
    for (; k + CHUNK <= p->depth; k += CHUNK)
        for (int64_t i = 0; i < count; i++)
            for (int64_t c = 0; c < CHUNK; c++) to[(k + c) * count + i] = element(p, k + c, i);
    for (; k < p->depth; k++)
        for (int64_t i = 0; i < count; i++) to[k * count + i] = element(p, k, i);
}

static void pack_edge(float *to, const struct panel *p, int64_t count)
{
    for (int64_t k = 0; k < p->depth; k++)
        for (int64_t i = 0; i < count; i++) to[k * count + i] = i < p->filled ? element(p, k, i) : 0;
}

/* Inlined into functions that know `count` and the vectors of the processor; here what else is constant in a
 * loop becomes so for the compiler. */
INLINE void panel_pack(float *to, const struct panel *p, int64_t count)
{
    struct panel known = *p;
    if (p->filled < count) {
        pack_edge(to, p, count);
    } else if (p->across == 1) {
        known.across = 1;
        if (p->dtype == RELORA_F32) known.dtype = RELORA_F32, pack_along(to, &known, count);
        else known.dtype = RELORA_BF16, pack_along(to, &known, count);
    } else {
        known.along = 1;
        if (p->dtype == RELORA_F32) known.dtype = RELORA_F32, pack_across(to, &known, count);
        else known.dtype = RELORA_BF16, pack_across(to, &known, count);
    }
}

/* ---- tiles ---- */

#if defined(__clang__)
#define TILE_UNROLL _Pragma("unroll")
#else
#define TILE_UNROLL _Pragma("GCC unroll 16")
#endif

#define TILE(name) plain_##name
#define TILE_TARGET
#define TILE_BYTES 16
#if defined(__aarch64__)
#define PLAIN_ISA RELORA_ISA_NEON
#define TILE_MR 8
#define TILE_NV 3
#else
#define PLAIN_ISA RELORA_ISA_BASE
#define TILE_MR 4
#define TILE_NV 2
#endif
#include "cpu_tile.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define TILE(name) avx2_##name
#define TILE_TARGET __attribute__((target("avx2,fma")))
#define TILE_BYTES 32
#define TILE_MR 6
#define TILE_NV 2
#include "cpu_tile.h"

#define TILE(name) avx512_##name
#define TILE_TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define TILE_BYTES 64
#define TILE_MR 14
#define TILE_NV 2
#include "cpu_tile.h"

static int has(enum own_tile which)
{
#ifdef CPU_NO_AVX512
    if (which == OWN_AVX512) return 0;
#endif
    if (which == OWN_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return which == OWN_PLAIN || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
}

static const struct tile *const tiles[] = {
    [OWN_PLAIN] = &plain_tile, [OWN_AVX2] = &avx2_tile, [OWN_AVX512] = &avx512_tile};
#else
static int has(enum own_tile which)
{
    return which == OWN_PLAIN;
}

static const struct tile *const tiles[OWN_TILES] = {[OWN_PLAIN] = &plain_tile};
#endif

/* ---- a piece ---- */

struct product {
    const struct gemm *g;
    struct gemm_cut cut;
    const struct tile *tile;
    unsigned char *memory;
    size_t pitch; /* of a piece */
};

struct blocks { /* memory of a piece */
    float *a, *b;
    float *sums; /* of rows that are to be rounded */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static struct blocks layout(unsigned char *base, size_t *bytes)
{
    const size_t a = sizeof(float) * (TALL + WIDEST_COL) * DEPTH;
    const size_t b = sizeof(float) * (WIDE + WIDEST_ROW) * DEPTH;
    *bytes = a + b + (size_t)ROUNDED * WIDE * sizeof(float);
    if (!base) return (struct blocks){NULL, NULL, NULL}; /* only the size is asked for */
    return (struct blocks){(void *)base, (void *)(base + a), (void *)(base + a + b)};
}

/* All panels of `count` rows of op(a), or columns of op(b), from `first` on; depth from k on */
static void pack_block(float *to, struct view v, int depth_is_rows, int64_t first, int64_t count, int64_t k,
                       int64_t depth, int64_t panel, void (*pack)(float *to, const struct panel *p))
{
    int64_t along = depth_is_rows ? v.ld : 1, across = depth_is_rows ? 1 : v.ld;
    size_t element = v.dtype == RELORA_F32 ? sizeof(float) : sizeof(bf16);
    for (int64_t i = 0; i < count; i += panel, to += panel * depth) {
        const unsigned char *data = v.data;
        struct panel p = {data + (size_t)((first + i) * across + k * along) * element,
                          along,
                          across,
                          depth,
                          least(panel, count - i),
                          v.dtype};
        pack(to, &p);
    }
}

/* A tile that hangs over the edge is made beside, and what is inside copied. */
static void edge(const struct tile *t, int64_t depth, const float *a, const float *b, float *c, int64_t ldc,
                 int64_t rows, int64_t cols, int add)
{
    float whole[WIDEST_COL * WIDEST_ROW];
    t->multiply(depth, a, b, whole, t->cols, 0);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ldc + j] = add ? whole[i * t->cols + j] + c[i * ldc + j] : whole[i * t->cols + j];
}

/* c := or += a b, of packed blocks */
static void multiply_blocks(const struct tile *t, int64_t depth, const float *a, const float *b, float *c,
                            int64_t ldc, int64_t rows, int64_t cols, int add)
{
    for (int64_t j = 0; j < cols; j += t->cols)
        for (int64_t i = 0; i < rows; i += t->rows) {
            const float *panel_a = a + i * depth, *panel_b = b + j * depth;
            float *to = c + i * ldc + j;
            if (rows - i >= t->rows && cols - j >= t->cols)
                t->multiply(depth, panel_a, panel_b, to, ldc, add);
            else
                edge(t, depth, panel_a, panel_b, to, ldc, least(t->rows, rows - i), least(t->cols, cols - j),
                     add);
        }
}

/* Sums of `cols` columns from col on, in F32; `add` to what is there. */
static void sum_columns(const struct product *p, const struct gemm *g, const struct blocks *m,
                        struct view sums, int64_t col, int64_t cols, int add)
{
    const struct tile *t = p->tile;
    int64_t all = g->ta ? g->a.rows : g->a.cols, tall = round_up(TALL - t->rows + 1, t->rows);
    for (int64_t k = 0; k < all; k += DEPTH) {
        int64_t depth = least(DEPTH, all - k);
        pack_block(m->b, g->b, !g->tb, col, cols, k, depth, t->cols, t->pack_b);
        for (int64_t i = 0; i < sums.rows; i += tall) {
            int64_t rows = least(tall, sums.rows - i);
            pack_block(m->a, g->a, g->ta, i, rows, k, depth, t->rows, t->pack_a);
            multiply_blocks(t, depth, m->a, m->b, row_f32(sums, i), sums.ld, rows, cols, add || k > 0);
        }
    }
}

/* Rows of c and of op(a) */
static struct gemm rows_of(const struct gemm *g, int64_t first, int64_t rows)
{
    struct gemm part = *g;
    size_t element = g->a.dtype == RELORA_F32 ? sizeof(float) : sizeof(bf16);
    part.a.data = (unsigned char *)g->a.data + (size_t)(first * (g->ta ? 1 : g->a.ld)) * element;
    part.c.data = row_bf16(g->c, first);
    part.c.rows = rows;
    return part;
}

static void make_rounded(const struct product *p, const struct gemm *g, const struct blocks *m, int64_t col,
                         int64_t cols)
{
    struct view sums = {m->sums, g->c.rows, cols, cols, RELORA_F32}, c = g->c;
    c.data = (bf16 *)c.data + col;
    c.cols = cols;
    if (g->accumulate) cpu_gemm_widen(sums, c);
    sum_columns(p, g, m, sums, col, cols, g->accumulate);
    if (g->bias) cpu_gemm_add_bias(sums, g->bias + col);
    cpu_gemm_round(c, sums);
}

static void make_piece(void *job, int64_t i)
{
    const struct product *p = job;
    struct gemm g = cpu_gemm_piece(p->g, &p->cut, i);
    size_t bytes;
    struct blocks m = layout(p->memory + (size_t)i * p->pitch, &bytes);
    for (int64_t col = 0; col < g.c.cols; col += WIDE) {
        int64_t cols = least(WIDE, g.c.cols - col);
        if (g.c.dtype == RELORA_F32) {
            struct view c = g.c;
            c.data = row_f32(c, 0) + col;
            c.cols = cols;
            sum_columns(p, &g, &m, c, col, cols, g.accumulate);
            if (g.bias) cpu_gemm_add_bias(c, g.bias + col);
        } else {
            for (int64_t row = 0; row < g.c.rows; row += ROUNDED) {
                struct gemm part = rows_of(&g, row, least(ROUNDED, g.c.rows - row));
                make_rounded(p, &part, &m, col, cols);
            }
        }
    }
}

/* ---- all of them ---- */

enum own_tile cpu_gemm_own_best(void)
{
    enum own_tile best = OWN_PLAIN;
    for (enum own_tile t = OWN_PLAIN; t < OWN_TILES; t++)
        if (has(t)) best = t;
    return best;
}

relora_status cpu_gemm_own(struct queue *q, const struct gemm *g, enum own_tile tile)
{
    struct product p = {
        .g = g, .cut = cpu_gemm_cut(g, q->threads), .tile = tiles[has(tile) ? tile : OWN_PLAIN]};
    int64_t pieces = p.cut.down * p.cut.across;
    if (!g->c.rows || !g->c.cols || !(g->ta ? g->a.rows : g->a.cols)) return cpu_gemm_portable(q, g);
    layout(NULL, &p.pitch);
    p.memory = cpu_scratch(q, (size_t)pieces * p.pitch);
    if (!p.memory) return RELORA_E_NO_MEMORY;
    cpu_loop(q, pieces, 1, make_piece, &p);
    return RELORA_OK;
}

relora_status cpu_gemm_own_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path)
{
    static const relora_isa isa[] = {
        [OWN_PLAIN] = PLAIN_ISA, [OWN_AVX2] = RELORA_ISA_AVX2, [OWN_AVX512] = RELORA_ISA_AVX512};
    struct gemm_cut cut = cpu_gemm_cut(g, cpu_threads(q));
    size_t pitch;
    layout(NULL, &pitch);
    path->provider = RELORA_PROVIDER_OWN;
    path->isa = isa[cpu_gemm_own_best()];
    path->converts = g->a.dtype != RELORA_F32;
    path->bytes = (size_t)(cut.down * cut.across) * pitch;
    return RELORA_OK;
}
