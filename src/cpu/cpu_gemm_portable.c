/* The matrix product in plain C: the oracle of the tests, and what there is without oneDNN. Every
 * sum is made in double, from the first term to the last, so the bits depend on nothing but the
 * operands. A tile of c is finished at a time, with the piece of b it needs unpacked to double. */
#include "cpu.h"

enum { TILE_ROWS = 16, TILE_COLS = 32, TILE_DEPTH = 128 };

static double value_at(struct view v, int64_t i, int64_t j)
{
    return v.dtype == RELORA_F32 ? (double)row_f32(v, i)[j] : (double)bf16_to_float(row_bf16(v, i)[j]);
}

/* op(v), rows i0.. and columns j0.., as doubles */
static void unpack(double *to, struct view v, int transposed, int64_t i0, int64_t rows, int64_t j0,
                   int64_t cols, int64_t pitch)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            to[i * pitch + j] = transposed ? value_at(v, j0 + j, i0 + i) : value_at(v, i0 + i, j0 + j);
}

static void multiply(double sum[TILE_ROWS][TILE_COLS], double (*a)[TILE_DEPTH], double (*b)[TILE_COLS],
                     int64_t rows, int64_t depth)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < TILE_COLS; j++) sum[i][j] += a[i][k] * b[k][j];
}

static void store(const struct gemm *g, double sum[TILE_ROWS][TILE_COLS], int64_t i0, int64_t rows,
                  int64_t j0, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double value = sum[i][j];
            if (g->bias) value += (double)g->bias[j0 + j];
            if (g->accumulate) value += value_at(g->c, i0 + i, j0 + j);
            if (g->c.dtype == RELORA_F32) row_f32(g->c, i0 + i)[j0 + j] = (float)value;
            else row_bf16(g->c, i0 + i)[j0 + j] = bf16_nearest((float)value);
        }
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tiles_across(const struct gemm *g)
{
    return (g->c.cols + TILE_COLS - 1) / TILE_COLS;
}

static void tile(void *job, int64_t t)
{
    const struct gemm *g = job;
    int64_t i0 = t / tiles_across(g) * TILE_ROWS, j0 = t % tiles_across(g) * TILE_COLS;
    double sum[TILE_ROWS][TILE_COLS] = {{0}};
    double a[TILE_ROWS][TILE_DEPTH], b[TILE_DEPTH][TILE_COLS] = {{0}};
    int64_t rows = least(TILE_ROWS, g->c.rows - i0), cols = least(TILE_COLS, g->c.cols - j0);
    int64_t depth = g->ta ? g->a.rows : g->a.cols;
    for (int64_t k0 = 0; k0 < depth; k0 += TILE_DEPTH) {
        int64_t k = least(TILE_DEPTH, depth - k0);
        unpack(&a[0][0], g->a, g->ta, i0, rows, k0, k, TILE_DEPTH);
        unpack(&b[0][0], g->b, g->tb, k0, k, j0, cols, TILE_COLS);
        multiply(sum, a, b, rows, k);
    }
    store(g, sum, i0, rows, j0, cols);
}

relora_status cpu_gemm_portable(struct queue *q, const struct gemm *g)
{
    struct gemm job = *g;
    cpu_loop(q, (g->c.rows + TILE_ROWS - 1) / TILE_ROWS * tiles_across(g), 1, tile, &job);
    return RELORA_OK;
}
