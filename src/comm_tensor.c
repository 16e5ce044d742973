/* Tensors of any layout in the wire, and summed over all ranks. */
#include "comm.h"

static relora_status copy_between(const struct call *c, struct view to, struct view from)
{
    const struct scale one = {.value = 1};
    return to.dtype == from.dtype ? call_copy(c, to, from) : call_convert(c, to, from, one);
}

/* Some of the elements `first` to `end` of a tensor, as many as are a matrix: all, or where rows have gaps
 * the rest of a row or whole rows. */
struct view comm_piece(const relora_tensor *t, int64_t first, int64_t end)
{
    const struct shape *s = &t->shape;
    int dense = shape_is_dense(s);
    int64_t column = dense ? 0 : first % s->cols, left = end - first;
    int64_t cols = dense || column + left < s->cols ? left : s->cols - column;
    int64_t rows = dense || column || left < s->cols ? 1 : left / s->cols;
    int64_t at = dense ? first : first / s->cols * s->ld + column;
    unsigned char *data = (unsigned char *)t->data + (size_t)at * dtype_size(s->dtype);
    return (struct view){data, rows, cols, dense ? cols : s->ld, s->dtype};
}

/* Elements `first` to `end` of a tensor into `wire`, or out of it. */
relora_status comm_copy(const struct call *c, const relora_tensor *t, int64_t first, int64_t end, int to_wire,
                        float *wire)
{
    while (first < end) {
        struct view own = comm_piece(t, first, end);
        struct view out = {wire, own.rows, own.cols, own.cols, RELORA_F32};
        TRY(to_wire ? copy_between(c, out, own) : copy_between(c, own, out));
        first += own.rows * own.cols;
        wire += own.rows * own.cols;
    }
    return RELORA_OK;
}

relora_status comm_sum_tensor(const struct call *c, const struct comm *comm, const char *what,
                              const relora_tensor *t)
{
    int64_t n = t->shape.count, piece = comm_part(comm) * comm->table.size;
    for (int64_t begin = 0; begin < n; begin += piece) {
        int64_t end = n - begin < piece ? n : begin + piece;
        TRY(comm_copy(c, t, begin, end, 1, comm->wire));
        TRY(comm_sum(c, comm, what, comm->wire, end - begin, RELORA_COMM_F32));
        TRY(comm_copy(c, t, begin, end, 0, comm->wire));
    }
    return RELORA_OK;
}
