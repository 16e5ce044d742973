/** @file relora/tensor.h
 *  Dense arrays on one device. Tensors are the only handles with a reference count.
 *
 *  The last axis must be contiguous, and the other axes together must count rows at one constant
 *  distance. A whole row-major array fits, and so does a block of its columns. Other strides are
 *  RELORA_E_LAYOUT. A call that expects a matrix takes a tensor [a, b, c] as the matrix [a * b, c]. */
#ifndef RELORA_TENSOR_H
#define RELORA_TENSOR_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

enum { RELORA_MAX_DIMS = 8 };

/** Called once for each borrowed buffer when the library no longer needs it. The thread that drops the last
 *  reference calls it, while the library holds no lock, and possibly after the context was released. */
typedef void (*relora_deleter_fn)(void *user, void *data);

/** Create a row-major tensor, aligned to 64 bytes, whose contents are undefined.
 *  @param ndim   0 (one element) to RELORA_MAX_DIMS
 *  @param shape  `ndim` sizes, each 0 or more; NULL if ndim is 0. RELORA_E_OVERFLOW above 2^61 elements
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_tensor_create(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                              int32_t ndim, const int64_t *shape);

/** Create a tensor over memory of the caller, without copying. The memory must stay valid until the
 *  deleter is called or, without a deleter, until the last reference is released. Never lend memory
 *  that a garbage collector may move or free. Pin it and unpin it in the deleter, or use
 *  relora_tensor_create() and relora_tensor_data() instead.
 *  @param strides in elements; NULL means row-major
 *  @param data    aligned to the element size. Since 0.6 it may be NULL for memory that does not exist yet,
 *                 such as activations: until relora_tensor_set_data() every use is RELORA_E_STATE, and the
 *                 text says what the tensor is
 *  @param deleter may be NULL; not called if this function fails. It is also called if `data` is NULL
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_tensor_borrow(relora_tensor **out, relora_device *device, relora_dtype dtype,
                                              int32_t ndim, const int64_t *shape, const int64_t *strides,
                                              void *data, relora_deleter_fn deleter, void *user);

/** relora_tensor_borrow() for a whole row-major matrix [rows, cols] without a deleter.
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_tensor_borrow_matrix(relora_tensor **out, relora_device *device,
                                                     relora_dtype dtype, int64_t rows, int64_t cols,
                                                     void *data);

/** Point a borrowed tensor at another buffer of the same size and layout, for a host whose
 *  activations move from step to step. Allocates nothing. The deleter is called for the old buffer
 *  now and for the new one later, both times with the same `user`. If `user` is a reference that the
 *  deleter drops, use relora_tensor_set_data_owned(). If `data` is the present buffer, nothing is
 *  called. RELORA_E_STATE unless the tensor was made by relora_tensor_borrow().
 *  @since 0.1 @threads one @stream none */
RELORA_API relora_status relora_tensor_set_data(relora_tensor *tensor, void *data);

/** relora_tensor_set_data() with a separate owner for the new buffer. The old deleter is called at once
 *  with its user and data, even if the data is the same. `deleter` and `user` replace the old ones. So each
 *  pair of user and data is deleted exactly once. On a failure nothing is called, and `user` still belongs to
 *  the caller.
 *  @param deleter may be NULL
 *  @since 0.5 @threads one @stream none */
RELORA_API relora_status relora_tensor_set_data_owned(relora_tensor *tensor, void *data,
                                                      relora_deleter_fn deleter, void *user);

/** Add a reference. NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_tensor_retain(relora_tensor *tensor);
/** Drop a reference; the last one frees the tensor. NULL is allowed. The library keeps its own memory
 *  until the work now queued on it is done. For borrowed memory it calls the deleter at once; the
 *  host must free that memory in the order of its streams, or wait for them first.
 *  @since 0.1 @threads any @stream none */
RELORA_API void relora_tensor_release(relora_tensor *tensor);

/** Element type; 0 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_dtype relora_tensor_dtype(const relora_tensor *tensor);
/** Number of axes; -1 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_tensor_ndim(const relora_tensor *tensor);
/** Size of an axis; -1 if there is no such axis. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_dim(const relora_tensor *tensor, int32_t axis);
/** Stride of an axis in elements; 0 if there is no such axis. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_stride(const relora_tensor *tensor, int32_t axis);
/** Number of elements; -1 if `tensor` is NULL. @since 0.1 @threads any @stream none */
RELORA_API int64_t relora_tensor_count(const relora_tensor *tensor);
/** Pointer to the first element on the device, borrowed. NULL if the tensor has no memory yet.
 *  @since 0.1 @threads any @stream none */
RELORA_API void *relora_tensor_data(const relora_tensor *tensor);
/** The tensor's device. Borrowed: lives as long as the context.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_device *relora_tensor_device(const relora_tensor *tensor);

/** Copy from the host into the tensor. `source` has the dtype of the tensor and holds its rows without
 *  gaps; it may be reused on return. On a CUDA device a write of more than 2 MiB waits for the stream,
 *  and so does a write while 4 MiB of earlier writes are in progress. RELORA_E_SHAPE unless `bytes` is
 *  exactly the size of all elements.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_write(relora_tensor *tensor, relora_stream *stream, const void *source,
                                             size_t bytes);
/** Copy from the tensor to the host, the reverse of relora_tensor_write().
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_tensor_read(const relora_tensor *tensor, relora_stream *stream, void *target,
                                            size_t bytes);
/** Copy `source` into `target`, which has the same shape. F32 is rounded to nearest when it becomes
 *  BF16. The two must not overlap, unless they are the same tensor. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_copy(relora_tensor *target, const relora_tensor *source,
                                            relora_stream *stream);
/** Set every element to `value`, rounded to nearest. @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_tensor_fill(relora_tensor *tensor, relora_stream *stream, double value);

RELORA_END
#endif
