/* What the bytes of an input choose: numbers, options of any size, names. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz/api_world.h"

static struct input {
    const uint8_t *data;
    size_t size, at;
    int odd_struct;     /* an options struct of this operation must be refused */
    void *borrowed[16]; /* until the operation is over */
    int borrowed_count;
} input;

void input_open(const uint8_t *data, size_t size) { input = (struct input){.data = data, .size = size}; }

void input_end_operation(void)
{
    while (input.borrowed_count) free(input.borrowed[--input.borrowed_count]);
    input.odd_struct = 0;
}

void input_mark_odd_struct(void) { input.odd_struct = 1; }

int input_has_odd_struct(void) { return input.odd_struct; }

uint8_t choose(void) { return input.at < input.size ? input.data[input.at++] : 0; }

int chosen_all(void) { return input.at >= input.size; }

int64_t choose_number(int64_t usual)
{
    /* clang-format off */
    static const int64_t odd[] = {0, 1, -1, 2, 3, 7, 64, 257, 4097, INT64_C(1) << 31, INT64_C(1) << 53,
                                  INT64_C(1) << 60, INT64_C(1) << 62, INT64_MAX, INT64_MIN, INT32_MIN};
    /* clang-format on */
    uint8_t c = choose();
    if (c < 176) return usual;
    if (c < 224) return (c - 176) % 12;
    return odd[c % (sizeof odd / sizeof *odd)];
}

double choose_real(double usual)
{
    /* clang-format off */
    static const double odd[] = {0.0, -0.0, 1, -1, 0.5, 0.999, 1e-8, 1e-45, 1e19, 1e38, 1e39, 1e308, 1e-308,
                                 -1e300, (double)INFINITY, -(double)INFINITY, (double)NAN};
    /* clang-format on */
    uint8_t c = choose();
    return c < 200 ? usual : odd[c % (sizeof odd / sizeof *odd)];
}

void *borrow_bytes(size_t size)
{
    void *bytes = malloc(size);
    REQUIRE(bytes && input.borrowed_count < (int)(sizeof input.borrowed / sizeof *input.borrowed));
    return input.borrowed[input.borrowed_count++] = bytes;
}

/* One field becomes something else: half of them an integer, half a double. */
static void spoil_field(unsigned char *bytes, size_t safe)
{
    static const int32_t words[] = {0, 1, 2, 3, 4, 5, 16, 255, 100000, -1, INT32_MAX, INT32_MIN};
    size_t at = 4 + 4 * (size_t)choose() % (safe - 4);
    uint8_t c = choose();
    int32_t word = words[c % (sizeof words / sizeof *words)];
    double real = choose_real(c);
    int64_t number = choose_number(word);
    if (at % 8 || at + 8 > safe) memcpy(bytes + at, &word, sizeof word);
    else memcpy(bytes + at, c & 64 ? (void *)&number : (void *)&real, 8);
}

/* Sizes that no release had, sizes of a later release that uses nothing new, and of one that does. */
static uint32_t odd_size(size_t size, int *tail)
{
    const uint32_t sizes[] = {0,    3,   4, (uint32_t)size - 1, (uint32_t)size + 4, (uint32_t)size + 8,
                              4096, 4097};
    uint8_t c = choose();
    *tail = c & 8;
    return c < 192 ? (uint32_t)size : sizes[c % 8];
}

const void *choose_options(const void *options, size_t size, size_t safe)
{
    int tail;
    uint32_t claimed = odd_size(size, &tail);
    size_t bytes = claimed < 4 ? 4 : claimed;
    unsigned char *copy = borrow_bytes(bytes);
    memset(copy, 0, bytes);
    memcpy(copy, options, bytes < size ? bytes : size);
    for (uint8_t c = choose(); c >= 160 && bytes >= size; c = choose()) spoil_field(copy, safe);
    memcpy(copy, &claimed, sizeof claimed);
    if (claimed > size && tail) copy[claimed - 1] = 1;
    input.odd_struct |= claimed < size || claimed > 4096 || (claimed > size && tail);
    return copy;
}

void *choose_report(size_t size)
{
    int unused;
    uint32_t claimed = odd_size(size, &unused);
    size_t bytes = claimed < 4 ? 4 : claimed;
    if (choose() >= 200) return NULL;
    unsigned char *report = borrow_bytes(bytes);
    memset(report, 0x77, bytes);
    memcpy(report, &claimed, sizeof claimed);
    input.odd_struct |= claimed < 4 || claimed > 4096;
    return report;
}

/* Longer than any line of the log, of letters that are not bytes. */
static const char *long_name(void)
{
    static char name[2001];
    for (size_t i = 0; i < sizeof name - 1; i += 2) memcpy(name + i, "\xc3\xa9", 2);
    return name;
}

const char *choose_name(void)
{
    /* clang-format off */
    const char *const names[] = {"a", "b", "c", "model.q", "model.k", "relora.x", "", "__metadata__",
                                        "\xff\xfe", "\xc3\xa9\n", "a.lora_A.weight", long_name(), NULL};
    /* clang-format on */
    uint8_t c = choose();
    return names[c < 180 ? c % 5 : c % 13];
}
