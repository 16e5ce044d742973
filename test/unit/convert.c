/* src/convert.h: F32 and BF16. */
#include "unit/suites.h"
#include "convert.h"

static float bits(uint32_t b) { return float_of_bits(b); }

/* Every BF16 number comes back as itself through both roundings, whatever the random word. */
START_TEST(test_exact_values_unchanged)
{
    for (uint32_t i = 0; i < 65536; i++) {
        float f = bf16_to_float((bf16)i);
        ck_assert_uint_eq(bits_of_float(f), i << 16);
        uint32_t want = isnan(f) ? i | 0x40 : i; /* a NaN may become quiet */
        ck_assert_uint_eq(bf16_nearest(f), want);
        ck_assert_uint_eq(bf16_stochastic(f, 0), want);
        ck_assert_uint_eq(bf16_stochastic(f, 0xffffffff), want);
    }
}
END_TEST

struct row {
    uint32_t in;
    uint16_t out;
};

static const struct row rows[] = {
    {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, /* 1 and the tie above it: to even, down */
    {0x3f818000, 0x3f82},                       /* the next tie: to even, up */
    {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, /* just off a tie */
    {0xbf818000, 0xbf82}, {0x80000000, 0x8000}, /* negative; -0 */
    {0x00000001, 0x0000}, {0x00008000, 0x0000}, {0x00008001, 0x0001}, {0x00018000, 0x0002}, /* subnormal */
    {0x007fffff, 0x0080},                       /* the largest subnormal rounds to the smallest normal */
    {0x7f7fffff, 0x7f80},                       /* the largest F32 rounds to infinity */
    {0x7f7f7fff, 0x7f7f}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
};

START_TEST(test_nearest)
{
    ck_assert_uint_eq(bf16_nearest(bits(rows[_i].in)), rows[_i].out);
}
END_TEST

/* A NaN stays a NaN though its low bits go: this one's payload lies in them alone. */
START_TEST(test_nan)
{
    static const uint32_t nans[] = {0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff, 0xffffffff};
    for (int i = 0; i < 5; i++) {
        ck_assert(isnan(bf16_to_float(bf16_nearest(bits(nans[i])))));
        ck_assert(isnan(bf16_to_float(bf16_stochastic(bits(nans[i]), 0xffffffff))));
    }
}
END_TEST

/* Against the rule written out a second time, on bits of every kind. */
START_TEST(test_nearest_against_rule)
{
    struct rnd r = rnd_seed(1);
    for (int i = 0; i < 1000000; i++) {
        float f = bits((uint32_t)rnd_bits(&r));
        if (!isnan(f)) ck_assert_uint_eq(bf16_nearest(f), bf16_of(f));
    }
}
END_TEST

/* Right on average: over all 2^16 values of the part that decides, up happens exactly as often as the
 * part cut off says. */
START_TEST(test_stochastic_is_unbiased)
{
    static const uint32_t cut[] = {0x0001, 0x4000, 0x8000, 0xc123, 0xffff};
    static const uint32_t bases[] = {0x3f800000, 0xc2490000, 0x00010000, 0x3fff0000};
    for (int b = 0; b < 4; b++) {
        uint32_t up = 0, in = bases[b] | cut[_i];
        for (uint32_t word = 0; word < 65536; word++) {
            bf16 got = bf16_stochastic(bits(in), word << 16 | 0x1234);
            ck_assert(got == bases[b] >> 16 || got == (bases[b] >> 16) + 1);
            up += got != bases[b] >> 16;
        }
        ck_assert_uint_eq(up, cut[_i]);
    }
}
END_TEST

/* And with the generator's own words: the mean of many draws, within 5 standard deviations. */
START_TEST(test_mean_of_many_draws)
{
    enum { N = 200000 };
    const float x = 1 + 0.3f * 0x1p-7f;
    struct draw d = draw_make(1, 2, DRAW_MERGE, 3);
    double sum = 0;
    for (uint64_t i = 0; i < N / 4; i++) {
        uint32_t words[4];
        draw_block(d, i, words);
        for (int k = 0; k < 4; k++) sum += (double)bf16_to_float(bf16_stochastic(x, words[k]));
    }
    ck_assert_double_lt(fabs(sum / N - (double)x), 5 * 0x1p-7 * sqrt(0.3 * 0.7 / N));
}
END_TEST

Suite *unit_convert(void)
{
    Suite *s = suite_create("convert");
    TCase *tc = tcase_create("BF16");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, test_exact_values_unchanged);
    tcase_add_loop_test(tc, test_nearest, 0, sizeof rows / sizeof *rows);
    tcase_add_test(tc, test_nan);
    tcase_add_test(tc, test_nearest_against_rule);
    tcase_add_loop_test(tc, test_stochastic_is_unbiased, 0, 5);
    tcase_add_test(tc, test_mean_of_many_draws);
    suite_add_tcase(s, tc);
    return s;
}
