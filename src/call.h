/* One call of a public function: its name, where its sentences go, and the stream it was given.
 *
 * A public function opens it first and hands it down to everything that can fail. */
#ifndef RELORA_SRC_CALL_H
#define RELORA_SRC_CALL_H

#include "context.h"
#include "relora/stream.h"

struct relora_stream {
    relora_context *ctx;
    relora_device *device;
    struct queue *queue;
    relora_status failed; /* sticks: RELORA_OK or what finished the stream */
    void *workspace;
    size_t workspace_bytes;
    char error[ERROR_CAPACITY]; /* what failed last in a call with it; under the context's lock */
};

struct call {
    const char *fn;                /* begins every sentence */
    relora_context *ctx;           /* where sentences go; NULL: nowhere */
    relora_stream *stream;         /* NULL in calls without one; keeps their sentences too */
    relora_stream *other;          /* does so as well, in relora_stream_wait(); else NULL */
    const struct backend *backend; /* the stream's */
    struct queue *queue;
};

/* Begin a call with a stream and a first object, which goes by `name` in sentences: both are there, of one
 * context, and the stream is not finished. `ctx` is the object's, or NULL if the object is NULL. `device` is
 * the object's, and must be the stream's; NULL is not looked at. If object and stream are both NULL, the
 * sentence goes to the context that `call` has already. */
relora_status call_open(struct call *call, relora_stream *stream, const char *name, relora_context *ctx,
                        const relora_device *device);

/* Is what goes by `name` on the stream's device? */
relora_status call_check_device(const struct call *call, const char *name, const relora_device *device);

/* Keep the sentence, which begins with the name of the function, on the context and the stream. Then hand it
 * to the log and return `status`. */
relora_status call_fail(const struct call *call, relora_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
relora_status call_fail_memory(const struct call *call, size_t bytes);
/* It returns what call_fail() returns, in a way that lets an analyser see that it is a failure. */
#define FAIL(call, status, ...) return call_fail((call), (status), __VA_ARGS__), (status)

void call_log(const struct call *call, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Pass on what an entry of the backend returned for the call's queue, with a sentence. A failed device
 * finishes the stream. */
relora_status call_queue(const struct call *call, relora_status status);
/* The same for any other queue of the device. */
relora_status call_backend(const struct call *call, relora_status status, const struct backend *backend,
                           const struct queue *queue);
/* One conversion on the call's queue, y = s * x. */
relora_status call_convert(const struct call *call, struct view y, struct view x, struct scale s);
/* Between views of one shape and dtype. */
relora_status call_copy(const struct call *call, struct view to, struct view from);
/* Only the latter: RELORA_E_BACKEND or RELORA_E_COMM finishes the call's stream, if it has one. Returns `status`. */
relora_status call_note(const struct call *call, relora_status status);

/* Read what the caller calls `name` into `to`, of today's size, and check it field by field, with a sentence.
 * NULL gives the defaults. */
relora_status call_read_options(const struct call *call, const char *name, const struct options *table,
                                void *to, const void *from);
/* The two halves of it, for fields that the library fills in between. */
relora_status call_take_options(const struct call *call, const char *name, const struct options *table,
                                void *to, const void *from);
relora_status call_check_options(const struct call *call, const char *name, const struct options *table,
                                 const void *options);
/* report_write() into what the caller calls `name`, with a sentence. */
relora_status call_write_report(const struct call *call, const char *name, void *to, const void *report,
                                size_t size);

#endif
