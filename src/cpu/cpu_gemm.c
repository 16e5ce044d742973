/* Who makes a product: the providers of this build, in the order in which they are asked. The first that can make it
 * does; the last, the library's own, can make every one.
 *
 * A product in pieces: as many as the queue has threads, by its shape alone, each a product that one thread makes
 * on its own. So it does not matter how many threads come: a piece that no other takes is made by the caller. */
#include "cpu.h"
#include "cpu_clones.h"

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

/* A product that is only told of has no data. */
static struct view rows_of(struct view v, int64_t first, int64_t count)
{
    if (v.data) v.data = (unsigned char *)v.data + (size_t)(first * v.ld) * element_size(v);
    v.rows = count;
    return v;
}

static struct view cols_of(struct view v, int64_t first, int64_t count)
{
    if (v.data) v.data = (unsigned char *)v.data + (size_t)first * element_size(v);
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
    if (g->bias && g->c.data) piece.bias = g->bias + col;
    return piece;
}

/* ---- what providers do to a piece beside multiplying ---- */

CPU_CLONES static void round_row(bf16 *c, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j++) c[j] = bf16_nearest(sums[j]);
}

CPU_CLONES static void widen_row(float *sums, const bf16 *c, int64_t n)
{
    for (int64_t j = 0; j < n; j++) sums[j] = bf16_to_float(c[j]);
}

void cpu_gemm_widen(struct view to, struct view from)
{
    for (int64_t i = 0; i < to.rows; i++) widen_row(row_f32(to, i), row_bf16(from, i), to.cols);
}

void cpu_gemm_round(struct view to, struct view from)
{
    for (int64_t i = 0; i < to.rows; i++) round_row(row_bf16(to, i), row_f32(from, i), to.cols);
}

void cpu_gemm_add_bias(struct view c, const float *bias)
{
    for (int64_t i = 0; i < c.rows; i++)
        for (int64_t j = 0; j < c.cols; j++) row_f32(c, i)[j] += bias[j];
}

/* ---- the providers ---- */

static relora_status own(struct queue *q, const struct gemm *g)
{
    return cpu_gemm_own(q, g, cpu_gemm_own_best());
}

static const struct provider {
    relora_status (*make)(struct queue *q, const struct gemm *g);
    relora_status (*tell)(const struct queue *q, const struct gemm *g, struct gemm_path *path);
} providers[] = {
#if RELORA_ONEDNN
    {cpu_gemm_onednn, cpu_gemm_onednn_tell},
#endif
#ifdef RELORA_BLAS
    {cpu_gemm_blas, cpu_gemm_blas_tell},
#endif
    {own, cpu_gemm_own_tell},
};
enum { PROVIDERS = sizeof providers / sizeof *providers };

relora_status cpu_gemm(struct queue *q, const struct gemm *g)
{
    relora_status status = RELORA_E_UNSUPPORTED;
    if (!g->c.rows || !g->c.cols || !gemm_depth(g)) return cpu_gemm_portable(q, g);
    for (int i = 0; i < PROVIDERS && status == RELORA_E_UNSUPPORTED; i++) status = providers[i].make(q, g);
    return status;
}

relora_status cpu_gemm_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path)
{
    relora_status status = RELORA_E_UNSUPPORTED;
    *path = (struct gemm_path){0};
    if (!g->c.rows || !g->c.cols || !gemm_depth(g)) return RELORA_OK;
    for (int i = 0; i < PROVIDERS && status == RELORA_E_UNSUPPORTED; i++)
        status = providers[i].tell(q, g, path);
    return status;
}
