/* What every object shares: memory, log, error text, devices. Counted, so that objects may be
 * released in any order. */
#ifndef RELORA_SRC_CONTEXT_H
#define RELORA_SRC_CONTEXT_H

#include "memory.h"
#include "options.h"
#include "module.h"
#include "relora/context.h"

enum { ERROR_CAPACITY = 512 };

/* What may fail and is only worth a warning: a precaution. */
enum precaution {
    PRECAUTION_LOCK,
    PRECAUTION_LOOK,
    PRECAUTION_MODE,
    PRECAUTION_FLUSH,
    PRECAUTION_FOLDER,
    PRECAUTIONS
};

struct error_slot {
    pthread_mutex_t lock; /* of every text of the context and its streams */
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
    relora_destroy_fn on_destroy;
    void *destroy_user;
};

extern const struct options context_table;

void context_retain(relora_context *ctx);
void context_drop(relora_context *ctx);

/* Memory for an object of `ctx`, zeroed, with a reference on `ctx` inside; NULL if there is none. */
void *context_new(relora_context *ctx, size_t size);
void context_delete(relora_context *ctx, void *object, size_t size);

void context_log(const relora_context *ctx, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The parts of it: does the host want lines of that level; hand it one that is made. `ctx` may be one that is
 * only about to be made. */
int context_listens(const relora_context *ctx, int32_t level);
void context_say(const relora_context *ctx, int32_t level, const char *line);
/* Names come from files and from hosts: a line stays one line, and one cut short stays UTF-8. `length` is
 * that of the whole one. */
void context_tidy_line(char line[ERROR_CAPACITY], int length);

/* A text of `ctx`, which its lock protects, into a buffer of the host's. */
relora_status context_copy_text(const relora_context *ctx, const char *text, char *buffer, size_t capacity,
                                size_t *length);
/* Is this another reason than the last time? Then a warning is worth its line. */
int context_is_news(const relora_context *ctx, enum precaution precaution, int error);

#define TRY(expression)                              \
    do {                                             \
        relora_status status_of_try = (expression);  \
        if (status_of_try < 0) return status_of_try; \
    } while (0)

#endif
