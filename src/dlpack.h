/* The binary interface of DLPack 1, as far as it is used: our own words for what every release of that
 * major version has at these places. */
#ifndef RELORA_SRC_DLPACK_H
#define RELORA_SRC_DLPACK_H

#include <stddef.h>
#include <stdint.h>

enum { DLPACK_MAJOR = 1, DLPACK_MINOR = 0 }; /* nothing we hand out is younger than 1.0 */
enum { DLPACK_CPU = 1, DLPACK_CUDA = 2 };    /* of device_type */
enum { DLPACK_FLOAT = 2, DLPACK_BFLOAT = 4 };
enum { DLPACK_READ_ONLY = 1 }; /* of flags */

struct dlpack_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* strides in elements; early producers leave them NULL for row-major */
    uint64_t byte_offset;     /* of the first element from data */
};

struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void *manager_ctx; /* the producer's */
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    struct dlpack_tensor tensor;
};

#define DLPACK_AT(type, field, offset) \
    _Static_assert(offsetof(struct type, field) == (offset), "DLPack has " #field " elsewhere")
#define DLPACK_POINTER sizeof(void *)
DLPACK_AT(dlpack_tensor, data, 0);
DLPACK_AT(dlpack_tensor, device_type, DLPACK_POINTER);
DLPACK_AT(dlpack_tensor, device_id, DLPACK_POINTER + 4);
DLPACK_AT(dlpack_tensor, ndim, DLPACK_POINTER + 8);
DLPACK_AT(dlpack_tensor, code, DLPACK_POINTER + 12);
DLPACK_AT(dlpack_tensor, bits, DLPACK_POINTER + 13);
DLPACK_AT(dlpack_tensor, lanes, DLPACK_POINTER + 14);
DLPACK_AT(dlpack_tensor, shape, DLPACK_POINTER + 16);
DLPACK_AT(dlpack_tensor, strides, 2 * DLPACK_POINTER + 16);
DLPACK_AT(dlpack_tensor, byte_offset, 3 * DLPACK_POINTER + 16);
DLPACK_AT(DLManagedTensorVersioned, major, 0);
DLPACK_AT(DLManagedTensorVersioned, minor, 4);
DLPACK_AT(DLManagedTensorVersioned, manager_ctx, 8);
DLPACK_AT(DLManagedTensorVersioned, deleter, 8 + DLPACK_POINTER);
DLPACK_AT(DLManagedTensorVersioned, flags, 8 + 2 * DLPACK_POINTER);
DLPACK_AT(DLManagedTensorVersioned, tensor, 16 + 2 * DLPACK_POINTER);

#endif
