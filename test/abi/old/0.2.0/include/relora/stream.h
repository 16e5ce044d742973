/** @file relora/stream.h
 *  An ordered queue of work on one device. Every computing call names its stream. On the CPU a
 *  stream runs at once: the work is done when the call returns. A stream also keeps the temporary
 *  memory of the calls made on it, which grows to what the largest needs and then stays. */
#ifndef RELORA_STREAM_H
#define RELORA_STREAM_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_stream_create(relora_stream **out, relora_device *device);

/** Later work on `stream` waits for all work now queued on `other`. Does not block.
 *  @since 0.1 @threads one @stream queues */
RELORA_API relora_status relora_stream_wait(relora_stream *stream, relora_stream *other);

/** Block until the queue is empty; reports any failure of the work that was in it. A failure of
 *  the device sticks: every later call on the stream returns RELORA_E_BACKEND.
 *  @since 0.1 @threads one @stream synchronises */
RELORA_API relora_status relora_stream_synchronize(relora_stream *stream);

/** Does not wait: queued work still runs. NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_stream_release(relora_stream *stream);

RELORA_END
#endif
