/** @file relora/dlpack.h
 *  Tensors of PyTorch, JAX, CuPy and others without a copy, by DLPack 1 (https://dmlc.github.io/dlpack).
 *  DLPack's own header is not needed to include this one, and may stand beside it. Its older struct
 *  DLManagedTensor, without a version, is not taken. */
#ifndef RELORA_DLPACK_H
#define RELORA_DLPACK_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

struct DLManagedTensorVersioned;

RELORA_BEGIN

/** Take over `managed` without copying: memory of the CPU, or of a CUDA device, which is then that of
 *  `ctx` with the same index; F32 or BF16; strides as relora_tensor_borrow() wants them, none meaning
 *  row-major. Its deleter is called when the last reference to the tensor is released, and does not wait
 *  for work that is still queued. On a failure `managed` is still the caller's.
 *
 *  Nothing is waited for: on CUDA the caller sees to it that the producer's work comes first, as by
 *  handing the stream it will use to the producer.
 *  @return RELORA_E_VERSION unless the major version is 1; RELORA_E_UNSUPPORTED for another kind of
 *          device, RELORA_E_NOT_FOUND for a CUDA device that is not there; RELORA_E_DTYPE for another
 *          type; RELORA_E_READ_ONLY if `managed` says so: who knows that nothing will be written
 *          into the tensor may clear that flag
 *  @since 0.4 @threads any @stream none */
RELORA_API relora_status relora_tensor_from_dlpack(relora_tensor **out, relora_context *ctx,
                                                   struct DLManagedTensorVersioned *managed);

/** Share `tensor`: the result holds a reference until its deleter is called, by any thread, once.
 *  Work that the consumer queues on `consumer` from now on runs after all that is now queued on
 *  `producer`.
 *  @param producer the stream that last wrote the tensor; NULL: nobody has to wait
 *  @param consumer a cudaStream_t cast to void *; not looked at on the CPU
 *  @since 0.4 @threads one @stream queues */
RELORA_API relora_status relora_tensor_to_dlpack(struct DLManagedTensorVersioned **out,
                                                 relora_tensor *tensor, relora_stream *producer,
                                                 void *consumer);

RELORA_END
#endif
