/* relora_linear_wrap with wrong arguments. */
#include "arguments/arguments.h"

enum { IN = 5, OUT = 3, RANK = 2 };

static relora_linear *l;

#define REFUSED(status, ...)        \
    do {                            \
        l = POISON;                 \
        FAILS(status, __VA_ARGS__); \
        ck_assert_ptr_null(l);      \
    } while (0)

START_TEST(test_handles)
{
    struct stranger s = new_stranger();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN), *b = new_vector(RELORA_F32, OUT);
    FAILS(RELORA_E_ARGUMENT, relora_linear_wrap(NULL, env.dev, w, b, &o), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_wrap(NULL, NULL, NULL, NULL, &o));
    l = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_wrap(&l, NULL, NULL, NULL, &o));
    ck_assert_ptr_null(l);
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, NULL, w, b, &o), "device");
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, NULL, NULL, b, &o), "device");
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, env.dev, w, b, NULL), "options");
    REFUSED(RELORA_E_CONTEXT,
            relora_linear_wrap(&l, env.dev, stranger_matrix(&s, RELORA_F32, OUT, IN), b, &o), "weight");
    REFUSED(RELORA_E_CONTEXT, relora_linear_wrap(&l, env.dev, w, stranger_matrix(&s, RELORA_F32, 1, OUT), &o),
            "bias");
}
END_TEST

START_TEST(test_shapes)
{
    relora_linear_options good = layer_options(RELORA_MODE_LORA, 0, 0, RANK), bad = good;
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN), *b = new_vector(RELORA_F32, OUT);
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, b, NULL, &good), "weight", "[3]", "[out, in]");
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, w, new_vector(RELORA_F32, IN), &good), "bias",
            "[5]");
    REFUSED(RELORA_E_DTYPE, relora_linear_wrap(&l, env.dev, w, new_vector(RELORA_BF16, OUT), &good), "bias",
            "BF16");
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, env.dev, NULL, NULL, &good), "in_features");
    bad.in_features = 4;
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "in_features", "4", "[3, 5]");
    bad = good, bad.out_features = IN;
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "out_features", "5", "[3, 5]");
    bad.flags = RELORA_LINEAR_IN_OUT, bad.in_features = IN;
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "in_features", "5", "[3, 5]");
    REFUSED(RELORA_E_SHAPE, relora_linear_wrap(&l, env.dev, b, NULL, &bad), "weight", "[3]", "[in, out]");
    bad = good, bad.rank = 0;
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "rank", "0");
    bad = good, bad.mode = RELORA_MODE_LOWRANK;
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "weight", "LOWRANK");
    bad = good, bad.in_features = IN, bad.out_features = OUT;
    REFUSED(RELORA_E_ARGUMENT, relora_linear_wrap(&l, env.dev, NULL, NULL, &bad), "weight");
    bad = good, bad.struct_size = 7;
    REFUSED(RELORA_E_STRUCT_SIZE, relora_linear_wrap(&l, env.dev, w, NULL, &bad), "options");
    ck_assert_int_eq(good.in_features, 0); /* options are the caller's */
    ck_assert_uint_eq(good.flags, 0);
}
END_TEST

Suite *linear_wrap_arguments(void)
{
    Suite *s = suite_create("linear in one call");
    TCase *tc = env_case(s, "linear_wrap", 20);
    tcase_add_test(tc, test_handles);
    tcase_add_test(tc, test_shapes);
    return s;
}
