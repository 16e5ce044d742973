/* Sizes and strides of a tensor, as the host gave them, checked once so that no kernel has to.
 *
 * Every product of sizes is counted with a guard against overflow: a size that wrapped around would pass all later
 * checks and let a kernel run past its memory. */
#include "shape.h"

#include <stdio.h>

const char *dtype_name(relora_dtype dtype)
{
    return dtype_size(dtype) ? dtype_names[dtype] : "unknown";
}

/* Sizes, and with them the row-major strides. */
static relora_status set_sizes(const struct call *c, struct shape *s, const int64_t *dims)
{
    int64_t count = 1;
    int empty = 0;
    for (int32_t i = s->ndim - 1; i >= 0; i--) {
        if (dims[i] < 0) FAIL(c, RELORA_E_ARGUMENT, "shape[%d] is %lld, less than 0", i, (long long)dims[i]);
        s->dim[i] = dims[i];
        s->stride[i] = count;
        empty |= dims[i] == 0;
        /* an empty axis counts as 1 here, so that the other sizes are checked all the same */
        if (__builtin_mul_overflow(count, dims[i] ? dims[i] : 1, &count) || count > INT64_MAX / 4)
            FAIL(c, RELORA_E_OVERFLOW, "shape[%d] is %lld, and all sizes together exceed 2^61", i,
                 (long long)dims[i]);
    }
    s->count = empty ? 0 : count;
    s->cols = s->ndim ? s->dim[s->ndim - 1] : 1;
    s->rows = 1;
    for (int32_t i = 0; i < s->ndim - 1; i++) s->rows *= s->dim[i]; /* 0 wins over all */
    s->ld = s->cols;
    return RELORA_OK;
}

/* The caller's strides must say: contiguous columns, and rows at one distance. Axes of size 1 may
 * have any stride. */
static relora_status set_strides(const struct call *c, struct shape *s, const int64_t *strides)
{
    int64_t expected = 0; /* of the next axis outwards; 0: the row axis has not been met */
    for (int32_t i = s->ndim - 1; i >= 0; i--) {
        s->stride[i] = strides[i];
        if (s->dim[i] <= 1 || s->count == 0) continue;
        if (i == s->ndim - 1) {
            if (strides[i] != 1)
                FAIL(c, RELORA_E_LAYOUT, "strides[%d] is %lld, and the last axis needs 1", i,
                     (long long)strides[i]);
            continue;
        }
        if (!expected) {
            if (strides[i] < s->cols)
                FAIL(c, RELORA_E_LAYOUT, "strides[%d] is %lld, less than a row of %lld", i,
                     (long long)strides[i], (long long)s->cols);
            s->ld = expected = strides[i];
        } else if (strides[i] != expected) {
            FAIL(c, RELORA_E_LAYOUT, "strides[%d] is %lld, and rows at one distance need %lld", i,
                 (long long)strides[i], (long long)expected);
        }
        if (__builtin_mul_overflow(expected, s->dim[i], &expected) || expected > INT64_MAX / 4)
            FAIL(c, RELORA_E_OVERFLOW, "strides[%d] is %lld, and the array exceeds 2^61 elements", i,
                 (long long)strides[i]);
    }
    return RELORA_OK;
}

relora_status shape_make(const struct call *c, struct shape *shape, relora_dtype dtype, int32_t ndim,
                         const int64_t *dims, const int64_t *strides)
{
    if (!dtype_size(dtype))
        FAIL(c, RELORA_E_ARGUMENT, "dtype is %d, neither RELORA_F32 nor RELORA_BF16", dtype);
    if (ndim < 0 || ndim > RELORA_MAX_DIMS)
        FAIL(c, RELORA_E_ARGUMENT, "ndim is %d, outside 0 to %d", ndim, RELORA_MAX_DIMS);
    if (ndim && !dims) FAIL(c, RELORA_E_ARGUMENT, "shape is NULL");
    struct shape s = {.dtype = dtype, .ndim = ndim};
    TRY(set_sizes(c, &s, dims));
    if (strides) TRY(set_strides(c, &s, strides));
    *shape = s;
    return RELORA_OK;
}

int shape_equal(const struct shape *a, const struct shape *b)
{
    if (a->ndim != b->ndim) return 0;
    for (int32_t i = 0; i < a->ndim; i++)
        if (a->dim[i] != b->dim[i]) return 0;
    return 1;
}

const char *shape_text(const struct shape *shape, char text[SHAPE_TEXT])
{
    size_t used = 0;
    text[used++] = '[';
    for (int32_t i = 0; i < shape->ndim; i++) {
        int n =
            snprintf(text + used, SHAPE_TEXT - used - 2, "%s%lld", i ? ", " : "", (long long)shape->dim[i]);
        used += (size_t)n;
    }
    text[used++] = ']';
    text[used] = '\0';
    return text;
}

int views_overlap(struct view a, struct view b)
{
    if (!a.data || !b.data || a.rows <= 0 || a.cols <= 0 || b.rows <= 0 || b.cols <= 0) return 0;
    size_t size_a = dtype_size(a.dtype), size_b = dtype_size(b.dtype);
    uintptr_t a0 = (uintptr_t)a.data, b0 = (uintptr_t)b.data;
    uintptr_t a1 = a0 + (size_t)((a.rows - 1) * a.ld + a.cols) * size_a;
    uintptr_t b1 = b0 + (size_t)((b.rows - 1) * b.ld + b.cols) * size_b;
    if (a1 <= b0 || b1 <= a0) return 0;
    /* one array cut into blocks of columns: compare the columns */
    size_t pitch = (size_t)a.ld * size_a;
    if (pitch == (size_t)b.ld * size_b) {
        uintptr_t distance = a0 < b0 ? b0 - a0 : a0 - b0;
        size_t first = (a0 < b0 ? (size_t)a.cols * size_a : (size_t)b.cols * size_b);
        size_t second = (a0 < b0 ? (size_t)b.cols * size_b : (size_t)a.cols * size_a);
        size_t offset = distance % pitch;
        return offset < first || offset + second > pitch;
    }
    return 1;
}
