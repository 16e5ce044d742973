/* Checksums: what they are, and that damage is found before anything is written to the target. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The value in the metadata is XXH3-64 of each tensor's bytes, 16 digits each, in the order of the bytes:
 * what another program can check. */
START_TEST(test_value)
{
    relora_reader *r = open_raw(small_file(RELORA_SAVE_CHECKSUM));
    char want[33];
    snprintf(want, sizeof want, "%016llx%016llx", (unsigned long long)XXH3_64bits(pattern(24, 1), 24),
             (unsigned long long)XXH3_64bits(pattern(8, 2), 8));
    ck_assert_str_eq(relora_reader_metadata(r, "relora.xxh3"), want);
    ck_assert_ptr_null(relora_reader_metadata(open_raw(small_file(0)), "relora.xxh3"));
}
END_TEST

/* A tensor that goes through the buffer in several pieces has the sum of the whole. */
START_TEST(test_value_of_a_large_one)
{
    enum { N = 3000001 };
    relora_writer *w = new_writer();
    char want[17];
    add_pattern(w, "large", "U8", 1, (int64_t[]){N}, N, 3);
    relora_tensor *t = new_vector(RELORA_F32, N / 4);
    OK(relora_tensor_write(t, env.st, pattern(N / 4 * 4, 4), N / 4 * 4));
    OK(relora_writer_add(w, "tensor", t));
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    relora_reader *r = open_path(at("file"));
    OK(relora_reader_verify(r));
    snprintf(want, sizeof want, "%016llx", (unsigned long long)XXH3_64bits(pattern(N / 4 * 4, 4), N / 4 * 4));
    ck_assert_int_eq(strncmp(relora_reader_metadata(r, "relora.xxh3"), want, 16), 0); /* F32 lies first */
    snprintf(want, sizeof want, "%016llx", (unsigned long long)XXH3_64bits(pattern(N, 3), N));
    ck_assert_str_eq(relora_reader_metadata(r, "relora.xxh3") + 16, want);
}
END_TEST

/* Damage in one tensor: verify and a read of it name it, others are read as before, and bytes are given
 * out as they lie. */
START_TEST(test_damage)
{
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    relora_tensor *first = new_matrix(RELORA_F32, 2, 3), *second = new_vector(RELORA_BF16, 4);
    file.bytes[file.size - 1] ^= 0x40; /* the last byte of "second" */
    relora_reader *r = open_raw(file);
    put_all(second, 9);
    void *was = snapshot(second);
    FAILS(RELORA_E_FORMAT, relora_reader_verify(r), "second", "damaged");
    FAILS(RELORA_E_FORMAT, relora_reader_read(r, env.st, "second", second, 0), "second", "damaged");
    UNCHANGED(second, was);
    OK(relora_reader_read(r, env.st, "first", first, 0));
    UNCHANGED(first, pattern(24, 1));
    const void *data;
    size_t bytes;
    OK(relora_reader_bytes(r, "second", &data, &bytes));
    ck_assert_uint_eq(bytes, 8);
}
END_TEST

/* Both damaged: the first in the file is the one that is named. With a conversion it is looked at too. */
START_TEST(test_first_of_two)
{
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    relora_tensor *converted = new_matrix(RELORA_BF16, 2, 3);
    put_all(converted, 9);
    void *was = snapshot(converted);
    file.bytes[file.size - 1] ^= 1;
    file.bytes[file.size - 32] ^= 1;
    relora_reader *r = open_raw(file);
    FAILS(RELORA_E_FORMAT, relora_reader_verify(r), "first");
    FAILS(RELORA_E_FORMAT, relora_reader_read(r, env.st, "first", converted, RELORA_READ_CONVERT), "first");
    UNCHANGED(converted, was);
}
END_TEST

/* A damaged checksum is damage as well. */
START_TEST(test_damaged_sum)
{
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    char *header = raw_header(file, NULL), *sum = strstr(header, "relora.xxh3\":\"") + 14;
    unsigned char *digit = file.bytes + 8 + (sum - header);
    *digit = *digit == '0' ? '1' : '0';
    FAILS(RELORA_E_FORMAT, relora_reader_verify(open_raw(file)), "first");
}
END_TEST

/* Without checksums nothing is looked at: the caller gets the bytes that are there. */
START_TEST(test_without)
{
    struct raw file = small_file(0);
    relora_tensor *second = new_vector(RELORA_BF16, 4);
    unsigned char *want = pattern(8, 2);
    file.bytes[file.size - 1] ^= 0x40;
    want[7] ^= 0x40;
    OK(relora_reader_read(open_raw(file), env.st, "second", second, 0));
    UNCHANGED(second, want);
}
END_TEST

Suite *checksums(void)
{
    Suite *s = suite_create("checksums");
    TCase *tc = env_case(s, "checksums", 20);
    tcase_add_test(tc, test_value);
    tcase_add_test(tc, test_value_of_a_large_one);
    tcase_add_test(tc, test_damage);
    tcase_add_test(tc, test_first_of_two);
    tcase_add_test(tc, test_damaged_sum);
    tcase_add_test(tc, test_without);
    return s;
}
