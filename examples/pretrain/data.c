#include "data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "lines.h"
#include "philox.h"
#include "report.h"

enum { VOCAB_MULTIPLE = 64, VOCAB_MOST = 1 << 24, SPARE_FILES = 64 };

/* ---- opening ---- */

static void name_data(struct data *data, const struct names *given)
{
    if (given->count == 1) snprintf(data->name, sizeof data->name, "%s", given->name[0]);
    else snprintf(data->name, sizeof data->name, "%.200s and %d more", given->name[0], given->count - 1);
}

/* Shards by the thousand are more files than a process may usually have open. */
static void allow_files(int count)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)count + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &limit); /* if that is too few, opening says so */
    }
}

static int open_sources(struct data *data, const struct names *training, const struct names *validation)
{
    int wanted = training->count + validation->count;
    allow_files(wanted);
    data->training = training->count;
    data->sources = calloc((size_t)wanted, sizeof *data->sources);
    if (!data->sources) return fail("no memory for %d files", wanted);
    for (int i = 0; i < wanted; i++) {
        int own = i < training->count;
        data->count++;
        if (source_open(&data->sources[i], own ? training->name[i] : validation->name[i - training->count]))
            return -1;
    }
    for (int i = 1; i < wanted; i++)
        if ((data->sources[i].token_bytes == 1) != (data->sources[0].token_bytes == 1))
            return fail("%s is read as text and %s as tokens: one run cannot use both",
                        data->sources[data->sources[0].token_bytes == 1 ? 0 : i].path,
                        data->sources[data->sources[0].token_bytes == 1 ? i : 0].path);
    return 0;
}

static int scan(struct data *data, int64_t vocab)
{
    const struct source *most = &data->sources[0];
    for (int i = 0; i < data->count; i++) {
        struct source *s = &data->sources[i];
        if (source_scan(s, vocab)) return -1;
        s->first = data->tokens;
        data->tokens += s->tokens;
        data->token_bytes = s->token_bytes > data->token_bytes ? s->token_bytes : data->token_bytes;
        most = s->largest > most->largest ? s : most;
        if (i < data->training) data->train_tokens = data->tokens;
    }
    data->vocab = vocab ? vocab : 256;
    if (vocab || data->token_bytes == 1) return 0;
    if (most->largest >= VOCAB_MOST)
        return fail("%s: its largest token is %" PRId64 "; is this a file of tokens? (--vocab sets the "
                    "size of the vocabulary)",
                    most->path, most->largest);
    data->vocab = (most->largest + VOCAB_MULTIPLE) / VOCAB_MULTIPLE * VOCAB_MULTIPLE;
    return 0;
}

/* ---- sums ---- */

static int64_t to_number(uint64_t sum)
{
    return (int64_t)(sum >> 2); /* fits a number that is not negative */
}

static int64_t sum_of_all(const struct data *data)
{
    uint64_t sum = (uint64_t)data->train_tokens;
    for (int i = 0; i < data->count; i++)
        sum = (sum ^ data->sources[i].sum) * 1099511628211u + (uint64_t)data->sources[i].size;
    return to_number(sum);
}

static int take_sums(struct data *data)
{
    enum { PIECES = 64, PIECE = 4096 };
    unsigned char bytes[PIECE];
    uint64_t sum = 1469598103934665603u; /* FNV-1a */
    const struct source *s = &data->sources[0];
    size_t size = (size_t)s->size, piece = size / PIECES < PIECE ? size / PIECES : PIECE;
    data->whole_sum = data->sum = sum_of_all(data);
    for (size_t p = 0; data->count == 1 && p < PIECES; p++) {
        if (source_bytes(s, (int64_t)((size - piece) / (PIECES - 1) * p), piece, bytes)) return -1;
        for (size_t i = 0; i < piece; i++) sum = (sum ^ bytes[i]) * 1099511628211u;
    }
    if (data->count == 1) data->sum = to_number(sum);
    return 0;
}

/* Without files of its own the validation has the last tenth. */
static int divide(struct data *data, int64_t seq)
{
    if (data->training == data->count) {
        int64_t validation = data->tokens / 10;
        data->train_tokens = data->tokens - validation;
        return validation >= seq + 1 ? 0
                                     : fail("%s has %" PRId64 " tokens; its last tenth, %" PRId64
                                            ", is for validation and must hold "
                                            "one window of %" PRId64 " + 1 (--seq)",
                                            data->name, data->tokens, validation, seq);
    }
    int64_t validation = data->tokens - data->train_tokens;
    if (data->train_tokens < seq + 1 || validation < seq + 1)
        return fail("%s has %" PRId64 " tokens to train on and %" PRId64
                    " for validation; both must hold one "
                    "window of %" PRId64 " + 1 (--seq)",
                    data->name, data->train_tokens, validation, seq);
    return 0;
}

