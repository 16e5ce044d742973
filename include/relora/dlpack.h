/** @file relora/dlpack.h
 *  Sharing tensors with PyTorch, JAX, CuPy and others without a copy, by DLPack 1
 *  (https://dmlc.github.io/dlpack). DLPack's own header is not needed, but may be included as well.
 *  The older struct DLManagedTensor, which has no version, is not supported. */
#ifndef RELORA_DLPACK_H
#define RELORA_DLPACK_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

struct DLManagedTensorVersioned;

RELORA_BEGIN

/** Take over `managed` without copying. Its memory is that of the CPU or of a CUDA device, which is
 *  the device of `ctx` with the same index. Its type is F32 or BF16. Its strides must suit
 *  relora_tensor_borrow(); no strides means row-major. Its deleter is called when the last reference
 *  to the tensor is released, and does not wait for work that is still queued. On a failure `managed`
 *  still belongs to the caller.
 *
 *  This call does not wait. On CUDA the caller must make the producer's work come first, for example
 *  by giving the producer the stream that it will use.
 *  @return RELORA_E_VERSION unless the major version is 1; RELORA_E_UNSUPPORTED for another kind of
 *          device; RELORA_E_NOT_FOUND for a CUDA device that does not exist; RELORA_E_DTYPE for
 *          another type; RELORA_E_READ_ONLY if `managed` is marked read-only. A caller that knows the
 *          tensor will not be written may clear that flag first
 *  @since 0.4 @threads any @stream none */
RELORA_API relora_status relora_tensor_from_dlpack(relora_tensor **out, relora_context *ctx,
                                                   struct DLManagedTensorVersioned *managed);

/** Share `tensor`. The result holds a reference until its deleter is called, which any thread may do once.
 *  Until then relora_adam_flatten_grads() refuses to move the memory. If the host exchanges it by
 *  relora_tensor_set_data(), the result keeps pointing to the old memory, which must stay valid. Work that is
 *  queued on `consumer` from now on runs after the work now queued on `producer`.
 *  @param producer the stream that last wrote the tensor; NULL if there is nothing to wait for
 *  @param consumer a cudaStream_t cast to void *; ignored on the CPU
 *  @since 0.4 @threads one @stream queues */
RELORA_API relora_status relora_tensor_to_dlpack(struct DLManagedTensorVersioned **out, relora_tensor *tensor,
                                                 relora_stream *producer, void *consumer);

RELORA_END
#endif
