/* What a file is by its first bytes, where that is neither text nor plain tokens. */
#ifndef PRETRAIN_KIND_H
#define PRETRAIN_KIND_H

#include <stddef.h>

enum { KIND_BYTES = 512 }; /* to be looked at; fewer if the file is shorter */

struct kind {
    const char *what; /* "a gzip file"; NULL if nothing is known against it */
    const char *hint; /* what to do about it */
    int refused;      /* else a word of warning is enough */
};

/* `text`: it is to be read as bytes; else as tokens, whose first ones may look like much. */
struct kind kind_of(const unsigned char *bytes, size_t size, int text);

#endif
