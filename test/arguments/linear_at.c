/* relora_linear_forward_at and relora_linear_backward_at with wrong arguments. */
#include "arguments/arguments.h"

enum { IN = 5, OUT = 3, RANK = 2, ROWS = 4 };

static relora_tensor *x, *y, *dy, *dx;
static void *was[2];

static relora_linear *new_host(void)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    x = new_matrix(RELORA_F32, ROWS, IN), dx = new_matrix(RELORA_F32, ROWS, IN);
    y = new_matrix(RELORA_F32, ROWS, OUT), dy = new_matrix(RELORA_F32, ROWS, OUT);
    put_normal(x, &r, 1), put_normal(dy, &r, 1), put_normal(y, &r, 1), put_normal(dx, &r, 1);
    was[0] = snapshot(y), was[1] = snapshot(dx);
    return new_filled_linear(&o, &r);
}

static float *at(relora_tensor *t) { return relora_tensor_data(t); }

START_TEST(test_forward)
{
    struct stranger s = new_stranger();
    relora_linear *l = new_host();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    char *odd = (char *)at(x) + 1;
    FAILS_SILENTLY(RELORA_E_ARGUMENT,
                   relora_linear_forward_at(NULL, NULL, ROWS, at(x), IN, at(y), OUT, 0, 0));
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(NULL, env.st, ROWS, at(x), IN, at(y), OUT, 0, 0),
          "linear");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(l, NULL, ROWS, at(x), IN, at(y), OUT, 0, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_linear_forward_at(l, s.st, ROWS, at(x), IN, at(y), OUT, 0, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(l, env.st, -1, at(x), IN, at(y), OUT, 0, 0), "rows",
          "-1");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(l, env.st, ROWS, NULL, IN, at(y), OUT, 0, 0),
          "x is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(l, env.st, ROWS, at(x), IN, NULL, OUT, 0, 0),
          "y is NULL");
    FAILS(RELORA_E_LAYOUT, relora_linear_forward_at(l, env.st, 1, odd, IN, at(y), OUT, 0, 0), "x", "4 bytes");
    FAILS(RELORA_E_LAYOUT, relora_linear_forward_at(l, env.st, ROWS, at(x), 4, at(y), OUT, 0, 0), "ldx", "4",
          "5");
    FAILS(RELORA_E_LAYOUT, relora_linear_forward_at(l, env.st, ROWS, at(x), IN, at(y), 2, 0, 0), "ldy", "2",
          "3");
    FAILS(RELORA_E_OVERFLOW, relora_linear_forward_at(l, env.st, ROWS, at(x), INT64_MAX, at(y), OUT, 0, 0),
          "strides");
    FAILS(RELORA_E_ARGUMENT, relora_linear_forward_at(l, env.st, 1, at(x), IN, at(x) + IN - 1, OUT, 0, 0),
          "y", "x");
    FAILS(RELORA_E_ARGUMENT,
          relora_linear_forward_at(l, env.st, ROWS, at(x), IN, at(y), OUT, 0, RELORA_OVERWRITE), "flags",
          "0x2");
    FAILS(RELORA_E_STATE, relora_linear_forward_at(new_linear(&o), env.st, ROWS, at(x), IN, at(y), OUT, 0, 0),
          "no weight");
    UNCHANGED(y, was[0]);
}
END_TEST

START_TEST(test_backward)
{
    relora_linear *l = new_host();
#define BACKWARD(rows, x_, ldx, dy_, lddy, dx_, lddx, flags) \
    relora_linear_backward_at(l, env.st, rows, x_, ldx, dy_, lddy, dx_, lddx, 0, flags)
    FAILS_SILENTLY(RELORA_E_ARGUMENT,
                   relora_linear_backward_at(NULL, NULL, ROWS, at(x), IN, at(dy), OUT, at(dx), IN, 0, 0));
#define REFUSED(status, call, ...)                                                         \
    do {                                                                                   \
        env.errors = 0;                                                                    \
        ck_assert_int_eq(call, status);                                                    \
        const char *const words[] = {"relora_linear_backward_at", __VA_ARGS__};            \
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)                          \
            ck_assert_msg(strstr(env.last, words[i]), "no %s in: %s", words[i], env.last); \
        ck_assert_int_eq(env.errors, 1);                                                   \
    } while (0)
    REFUSED(RELORA_E_ARGUMENT, BACKWARD(-1, at(x), IN, at(dy), OUT, at(dx), IN, 0), "rows");
    REFUSED(RELORA_E_ARGUMENT, BACKWARD(ROWS, NULL, IN, at(dy), OUT, at(dx), IN, 0), "x is NULL");
    REFUSED(RELORA_E_ARGUMENT, BACKWARD(ROWS, at(x), IN, NULL, OUT, at(dx), IN, 0), "dy is NULL");
    REFUSED(RELORA_E_LAYOUT, BACKWARD(ROWS, at(x), 1, at(dy), OUT, at(dx), IN, 0), "ldx", "1");
    REFUSED(RELORA_E_LAYOUT, BACKWARD(ROWS, at(x), IN, at(dy), 1, at(dx), IN, 0), "lddy", "1");
    REFUSED(RELORA_E_LAYOUT, BACKWARD(ROWS, at(x), IN, at(dy), OUT, at(dx), 1, 0), "lddx", "1");
    REFUSED(RELORA_E_ARGUMENT, BACKWARD(ROWS, at(x), IN, at(dy), OUT, at(x), IN, 0), "dx", "x");
    REFUSED(RELORA_E_ARGUMENT, BACKWARD(ROWS, at(x), IN, at(dy), OUT, at(dx), IN, RELORA_ACCUMULATE_Y),
            "flags", "0x8");
    UNCHANGED(dx, was[1]);
#undef BACKWARD
#undef REFUSED
}
END_TEST

Suite *linear_at_arguments(void)
{
    Suite *s = suite_create("arguments of calls on pointers");
    TCase *tc = env_case(s, "pointers", 20);
    tcase_add_test(tc, test_forward);
    tcase_add_test(tc, test_backward);
    return s;
}
