/** @file relora/status.h
 *  What can go wrong, and how to ask what did. */
#ifndef RELORA_STATUS_H
#define RELORA_STATUS_H

#include "relora/export.h"
#include "relora/types.h"

RELORA_BEGIN

/** Values are pinned. Positive values are reserved for success with information.
 *  A caller must treat any negative value it does not know as a failure.
 *
 *  After -10 to -29 nothing was changed. After -30, -40, -50 to -60 every object still exists and
 *  can be used and released; what a call was writing may hold part of its result, except where
 *  its comment promises more. */
enum {
    RELORA_OK = 0,
    RELORA_E_INTERNAL = -1, /**< a fault of the library itself; please report it */

    /* the arguments are wrong; nothing was changed */
    RELORA_E_ARGUMENT = -10,    /**< NULL where an object is needed, or a value out of range */
    RELORA_E_STRUCT_SIZE = -11, /**< struct_size is impossible, or a field this release lacks is set */
    RELORA_E_SHAPE = -12,       /**< the sizes of two things do not fit */
    RELORA_E_DTYPE = -13,       /**< an element type that does not fit here */
    RELORA_E_DEVICE = -14,      /**< objects of two devices in one call */
    RELORA_E_LAYOUT = -15,      /**< strides or alignment that cannot be used in place */
    RELORA_E_CONTEXT = -16,     /**< objects of two contexts in one call */
    RELORA_E_OVERFLOW = -17,    /**< a size that does not fit 63 bits */

    /* the object is not in a state that allows this; nothing was changed */
    RELORA_E_STATE = -20,
    RELORA_E_NOT_FOUND = -21,
    RELORA_E_EXISTS = -22,
    RELORA_E_UNSUPPORTED = -24,

    RELORA_E_NO_MEMORY = -30,

    /* the device failed; the stream is unusable from now on */
    RELORA_E_BACKEND = -40,

    RELORA_E_IO = -50,     /**< a system call on a file failed; the text says which and why */
    RELORA_E_FORMAT = -51, /**< a file is not what it should be */

    RELORA_E_NOT_FINITE = -60 /**< a NaN or an infinity stood where it would have done harm */
};

/** Identifier of a status, "RELORA_E_SHAPE"; "RELORA_E_?" if unknown.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_status_name(relora_status status);

/** One fixed English line for a status. @since 0.1 @threads any @stream none */
RELORA_API const char *relora_status_text(relora_status status);

/** Copy the text of the most recent failure in `ctx`: one line that names the function, the
 *  argument and the values. Empty if nothing has failed yet; a later success does not clear it,
 *  so the status, not the text, is the test.
 *
 *  The text is kept on the context, never on the thread, so that a goroutine or a task
 *  that moves between threads still finds it. If several threads fail at once in one
 *  context the last one wins; the returned status codes are always exact, and the log
 *  callback, which runs inside the failing call, always pairs text with call.
 *
 *  The context is that of the first handle a call is given. A call whose every handle is NULL has
 *  none, and so leaves no text.
 *
 *  @param buffer    receives at most `capacity` bytes, always NUL-terminated; may be NULL
 *  @param capacity  size of `buffer` in bytes; 0 asks for the length only
 *  @param length    receives the full length without the NUL; may be NULL
 *  @return RELORA_OK, or RELORA_E_ARGUMENT if `ctx` is NULL
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_error(const relora_context *ctx, char *buffer,
                                              size_t capacity, size_t *length);

RELORA_END
#endif
