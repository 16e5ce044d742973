/* src/memory.c: sizes that cannot overflow, and the system's allocator. */
#include "unit/suites.h"
#include "memory.h"

START_TEST(test_sizes)
{
    ck_assert_uint_eq(size_mul(6, 7), 42);
    ck_assert_uint_eq(size_mul(0, SIZE_MAX), 0);
    ck_assert_uint_eq(size_mul(SIZE_MAX / 2, 2), SIZE_MAX - 1);
    ck_assert_uint_eq(size_mul(SIZE_MAX / 2 + 1, 2), SIZE_MAX);
    ck_assert_uint_eq(size_mul(SIZE_MAX, 3), SIZE_MAX);
    ck_assert_uint_eq(size_add(6, 7), 13);
    ck_assert_uint_eq(size_add(SIZE_MAX - 1, 1), SIZE_MAX);
    ck_assert_uint_eq(size_add(SIZE_MAX, 1), SIZE_MAX);
    ck_assert_uint_eq(size_add(2, SIZE_MAX), SIZE_MAX);
}
END_TEST

START_TEST(test_system_allocator)
{
    for (size_t size = 0; size < 300; size += 37) {
        unsigned char *p = memory_alloc_zero(&memory_system, size);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < size; i++) ck_assert_uint_eq(p[i], 0);
        memory_free(&memory_system, p, size);
    }
    ck_assert_ptr_null(memory_alloc(&memory_system, SIZE_MAX));
    ck_assert_ptr_null(memory_alloc_zero(&memory_system, SIZE_MAX - 100));
    memory_free(&memory_system, NULL, 5);
}
END_TEST

/* The hooks are asked for 1 byte or more, at a power of two up to 64 (track.c counts the mistakes). */
START_TEST(test_hooks)
{
    struct track t;
    track_init(&t);
    struct memory m = {track_alloc, track_free, &t};
    void *none = memory_alloc(&m, 0), *some = memory_alloc(&m, 100);
    ck_assert_ptr_nonnull(none);
    ck_assert_int_eq(t.bytes, 101);
    memory_free(&m, none, 0);
    memory_free(&m, some, 100);
    ck_assert_int_eq(t.bytes, 0);
    ck_assert_int_eq(t.mistakes, 0);
}
END_TEST

Suite *unit_memory(void)
{
    Suite *s = suite_create("memory");
    TCase *tc = tcase_create("memory");
    tcase_add_test(tc, test_sizes);
    tcase_add_test(tc, test_system_allocator);
    tcase_add_test(tc, test_hooks);
    suite_add_tcase(s, tc);
    return s;
}
