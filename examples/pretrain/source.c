#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kind.h"
#include "report.h"
#include "stop.h"

enum {
    HEADER_BYTES = 256 * 4, /* of an llm.c shard */
    MAGIC_UINT16 = 20240520,
    MAGIC_UINT32 = 20240801,
    PIECE = 1 << 20, /* of a file that is read whole */
    WINDOW = 8192    /* of one that is read here and there */
};
#define PATIENCE 10.0 /* seconds between words about a long reading */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- reading ---- */

int source_bytes(const struct source *s, int64_t offset, size_t count, unsigned char *bytes)
{
    for (size_t got = 0; got < count;) {
        ssize_t part = pread(s->file, bytes + got, count - got, (off_t)(offset + (int64_t)got));
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return fail("cannot read %s: %s", s->path, strerror(errno));
        if (part == 0)
            return fail("%s has become shorter while it was read: it had %" PRId64 " bytes", s->path,
                        s->size);
        got += (size_t)part;
    }
    return 0;
}

static int64_t token_of(const unsigned char *at, int token_bytes)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (token_bytes) {
    case 1: return *at;
    case 2: memcpy(&two, at, sizeof two); return two;
    case 4: memcpy(&four, at, sizeof four); return four;
    default: memcpy(&eight, at, sizeof eight); return eight > INT64_MAX ? INT64_MAX : (int64_t)eight;
    }
}

/* ---- opening ---- */

static int read_header(struct source *s, const unsigned char *bytes, int32_t magic)
{
    int32_t header[3] = {magic, 0, 0}, wanted = magic == MAGIC_UINT16 ? 1 : 7;
    if (s->size < HEADER_BYTES)
        return fail("%s has an llm.c magic number but only %" PRId64 " bytes; its header alone takes %d",
                    s->path, s->size, HEADER_BYTES);
    memcpy(header, bytes, sizeof header);
    if (header[1] != wanted)
        return fail("%s: llm.c shard of version %" PRId32 "; magic %" PRId32 " goes with version %" PRId32,
                    s->path, header[1], magic, wanted);
    s->token_bytes = magic == MAGIC_UINT16 ? 2 : 4;
    s->format = magic == MAGIC_UINT16 ? "llm.c uint16" : "llm.c uint32";
    s->tokens = header[2];
    int64_t size = HEADER_BYTES + s->tokens * s->token_bytes;
    if (s->tokens < 0 || size != s->size)
        return fail("%s: its header promises %" PRId64 " tokens, that is a file of %" PRId64
                    " bytes, but it has %" PRId64,
                    s->path, s->tokens, size, s->size);
    s->offset = HEADER_BYTES;
    return 0;
}

static int find_format(struct source *s)
{
    unsigned char bytes[KIND_BYTES];
    size_t length = strlen(s->path), size = s->size < KIND_BYTES ? (size_t)s->size : KIND_BYTES;
    int32_t magic = 0;
    int text = length < 4 || strcmp(s->path + length - 4, ".bin") != 0;
    if (source_bytes(s, 0, size, bytes)) return -1;
    memcpy(&magic, bytes, size < sizeof magic ? size : sizeof magic);
    if (!text && (magic == MAGIC_UINT16 || magic == MAGIC_UINT32)) return read_header(s, bytes, magic);
    struct kind kind = kind_of(bytes, size, text);
    if (kind.refused) return fail("%s is %s: %s", s->path, kind.what, kind.hint);
    if (kind.what) note("%s is %s: %s", s->path, kind.what, kind.hint);
    if (text && (magic == MAGIC_UINT16 || magic == MAGIC_UINT32))
        return fail("%s is an llm.c shard of tokens: give it a name that ends in .bin", s->path);
    if (!text && s->size % 2 != 0)
        return fail("%s: %" PRId64 " bytes is not a whole number of uint16 tokens, and there is no llm.c "
                    "header",
                    s->path, s->size);
    s->token_bytes = text ? 1 : 2;
    s->format = text ? "bytes" : "uint16";
    s->tokens = s->size / s->token_bytes;
    return 0;
}

int source_open(struct source *s, const char *path)
{
    struct stat status;
    *s = (struct source){.file = -1, .path = strdup(path)};
    pthread_mutex_init(&s->lock, NULL);
    if (!s->path) return fail("no memory for the name %s", path);
    s->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (s->file < 0) return fail("cannot open %s: %s", path, strerror(errno));
    if (fstat(s->file, &status) != 0 || !S_ISREG(status.st_mode))
        return fail("%s is not a regular file", path);
    if (status.st_size == 0) return fail("%s is empty (0 bytes)", path);
    s->size = status.st_size;
    s->changed = status.st_ctim;
    return find_format(s);
}

