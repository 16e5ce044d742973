/* librelora_cuda.so: found and loaded at a context's first question about CUDA, and never unloaded; and
 * the devices it offers. Nothing of it is shared between contexts. */
#ifndef RELORA_SRC_MODULE_H
#define RELORA_SRC_MODULE_H

#include "context.h"

struct module {
    pthread_mutex_t lock;          /* of all below */
    int32_t answered;              /* the question has its answer, for good */
    int32_t count;                 /* of devices */
    struct relora_device *devices; /* each without a queue until somebody asks for it */
    char *folder;                  /* where the host says that it lies, or NULL */
    char reason[ERROR_CAPACITY];   /* why there is no device */
};

relora_status module_new(struct module **out, const struct memory *memory, const char *folder);
void module_delete(struct module *module, const struct memory *memory);

/* How many CUDA devices there are. Running out of memory is no answer: it is 0 now, and the next
 * question asks again. */
int32_t module_count(const relora_context *ctx);

/* The device, ready for use; or a sentence that says why not. */
relora_status module_device(relora_device **out, relora_context *ctx, const char *function, int32_t index);

#endif
