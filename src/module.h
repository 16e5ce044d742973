/* librelora_cuda.so.0: found and loaded at a context's first question about CUDA, and never unloaded; and
 * the devices it offers. Nothing of it is shared between contexts. */
#ifndef RELORA_SRC_MODULE_H
#define RELORA_SRC_MODULE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend.h"

struct relora_device {
    relora_context *ctx; /* not counted: the context owns its devices */
    const struct backend *backend;
    struct queue *queue; /* for memory, and for filling new objects where there is no stream yet */
    int32_t index;
    atomic_int failures;                       /* of its streams, ever */
    struct gemm_path product[RELORA_BF16 + 1]; /* how large products are made, by dtype; 0: not known */
    char name[96];
};

enum { REASON_CAPACITY = 512 };

struct module {
    pthread_mutex_t lock;          /* of all below */
    int32_t answered;              /* the question has its answer, for good */
    int32_t count;                 /* of devices */
    struct relora_device *devices; /* each without a queue until somebody asks for it */
    char *folder;                  /* where the host says that it lies, or NULL */
    char reason[REASON_CAPACITY];  /* why there is no device */
};

relora_status module_new(struct module **out, const struct memory *memory, const char *folder);
void module_delete(struct module *module, const struct memory *memory);

/* Answer the question, if it has no answer yet: load the module and list its devices. With the lock
 * held. Running out of memory is no answer: the next question asks again. */
void module_ask(struct module *module, const struct memory *memory);

#endif
