#include "kind.h"

#include <stdint.h>
#include <string.h>

static const char unpack[] = "unpack it first";
static const char array[] = "write its tokens plainly, in Python: "
                            "numpy.load(NAME).astype('uint16').tofile('NAME.bin')";
static const char utf8[] = "turn it into UTF-8 first, with iconv";
static const char swap[] = "write it on a machine of this one's";
static const char shards[] = "tokens are in shards, such as fineweb_train_000001.bin";
static const char extract[] = "take the text or the tokens out of it";

/* Longer ones before their beginnings: UTF-32 before UTF-16. */
static const struct signature {
    const char *what, *hint, *bytes;
    size_t length, offset;
    int text; /* too short to be told from tokens */
} signatures[] = {
    {"a gzip file", unpack, "\x1f\x8b\x08", 3, 0, 1},
    {"a zstd file", unpack, "\x28\xb5\x2f\xfd", 4, 0, 0},
    {"an xz file", unpack,
     "\xfd"
     "7zXZ",
     5, 0, 0},
    {"a bzip2 file", unpack, "1AY&SY", 6, 4, 0},
    {"an lz4 file", unpack, "\x04\x22\x4d\x18", 4, 0, 0},
    {"a 7z archive", unpack, "7z\xbc\xaf\x27\x1c", 6, 0, 0},
    {"a RAR archive", unpack, "Rar!\x1a\x07", 6, 0, 0},
    {"a zip archive (.zip, .npz, .docx, PyTorch's .pt and .bin are such)", unpack, "PK\x03\x04", 4, 0, 0},
    {"a tar archive", unpack, "ustar", 5, 257, 0},
    {"a file compressed by `compress`", unpack, "\x1f\x9d", 2, 0, 1},
    {"a NumPy array", array, "\x93NUMPY", 6, 0, 0},
    {"weights of an old PyTorch", extract,
     "\x80\x02\x8a\x0al\xfc\x9c"
     "F\xf9 j\xa8P\x19.",
     14, 0, 0},
    {"a Python pickle", extract, "\x80\x02", 2, 0, 1},
    {"a Python pickle", extract, "\x80\x03", 2, 0, 1},
    {"a Python pickle", extract, "\x80\x04\x95", 3, 0, 1},
    {"a Python pickle", extract, "\x80\x05\x95", 3, 0, 1},
    {"an llm.c shard of the other byte order", swap, "\x01\x34\xd8\x88\0\0\0\1", 8, 0, 0},
    {"an llm.c shard of the other byte order", swap, "\x01\x34\xd9\xa1\0\0\0\7", 8, 0, 0},
    {"an llm.c file of questions", shards, "\x8a\xd8\x34\x01", 4, 0, 0},
    {"an llm.c file of weights", shards, "\xc6\xd7\x34\x01", 4, 0, 0},
    {"UTF-32 text", utf8, "\xff\xfe\0\0", 4, 0, 1},
    {"UTF-32 text", utf8, "\0\0\xfe\xff", 4, 0, 1},
    {"UTF-16 text", utf8, "\xff\xfe", 2, 0, 1},
    {"UTF-16 text", utf8, "\xfe\xff", 2, 0, 1},
    {"a Parquet file", extract, "PAR1", 4, 0, 0},
    {"an Arrow file", extract, "ARROW1", 6, 0, 0},
    {"a Feather file", extract, "FEA1", 4, 0, 0},
    {"an HDF5 file", extract, "\x89HDF\r\n", 6, 0, 0},
    {"a GGUF file of weights", extract, "GGUF", 4, 0, 0},
    {"the index of a Megatron data set", "give the .bin beside it", "MMIDIDX\0", 8, 0, 0},
    {"an SQLite database", extract, "SQLite format 3", 15, 0, 0},
    {"a PDF document", extract, "%PDF-", 5, 0, 0},
    {"a document of an old Office", extract, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, 0, 0},
    {"a PNG picture", extract, "\x89PNG\r\n", 6, 0, 0},
    {"a JPEG picture", extract, "\xff\xd8\xff", 3, 0, 1},
    {"a program", extract,
     "\x7f"
     "ELF",
     4, 0, 0},
    {"a Git LFS pointer, not the file", "fetch the file with `git lfs pull`",
     "version https://git-lfs.github.com/", 35, 0, 0},
};
enum { SIGNATURES = sizeof signatures / sizeof *signatures };

