/* Tokens from a memory-mapped file: bytes of a text, or a pre-tokenized .bin. */
#ifndef PRETRAIN_DATA_H
#define PRETRAIN_DATA_H

#include <stddef.h>
#include <stdint.h>

struct data {
    const char *path;           /* borrowed */
    const char *format;         /* for people: "bytes", "uint16", "llm.c uint16", "llm.c uint32" */
    void *map;
    size_t map_size;
    const unsigned char *first; /* token 0 */
    int token_bytes;            /* 1, 2 or 4 */
    int64_t tokens;
    int64_t train_tokens;       /* the first 90 %; the rest is validation */
    int64_t vocab;
};

/* A name that ends in .bin is raw uint16 (nanoGPT) or a headed shard (llm.c); anything else is text.
 * vocab 0: 256 for text, otherwise the largest token + 1, rounded up to a multiple of 64. There must
 * be at least seq + 1 tokens in both parts. On failure a sentence is printed. */
int data_open(struct data *data, const char *path, int64_t vocab, int64_t seq);
void data_close(struct data *data);
/* A number that tells data from other data of the same size, made from pieces all over the file. */
int64_t data_sum(const struct data *data);

/* A window of `seq` tokens and the seq that follow each of them. -1, with a sentence, if one of them
 * is not below vocab. */
int data_window(const struct data *data, int64_t start, int64_t seq, int32_t *tokens,
                int32_t *targets);
/* Row `row` of the batch of step `step`: a place in the training part that depends on nothing else. */
int data_train_row(const struct data *data, uint64_t seed, int64_t step, int64_t row, int64_t seq,
                   int32_t *tokens, int32_t *targets);
/* Number of windows that fit side by side into the validation part. */
int64_t data_validation_windows(const struct data *data, int64_t seq);
/* Window `index` of `count`, spread evenly over the validation part. */
int data_validation_row(const struct data *data, int64_t index, int64_t count, int64_t seq,
                        int32_t *tokens, int32_t *targets);

/* Write the King James Bible, as Debian's `bible` prints it, to `path` unless it is there already. */
int data_make_bible(const char *path);

#endif
