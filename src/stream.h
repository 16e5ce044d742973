/* The temporary memory of the calls made on a stream. */
#ifndef RELORA_SRC_STREAM_H
#define RELORA_SRC_STREAM_H

#include "call.h"

/* Temporaries. A layout function takes them in order, first from a scratch without memory to learn
 * the size, then, after scratch_open, from the stream's workspace. */
struct scratch {
    unsigned char *base; /* NULL: only count */
    size_t used;
};

struct view scratch_take(struct scratch *scratch, int64_t rows, int64_t cols, relora_dtype dtype);
void *scratch_bytes(struct scratch *scratch, size_t bytes);

/* Make the workspace at least as large as `scratch` has counted and start over inside it. */
relora_status scratch_open(const struct call *c, struct scratch *scratch);

#endif
