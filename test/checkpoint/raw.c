/* Files made by hand, so that the reader is tested without the writer. */
#include <stdlib.h>
#include "checkpoint/checkpoint.h"

struct raw raw_copy(const void *bytes, size_t size)
{
    struct raw file = {malloc(size ? size : 1), size};
    defer(free, file.bytes);
    if (size) memcpy(file.bytes, bytes, size);
    return file;
}

unsigned char *pattern(size_t bytes, int seed)
{
    unsigned char *p = scratch(bytes);
    for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char)((size_t)seed * 31 + i * 7 + (i >> 8) + 1);
    return p;
}

struct raw raw_file(const char *header, size_t data)
{
    size_t length = strlen(header);
    struct raw file = {malloc(8 + length + data), 8 + length + data};
    defer(free, file.bytes);
    for (int i = 0; i < 8; i++) file.bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(file.bytes + 8, header, length);
    memcpy(file.bytes + 8 + length, pattern(data, 0), data);
    return file;
}

char *raw_header(struct raw file, size_t *data)
{
    uint64_t length = 0;
    ck_assert_uint_ge(file.size, 8);
    for (int i = 0; i < 8; i++) length |= (uint64_t)file.bytes[i] << (8 * i);
    ck_assert_uint_le(length, file.size - 8);
    char *text = scratch(length + 1);
    memcpy(text, file.bytes + 8, length);
    if (data) *data = 8 + length;
    return text;
}
