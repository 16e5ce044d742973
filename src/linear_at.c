/* Forward and backward on plain pointers: tensors that live as long as the call. */
#include "linear_pass.h"

struct matrix { /* an argument */
    const char *name;
    const void *data;
    int64_t cols, ld;
};

static relora_status lend(const struct call *c, relora_tensor *t, const relora_linear *linear, int64_t rows,
                          struct matrix m)
{
    size_t size = dtype_size(linear->options.dtype);
    union {
        const void *lent;
        void *data; /* what is const is only read */
    } memory = {m.data};
    if (!m.data && rows) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", m.name);
    if ((uintptr_t)m.data % size)
        FAIL(c, RELORA_E_LAYOUT, "%s is at %p, not a multiple of %zu bytes", m.name, m.data, size);
    if (m.ld < m.cols)
        FAIL(c, RELORA_E_LAYOUT, "ld%s is %lld, but a row has %lld elements", m.name, (long long)m.ld,
             (long long)m.cols);
    *t = (relora_tensor){
        .ctx = linear->ctx, .device = linear->device, .data = memory.data, .memory = MEMORY_BORROWED};
    return shape_make(c, &t->shape, linear->options.dtype, 2, (int64_t[]){rows, m.cols},
                      (int64_t[]){m.ld, 1});
}

static relora_status open_rows(struct call *c, const relora_linear *linear, relora_stream *stream,
                               int64_t rows)
{
    TRY(linear_open(c, linear, stream));
    if (rows < 0) FAIL(c, RELORA_E_ARGUMENT, "rows is %lld, less than 0", (long long)rows);
    return RELORA_OK;
}

relora_status relora_linear_forward_at(relora_linear *linear, relora_stream *stream, int64_t rows,
                                       const void *x, int64_t ldx, void *y, int64_t ldy, uint64_t call,
                                       uint32_t flags)
{
    struct call c = {.fn = "relora_linear_forward_at"};
    relora_tensor tx, ty;
    struct passes one = {.count = 1};
    TRY(open_rows(&c, linear, stream, rows));
    TRY(lend(&c, &tx, linear, rows, (struct matrix){"x", x, linear->options.in_features, ldx}));
    TRY(lend(&c, &ty, linear, rows, (struct matrix){"y", y, linear->options.out_features, ldy}));
    TRY(pass_forward_open(&c, &one.pass[0], linear, &tx, "y", &ty, call, flags));
    return pass_forward_run(&one);
}

relora_status relora_linear_backward_at(relora_linear *linear, relora_stream *stream, int64_t rows,
                                        const void *x, int64_t ldx, const void *dy, int64_t lddy, void *dx,
                                        int64_t lddx, uint64_t call, uint32_t flags)
{
    struct call c = {.fn = "relora_linear_backward_at"};
    relora_tensor tx, tdy, tdx;
    struct passes one = {.count = 1};
    TRY(open_rows(&c, linear, stream, rows));
    TRY(lend(&c, &tx, linear, rows, (struct matrix){"x", x, linear->options.in_features, ldx}));
    TRY(lend(&c, &tdy, linear, rows, (struct matrix){"dy", dy, linear->options.out_features, lddy}));
    if (dx) TRY(lend(&c, &tdx, linear, rows, (struct matrix){"dx", dx, linear->options.in_features, lddx}));
    TRY(pass_backward_open(&c, &one.pass[0], linear, &tx, "dy", &tdy, dx ? &tdx : NULL, call, flags));
    return pass_backward_run(&one, dx ? &tdx : NULL, flags);
}
