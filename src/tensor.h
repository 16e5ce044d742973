#ifndef RELORA_SRC_TENSOR_H
#define RELORA_SRC_TENSOR_H

#include "shape.h"
#include "stream.h"

enum memory_kind {
    MEMORY_OWN = 1,
    MEMORY_BORROWED,
    MEMORY_MANAGED, /* borrowed for good: not to be exchanged for other memory */
    MEMORY_PART,
    MEMORY_WHOLE /* own, with parts in it */
};

struct relora_tensor {
    atomic_int refs;
    relora_context *ctx;
    relora_device *device;
    struct shape shape;
    void *data;
    enum memory_kind memory;
    atomic_int shares;    /* by DLPack, of which nobody has been told that the memory moves */
    relora_tensor *whole; /* MEMORY_PART: the tensor whose memory this is a part of */
    relora_deleter_fn deleter;
    void *user;
};

static inline struct view tensor_view(const relora_tensor *t)
{
    return (struct view){t->data, t->shape.rows, t->shape.cols, t->shape.ld, t->shape.dtype};
}

/* A tensor that the library makes for itself. */
relora_status tensor_new(const struct call *c, relora_tensor **out, relora_device *device, relora_dtype dtype,
                         int32_t ndim, const int64_t *shape);

struct owner { /* of memory that a tensor does not own: how it is told that the tensor is gone */
    enum memory_kind memory;
    relora_deleter_fn deleter; /* may be NULL */
    void *user;
};

/* A tensor over `data`. */
relora_status tensor_over(const struct call *c, relora_tensor **out, relora_device *device,
                          relora_dtype dtype, int32_t ndim, const int64_t *shape, const int64_t *strides,
                          void *data, struct owner owner);

/* Fill with `value` at once on the device's own queue, for tensors nobody else knows yet. */
relora_status tensor_preset(const struct call *c, relora_tensor *tensor, double value);

/* Let an own tensor live at byte `offset` of `whole`, which it retains; its memory is released. */
void tensor_move_into(relora_tensor *tensor, relora_tensor *whole, size_t offset);

/* All elements to the host, which has room for them. */
relora_status tensor_read(const struct call *c, const relora_tensor *tensor, void *target);

/* What the host borrowed with NULL has no memory until relora_tensor_set_data(). */
static inline int tensor_lacks_memory(const relora_tensor *t)
{
    return !t->data && t->shape.count;
}
#define NO_MEMORY_YET "has no memory yet; call relora_tensor_set_data"

/* Check one tensor argument: not NULL, of the context and device of `stream`, with memory. */
relora_status tensor_check(const struct call *c, const relora_tensor *tensor, const char *name);

#endif
