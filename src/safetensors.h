/* The header of a safetensors file: 8 bytes of length, JSON, then the tensors' bytes without gaps. */
#ifndef RELORA_SRC_SAFETENSORS_H
#define RELORA_SRC_SAFETENSORS_H

#include "call.h"

enum { ST_LENGTH_BYTES = 8, ST_ALIGN = 8, ST_HEADER_MAX = 100000000 };

/* What can be converted to a type of the library. */
enum st_number { ST_OTHER, ST_F64, ST_F32, ST_BF16, ST_F16 };

struct st_dtype {
    const char *name;
    int32_t bits;
    relora_dtype dtype; /* 0 if the library does not compute with it */
    enum st_number number;
};

/* NULL if the format has no such type. */
const struct st_dtype *st_dtype_find(const char *name, size_t length);
const struct st_dtype *st_dtype_of(relora_dtype dtype);

struct st_tensor {
    char *name;
    size_t name_bytes; /* with the NUL */
    const struct st_dtype *dtype;
    int32_t ndim;
    int64_t *shape;
    uint64_t begin, end; /* in the data, which begins after the header */
};

struct st_pair {
    char *key, *value;
    size_t key_bytes, value_bytes; /* with the NULs */
};

struct st_header {
    struct st_tensor *tensors; /* in the order of their bytes */
    struct st_pair *pairs;
    int32_t count, pair_count;
    size_t tensors_bytes, pairs_bytes; /* as allocated */
    int32_t *by_name;                  /* tensor indices, sorted by name */
    uint64_t data;                     /* offset of the tensors' bytes in the file */
};

/* Check `size` bytes of a file and take its header apart; RELORA_E_FORMAT with the place in the text.
 * `what` names the file in sentences. */
relora_status st_header_parse(const struct call *c, struct st_header *header, const char *what,
                              const unsigned char *bytes, uint64_t size);
void st_header_free(struct st_header *header, const relora_context *ctx);

/* The JSON of a header, which begins with {; RELORA_E_FORMAT or RELORA_E_NO_MEMORY. */
struct json_t;
relora_status st_text_load(const struct call *c, struct json_t **root, const char *what,
                           const unsigned char *text, size_t length);

/* What bytes that are no such file look like, "an HTML page": part of a sentence, which may be put in `text`. NULL if
 * they look like nothing known. */
enum { ST_GUESS_TEXT = 128 };
const char *st_guess(const unsigned char *bytes, uint64_t size, char text[ST_GUESS_TEXT]);

/* Index of a tensor, or -1. */
int32_t st_header_find(const struct st_header *header, const char *name);

/* Bytes of a tensor of that type and shape; 0 and *fits = 0 if the number is not one of whole bytes or
 * does not fit. */
uint64_t st_tensor_bytes(const struct st_dtype *dtype, int32_t ndim, const int64_t *shape, int *fits);

#endif
