/* What cgo cannot say: callbacks with const parameters, and a cgo.Handle as the user of one. */
#ifndef RELORA_GO_BRIDGE_H
#define RELORA_GO_BRIDGE_H

#include <relora/relora.h>

void bridge_context(relora_context_options *options, uintptr_t log);
void bridge_cycle(relora_cycle_options *options, uintptr_t hooks);
relora_status bridge_borrow(relora_tensor **out, relora_device *device, relora_dtype dtype, int32_t ndim,
                            const int64_t *shape, const int64_t *strides, void *data, uintptr_t owner);
relora_status bridge_set_data(relora_tensor *tensor, void *data, uintptr_t owner);

#endif
