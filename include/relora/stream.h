/** @file relora/stream.h
 *  An ordered queue of work on one device. Every call that computes takes a stream. On the CPU the
 *  work is done when the call returns. A stream also owns the temporary memory of the calls made on
 *  it. That memory grows to the needs of the largest call and is then kept. */
#ifndef RELORA_STREAM_H
#define RELORA_STREAM_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** Create a stream with a queue of its own. @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_stream_create(relora_stream **out, relora_device *device);

/** Create a stream over a queue that the host already has: a cudaStream_t cast to void *, or NULL for
 *  the legacy default stream. The queue must outlive the new stream, which does not destroy it. Work
 *  of the host and of the library runs in the order in which it was queued. RELORA_E_UNSUPPORTED on
 *  the CPU.
 *  @since 0.4 @threads any @stream none */
RELORA_API relora_status relora_stream_wrap(relora_stream **out, relora_device *device, void *native);
/** The borrowed cudaStream_t, on which the host may queue its own work. NULL on the CPU, for the legacy
 *  default stream, and if `stream` is NULL. @since 0.4 @threads any @stream none */
RELORA_API void *relora_stream_native(const relora_stream *stream);

/** Make later work on `stream` wait for all work that is now queued on `other`. Does not block. If `other` is
 *  finished, its status is returned, and `stream` stays usable.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_stream_wait(relora_stream *stream, relora_stream *other);

/** Block until the queue is empty, and report any failure of the work in it. A failure of the device
 *  finishes the stream: every later call on it returns RELORA_E_BACKEND. A failed exchange with other ranks
 *  does the same with RELORA_E_COMM.
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_stream_synchronize(relora_stream *stream);

/** Copy the text of the last failure of a call that was given `stream`, as relora_context_error() does.
 *  Only one thread at a time uses a stream, so this is the text of the caller's own call, whatever fails on
 *  other streams of the context. If the call's first object belongs to another context, its text goes to that
 *  context instead.
 *  @return RELORA_OK, or RELORA_E_ARGUMENT if `stream` is NULL
 *  @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_stream_error(const relora_stream *stream, char *buffer, size_t capacity,
                                             size_t *length);

/** Release the stream without waiting: queued work still runs. NULL is allowed.
 *  @since 0.1 @threads any @stream none */
RELORA_API void relora_stream_release(relora_stream *stream);

RELORA_END
#endif