void source_close(struct source *s)
{
    if (s->file >= 0) close(s->file);
    free(s->path);
    pthread_mutex_destroy(&s->lock);
    *s = (struct source){.file = -1};
}

/* ---- reading it all ---- */

struct whole {
    uint64_t lanes[4]; /* of the sum */
    uint16_t words[4]; /* largest 16-bit words, by their place */
    int64_t largest;
};

/* `count` is a multiple of 32 but in the last piece. */
static void add_to_sum(struct whole *w, const unsigned char *bytes, size_t count)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t word;
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        for (size_t lane = 0; lane < 4; lane++) {
            memcpy(&word, bytes + i + 8 * lane, sizeof word);
            w->lanes[lane] = ((w->lanes[lane] ^ word) + 1) * factor;
            w->lanes[lane] ^= w->lanes[lane] >> 29;
        }
    for (; i < count; i++) w->lanes[0] = ((w->lanes[0] ^ bytes[i]) + 1) * factor;
}

static uint64_t sum_of(const struct whole *w, int64_t size)
{
    uint64_t sum = (uint64_t)size;
    for (int lane = 0; lane < 4; lane++) sum = (sum ^ w->lanes[lane] ^ sum >> 31) * 0xD6E8FEB86659FD93u;
    return sum;
}

static unsigned largest_byte(const unsigned char *bytes, size_t count)
{
    unsigned char most = 0;
    for (size_t i = 0; i < count; i++) most = bytes[i] > most ? bytes[i] : most;
    return most;
}

static uint32_t largest_four(const unsigned char *bytes, size_t count)
{
    uint32_t most = 0, value;
    for (size_t i = 0; i < count; i++) {
        memcpy(&value, bytes + 4 * i, sizeof value);
        most = value > most ? value : most;
    }
    return most;
}

/* Of 16-bit words by their place among four; `count` words, a multiple of four but in the last piece. */
static void largest_words(uint16_t most[4], const unsigned char *bytes, size_t count)
{
    uint16_t value;
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (size_t k = 0; k < 4; k++) {
            memcpy(&value, bytes + 2 * (i + k), sizeof value);
            most[k] = value > most[k] ? value : most[k];
        }
    for (size_t k = 0; i < count; i++, k++) {
        memcpy(&value, bytes + 2 * i, sizeof value);
        most[k] = value > most[k] ? value : most[k];
    }
}

static void add_to_largest(struct whole *w, const struct source *s, const unsigned char *bytes, size_t count)
{
    int64_t most = 0;
    if (s->token_bytes == 1) most = largest_byte(bytes, count);
    else if (s->token_bytes == 2) largest_words(w->words, bytes, count / 2);
    else most = largest_four(bytes, count / 4);
    w->largest = most > w->largest ? most : w->largest;
}

/* All bytes once; `look` for the largest token too. -1 as in source_scan(). */
static int read_all(const struct source *s, struct whole *w, int look)
{
    unsigned char *bytes = malloc(PIECE);
    double said = now();
    int result = 0;
    if (!bytes) {
        fail("no memory to look through %s", s->path);
        return -1;
    }
    *w = (struct whole){{1, 2, 3, 4}, {0}, 0};
    for (int64_t at = 0; at < s->size && !result;) {
        int64_t left = s->size - at, skip = at == 0 ? s->offset : 0;
        size_t count = left < PIECE ? (size_t)left : PIECE;
        result = stop_asked() ? -1 : source_bytes(s, at, count, bytes);
        if (!result) {
            add_to_sum(w, bytes, count);
            if (look) add_to_largest(w, s, bytes + skip, count - (size_t)skip);
        }
        at += (int64_t)count;
        if (now() - said > PATIENCE) {
            said = now();
            note("looking through %s: %.1f of %.1f GB", s->path, (double)at * 1e-9, (double)s->size * 1e-9);
        }
    }
    free(bytes);
    return result;
}

/* Raw tokens of 32 or 64 bits, read as 16, are words of which each second one, or three of four, is next to
 * nothing. */
