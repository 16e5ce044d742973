/* A file to be: the tensors and metadata collected for it. */
#ifndef RELORA_SRC_WRITER_H
#define RELORA_SRC_WRITER_H

#include "linear_merge.h"
#include "relora/checkpoint.h"
#include "safetensors.h"
#include "tensor.h"

struct writer_entry {
    char *name;
    const struct st_dtype *dtype;
    int32_t ndim;
    int64_t *shape;
    uint64_t bytes;
    relora_tensor *tensor; /* its values, or */
    const void *data;      /* these bytes, or */
    relora_linear *merged; /* W + s B A of a layer, made as it is written */
    int32_t turned;        /* written as its transpose, whose shape is above */
};

struct relora_writer {
    relora_context *ctx;
    struct writer_entry *entries;
    int32_t count, capacity;
    struct st_pair *pairs;
    int32_t pair_count, pair_capacity;
};

/* The public functions of these names, in an open call; the handles are checked. */
relora_status writer_create(const struct call *c, relora_writer **out);
relora_status writer_add(const struct call *c, relora_writer *writer, const char *name,
                         relora_tensor *tensor);
relora_status writer_add_bytes(const struct call *c, relora_writer *writer, const char *name,
                               const char *dtype, int32_t ndim, const int64_t *shape, const void *data,
                               size_t bytes);
relora_status writer_set_metadata(const struct call *c, relora_writer *writer, const char *key,
                                  const char *value);
relora_status writer_save(const struct call *c, const relora_writer *writer, const char *path,
                          uint32_t flags);
int writer_has_metadata(const relora_writer *writer, const char *key);

/* W + s B A of a layer under `name`, or its transpose. The layer is not kept alive. */
relora_status writer_add_merged(const struct call *c, relora_writer *writer, const char *name,
                                relora_linear *linear, int32_t turned);
/* The transpose of a matrix. */
relora_status writer_add_turned(const struct call *c, relora_writer *writer, const char *name,
                                relora_tensor *matrix);

/* The text of the header with its padding, allocated by the context: `*bytes` of it. The order of the
 * tensors is that of `order`; `checksums`, if not NULL, is hexadecimal text of 16 digits for each. */
relora_status writer_header(const struct call *c, const relora_writer *writer, const int32_t *order,
                            const char *checksums, char **text, size_t *bytes);

/* Key of the metadata that holds the checksums: one after the other, in the order of the bytes. */
extern const char writer_checksum_key[];

#endif
