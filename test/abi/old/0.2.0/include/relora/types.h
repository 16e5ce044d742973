/** @file relora/types.h
 *  Handles and pinned constants. Every handle is opaque; every constant has a value that
 *  never changes once released, so a binding may hard-code it.
 *
 *  Each function in these headers carries three tags:
 *    @since    the release that added it
 *    @threads  "any": may be called from several threads at once;
 *              "one": at most one thread at a time for each handle it is given, the stream
 *              included; calls with different handles may run at once. A function tagged "any"
 *              that only looks at an object counts as a use of it here
 *    @stream   "none": touches no queued work; "queues": the work is done in the order of the
 *              stream, and may still be under way on return (on the CPU it is done);
 *              "synchronises": waits for the stream, because it hands a result to the host */
#ifndef RELORA_TYPES_H
#define RELORA_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef struct relora_context relora_context;
typedef struct relora_device relora_device;
typedef struct relora_stream relora_stream;
typedef struct relora_tensor relora_tensor;
typedef struct relora_linear relora_linear;
typedef struct relora_adam relora_adam;
typedef struct relora_schedule relora_schedule;
typedef struct relora_cycle relora_cycle;
typedef struct relora_writer relora_writer;
typedef struct relora_reader relora_reader;
typedef struct relora_state relora_state;

/** RELORA_OK or one of the negative RELORA_E_* values in status.h. */
typedef int32_t relora_status;

/** Element type. 0 is never a valid dtype, so a zeroed field is caught. */
typedef int32_t relora_dtype;
enum {
    RELORA_F32 = 1, /**< IEEE 754 binary32 */
    RELORA_BF16 = 2 /**< the upper half of an F32 */
};

typedef int32_t relora_device_kind;
enum {
    RELORA_DEVICE_CPU = 1
};

/** How a result computed in F32 is stored as BF16. F32 tensors are not affected. */
typedef int32_t relora_rounding;
enum {
    RELORA_ROUND_NEAREST = 1,   /**< ties to even; small updates of a large value are lost */
    RELORA_ROUND_STOCHASTIC = 2 /**< up or down at random, right on average; no extra memory */
};

#endif
