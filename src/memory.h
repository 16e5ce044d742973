/* Host memory, always through the hooks of a context, and sizes that cannot overflow. */
#ifndef RELORA_SRC_MEMORY_H
#define RELORA_SRC_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include "relora/export.h"

RELORA_BEGIN

enum { MEMORY_ALIGNMENT = 64 };

struct memory {
    void *(*alloc)(void *user, size_t size, size_t alignment); /* relora_alloc_fn */
    void (*free)(void *user, void *ptr, size_t size, size_t alignment);
    void *user;
};

/* The system's allocator, for contexts that bring none. */
extern const struct memory memory_system;

/* `size` bytes on a 64-byte boundary, contents undefined; NULL if there are none. */
void *memory_alloc(const struct memory *memory, size_t size);
void *memory_alloc_zero(const struct memory *memory, size_t size);
/* A copy of a string, strlen(text) + 1 bytes; NULL if there is no memory. */
char *memory_string(const struct memory *memory, const char *text);
void memory_free(const struct memory *memory, void *ptr, size_t size);

/* Products and sums of sizes; SIZE_MAX stands for "too large" and stays what it is. */
size_t size_mul(size_t a, size_t b);
size_t size_add(size_t a, size_t b);

RELORA_END
#endif
