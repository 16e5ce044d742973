/** @file relora/tensor.h
 *  Dense arrays on one device. Reference counted; the only handle that is.
 *
 *  The last axis is contiguous, and all other axes together count rows at one constant distance:
 *  a whole row-major array, or a block of columns of one. Other strides are RELORA_E_LAYOUT.
 *  Where a call speaks of a matrix, a tensor [a, b, c] is the matrix [a * b, c]. */
#ifndef RELORA_TENSOR_H
#define RELORA_TENSOR_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

enum { RELORA_MAX_DIMS = 8 };

/** Called once, with no relora lock held, when borrowed memory is no longer needed. */
typedef void (*relora_deleter_fn)(void *user, void *data);

/** New row-major tensor on a 64-byte boundary, contents undefined.
 *  @param ndim   0 (one element) to RELORA_MAX_DIMS
 *  @param shape  sizes, each 0 or more; NULL if ndim is 0
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_tensor_create(relora_tensor **out, relora_device *device,
                                              relora_dtype dtype, int32_t ndim,
                                              const int64_t *shape);

/** Tensor over memory the caller owns; nothing is copied. The memory must stay valid until the
 *  deleter is called or, without one, until the last reference is released.
 *  @param strides in elements; NULL means row-major
 *  @param data    aligned to the element size; may be NULL only if the tensor has no element
 *  @param deleter may be NULL; not called if this function fails
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_tensor_borrow(relora_tensor **out, relora_device *device,
                                              relora_dtype dtype, int32_t ndim,
                                              const int64_t *shape, const int64_t *strides,
                                              void *data, relora_deleter_fn deleter, void *user);

/** Point a borrowed tensor at another buffer of the same size and layout, for a host whose
 *  activations move from step to step. Allocates nothing. A deleter is called for the old buffer
 *  now and for the new one later. RELORA_E_STATE if the memory is the tensor's own.
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_tensor_set_data(relora_tensor *tensor, void *data);

/** One more reference; NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_tensor_retain(relora_tensor *tensor);
/** Drop a reference; memory goes with the last. NULL is allowed. Synchronises only if the memory
 *  was borrowed and work on it is pending. @since 0.1 @threads any @stream synchronises */
RELORA_API void relora_tensor_release(relora_tensor *tensor);

/** 0 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_dtype relora_tensor_dtype(const relora_tensor *tensor);
/** -1 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_tensor_ndim(const relora_tensor *tensor);
/** -1 if there is no such axis. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_dim(const relora_tensor *tensor, int32_t axis);
/** In elements; 0 if there is no such axis. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_stride(const relora_tensor *tensor, int32_t axis);
/** Number of elements; -1 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_count(const relora_tensor *tensor);
/** Device pointer, borrowed. @since 0.1 @threads any @stream none */
RELORA_API void *relora_tensor_data(const relora_tensor *tensor);
/** Borrowed: lives as long as the context. @since 0.1 @threads any @stream none */
RELORA_API relora_device *relora_tensor_device(const relora_tensor *tensor);

/** Host to tensor, in the dtype of the tensor, row after row without gaps. `source` may be reused
 *  on return. RELORA_E_SHAPE unless `bytes` is exactly the size of all elements.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_write(relora_tensor *tensor, relora_stream *stream,
                                             const void *source, size_t bytes);
/** Tensor to host, the reverse of relora_tensor_write().
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_tensor_read(const relora_tensor *tensor, relora_stream *stream,
                                            void *target, size_t bytes);
/** Same shape; from F32 to BF16 it is rounded to nearest. The memories must not overlap, unless
 *  both tensors are one. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_copy(relora_tensor *target, const relora_tensor *source,
                                            relora_stream *stream);
/** Every element := value, rounded to nearest. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_fill(relora_tensor *tensor, relora_stream *stream,
                                            double value);

RELORA_END
#endif
