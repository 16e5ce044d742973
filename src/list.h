/* Arrays that double. */
#ifndef RELORA_SRC_LIST_H
#define RELORA_SRC_LIST_H

#include "call.h"

/* Make room for one item more than `count`; what is new is zeroed. `items` points to a pointer to void: a
 * pointer of another type is handed over by way of one. */
relora_status list_grow(const struct call *c, void **items, int32_t count, int32_t *capacity, size_t size);

#endif
