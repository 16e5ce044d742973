/* Host memory through the hooks of a context. Callers give the size of a block back, because the hooks want it.
 * A size that cannot be counted is SIZE_MAX, and no request for it succeeds. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(void *) == 8, "librelora needs a 64-bit processor: sizes and offsets have 63 bits");

static void *system_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    size_t rounded = size_add(size, alignment - 1) / alignment * alignment; /* aligned_alloc asks for it */
    return rounded < size ? NULL : aligned_alloc(alignment, rounded);
}

static void system_free(void *user, void *ptr, size_t size, size_t alignment)
{
    (void)user, (void)size, (void)alignment;
    free(ptr);
}

const struct memory memory_system = {system_alloc, system_free, NULL};

void *memory_alloc(const struct memory *memory, size_t size)
{
    if (size > PTRDIFF_MAX) return NULL;
    return memory->alloc(memory->user, size ? size : 1, MEMORY_ALIGNMENT);
}

void *memory_alloc_zero(const struct memory *memory, size_t size)
{
    void *ptr = memory_alloc(memory, size);
    if (ptr) memset(ptr, 0, size);
    return ptr;
}

char *memory_string(const struct memory *memory, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = memory_alloc(memory, bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

void memory_free(const struct memory *memory, void *ptr, size_t size)
{
    if (ptr) memory->free(memory->user, ptr, size ? size : 1, MEMORY_ALIGNMENT);
}

size_t size_mul(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t size_add(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}
