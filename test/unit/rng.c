/* src/rng.h: Philox 4x32-10 against its published answers, and how draws are named. */
#include "unit/suites.h"
#include "cpu/cpu.h"

struct answer {
    uint32_t counter[4], key[2], out[4];
};

static const struct answer answers[] = {
    /* test/golden/README.md */
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

START_TEST(test_known_answers)
{
    uint32_t out[4];
    philox(answers[_i].counter, answers[_i].key, out);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(out[i], answers[_i].out[i]);
}
END_TEST

/* Any change of seed, id, purpose or call, in the high half too, is another draw. */
START_TEST(test_names_differ)
{
    const uint64_t high = UINT64_C(1) << 32;
    const struct draw draws[] = {
        draw_make(1, 2, DRAW_DROPOUT, 3),        draw_make(2, 2, DRAW_DROPOUT, 3),
        draw_make(1, 3, DRAW_DROPOUT, 3),        draw_make(1, 2, DRAW_MERGE, 3),
        draw_make(1, 2, DRAW_DROPOUT, 4),        draw_make(1 + high, 2, DRAW_DROPOUT, 3),
        draw_make(1, 2 + high, DRAW_DROPOUT, 3), draw_make(1, 2, DRAW_DROPOUT, 3 + high),
    };
    enum { N = sizeof draws / sizeof *draws };
    uint32_t blocks[N][4];
    for (int i = 0; i < N; i++) draw_block(draws[i], 5, blocks[i]);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) ck_assert_int_ne(memcmp(blocks[i], blocks[j], sizeof blocks[i]), 0);
    uint32_t again[4];
    draw_block(draw_make(1, 2, DRAW_DROPOUT, 3), 5, again);
    ck_assert_int_eq(memcmp(again, blocks[0], sizeof again), 0);
}
END_TEST

/* The purposes are part of what a resumed run must draw again: pinned. */
START_TEST(test_purposes)
{
    ck_assert_int_eq(DRAW_FACTOR_A, 1);
    ck_assert_int_eq(DRAW_DROPOUT, 2);
    ck_assert_int_eq(DRAW_MERGE, 3);
    ck_assert_int_eq(DRAW_TRAIN, 4);
    ck_assert_int_eq(DRAW_PRUNE_FIRST, 5);
    ck_assert_int_eq(DRAW_PRUNE_SECOND, 6);
    ck_assert_int_eq(DRAW_TRAIN_PARAM, 7);
    ck_assert_int_eq(DRAW_FOLD, 8);
}
END_TEST

/* Element i is word i % 4 of block i / 4, wherever a batch begins and however long it is. */
START_TEST(test_words)
{
    static const uint64_t firsts[] = {0, 1, 2, 3, 4, 255, 256, 1021, UINT64_C(0x3fffffffe)};
    struct draw d = draw_make(9, 8, DRAW_DROPOUT, UINT64_C(0x500000007));
    struct draw_words memory;
    uint64_t first = firsts[_i];
    for (int64_t n = 1; n <= DRAW_BATCH; n = n * 2 + 1) {
        const uint32_t *words = cpu_draw_words(&memory, d, first, n);
        for (int64_t i = 0; i < n; i++) {
            uint32_t block[4];
            draw_block(d, (first + (uint64_t)i) / 4, block);
            ck_assert_uint_eq(words[i], block[(first + (uint64_t)i) % 4]);
        }
    }
}
END_TEST

START_TEST(test_threshold_and_symmetric)
{
    ck_assert_uint_eq(draw_threshold(0), 0);
    ck_assert_uint_eq(draw_threshold(1), UINT64_C(1) << 32); /* every word is below it */
    ck_assert_uint_eq(draw_threshold(0.5), UINT64_C(1) << 31);
    ck_assert_float_eq(draw_symmetric(0), -1);
    ck_assert_float_eq(draw_symmetric(0x80000000), 0);
    ck_assert_float_lt(draw_symmetric(0xffffffff), 1);
    ck_assert_float_gt(draw_symmetric(0xffffffff), 1 - 0x1p-22f);
}
END_TEST

Suite *unit_rng(void)
{
    Suite *s = suite_create("rng");
    TCase *tc = tcase_create("rng");
    tcase_add_loop_test(tc, test_known_answers, 0, 3);
    tcase_add_test(tc, test_names_differ);
    tcase_add_test(tc, test_purposes);
    tcase_add_loop_test(tc, test_words, 0, 9);
    tcase_add_test(tc, test_threshold_and_symmetric);
    suite_add_tcase(s, tc);
    return s;
}
