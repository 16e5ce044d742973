/* Shapes and strides: what a tensor may look like, and a tensor as a matrix. */
#ifndef RELORA_SRC_SHAPE_H
#define RELORA_SRC_SHAPE_H

#include "backend.h"
#include "call.h"
#include "relora/tensor.h"

static inline size_t dtype_size(relora_dtype dtype)
{
    return dtype == RELORA_F32 ? 4 : dtype == RELORA_BF16 ? 2 : 0;
}

const char *dtype_name(relora_dtype dtype);

struct shape {
    relora_dtype dtype;
    int32_t ndim;
    int64_t dim[RELORA_MAX_DIMS], stride[RELORA_MAX_DIMS];
    int64_t count;          /* elements */
    int64_t rows, cols, ld; /* as a matrix */
};

/* Check and fill in. `strides` NULL means row-major. */
relora_status shape_make(const struct call *c, struct shape *shape, relora_dtype dtype, int32_t ndim,
                         const int64_t *dims, const int64_t *strides);

static inline size_t shape_bytes(const struct shape *shape) /* of the elements, without gaps */
{
    return (size_t)shape->count * dtype_size(shape->dtype);
}

static inline int shape_is_dense(const struct shape *shape)
{
    return shape->ld == shape->cols || shape->rows <= 1;
}

int shape_equal(const struct shape *a, const struct shape *b); /* the sizes; strides may differ */

enum { SHAPE_TEXT = 192 };
/* "[3, 4]" for a sentence; returns `text`. */
const char *shape_text(const struct shape *shape, char text[SHAPE_TEXT]);

static inline struct view view_rows(struct view v, int64_t first, int64_t rows)
{
    v.data = (unsigned char *)v.data + (size_t)(first * v.ld) * dtype_size(v.dtype);
    v.rows = rows;
    return v;
}

static inline struct view view_cols(struct view v, int64_t first, int64_t cols)
{
    v.data = (unsigned char *)v.data + (size_t)first * dtype_size(v.dtype);
    v.cols = cols;
    return v;
}

/* Do two matrices share a byte? (Blocks of columns of one array may interleave without.) */
int views_overlap(struct view a, struct view b);

#endif