/* Eight bytes of length, then JSON. */
static int is_safetensors(const unsigned char *bytes, size_t size)
{
    static const unsigned char nothing[3];
    return size > 10 && memcmp(bytes + 5, nothing, 3) == 0 && bytes[8] == '{' && bytes[9] == '"';
}

static int begins_with(const unsigned char *bytes, size_t size, const char *word)
{
    size_t length = strlen(word);
    if (size < length) return 0;
    for (size_t i = 0; i < length; i++)
        if ((bytes[i] | 0x20) != (word[i] | 0x20)) return 0;
    return 1;
}

/* Tokens of which each byte is a letter or the like. */
static struct kind look_at_tokens(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((bytes[i] < ' ' && !strchr("\t\r\n", bytes[i])) || bytes[i] > '~' || !bytes[i])
            return (struct kind){0};
    return (struct kind){"text, as it seems, but is read as tokens for its name",
                         "for bytes give it another name", 0};
}

/* How many bytes the character at `bytes` takes in UTF-8; 0 if that is none. One that the end cuts off is good. */
static size_t utf8_length(const unsigned char *bytes, size_t size)
{
    unsigned first = bytes[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    for (size_t i = 1; i < length && i < size; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    return length;
}

static int is_utf8(const unsigned char *bytes, size_t size)
{
    size_t at = 0;
    for (size_t length = 1; at < size && length; at += length) length = utf8_length(bytes + at, size - at);
    return at >= size;
}

/* Text all right, but likely not the text that is meant. */
static struct kind look_at_text(const unsigned char *bytes, size_t size)
{
    size_t start = 0, zeros = 0;
    for (size_t i = 0; i < size; i++) zeros += bytes[i] == 0;
    if (zeros * 8 > size)
        return (struct kind){"no text by its many zero bytes, and is read as single bytes",
                             "for tokens give it a name that ends in .bin, for UTF-16 turn it into UTF-8", 0};
    if (!is_utf8(bytes, size))
        return (struct kind){
            "not in UTF-8, and is read as single bytes",
            "turn text of another encoding into UTF-8 with iconv; if it is no text, take that out", 0};
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) start = 3;
    while (start < size && strchr(" \t\r\n", bytes[start]) && bytes[start]) start++;
    bytes += start;
    size -= start;
    if (begins_with(bytes, size, "<!doctype html") || begins_with(bytes, size, "<html"))
        return (struct kind){"an HTML page, and is read with all its tags", "is it the page of an error?", 0};
    if (begins_with(bytes, size, "<?xml"))
        return (struct kind){"XML, and is read with all its tags", extract, 0};
    if (begins_with(bytes, size, "{\"") || begins_with(bytes, size, "[{\""))
        return (struct kind){"JSON, and is read with all its quotes and keys", extract, 0};
    return (struct kind){0};
}

struct kind kind_of(const unsigned char *bytes, size_t size, int text)
{
    for (int i = 0; i < SIGNATURES; i++) {
        const struct signature *s = &signatures[i];
        if (size >= s->offset + s->length && (text || !s->text) &&
            memcmp(bytes + s->offset, s->bytes, s->length) == 0)
            return (struct kind){s->what, s->hint, 1};
    }
    /* The tenth byte of gzip names a system: with the third and fourth that is no chance any more. */
    if (size >= 10 && memcmp(bytes, "\x1f\x8b\x08", 3) == 0 && bytes[3] < 0x20 &&
        (bytes[9] < 14 || bytes[9] == 255))
        return (struct kind){"a gzip file", unpack, 1};
    if (is_safetensors(bytes, size))
        return (struct kind){"a safetensors file of weights", "weights are given with --init", 1};
    return text ? look_at_text(bytes, size) : look_at_tokens(bytes, size);
}
