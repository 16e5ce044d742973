/* Forward and backward on plain pointers: tensors that live as long as the call. */
#include "linear_pass.h"

struct matrix { /* an argument */
    const char *name;
    const void *data;
    int64_t cols, ld;
};

static relora_status lend(relora_tensor *t, const relora_linear *linear, const char *fn, int64_t rows,
                          struct matrix m)
{
    const relora_context *ctx = linear->ctx;
    size_t size = dtype_size(linear->options.dtype);
    if (!m.data && rows) FAIL(ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, m.name);
    if ((uintptr_t)m.data % size)
        FAIL(ctx, RELORA_E_LAYOUT, "%s: %s is at %p, not a multiple of %zu bytes", fn, m.name, m.data, size);
    if (m.ld < m.cols)
        FAIL(ctx, RELORA_E_LAYOUT, "%s: ld%s is %lld, but a row has %lld elements", fn, m.name, (long long)m.ld,
             (long long)m.cols);
    *t = (relora_tensor){.ctx = linear->ctx,
                         .device = linear->device,
                         .data = (void *)(uintptr_t)m.data, /* what is const is only read */
                         .memory = MEMORY_BORROWED};
    return shape_make(&t->shape, ctx, fn, linear->options.dtype, 2, (int64_t[]){rows, m.cols}, (int64_t[]){m.ld, 1});
}

static relora_status check_rows(const relora_linear *linear, const relora_stream *stream, const char *fn,
                                int64_t rows)
{
    TRY(linear_check(linear, stream, fn));
    if (rows < 0) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: rows is %lld, less than 0", fn, (long long)rows);
    return RELORA_OK;
}

relora_status relora_linear_forward_at(relora_linear *linear, relora_stream *stream, int64_t rows, const void *x,
                                       int64_t ldx, void *y, int64_t ldy, uint64_t call, uint32_t flags)
{
    GIVEN(stream);
    const char *fn = "relora_linear_forward_at";
    relora_tensor tx, ty;
    struct pass p;
    TRY(check_rows(linear, stream, fn, rows));
    TRY(lend(&tx, linear, fn, rows, (struct matrix){"x", x, linear->options.in_features, ldx}));
    TRY(lend(&ty, linear, fn, rows, (struct matrix){"y", y, linear->options.out_features, ldy}));
    TRY(pass_forward_open(&p, fn, linear, stream, &tx, "y", &ty, call, flags));
    return pass_forward_run(&p, &ty);
}

relora_status relora_linear_backward_at(relora_linear *linear, relora_stream *stream, int64_t rows, const void *x,
                                        int64_t ldx, const void *dy, int64_t lddy, void *dx, int64_t lddx,
                                        uint64_t call, uint32_t flags)
{
    GIVEN(stream);
    const char *fn = "relora_linear_backward_at";
    relora_tensor tx, tdy, tdx;
    struct pass p;
    TRY(check_rows(linear, stream, fn, rows));
    TRY(lend(&tx, linear, fn, rows, (struct matrix){"x", x, linear->options.in_features, ldx}));
    TRY(lend(&tdy, linear, fn, rows, (struct matrix){"dy", dy, linear->options.out_features, lddy}));
    if (dx) TRY(lend(&tdx, linear, fn, rows, (struct matrix){"dx", dx, linear->options.in_features, lddx}));
    TRY(pass_backward_open(&p, fn, linear, stream, &tx, "dy", &tdy, dx ? &tdx : NULL, call, flags));
    return pass_backward_run(&p, &tdy, dx ? &tdx : NULL, flags);
}
