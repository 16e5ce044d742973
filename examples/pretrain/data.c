#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "philox.h"
#include "report.h"

enum {
    HEADER_BYTES = 256 * 4, /* of an llm.c shard */
    MAGIC_UINT16 = 20240520,
    MAGIC_UINT32 = 20240801,
    VOCAB_MULTIPLE = 64
};

static int64_t token_at(const struct data *data, int64_t index)
{
    const unsigned char *at = data->first + index * data->token_bytes;
    uint16_t two;
    uint32_t four;
    switch (data->token_bytes) {
    case 1:
        return *at;
    case 2:
        memcpy(&two, at, sizeof two);
        return two;
    default:
        memcpy(&four, at, sizeof four);
        return four;
    }
}

static int map_file(struct data *data)
{
    struct stat status;
    int fd = open(data->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (fd < 0)
        return fail("cannot open %s: %s", data->path, strerror(errno));
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return fail("%s is not a regular file", data->path);
    }
    if (status.st_size == 0) {
        close(fd);
        return fail("%s is empty (0 bytes)", data->path);
    }
    data->map_size = (size_t)status.st_size;
    data->map = mmap(NULL, data->map_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd); /* the mapping stays */
    if (data->map == MAP_FAILED) {
        data->map = NULL;
        return fail("cannot map %s: %s", data->path, strerror(errno));
    }
    data->first = data->map;
    return 0;
}

static int read_header(struct data *data, int32_t magic)
{
    int32_t header[3] = {magic, 0, 0}, wanted = magic == MAGIC_UINT16 ? 1 : 7;
    if (data->map_size < HEADER_BYTES)
        return fail("%s has an llm.c magic number but only %zu bytes; its header alone takes %d",
                    data->path, data->map_size, HEADER_BYTES);
    memcpy(header, data->map, sizeof header);
    if (header[1] != wanted)
        return fail("%s: llm.c shard of version %" PRId32 "; magic %" PRId32 " goes with version %" PRId32,
                    data->path, header[1], magic, wanted);
    data->token_bytes = magic == MAGIC_UINT16 ? 2 : 4;
    data->format = magic == MAGIC_UINT16 ? "llm.c uint16" : "llm.c uint32";
    data->tokens = header[2];
    int64_t size = HEADER_BYTES + data->tokens * data->token_bytes;
    if (data->tokens < 0 || (size_t)size != data->map_size)
        return fail("%s: its header promises %" PRId64 " tokens, that is a file of %" PRId64
                    " bytes, but it has %zu", data->path, data->tokens, size, data->map_size);
    data->first += HEADER_BYTES;
    return 0;
}

static int find_format(struct data *data)
{
    size_t length = strlen(data->path);
    int32_t magic = 0;
    if (length < 4 || strcmp(data->path + length - 4, ".bin") != 0) {
        data->token_bytes = 1;
        data->format = "bytes";
        data->tokens = (int64_t)data->map_size;
        return 0;
    }
    if (data->map_size >= sizeof magic)
        memcpy(&magic, data->map, sizeof magic);
    if (magic == MAGIC_UINT16 || magic == MAGIC_UINT32)
        return read_header(data, magic);
    if (data->map_size % 2 != 0)
        return fail("%s: %zu bytes is not a whole number of uint16 tokens, and there is no llm.c header",
                    data->path, data->map_size);
    data->token_bytes = 2;
    data->format = "uint16";
    data->tokens = (int64_t)(data->map_size / 2);
    return 0;
}

static int find_vocab(struct data *data, int64_t vocab)
{
    int64_t largest = 0;
    data->vocab = vocab;
    if (vocab == 0 && data->token_bytes == 1)
        data->vocab = 256;
    if (data->vocab)
        return 0;
    for (int64_t i = 0; i < data->tokens; i++) {
        int64_t token = token_at(data, i);
        largest = token > largest ? token : largest;
    }
    if (largest >= 1 << 24)
        return fail("%s: its largest token is %" PRId64 "; is this a file of tokens? (--vocab sets the "
                    "size of the vocabulary)", data->path, largest);
    data->vocab = (largest + VOCAB_MULTIPLE) / VOCAB_MULTIPLE * VOCAB_MULTIPLE;
    return 0;
}

int data_open(struct data *data, const char *path, int64_t vocab, int64_t seq)
{
    *data = (struct data){.path = path};
    if (map_file(data) != 0)
        return -1;
    if (find_format(data) != 0 || find_vocab(data, vocab) != 0)
        goto close;
    int64_t validation = data->tokens / 10;
    data->train_tokens = data->tokens - validation;
    if (validation < seq + 1) {
        fail("%s has %" PRId64 " tokens; its last tenth, %" PRId64 ", is for validation and must hold "
             "one window of %" PRId64 " + 1 (--seq)", path, data->tokens, validation, seq);
        goto close;
    }
    return 0;
close:
    data_close(data);
    return -1;
}

void data_close(struct data *data)
{
    if (data->map)
        munmap(data->map, data->map_size);
    data->map = NULL;
}

int64_t data_sum(const struct data *data)
{
    enum { PIECES = 64, PIECE = 4096 };
    uint64_t sum = 1469598103934665603u; /* FNV-1a */
    size_t size = data->map_size, piece = size / PIECES < PIECE ? size / PIECES : PIECE;
    for (size_t p = 0; p < PIECES; p++) {
        const unsigned char *at = (const unsigned char *)data->map + (size - piece) / (PIECES - 1) * p;
        for (size_t i = 0; i < piece; i++)
            sum = (sum ^ at[i]) * 1099511628211u;
    }
    return (int64_t)(sum >> 2); /* fits a number that is not negative */
}

int data_window(const struct data *data, int64_t start, int64_t seq, int32_t *tokens,
                int32_t *targets)
{
    for (int64_t i = 0; i <= seq; i++) {
        int64_t token = token_at(data, start + i);
        if (token >= data->vocab)
            return fail("%s: token %" PRId64 " is %" PRId64 ", but the vocabulary has only %" PRId64
                        " (--vocab)", data->path, start + i, token, data->vocab);
        if (i < seq)
            tokens[i] = (int32_t)token;
        if (i > 0)
            targets[i - 1] = (int32_t)token;
    }
    return 0;
}

int data_train_row(const struct data *data, uint64_t seed, int64_t step, int64_t row, int64_t seq,
                   int32_t *tokens, int32_t *targets)
{
    struct philox bits = draw(seed, STREAM_BATCH, (uint64_t)step, (uint64_t)row);
    uint64_t places = (uint64_t)(data->train_tokens - seq);
    uint64_t wide = (uint64_t)bits.word[0] << 32 | bits.word[1];
    return data_window(data, (int64_t)(wide % places), seq, tokens, targets);
}

int64_t data_validation_windows(const struct data *data, int64_t seq)
{
    return (data->tokens - data->train_tokens - 1) / seq;
}

int data_validation_row(const struct data *data, int64_t index, int64_t count, int64_t seq,
                        int32_t *tokens, int32_t *targets)
{
    int64_t room = data->tokens - data->train_tokens - seq - 1;
    int64_t start = count > 1 ? room * index / (count - 1) : 0;
    return data_window(data, data->train_tokens + start, seq, tokens, targets);
}