static void find_width(struct source *s, const struct whole *w)
{
    enum { SMALL = 16, LARGE = 256 };
    const uint16_t *most = w->words;
    int low = most[0] > most[2] ? most[0] : most[2], high = most[1] > most[3] ? most[1] : most[3];
    if (s->offset || s->tokens < 32) return;
    if (s->size % 8 == 0 && most[0] > 0 && !most[2] && !most[3] &&
        (!most[1] || (most[1] < SMALL && most[0] >= LARGE)))
        s->token_bytes = 8;
    else if (s->size % 4 == 0 && low > 0 && (!high || (high < SMALL && low >= LARGE))) s->token_bytes = 4;
    else return;
    s->format = s->token_bytes == 8 ? "int64" : "uint32";
    s->tokens = s->size / s->token_bytes;
    note("%s is read as %s tokens, not uint16: %s of its 16-bit words are all below %d", s->path, s->format,
         s->token_bytes == 8 ? "three in four" : "every second", high ? SMALL : 1);
}

/* Where a token that is not below `vocab` stands. */
static int name_token(struct source *s, int64_t vocab)
{
    int32_t tokens[WINDOW / 8] = {0};
    for (int64_t at = 0, count; at < s->tokens; at += count) {
        count = s->tokens - at < WINDOW / 8 ? s->tokens - at : WINDOW / 8;
        if (source_read(s, at, count, tokens)) return -1;
        for (int64_t i = 0; i < count; i++)
            if (tokens[i] < 0 || tokens[i] >= vocab)
                return fail("%s: token %" PRId64 " is %" PRId32 ", but the vocabulary has only %" PRId64
                            " (--vocab)",
                            s->path, at + i, tokens[i], vocab);
    }
    return fail("%s has changed while it was read", s->path);
}

int source_scan(struct source *s, int64_t vocab)
{
    struct whole w;
    double begin = now();
    if (read_all(s, &w, 1)) return -1;
    if (s->token_bytes == 2) {
        find_width(s, &w);
        for (int k = 0; k < 4; k++) w.largest = w.words[k] > w.largest ? w.words[k] : w.largest;
        if (s->token_bytes > 2 && read_all(s, &w, 1)) return -1;
    }
    s->sum = sum_of(&w, s->size);
    s->largest = w.largest;
    s->looked = now();
    s->took = s->looked - begin;
    return vocab > 0 && s->largest >= vocab ? name_token(s, vocab) : 0;
}

/* ---- under a run ---- */

int source_check(struct source *s)
{
    struct stat status;
    struct whole w;
    int result = 0;
    pthread_mutex_lock(&s->lock);
    if (fstat(s->file, &status) != 0) result = fail("cannot read %s: %s", s->path, strerror(errno));
    else if (status.st_size < s->size)
        result = fail("%s has become shorter during the run: it had %" PRId64 " bytes and has %" PRId64,
                      s->path, s->size, (int64_t)status.st_size);
    else if (status.st_ctim.tv_sec != s->changed.tv_sec || status.st_ctim.tv_nsec != s->changed.tv_nsec) {
        double begin = now();
        result = read_all(s, &w, 0);
        if (!result && sum_of(&w, s->size) != s->sum) result = fail("%s has changed during the run", s->path);
        s->changed = status.st_ctim;
        s->looked = now();
        s->took = s->looked - begin;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* The same for tokens just read. Of a file that is written to all the while, it costs a twentieth of the time. */
static int check_now_and_then(struct source *s)
{
    struct stat status;
    pthread_mutex_lock(&s->lock);
    int due = fstat(s->file, &status) != 0 || status.st_size < s->size ||
              ((status.st_ctim.tv_sec != s->changed.tv_sec || status.st_ctim.tv_nsec != s->changed.tv_nsec) &&
               now() - s->looked > 20 * s->took);
    pthread_mutex_unlock(&s->lock);
    return due ? source_check(s) : 0;
}

int source_read(struct source *s, int64_t index, int64_t count, int32_t *tokens)
{
    unsigned char bytes[WINDOW];
    int width = s->token_bytes;
    for (int64_t at = 0, part; at < count; at += part) {
        part = count - at < WINDOW / width ? count - at : WINDOW / width;
        if (source_bytes(s, s->offset + (index + at) * width, (size_t)(part * width), bytes)) return -1;
        for (int64_t i = 0; i < part; i++) {
            int64_t token = token_of(bytes + i * width, width);
            tokens[at + i] = token > INT32_MAX ? INT32_MAX : (int32_t)token;
        }
    }
    return check_now_and_then(s);
}
