#ifndef RELORA_SRC_READER_H
#define RELORA_SRC_READER_H

#include "relora/checkpoint.h"
#include "safetensors.h"
#include "tensor.h"

struct relora_reader {
    relora_context *ctx;
    const unsigned char *bytes; /* the whole file */
    uint64_t size;
    int mapped;
    struct st_header header;
    const char *checksums; /* CHECKSUM_DIGITS for each tensor, or NULL */
};

/* Index of a tensor, or a sentence. */
relora_status reader_find(const struct call *c, const relora_reader *reader, const char *name,
                          int32_t *index);
/* Its bytes where they lie, of no alignment. */
const unsigned char *reader_bytes_of(const relora_reader *reader, const struct st_tensor *t);

/* Can `name` be copied into `target`? Sentences as in relora_reader_read. */
relora_status reader_check(const struct call *c, const relora_reader *reader, const char *name,
                           const relora_tensor *target, uint32_t flags);
/* Copy the tensor of that index, after reader_check. Asks for no memory. */
relora_status reader_copy(const struct call *c, const relora_reader *reader, int32_t index,
                          relora_tensor *target);
/* Checksum of one tensor; RELORA_OK if the file has none. */
relora_status reader_check_sum(const struct call *c, const relora_reader *reader, int32_t index);

#endif