/* Files to train on, and files for validation; none of these if the last tenth is to be held out. */
static int find_files(const struct names *given, const struct names *validation, struct names *files,
                      struct names *held_out)
{
    struct names more = {0};
    int result = shards_find(given, files, held_out);
    if (!result && files->count == 0) { /* nothing but validation files: then that is what was meant */
        *files = *held_out;
        *held_out = (struct names){0};
    }
    if (!result && validation->count) {
        names_free(held_out);
        result = shards_find(validation, held_out, &more);
        for (int i = 0; i < more.count && !result; i++) result = names_add(held_out, more.name[i]);
        names_free(&more);
    }
    return result;
}

int data_open(struct data *data, const struct names *given, const struct names *validation, int64_t vocab,
              int64_t seq)
{
    struct names files = {0}, held_out = {0};
    *data = (struct data){.count = 0};
    name_data(data, given);
    int result = find_files(given, validation, &files, &held_out);
    if (!result) result = open_sources(data, &files, &held_out);
    if (!result) result = scan(data, vocab);
    if (!result && seq) result = divide(data, seq);
    if (!result) result = take_sums(data);
    names_free(&files);
    names_free(&held_out);
    if (result) data_close(data);
    return result;
}

void data_close(struct data *data)
{
    for (int i = 0; i < data->count; i++) source_close(&data->sources[i]);
    free(data->sources);
    free(data->lines);
    data->lines = NULL;
    data->sources = NULL;
    data->count = 0;
}

void data_describe(const struct data *data, char *text, size_t size)
{
    char files[40] = "";
    int held_out = data->count - data->training;
    int64_t validation = data->tokens - data->train_tokens;
    if (data->training > 1) snprintf(files, sizeof files, ", %d files", data->training);
    if (held_out == 0)
        snprintf(text, size, "%" PRId64 " tokens (%s%s), the last %" PRId64 " for validation", data->tokens,
                 data->sources[0].format, files, validation);
    else
        snprintf(text, size, "%" PRId64 " tokens (%s%s), and %" PRId64 " for validation (%s%s)",
                 data->train_tokens, data->sources[0].format, files, validation,
                 data->sources[data->training].path, held_out > 1 ? " and more" : "");
}

int data_check(struct data *data)
{
    int result = 0;
    for (int i = 0; i < data->count && !result; i++) result = source_check(&data->sources[i]);
    return result;
}

/* ---- windows ---- */

/* The file that has a token. */
static struct source *source_at(const struct data *data, int64_t index)
{
    int low = 0, high = data->count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (data->sources[middle].first <= index) low = middle;
        else high = middle - 1;
    }
    return &data->sources[low];
}

int data_read(const struct data *data, int64_t start, int64_t count, int32_t *tokens)
{
    for (int64_t at = 0, part; at < count; at += part) {
        struct source *s = source_at(data, start + at);
        int64_t index = start + at - s->first;
        part = s->tokens - index < count - at ? s->tokens - index : count - at;
        if (source_read(s, index, part, tokens + at)) return -1;
        for (int64_t i = at; i < at + part; i++)
            if (tokens[i] < 0 || tokens[i] >= data->vocab)
                return fail("%s has changed during the run: token %" PRId64 " is %" PRId32
                            ", and the vocabulary has %" PRId64,
                            s->path, index + i - at, tokens[i], data->vocab);
    }
    return 0;
}

int data_window(const struct data *data, int64_t start, int64_t seq, int32_t *tokens, int32_t *targets)
{
    int32_t last;
    if (data_read(data, start, seq, tokens) || data_read(data, start + seq, 1, &last)) return -1;
    memcpy(targets, tokens + 1, (size_t)(seq - 1) * sizeof *targets);
    targets[seq - 1] = last;
    return 0;
}

int data_train_row(const struct data *data, uint64_t seed, int64_t step, int64_t row, int64_t seq,
                   int32_t *tokens, int32_t *targets)
{
    struct philox bits = draw(seed, STREAM_BATCH, (uint64_t)step, (uint64_t)row);
    uint64_t wide = (uint64_t)bits.word[0] << 32 | bits.word[1];
    uint64_t places = (uint64_t)(data->lines ? data->training_lines : data->train_tokens - seq);
    if (data->lines) return lines_row(data, (int64_t)(wide % places), seq, tokens, targets);
    return data_window(data, (int64_t)(wide % places), seq, tokens, targets);
}

int64_t data_validation_windows(const struct data *data, int64_t seq)
{
    return data->lines ? data->line_count - data->training_lines
                       : (data->tokens - data->train_tokens - 1) / seq;
}

int data_validation_row(const struct data *data, int64_t index, int64_t count, int64_t seq, int32_t *tokens,
                        int32_t *targets)
{
    int64_t lines = data->line_count - data->training_lines,
            room = data->tokens - data->train_tokens - seq - 1;
    int64_t start = count > 1 ? (data->lines ? lines - 1 : room) * index / (count - 1) : 0;
    if (data->lines) return lines_row(data, data->training_lines + start, seq, tokens, targets);
    return data_window(data, data->train_tokens + start, seq, tokens, targets);
}
