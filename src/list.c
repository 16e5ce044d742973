/* Arrays that double. */
#include "list.h"

#include <string.h>

relora_status list_grow(const relora_context *ctx, const char *fn, void **items, int32_t count,
                        int32_t *capacity, size_t size)
{
    if (count < *capacity) return RELORA_OK;
    if (*capacity > INT32_MAX / 2) FAIL(ctx, RELORA_E_OVERFLOW, "%s: too many", fn);
    int32_t larger = *capacity ? 2 * *capacity : 32;
    void *grown = memory_alloc_zero(&ctx->memory, size_mul((size_t)larger, size));
    if (!grown) return context_fail_memory(ctx, fn, size_mul((size_t)larger, size));
    if (count) memcpy(grown, *items, (size_t)count * size);
    memory_free(&ctx->memory, *items, (size_t)*capacity * size);
    *items = grown;
    *capacity = larger;
    return RELORA_OK;
}
