/* oneDNN's matmul primitives: made once per kind of product, and kept with the queue. */
#ifndef RELORA_SRC_CPU_ONEDNN_H
#define RELORA_SRC_CPU_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>

#include "cpu.h"

struct onednn_kind { /* what a primitive depends on; compared byte by byte, so without padding */
    int64_t m, n, k, lda, ldb, ldc;
    int32_t type_a, type_b, type_c, accumulate;
    int16_t ta, tb;
    int32_t bias;
};

enum { ARG_A, ARG_B, ARG_C, ARG_BIAS, ARG_SCRATCH, ARG_COUNT };

struct onednn_slot { /* what one piece of a product needs to itself while it is made */
    dnnl_stream_t stream;
    dnnl_memory_t memory[ARG_COUNT];
};

struct onednn_entry {
    struct onednn_kind kind;
    dnnl_primitive_t primitive; /* NULL: oneDNN cannot do it */
    struct onednn_slot *slot;   /* one for each piece, as many as there are threads; made when first used */
    size_t scratch_bytes;
    uint64_t used; /* when; the oldest gives way */
};

struct onednn_facts { /* of a primitive that is not made */
    size_t scratch_bytes;
    relora_isa isa;
};

/* The kinds that the queue has met; NULL if there is no memory. */
struct gemm_cache *onednn_cache(struct queue *q);
relora_status onednn_find(struct queue *q, const struct onednn_kind *k, struct onednn_entry **out);

/* RELORA_E_UNSUPPORTED: oneDNN cannot do it, or only by its reference code. */
relora_status onednn_tell(const struct onednn_kind *k, struct onednn_facts *facts);

/* Make slot `i` of an entry, if it is not made yet; then a piece with it. */
relora_status onednn_slot(struct queue *q, struct onednn_entry *e, int64_t i);
relora_status onednn_run(const struct onednn_entry *e, int64_t i, const struct gemm *g, void *scratch);

#endif
