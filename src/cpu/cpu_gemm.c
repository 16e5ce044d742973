/* A product in pieces: as many as the queue has threads, by its shape alone, each a product that one thread makes
 * on its own. So it does not matter how many threads come: a piece that no other takes is made by the caller. */
#include "cpu.h"

enum {
    PIECE_LEAST = 1 << 18, /* multiply-adds of a piece that are worth a thread */
    PIECE_UNIT = 16,       /* rows and columns come in these */
    /* What a piece spends on each element of a row of b, and of a column of a, beside multiplying: in
     * multiply-adds, measured with oneDNN on AVX2, AVX-512 and AMX. So pieces are rather wide than tall. */
    COST_B = 24,
    COST_A = 96
};

static int64_t divide_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

/* One of `parts` nearly equal parts of n. */
static int64_t part_of(int64_t n, int64_t parts)
{
    return divide_up(divide_up(n, parts), PIECE_UNIT) * PIECE_UNIT;
}

static double cost(int64_t rows, int64_t cols)
{
    return (double)rows * (double)cols + COST_B * (double)cols + COST_A * (double)rows;
}

static int64_t gemm_depth(const struct gemm *g)
{
    return g->ta ? g->a.rows : g->a.cols;
}

struct gemm_cut cpu_gemm_cut(const struct gemm *g, int32_t threads)
{
    double work = (double)g->c.rows * (double)g->c.cols * (double)gemm_depth(g) / PIECE_LEAST;
    int64_t most = work < threads ? (int64_t)work : threads, best = 1;
    for (int64_t down = 1; down <= most; down++)
        if (cost(part_of(g->c.rows, down), part_of(g->c.cols, most / down)) <
            cost(part_of(g->c.rows, best), part_of(g->c.cols, most / best)))
            best = down;
    if (most < 2) return (struct gemm_cut){g->c.rows, g->c.cols, 1, 1};
    int64_t rows = part_of(g->c.rows, best), cols = part_of(g->c.cols, most / best);
    return (struct gemm_cut){rows, cols, divide_up(g->c.rows, rows), divide_up(g->c.cols, cols)};
}

static size_t element_size(struct view v)
{
    return v.dtype == RELORA_F32 ? sizeof(float) : sizeof(bf16);
}

static struct view rows_of(struct view v, int64_t first, int64_t count)
{
    v.data = (unsigned char *)v.data + (size_t)(first * v.ld) * element_size(v);
    v.rows = count;
    return v;
}

static struct view cols_of(struct view v, int64_t first, int64_t count)
{
    v.data = (unsigned char *)v.data + (size_t)first * element_size(v);
    v.cols = count;
    return v;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct gemm cpu_gemm_piece(const struct gemm *g, const struct gemm_cut *cut, int64_t i)
{
    struct gemm piece = *g;
    int64_t row = i / cut->across * cut->rows, rows = least(cut->rows, g->c.rows - row);
    int64_t col = i % cut->across * cut->cols, cols = least(cut->cols, g->c.cols - col);
    piece.c = cols_of(rows_of(g->c, row, rows), col, cols);
    piece.a = g->ta ? cols_of(g->a, row, rows) : rows_of(g->a, row, rows);
    piece.b = g->tb ? rows_of(g->b, col, cols) : cols_of(g->b, col, cols);
    if (g->bias) piece.bias = g->bias + col;
    return piece;
}
