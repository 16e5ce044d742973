/* The innermost part of the library's own product, for one width of vectors: included once for each, with
 *     TILE(name)     the name of a function here
 *     TILE_TARGET    the instruction set, as a function attribute
 *     TILE_BYTES     of a vector
 *     TILE_MR        rows of a tile
 *     TILE_NV        vectors in a row of a tile
 * A tile stays in registers while the depth of a block goes by. Each of its sums is one chain of fused
 * multiply-adds, where the processor has them: the bits do not depend on the width. */

typedef float TILE(vector) __attribute__((vector_size(TILE_BYTES)));
/* anywhere in memory */
typedef float TILE(loose) __attribute__((vector_size(TILE_BYTES), aligned(4), may_alias));
enum { TILE(LANES) = TILE_BYTES / sizeof(float), TILE(NR) = TILE_NV * TILE(LANES) };

/* c := or += a b; a is packed by columns of TILE_MR, b by rows of NR. */
TILE_TARGET static void TILE(multiply)(int64_t depth, const float *a, const float *b, float *c, int64_t ldc,
                                       int add)
{
    TILE(vector) sum[TILE_MR][TILE_NV] = {{{0}}};
    for (int64_t k = 0; k < depth; k++, a += TILE_MR, b += TILE(NR)) {
        const TILE(loose) *row = (const TILE(loose) *)b;
        TILE_UNROLL for (int i = 0; i < TILE_MR; i++) TILE_UNROLL for (int j = 0; j < TILE_NV; j++)
            sum[i][j] += a[i] * row[j];
    }
    TILE_UNROLL for (int i = 0; i < TILE_MR; i++) TILE_UNROLL for (int j = 0; j < TILE_NV; j++)
    {
        TILE(loose) *to = (TILE(loose) *)(c + i * ldc) + j;
        *to = add ? sum[i][j] + *to : sum[i][j];
    }
}

/* Columns of a packed panel beyond the matrix are 0. */
TILE_TARGET static void TILE(pack_a)(float *to, const struct panel *p)
{
    panel_pack(to, p, TILE_MR);
}

TILE_TARGET static void TILE(pack_b)(float *to, const struct panel *p)
{
    panel_pack(to, p, TILE(NR));
}

static const struct tile TILE(tile) = {TILE_MR, TILE(NR), TILE(multiply), TILE(pack_a), TILE(pack_b)};

#undef TILE
#undef TILE_TARGET
#undef TILE_BYTES
#undef TILE_MR
#undef TILE_NV
