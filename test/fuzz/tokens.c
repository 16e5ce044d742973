/* Any bytes as a file of tokens for examples/pretrain, as text or as .bin. They are refused with a sentence,
 * or every window of them gives tokens below the vocabulary, each target the token that follows. */
#include "fuzz/fuzz.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../examples/pretrain/data.h"
#include "../../examples/pretrain/report.h"

enum { SEQ_MAX = 8 };

static char folder[64], path[96];
static int sentences;

#define REQUIRE(condition)                                      \
    do {                                                        \
        if (!(condition)) require_failed(#condition, __LINE__); \
    } while (0)

static void require_failed(const char *condition, int line)
{
    fprintf(stderr, "tokens.c:%d: %s\n", line, condition);
    abort();
}

/* A word is no sentence. */
void note(const char *format, ...) { (void)format; }

/* In place of report.c: the sentences are counted and formatted, not printed. */
int fail(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    REQUIRE(vsnprintf(text, sizeof text, format, arguments) > 0);
    va_end(arguments);
    sentences++;
    return -1;
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static void write_file(const uint8_t *data, size_t size, int binary)
{
    if (!folder[0]) {
        strcpy(folder,
               access("/dev/shm", W_OK) ? "/tmp/relora-tokens-XXXXXX" : "/dev/shm/relora-tokens-XXXXXX");
        REQUIRE(mkdtemp(folder));
        atexit(remove_folder);
    }
    if (path[0]) unlink(path);
    snprintf(path, sizeof path, "%s/tokens%s", folder, binary ? ".bin" : ".txt");
    FILE *f = fopen(path, "wb");
    REQUIRE(f && fwrite(data, 1, size, f) == size && !fclose(f));
}

static void check_row(const struct data *data, int result, const int32_t *tokens, const int32_t *targets,
                      int64_t seq)
{
    for (int64_t i = 0; i < seq && !result; i++) {
        REQUIRE(tokens[i] >= 0 && tokens[i] < data->vocab);
        REQUIRE(targets[i] >= 0 && targets[i] < data->vocab);
        if (i) REQUIRE(tokens[i] == targets[i - 1]);
    }
}

static void read_rows(const struct data *data, int64_t seq, uint64_t seed)
{
    int32_t tokens[SEQ_MAX], targets[SEQ_MAX];
    int64_t windows = data_validation_windows(data, seq);
    REQUIRE(windows >= 1 && data->train_tokens > seq);
    for (int64_t row = 0; row < 8; row++)
        check_row(data, data_train_row(data, seed, row, row % 3, seq, tokens, targets), tokens, targets, seq);
    for (int64_t i = 0; i < windows && i < 64; i++)
        check_row(data, data_validation_row(data, i, windows, seq, tokens, targets), tokens, targets, seq);
}

/* The first byte chooses the name, the vocabulary and the window; the rest is the file. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct data data;
    char *name = path;
    const struct names given = {&name, 1}, none = {NULL, 0};
    if (!size) return 0;
    int64_t seq = 1 + (bytes[0] >> 2) % SEQ_MAX, vocab = bytes[0] & 2 ? 200 : 0;
    write_file(bytes + 1, size - 1, bytes[0] & 1);
    sentences = 0;
    if (data_open(&data, &given, &none, vocab, seq)) {
        REQUIRE(sentences == 1);
        return 0;
    }
    REQUIRE(sentences == 0);
    read_rows(&data, seq, bytes[0]);
    data_close(&data);
    return 0;
}
