/* What people have instead of a safetensors file: a page of a server, a pointer to the file, another format. */
#include <stdio.h>
#include <string.h>

#include "safetensors.h"

struct magic {
    const char *bytes;
    size_t length;
    const char *means;
};

static const struct magic magics[] = {
    {"version https://git-lfs", 23, "a Git LFS pointer; \"git lfs pull\" fetches the file"},
    {"GGUF", 4, "a GGUF file of llama.cpp"},
    {"\x93NUMPY", 6, "an .npy array of numpy"},
    {"\x1f\x8b", 2, "a file compressed by gzip"},
    {"BZh", 3, "a file compressed by bzip2"},
    {"\xfd"
     "7zXZ",
     5, "a file compressed by xz"},
    {"\x28\xb5\x2f\xfd", 4, "a file compressed by zstd"},
    {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file"},
    {"\xff\xfe", 2, "text in UTF-16"},
    {"\xfe\xff", 2, "text in UTF-16"},
};

static int begins(const unsigned char *bytes, uint64_t size, const char *with, size_t length)
{
    return size >= length && !memcmp(bytes, with, length);
}

/* Is `word`, in capitals or not, in the first bytes? */
static int contains(const unsigned char *bytes, uint64_t size, const char *word)
{
    size_t n = strlen(word), end = size < 4096 ? (size_t)size : 4096;
    for (size_t i = 0; i + n <= end; i++) {
        size_t j = 0;
        while (j < n && (bytes[i + j] | 0x20) == (word[j] | 0x20)) j++;
        if (j == n) return 1;
    }
    return 0;
}

static int is_text(const unsigned char *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size && i < 512; i++)
        if (bytes[i] < ' ' && !strchr("\t\r\n\f", bytes[i] ? bytes[i] : 1)) return 0;
    return 1;
}

static const char *guess_text(const unsigned char *bytes, uint64_t size, char text[ST_GUESS_TEXT])
{
    if (begins(bytes, size, "\xef\xbb\xbf", 3)) bytes += 3, size -= 3;
    while (size && strchr(" \t\r\n", *bytes ? *bytes : 1)) bytes++, size--;
    if (!size) return "a file of white space";
    if (*bytes == '<')
        return contains(bytes, size, "<html") || contains(bytes, size, "<!doctype html")
                   ? "an HTML page, which a server may send instead of a file"
                   : "XML, which a server may send instead of a file";
    if (*bytes == '{' || *bytes == '[')
        return contains(bytes, size, "weight_map")
                   ? "the JSON index of a model in several files, not one of them"
                   : "JSON without the length that precedes it in a safetensors file";
    size_t shown = 0;
    while (shown < 40 && shown < size && bytes[shown] >= ' ') shown++;
    while (shown && shown < size && (bytes[shown] & 0xC0) == 0x80) shown--; /* not within a character */
    snprintf(text, ST_GUESS_TEXT, "text that begins \"%.*s\"", (int)shown, (const char *)bytes);
    return text;
}

static const char *guess_archive(const unsigned char *bytes, uint64_t size)
{
    if (contains(bytes, size, "data.pkl") || contains(bytes, size, "/version"))
        return "a PyTorch file (.bin, .pt)";
    return contains(bytes, size, ".npy") ? "an .npz archive of numpy" : "a zip archive";
}

static int is_zero(const unsigned char *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size && i < 4096; i++)
        if (bytes[i]) return 0;
    return 1;
}

const char *st_guess(const unsigned char *bytes, uint64_t size, char text[ST_GUESS_TEXT])
{
    if (!size) return "an empty file";
    if (is_zero(bytes, size)) return "a file of zeros, as an unfinished download leaves it";
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (begins(bytes, size, magics[i].bytes, magics[i].length)) return magics[i].means;
    if (begins(bytes, size, "PK\3\4", 4)) return guess_archive(bytes, size);
    if (size > 1 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5)
        return "a Python pickle, such as an old PyTorch file (.bin, .pt)";
    if (size > 262 && !memcmp(bytes + 257, "ustar", 5)) return "a tar archive";
    return is_text(bytes, size) ? guess_text(bytes, size, text) : NULL;
}
