/** @file relora/status.h
 *  What can go wrong, and how to find out what did. */
#ifndef RELORA_STATUS_H
#define RELORA_STATUS_H

#include "relora/export.h"
#include "relora/types.h"

RELORA_BEGIN

/** The values never change. Positive values are reserved for success with information.
 *  A caller must treat any negative value it does not know as a failure.
 *
 *  After -10 to -29 nothing was changed. After -30, -40, -41 and -50 to -60 every object still exists and
 *  can be used and released. What the call was writing may hold part of its result, unless the
 *  comment of the function promises more.
 *
 *  The comment of a function names a status if there is more to say than stands below. Any function may
 *  return RELORA_E_ARGUMENT, RELORA_E_CONTEXT, RELORA_E_DEVICE or RELORA_E_NO_MEMORY; one with options or a
 *  report RELORA_E_STRUCT_SIZE; one with tensors RELORA_E_SHAPE, RELORA_E_DTYPE, RELORA_E_LAYOUT,
 *  RELORA_E_OVERFLOW or, if one has no memory yet or a layer no W, RELORA_E_STATE; one that reaches a device
 *  RELORA_E_BACKEND; one that exchanges data with other ranks RELORA_E_COMM. */
enum {
    RELORA_OK = 0,
    RELORA_E_INTERNAL = -1, /**< a fault of the library itself; no release returns it */

    /* the arguments are wrong; nothing was changed */
    RELORA_E_ARGUMENT = -10,    /**< NULL where an object is needed, or a value out of range */
    RELORA_E_STRUCT_SIZE = -11, /**< struct_size is wrong, or a field unknown to this release is set */
    RELORA_E_SHAPE = -12,       /**< sizes that do not fit together */
    RELORA_E_DTYPE = -13,       /**< an element type that is not accepted here */
    RELORA_E_DEVICE = -14,      /**< objects of different devices in one call */
    RELORA_E_LAYOUT = -15,      /**< strides or an alignment that cannot be used in place */
    RELORA_E_CONTEXT = -16,     /**< objects of different contexts in one call */
    RELORA_E_OVERFLOW = -17,    /**< a size that does not fit into 63 bits */

    /* the object is not in a state that allows this; nothing was changed */
    RELORA_E_STATE = -20,       /**< not now, but perhaps after another call */
    RELORA_E_NOT_FOUND = -21,   /**< no object, tensor or device of that name or number */
    RELORA_E_EXISTS = -22,      /**< the name, or the memory, is taken */
    RELORA_E_READ_ONLY = -23,   /**< memory that must not be written to; since 0.4 */
    RELORA_E_UNSUPPORTED = -24, /**< this combination is not offered */

    RELORA_E_NO_MEMORY = -30,

    /* the device failed; its stream can no longer be used */
    RELORA_E_BACKEND = -40,
    /* another process of the run failed, or did not answer; the stream can no longer be used */
    RELORA_E_COMM = -41, /**< since 0.6 */

    RELORA_E_IO = -50,      /**< a system call on a file failed; the text says which and why */
    RELORA_E_FORMAT = -51,  /**< the contents of a file are not valid */
    RELORA_E_VERSION = -52, /**< data from outside has a version that is not known here; since 0.4 */

    RELORA_E_NOT_FINITE = -60 /**< a NaN or an infinity would have done harm */
};

/** Name of a status, such as "RELORA_E_SHAPE"; "RELORA_E_?" if it is unknown.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_status_name(relora_status status);

/** A fixed English description of a status, one line. @since 0.1 @threads any @stream none */
RELORA_API const char *relora_status_text(relora_status status);

/** Copy the text of the most recent failure in `ctx`: one line that names the function, the
 *  argument and the values. It is empty if nothing has failed yet. A success does not clear it, so
 *  test the status, not the text.
 *
 *  The text is kept on the context, not on the thread, so a goroutine or a task that moves between
 *  threads still finds it. If several threads fail at once in one context, the last text wins;
 *  relora_stream_error() then has the text of the caller's own call. The returned status is always
 *  exact. The log callback runs inside the failing call, so it always pairs a text with its call.
 *
 *  The text goes to the context of the first handle that is not NULL. A call whose handles are all NULL
 *  leaves no text.
 *
 *  @param buffer    receives at most `capacity` bytes, always NUL-terminated; may be NULL
 *  @param capacity  size of `buffer` in bytes; 0 asks for the length only
 *  @param length    receives the full length without the NUL; may be NULL
 *  @return RELORA_OK, or RELORA_E_ARGUMENT if `ctx` is NULL
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_error(const relora_context *ctx, char *buffer, size_t capacity,
                                              size_t *length);

RELORA_END
#endif
