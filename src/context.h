/* What every object shares: memory, log, error text, devices. Counted, so that objects may be
 * released in any order. */
#ifndef RELORA_SRC_CONTEXT_H
#define RELORA_SRC_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend.h"
#include "memory.h"
#include "relora/context.h"

enum { ERROR_CAPACITY = 512 };

struct relora_device {
    relora_context *ctx; /* not counted: the context owns its devices */
    const struct backend *backend;
    struct queue *queue; /* for memory, and for filling new objects where there is no stream yet */
    int32_t index;
    atomic_int failures; /* of its streams, ever */
    char name[96];
};

/* Memory of a device, taken through one of its queues; a sentence if there is none. */
relora_status device_alloc(const relora_device *device, struct queue *queue, const char *function,
                           size_t bytes, void **out);

/* The end of work on the device's own queue, which returned `status`: it is done now, or there is a
 * sentence. */
relora_status device_finish(const relora_device *device, relora_status status, const char *function);

struct module;

/* What may fail and is only worth a warning: a precaution. */
enum precaution { PRECAUTION_LOCK, PRECAUTION_LOOK, PRECAUTION_MODE, PRECAUTION_FLUSH, PRECAUTION_FOLDER, PRECAUTIONS };

struct error_slot {
    pthread_mutex_t lock;
    char text[ERROR_CAPACITY];
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
};

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
relora_status context_fail_options(const relora_context *ctx, relora_status status,
                                   const char *function, const char *name);

#endif
