/* relora_linear_create with each field wrong; the getters of nothing. */
#include "arguments/arguments.h"

static relora_linear_options good(void) { return layer_options(RELORA_MODE_LORA, 5, 3, 2); }

#define BAD(field_, value_, status_, ...)                                              \
    do {                                                                               \
        relora_linear_options o_ = good();                                             \
        relora_linear *l_ = POISON;                                                    \
        o_.field_ = value_;                                                            \
        FAILS(status_, relora_linear_create(&l_, env.dev, &o_), #field_, __VA_ARGS__); \
        ck_assert_ptr_null(l_);                                                        \
    } while (0)

START_TEST(test_kinds)
{
    BAD(flags, 256, RELORA_E_ARGUMENT, "100");
    BAD(flags, RELORA_LINEAR_KEEP_DELTA | 256, RELORA_E_ARGUMENT, "108");
    BAD(flags, 1u << 31, RELORA_E_ARGUMENT, "");
    BAD(mode, 0, RELORA_E_ARGUMENT, "0");
    BAD(mode, 4, RELORA_E_ARGUMENT, "4");
    BAD(dtype, 0, RELORA_E_ARGUMENT, "0");
    BAD(dtype, 3, RELORA_E_ARGUMENT, "3");
    BAD(rounding, 0, RELORA_E_ARGUMENT, "0");
    BAD(rounding, 3, RELORA_E_ARGUMENT, "3");
    BAD(reserved, 1, RELORA_E_ARGUMENT, "1");
    BAD(init, 5, RELORA_E_ARGUMENT, "5", "GIVEN");
    BAD(init, -1, RELORA_E_ARGUMENT, "-1");
    BAD(reserved2, 1, RELORA_E_ARGUMENT, "1");
}
END_TEST

START_TEST(test_sizes)
{
    BAD(in_features, 0, RELORA_E_ARGUMENT, "0");
    BAD(in_features, -37, RELORA_E_ARGUMENT, "-37");
    BAD(out_features, 0, RELORA_E_ARGUMENT, "0");
    BAD(out_features, INT64_MIN, RELORA_E_ARGUMENT, "");
    BAD(rank, 0, RELORA_E_ARGUMENT, "0");
    BAD(rank, -41, RELORA_E_ARGUMENT, "-41");
}
END_TEST

START_TEST(test_numbers)
{
    BAD(alpha, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(alpha, INFINITY, RELORA_E_ARGUMENT, "inf");
    BAD(alpha, 1e300, RELORA_E_ARGUMENT, "1e+300", "F32");
    BAD(dropout, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(dropout, 1.0, RELORA_E_ARGUMENT, "1");
    BAD(dropout, -0.125, RELORA_E_ARGUMENT, "-0.125");
}
END_TEST

START_TEST(test_sizes_that_overflow)
{
    const int64_t huge = INT64_MAX;
    const int64_t cases[][3] = {{huge, 2, 1}, {2, huge, 1}, {2, 2, huge}, {huge, huge, huge}};
    for (int i = 0; i < 4; i++) {
        relora_linear_options o = layer_options(RELORA_MODE_LORA, cases[i][0], cases[i][1], cases[i][2]);
        relora_linear *l = POISON;
        FAILS(RELORA_E_OVERFLOW, relora_linear_create(&l, env.dev, &o), "");
        ck_assert_ptr_null(l);
    }
}
END_TEST

/* One factor is left to train, and the authors train both. */
START_TEST(test_frozen)
{
    const uint32_t a = RELORA_LINEAR_FREEZE_A, b = RELORA_LINEAR_FREEZE_B;
    BAD(flags, a | b, RELORA_E_ARGUMENT, "FREEZE_A", "FREEZE_B");
    BAD(flags, a | b | RELORA_LINEAR_TRAINABLE_SCALE, RELORA_E_ARGUMENT, "FREEZE_A", "FREEZE_B");
    BAD(flags, a | RELORA_LINEAR_REFERENCE, RELORA_E_ARGUMENT, "FREEZE_A", "REFERENCE");
    BAD(flags, b | RELORA_LINEAR_REFERENCE, RELORA_E_ARGUMENT, "FREEZE_B", "REFERENCE");
    for (relora_init init = RELORA_INIT_MATCHED; init <= RELORA_INIT_GIVEN; init++) {
        relora_linear_options o = good();
        relora_linear *l = POISON;
        o.init = init, o.flags = b;
        FAILS(RELORA_E_ARGUMENT, relora_linear_create(&l, env.dev, &o), "init", "FREEZE_B");
        o.flags = RELORA_LINEAR_REFERENCE;
        FAILS(RELORA_E_ARGUMENT, relora_linear_create(&l, env.dev, &o), "init", "REFERENCE");
    }
}
END_TEST

/* A layer without W has nothing that a merge could change. */
START_TEST(test_delta_in_low_rank)
{
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, 5, 3, 2);
    relora_linear *l = POISON;
    o.flags = RELORA_LINEAR_KEEP_DELTA;
    FAILS(RELORA_E_ARGUMENT, relora_linear_create(&l, env.dev, &o), "flags", "KEEP_DELTA", "LOWRANK");
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(test_negative_rank_in_full)
{
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 5, 3, -1);
    relora_linear *l = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_linear_create(&l, env.dev, &o), "rank", "-1");
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(test_struct_size)
{
    struct padded p;
    relora_linear_options o = good();
    relora_linear *l = POISON;
    FAILS(RELORA_E_STRUCT_SIZE, relora_linear_create(&l, env.dev, bad_struct_size(&p, &o, sizeof o, _i)),
          "struct_size");
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(test_nulls)
{
    relora_linear_options o = good();
    relora_linear *l = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_linear_create(NULL, env.dev, &o), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_create(&l, NULL, &o));
    ck_assert_ptr_null(l);
    l = POISON; /* without options there is no in_features */
    FAILS(RELORA_E_ARGUMENT, relora_linear_create(&l, env.dev, NULL), "");
    ck_assert_ptr_null(l);
    relora_linear_release(NULL);
}
END_TEST

START_TEST(test_getters_of_nothing)
{
    relora_linear_options o = good();
    relora_linear *l = new_linear(&o);
    ck_assert_int_eq(relora_linear_get_mode(NULL), 0);
    ck_assert_ptr_null(relora_linear_param(NULL, RELORA_PARAM_A));
    ck_assert_ptr_null(relora_linear_grad(NULL, RELORA_PARAM_A));
    for (relora_param p = -1; p <= 6; p++) {
        int here = p == RELORA_PARAM_A || p == RELORA_PARAM_B; /* no bias, no scale, W still missing */
        ck_assert_int_eq(relora_linear_param(l, p) != NULL, here);
        ck_assert_int_eq(relora_linear_grad(l, p) != NULL, here);
    }
}
END_TEST

Suite *linear_options_arguments(void)
{
    Suite *s = suite_create("arguments of linear_create");
    TCase *tc = env_case(s, "linear options", 20);
    tcase_add_test(tc, test_kinds);
    tcase_add_test(tc, test_frozen);
    tcase_add_test(tc, test_sizes);
    tcase_add_test(tc, test_numbers);
    tcase_add_test(tc, test_sizes_that_overflow);
    tcase_add_test(tc, test_delta_in_low_rank);
    tcase_add_test(tc, test_negative_rank_in_full);
    tcase_add_loop_test(tc, test_struct_size, 0, 5);
    tcase_add_test(tc, test_nulls);
    tcase_add_test(tc, test_getters_of_nothing);
    return s;
}
