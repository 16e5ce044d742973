/* Arrays that double. */
#include "list.h"

#include <string.h>

relora_status list_grow(const struct call *c, void **items, int32_t count, int32_t *capacity, size_t size)
{
    if (count < *capacity) return RELORA_OK;
    if (*capacity > INT32_MAX / 2) FAIL(c, RELORA_E_OVERFLOW, "too many");
    int32_t larger = *capacity ? 2 * *capacity : 32;
    void *grown = memory_alloc_zero(&c->ctx->memory, size_mul((size_t)larger, size));
    if (!grown) return call_fail_memory(c, size_mul((size_t)larger, size));
    if (count) memcpy(grown, *items, (size_t)count * size);
    memory_free(&c->ctx->memory, *items, (size_t)*capacity * size);
    *items = grown;
    *capacity = larger;
    return RELORA_OK;
}
