/* XXH3 (64 bit) of a tensor's bytes as 16 digits, by xxHash's header. A build without that header
 * neither makes nor checks sums; asking for them is RELORA_E_UNSUPPORTED. */
#ifndef RELORA_SRC_CHECKSUM_H
#define RELORA_SRC_CHECKSUM_H

#include <stdio.h>
#include <string.h>

#ifndef RELORA_XXHASH
#define RELORA_XXHASH __has_include(<xxhash.h>)
#endif

enum { CHECKSUM_DIGITS = 16 };

#if RELORA_XXHASH

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHECKSUMS = 1 };
typedef XXH3_state_t checksum;

static inline void checksum_begin(checksum *c)
{
    XXH3_64bits_reset(c);
}

static inline void checksum_add(checksum *c, const void *data, size_t bytes)
{
    XXH3_64bits_update(c, data, bytes);
}

static inline int64_t checksum_number(const checksum *c)
{
    return (int64_t)XXH3_64bits_digest(c);
}

static inline void checksum_digits(char digits[CHECKSUM_DIGITS], uint64_t sum)
{
    char text[CHECKSUM_DIGITS + 1];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)sum);
    memcpy(digits, text, CHECKSUM_DIGITS);
}

static inline void checksum_end(const checksum *c, char digits[CHECKSUM_DIGITS])
{
    checksum_digits(digits, XXH3_64bits_digest(c));
}

static inline void checksum_of(const void *data, size_t bytes, char digits[CHECKSUM_DIGITS])
{
    checksum_digits(digits, XXH3_64bits(data, bytes));
}

#else

enum { CHECKSUMS = 0 };
typedef char checksum;

static inline void checksum_begin(checksum *c)
{
    *c = 0;
}

static inline void checksum_add(checksum *c, const void *data, size_t bytes)
{
    (void)c, (void)data, (void)bytes;
}

static inline int64_t checksum_number(const checksum *c)
{
    (void)c;
    return 0;
}

static inline void checksum_end(const checksum *c, char digits[CHECKSUM_DIGITS])
{
    (void)c;
    memset(digits, '0', CHECKSUM_DIGITS);
}

static inline void checksum_of(const void *data, size_t bytes, char digits[CHECKSUM_DIGITS])
{
    (void)data, (void)bytes;
    memset(digits, '0', CHECKSUM_DIGITS);
}

#endif

#endif
