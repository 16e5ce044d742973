/* What every object shares: memory, log, error text, devices. Counted, so that objects may be
 * released in any order. */
#ifndef RELORA_SRC_CONTEXT_H
#define RELORA_SRC_CONTEXT_H

#include "memory.h"
#include "options.h"
#include "module.h"
#include "relora/context.h"

enum { ERROR_CAPACITY = 512 };

/* What failed last in the calls that were given one stream. A call marks the stream with its thread, so
 * that a failure, which knows only its context, finds the streams it belongs to. */
struct stream_error {
    struct stream_error *next;
    atomic_uintptr_t inside; /* the thread that is in a call with this stream, or 0 */
    int32_t depth;           /* of such calls in each other; touched by that thread alone */
    char text[ERROR_CAPACITY];
};

/* What may fail and is only worth a warning: a precaution. */
enum precaution { PRECAUTION_LOCK, PRECAUTION_LOOK, PRECAUTION_MODE, PRECAUTION_FLUSH, PRECAUTION_FOLDER, PRECAUTIONS };

struct error_slot {
    pthread_mutex_t lock; /* of every text of the context, and of the list */
    char text[ERROR_CAPACITY];
    struct stream_error *streams;
    int warned[PRECAUTIONS]; /* of which errno */
};

struct relora_context {
    atomic_int refs;
    int32_t threads, log_level;
    struct memory memory;
    relora_log_fn log;
    void *log_user;
    struct error_slot *error; /* a pointer, so that const contexts can fail too */
    struct relora_device cpu;
    struct module *module; /* of CUDA; a pointer for the same reason */
    relora_destroy_fn on_destroy;
    void *destroy_user;
};

extern const struct options context_table;

void context_retain(relora_context *ctx);
void context_drop(relora_context *ctx);

/* Memory for an object of `ctx`, zeroed, with a reference on `ctx` inside; NULL if there is none. */
void *context_new(relora_context *ctx, size_t size);
void context_delete(relora_context *ctx, void *object, size_t size);

/* Keep the sentence on the context, hand it to the log and return `status`. `ctx` may be NULL. */
relora_status context_fail(const relora_context *ctx, relora_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void context_log(const relora_context *ctx, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A text of `ctx`, which its lock protects, into a buffer of the host's. */
relora_status context_copy_text(const relora_context *ctx, const char *text, char *buffer, size_t capacity,
                                size_t *length);
/* Is this another reason than the last time? Then a warning is worth its line. */
int context_is_news(const relora_context *ctx, enum precaution precaution, int error);

/* It returns what context_fail() returns, in a way that lets an analyser see that it is a failure. */
#define FAIL(ctx, status, ...) return context_fail((ctx), (status), __VA_ARGS__), (status)
#define TRY(expression)                               \
    do {                                              \
        relora_status status_of_try = (expression);   \
        if (status_of_try < 0) return status_of_try;  \
    } while (0)

/* The failure of a backend call, with the backend's own words. */
relora_status context_fail_backend(const relora_context *ctx, relora_status status,
                                   const char *function, const struct backend *backend,
                                   const struct queue *queue);
relora_status context_fail_memory(const relora_context *ctx, const char *function, size_t bytes);

/* Read what the caller calls `name` into `to`, of today's size, and check it field by field, with a sentence. NULL
 * gives the defaults. */
relora_status context_read_options(const relora_context *ctx, const char *function, const char *name,
                                   const struct options *table, void *to, const void *from);
/* The two halves of it, for fields that the library fills in between. */
relora_status context_take_options(const relora_context *ctx, const char *function, const char *name,
                                   const struct options *table, void *to, const void *from);
relora_status context_check_options(const relora_context *ctx, const char *function, const char *name,
                                    const struct options *table, const void *options);
/* report_write() into what the caller calls `name`, with a sentence. */
relora_status context_write_report(const relora_context *ctx, const char *function, const char *name,
                                   void *to, const void *report, size_t size);

#endif
