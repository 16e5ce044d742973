/* The devices of a context, and work on one that belongs to no stream. */
#ifndef RELORA_SRC_DEVICE_H
#define RELORA_SRC_DEVICE_H

#include "call.h"

/* A CUDA device, ready for use; or a sentence that says why not. */
relora_status device_cuda(const struct call *c, relora_device **out, int32_t index);

/* Memory of a device, taken through one of its queues; a sentence if there is none. */
relora_status device_alloc(const struct call *c, const relora_device *device, struct queue *queue,
                           size_t bytes, void **out);

/* The end of work on the device's own queue, which returned `status`: it is done now, or there is a
 * sentence. */
relora_status device_finish(const struct call *c, const relora_device *device, relora_status status);

#endif
