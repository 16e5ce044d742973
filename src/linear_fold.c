/* W + s B A as one matrix. */
#include "linear_fold.h"

/* Rows `first` and on. In F32 the product adds to a copy of W; in BF16 the sum is rounded once. */
static relora_status fold_slice(const struct pass *p, const struct pass_memory *m, int64_t first,
                                int64_t rows)
{
    struct view w = view_rows(pass_param(p, RELORA_PARAM_WEIGHT), first, rows);
    struct view y = view_rows(m->folded, first, rows);
    struct gemm g = {.a = view_rows(m->b, first, rows), .b = m->a};
    if (linear_in_out(&p->linear->options)) /* A^T (s B)^T */
        g = (struct gemm){.a = view_cols(m->a, first, rows), .ta = 1, .b = m->b, .tb = 1};
    if (y.dtype == RELORA_F32) {
        TRY(pass_convert(p, y, w, pass_unscaled));
        g.c = y, g.accumulate = 1;
        return pass_product(p, g);
    }
    g.c = view_rows(m->slice, 0, rows);
    TRY(pass_product(p, g));
    struct fold f = {.y = y, .w = w, .x = g.c, .draw = p->rounding, .first = (uint64_t)(first * w.cols)};
    return call_queue(p->call, p->call->backend->fold(p->call->queue, &f));
}

relora_status fold_weight(const struct pass *p, struct pass_memory *m)
{
    for (int64_t first = 0, rows; first < m->folded.rows; first += rows) {
        rows = linear_slice_rows(p->linear, first);
        TRY(fold_slice(p, m, first, rows));
    }
    return RELORA_OK;
}
