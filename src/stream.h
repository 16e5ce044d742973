/* A queue of a device, and the temporary memory of the calls made on it. */
#ifndef RELORA_SRC_STREAM_H
#define RELORA_SRC_STREAM_H

#include "context.h"
#include "relora/stream.h"

struct relora_stream {
    relora_context *ctx;
    relora_device *device;
    struct queue *queue;
    relora_status failed; /* sticks: RELORA_OK or what finished the stream */
    void *workspace;
    size_t workspace_bytes;
    struct stream_error error;
};

/* First in every public function that is given a stream: what fails before it returns is kept on the
 * stream as well as on the context. NULL is allowed. */
#define GIVEN(stream) \
    relora_stream *given_##stream __attribute__((cleanup(stream_left), unused)) = stream_entered(stream)
relora_stream *stream_entered(relora_stream *stream);
void stream_left(relora_stream **stream);

/* RELORA_E_BACKEND for ever after the first failure of the device. */
relora_status stream_check(const relora_stream *stream, const char *function);

/* What a call that was given `stream` met on another queue of the device, already with a sentence:
 * whichever queue it was, a failure of the device in such a call finishes the stream. */
relora_status stream_note(relora_stream *stream, relora_status status);

/* Pass on what a backend call returned, with a sentence; a failed device finishes the stream. */
relora_status stream_result(relora_stream *stream, relora_status status, const char *function);

/* Temporaries. A layout function takes them in order, first from a scratch without memory to learn
 * the size, then, after scratch_open, from the stream's workspace. */
struct scratch {
    unsigned char *base; /* NULL: only count */
    size_t used;
};

struct view scratch_take(struct scratch *scratch, int64_t rows, int64_t cols, relora_dtype dtype);
void *scratch_bytes(struct scratch *scratch, size_t bytes);

/* Make the workspace at least as large as `scratch` has counted and start over inside it. */
relora_status scratch_open(struct scratch *scratch, relora_stream *stream, const char *function);

#define TRY_QUEUE(stream, function, call) TRY(stream_result((stream), (call), (function)))

#endif
