/* One file of tokens: bytes of a text, or a pre-tokenized .bin. It is read where and when tokens are wanted,
 * never mapped: what happens to the file under a run is then an error of a read. */
#ifndef PRETRAIN_SOURCE_H
#define PRETRAIN_SOURCE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct source {
    char *path;
    const char *format; /* for people: "bytes", "uint16", "llm.c uint16", "llm.c uint32", "uint32", "int64" */
    int file;           /* descriptor, or -1 */
    int64_t size;       /* of the file, in bytes */
    int64_t offset;     /* of token 0, in bytes */
    int token_bytes;    /* 1, 2, 4 or 8 */
    int64_t tokens;
    int64_t largest;         /* token */
    int64_t first;           /* place of token 0 in the data */
    uint64_t sum;            /* of all bytes */
    pthread_mutex_t lock;    /* of the following */
    struct timespec changed; /* when the file was last known to hold that sum */
    double looked, took;     /* when that was last found by reading, and how long it took */
};

/* Open a file and look at its beginning. A name that ends in .bin is raw tokens or a headed shard (llm.c);
 * anything else is text. -1 after a sentence; to be closed even so. */
int source_open(struct source *source, const char *path);
void source_close(struct source *source);

/* Read the file once, for its largest token, its sum, and the width of raw tokens; to be called once. With a
 * vocabulary above 0 every token is compared with it. -1 after a sentence, or without one if stop_asked(). */
int source_scan(struct source *source, int64_t vocab);

/* `count` tokens from `index` on; the caller stays inside. -1, after a sentence, if they cannot be read, or if
 * the file no longer holds what it held. */
int source_read(struct source *source, int64_t index, int64_t count, int32_t *tokens);
/* Bytes of the file, for a sum of pieces. -1 after a sentence. */
int source_bytes(const struct source *source, int64_t offset, size_t count, unsigned char *bytes);
/* Look whether the file still is what it was, at whatever cost. -1 after a sentence. */
int source_check(struct source *source);

#endif
