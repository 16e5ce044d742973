/* The temporary memory of a queue of the CPU. */
#include "cpu.h"

void *cpu_scratch(struct queue *q, size_t bytes)
{
    if (bytes > q->scratch_bytes) {
        void *grown = memory_alloc(q->memory, bytes);
        if (!grown) return NULL;
        memory_free(q->memory, q->scratch, q->scratch_bytes);
        q->scratch = grown;
        q->scratch_bytes = bytes;
    }
    return q->scratch;
}
