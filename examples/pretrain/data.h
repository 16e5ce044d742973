/* The tokens of a run: one file or several as one long text, a part of it or other files for validation. */
#ifndef PRETRAIN_DATA_H
#define PRETRAIN_DATA_H

#include <stddef.h>
#include <stdint.h>
#include "shards.h"
#include "source.h"

struct data {
    char name[256];         /* what was given, for people */
    struct source *sources; /* in order; those for validation at the end */
    /* sources, and those of them to train on; equal if the last tenth is held out */
    int count, training;
    int token_bytes; /* 1 for text, else more */
    int64_t tokens;
    int64_t train_tokens; /* come first; the rest is validation */
    int64_t vocab;
    /* Numbers that tell data from other data of the same size, of what the files held when they were opened. */
    int64_t sum;       /* of a single file made from pieces all over it, as in earlier releases */
    int64_t whole_sum; /* from every byte */
    /* Labelled lines (lines.h), those to train on first; NULL in data that is one long text. */
    struct line *lines;
    int64_t line_count, training_lines;
};

/* Everything is read once and looked at. `validation` empty: what --data has for it in files of their own, or
 * else the last tenth. vocab 0: 256 for text, otherwise the largest token + 1, rounded up to a multiple of 64.
 * There must be at least seq + 1 tokens in both parts; seq 0 asks for no parts. -1 after a sentence, or without one if stop_asked(). */
int data_open(struct data *data, const struct names *given, const struct names *validation, int64_t vocab,
              int64_t seq);
void data_close(struct data *data);
/* "1000 tokens (bytes), the last 100 for validation" */
void data_describe(const struct data *data, char *text, size_t size);
/* Look whether all files are what they were. -1 after a sentence. */
int data_check(struct data *data);

/* `count` tokens from `start` on. -1 after a sentence, as below. */
int data_read(const struct data *data, int64_t start, int64_t count, int32_t *tokens);
/* A window of `seq` tokens and the seq that follow each of them. -1, with a sentence, if they cannot be read,
 * are not what they were, or not below vocab. */
int data_window(const struct data *data, int64_t start, int64_t seq, int32_t *tokens, int32_t *targets);
/* Row `row` of the batch of step `step`: a place in the training part that depends on nothing else. Of labelled
 * lines: any of them. */
int data_train_row(const struct data *data, uint64_t seed, int64_t step, int64_t row, int64_t seq,
                   int32_t *tokens, int32_t *targets);
/* Number of windows that fit side by side into the validation part, or of its lines. */
int64_t data_validation_windows(const struct data *data, int64_t seq);
/* Window `index` of `count`, spread evenly over the validation part. */
int data_validation_row(const struct data *data, int64_t index, int64_t count, int64_t seq, int32_t *tokens,
                        int32_t *targets);

/* Write the King James Bible, as Debian's `bible` prints it, to `path` unless it is there already. */
int data_make_bible(const char *path);

#endif
