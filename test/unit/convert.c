/* src/convert.h: F32 and BF16, and what becomes one of them. */
#include <fenv.h>
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
    {0x007fffff, 0x0080}, /* the largest subnormal rounds to the smallest normal */
    {0x7f7fffff, 0x7f80}, /* the largest F32 rounds to infinity */
    {0x7f7f7fff, 0x7f7f}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
};

START_TEST(test_nearest) { ck_assert_uint_eq(bf16_nearest(bits(rows[_i].in)), rows[_i].out); }
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

/* ---- F16 and F64 ---- */

/* Every F16, by what the format means. */
START_TEST(test_f16)
{
    for (uint32_t i = 0; i < 65536; i++) {
        int sign = i >> 15 ? -1 : 1, exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        float got = f16_to_float((uint16_t)i);
        double want = exponent == 31
                          ? (double)INFINITY
                          : ldexp(exponent ? 1024 + fraction : fraction, (exponent ? exponent : 1) - 25);
        if (exponent == 31 && fraction) ck_assert(isnan(got));
        else ck_assert((double)got == sign * want && !signbit(got) == (sign > 0));
    }
}
END_TEST

static uint64_t bits_of_double(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* The rule once more, in doubles: a multiple of the distance between the numbers at |x|. */
static double nearest(double x, int width)
{
    int exponent;
    frexp(x, &exponent);
    int last = (exponent - 1 < -126 ? -126 : exponent - 1) - width;
    double rounded = ldexp(rint(ldexp(x, -last)), last);
    return fabs(rounded) < ldexp(1, 128) ? rounded : copysign((double)INFINITY, x);
}

static void narrows(uint64_t x)
{
    double value;
    memcpy(&value, &x, sizeof value);
    float wide = float_of_bits(narrow_double_bits(x, 23)),
          narrow = float_of_bits(narrow_double_bits(x, 7) << 16);
    if (isnan(value)) ck_assert(isnan(wide) && isnan(narrow));
    else {
        ck_assert_msg((double)wide == nearest(value, 23), "%a becomes %a", value, (double)wide);
        ck_assert_msg((double)narrow == nearest(value, 7), "%a becomes %a", value, (double)narrow);
    }
    ck_assert_int_eq(!signbit(wide), !(x >> 63));
    ck_assert_int_eq(!signbit(narrow), !(x >> 63));
}

/* Each number near a tie and each end of the range, of both signs. */
START_TEST(test_f64_special)
{
    /* clang-format off */
    static const double values[] = {
        0, 1, 0x1.fffffep+127, 0x1.ffffffp+127, 0x1.fffffefffffffp+127, 0x1.fep+127, 0x1.ffp+127, 0x1.fefffffffffffp+127,
        0x1p+128, 1e300, 0x1p-126, 0x1p-127, 0x1p-149, 0x1p-150, 0x1.8p-150, 0x1.8p-149, 0x1p-133, 0x1p-134, 0x1.8p-133,
        0x1p-151, 0x1.fffffep-127, 0x1.ffffffp-127, 0x1.fep-127, 0x1.ffp-127, 1e-300, 0x1p-1074, 0x1.fffffffffffffp+1023,
        0x1.000001p0, 0x1.000003p0, 0x1.01p0, 0x1.03p0, 0x1.0000010000001p0, 0x1.0100000000001p0, 0x1p-896, 0x1p-1022,
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int64_t near = -2; near <= 2; near++) {
            uint64_t x = bits_of_double(values[i]) + (uint64_t)(values[i] > 0 ? near : 0);
            narrows(x);
            narrows(x | (uint64_t)1 << 63);
        }
    static const uint64_t special[] = {0x7ff0000000000000, 0x7ff0000000000001, 0x7ff8000000000000,
                                       0x7fffffffffffffff};
    for (int i = 0; i < 4; i++) {
        narrows(special[i]);
        narrows(special[i] | (uint64_t)1 << 63);
    }
}
END_TEST

/* On bits of every kind, many of them within the range of F32. */
START_TEST(test_f64_random)
{
    struct rnd r = rnd_seed(2);
    for (int i = 0; i < 100000; i++) {
        uint64_t x = rnd_bits(&r);
        narrows(x);
        narrows((x & 0x800fffffffffffff) | (uint64_t)(1023 - 160 + i % 300) << 52);
        narrows((x & 0x800fffff00000000) | (uint64_t)(1023 - 160 + i % 300) << 52); /* ties */
    }
}
END_TEST

/* The host may have the processor round as it likes. */
START_TEST(test_rounding_mode_of_the_host)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    uint64_t third = bits_of_double(1.0 / 3);
    uint32_t wide = narrow_double_bits(third, 23);
    ck_assert_int_eq(fesetround(modes[_i]), 0);
    uint32_t again = narrow_double_bits(third, 23), sixth = bits_of_float(f16_to_float(0x3155));
    fesetround(FE_TONEAREST);
    ck_assert_uint_eq(again, wide);
    ck_assert_uint_eq(sixth, 0x3e2aa000);
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
    tcase_add_test(tc, test_f16);
    tcase_add_test(tc, test_f64_special);
    tcase_add_test(tc, test_f64_random);
    tcase_add_loop_test(tc, test_rounding_mode_of_the_host, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}
