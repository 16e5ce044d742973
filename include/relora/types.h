/** @file relora/types.h
 *  Handles and pinned constants. Every handle is opaque. The value of a constant never changes
 *  once it is released, so a binding may hard-code it.
 *
 *  Each function in these headers carries three tags:
 *    @since    The release that added it.
 *    @threads  "any": several threads may call it at once.
 *              "one": only one thread at a time may use each handle it is given, including the
 *              stream. Calls with different handles may run at once. A handle stands for
 *              everything it holds: an optimizer for the layers and tensors added to it, a cycle
 *              for its layers and its optimizer, a group for its members, a state for all its
 *              objects, a layer for its weight and bias. A step of an optimizer in one thread and
 *              a forward of one of its layers in another are therefore two uses of that layer.
 *              (A frozen W is only read until it is merged, so layers in several threads may share
 *              it.) A function tagged "any" may run at the same time on the same handle, unless
 *              the other call changes what it asks for.
 *    @stream   "none": it touches no queued work. "queues": the work is done in the order of the
 *              stream, and may still be in progress on return (on the CPU it is done).
 *              "synchronises": it waits for the stream, because it returns a result to the host. */
#ifndef RELORA_TYPES_H
#define RELORA_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef struct relora_context relora_context;
typedef struct relora_device relora_device;
typedef struct relora_stream relora_stream;
typedef struct relora_tensor relora_tensor;
typedef struct relora_linear relora_linear;
typedef struct relora_group relora_group;
typedef struct relora_adam relora_adam;
typedef struct relora_schedule relora_schedule;
typedef struct relora_cycle relora_cycle;
typedef struct relora_writer relora_writer;
typedef struct relora_reader relora_reader;
typedef struct relora_state relora_state;

/** RELORA_OK or one of the negative RELORA_E_* values in status.h. */
typedef int32_t relora_status;

/** Element type. 0 is never a valid dtype, so a field left at zero is noticed. */
typedef int32_t relora_dtype;
enum {
    RELORA_F32 = 1, /**< IEEE 754 binary32 */
    RELORA_BF16 = 2 /**< the upper half of an F32 */
};

typedef int32_t relora_device_kind;
enum {
    RELORA_DEVICE_CPU = 1,
    RELORA_DEVICE_CUDA = 2 /**< an NVIDIA GPU; needs the module librelora_cuda.so.0 */
};

/** How a result computed in F32 is rounded when it is stored as BF16. F32 tensors are not affected. */
typedef int32_t relora_rounding;
enum {
    RELORA_ROUND_NEAREST = 1,   /**< to nearest, ties to even; small updates of a large value are lost */
    RELORA_ROUND_STOCHASTIC = 2 /**< up or down at random, on average the F32 result; no extra memory */
};

#endif
