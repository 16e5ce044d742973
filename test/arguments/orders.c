/* relora_linear_plan and relora_linear_set_order with each argument wrong, and reports of callers of other
 * releases. */
#include "arguments/arguments.h"

enum { ROWS = 40, IN = 5, OUT = 3, RANK = 2 };

static relora_linear *new_layer(relora_linear_mode mode)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    return new_linear(&o);
}

static relora_plan_report plan_of(const relora_linear *l)
{
    relora_plan_report r = {.struct_size = sizeof r};
    OK(relora_linear_plan(l, ROWS, 0, &r));
    return r;
}

/* Nothing is written into a report that is refused, but for its size. */
START_TEST(test_plan)
{
    relora_linear *l = new_layer(RELORA_MODE_LORA);
    relora_plan_report r, was;
    memset(&r, 0x5a, sizeof r);
    r.struct_size = sizeof r;
    was = r;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_plan(NULL, ROWS, 0, &r));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_plan(NULL, -1, 8, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, -1, 0, &r), "rows", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, INT64_MIN, 0, &r), "rows", "-9223372036854775808");
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, ROWS, RELORA_OVERWRITE, &r), "flags", "0x2", "0x1");
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, ROWS, RELORA_TRAIN | RELORA_ACCUMULATE_DX, &r), "flags",
          "0x5");
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, ROWS, 1u << 31, &r), "flags", "0x80000000");
    FAILS(RELORA_E_ARGUMENT, relora_linear_plan(l, ROWS, 0, NULL), "report");
    SAME_BYTES(&r, &was, sizeof r);
    OK(relora_linear_plan(l, 0, RELORA_TRAIN, &r));
}
END_TEST

static void refuse_forward(relora_linear *l, relora_order order, const char *number)
{
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_order(l, order, RELORA_ORDER_FOLD), "forward", number);
}

static void refuse_backward(relora_linear *l, relora_order order, const char *number)
{
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_order(l, RELORA_ORDER_FOLD, order), "backward", number);
}

/* A call that fails changes neither of the two. */
START_TEST(test_set_order)
{
    relora_linear *l = new_layer(RELORA_MODE_LORA);
    OK(relora_linear_set_order(l, RELORA_ORDER_SPLIT, RELORA_ORDER_THROUGH));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_set_order(NULL, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO));
    refuse_forward(l, 0, "0");
    refuse_forward(l, -7, "-7");
    refuse_forward(l, RELORA_ORDER_THROUGH, "4");
    refuse_forward(l, INT32_MAX, "2147483647");
    refuse_backward(l, 0, "0");
    refuse_backward(l, -7, "-7");
    refuse_backward(l, 5, "5");
    refuse_backward(l, INT32_MIN, "-2147483648");
    ck_assert_int_eq(plan_of(l).forward, RELORA_ORDER_SPLIT);
    ck_assert_int_eq(plan_of(l).backward, RELORA_ORDER_THROUGH);
}
END_TEST

/* Every order may be asked of every layer; those that have but one take that. */
START_TEST(test_every_mode)
{
    relora_linear *l = new_layer(_i + 1);
    for (relora_order f = RELORA_ORDER_AUTO; f <= RELORA_ORDER_FOLD; f++)
        for (relora_order b = RELORA_ORDER_AUTO; b <= RELORA_ORDER_THROUGH; b++) {
            OK(relora_linear_set_order(l, f, b));
            relora_plan_report r = plan_of(l);
            int one = _i + 1 != RELORA_MODE_LORA;
            ck_assert_int_eq(r.forward, one ? RELORA_ORDER_SPLIT : f == RELORA_ORDER_AUTO ? r.forward : f);
            ck_assert_int_eq(r.backward, one ? RELORA_ORDER_SPLIT : b == RELORA_ORDER_AUTO ? r.backward : b);
            ck_assert_int_ge(r.forward, RELORA_ORDER_SPLIT);
            ck_assert_int_ge(r.backward, RELORA_ORDER_SPLIT);
        }
}
END_TEST

/* Sizes without room for the size itself, and absurd ones. */
START_TEST(test_bad_report_size)
{
    static const uint32_t sizes[] = {0, 1, 3, 4097, UINT32_MAX};
    struct padded p, was;
    memset(&p, 0x5a, sizeof p);
    memcpy(p.bytes, &sizes[_i], sizeof sizes[_i]);
    was = p;
    FAILS(RELORA_E_STRUCT_SIZE,
          relora_linear_plan(new_layer(RELORA_MODE_LORA), ROWS, 0, (relora_plan_report *)(void *)p.bytes),
          "report", "struct_size");
    SAME_BYTES(&p, &was, sizeof p);
}
END_TEST

/* An older caller's report is filled up to its end, a newer one's tail zeroed; nothing behind it changes. */
START_TEST(test_report_of_another_release)
{
    static const uint32_t sizes[] = {
        4, 8, 12, 23, sizeof(relora_plan_report), sizeof(relora_plan_report) + 12, 4096};
    const uint32_t size = sizes[_i],
                   known = size < sizeof(relora_plan_report) ? size : sizeof(relora_plan_report);
    relora_linear *l = new_layer(RELORA_MODE_LORA);
    relora_plan_report want = plan_of(l);
    struct padded p;
    memset(&p, 0x5a, sizeof p);
    memcpy(p.bytes, &size, sizeof size);
    want.struct_size = size;
    OK(relora_linear_plan(l, ROWS, 0, (relora_plan_report *)(void *)p.bytes));
    SAME_BYTES(p.bytes, &want, known);
    for (uint32_t i = known; i < sizeof p.bytes; i++) ck_assert_int_eq(p.bytes[i], i < size ? 0 : 0x5a);
}
END_TEST

/* Bytes that no machine has saturate, on the way up through every size, and operations stay a number. Under
 * dropout there is one order, so nothing ever falls. */
START_TEST(test_huge_rows)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dropout = 0.1;
    o.dtype = _i ? RELORA_BF16 : RELORA_F32;
    relora_linear *l = new_linear(&o);
    relora_plan_report was = {.struct_size = 0};
    for (int power = 6; power < 64; power++) {
        int64_t rows = power < 63 ? INT64_C(1) << power : INT64_MAX;
        relora_plan_report r = {.struct_size = sizeof r};
        OK(relora_linear_plan(l, rows, RELORA_TRAIN, &r)); /* d = drop(x) has as many rows */
        ck_assert_int_ge(r.forward_bytes, was.forward_bytes);
        ck_assert_int_ge(r.backward_bytes, was.backward_bytes);
        ck_assert_double_ge(r.forward_flops, was.forward_flops);
        ck_assert_double_ge(r.backward_flops, was.backward_flops);
        ck_assert(isfinite(r.forward_flops) && isfinite(r.backward_flops));
        was = r;
    }
    ck_assert_int_eq(was.forward_bytes, INT64_MAX);
    ck_assert_int_eq(was.backward_bytes, INT64_MAX);
}
END_TEST

Suite *order_arguments(void)
{
    Suite *s = suite_create("arguments of orders");
    TCase *tc = env_case(s, "orders", 20);
    tcase_add_test(tc, test_plan);
    tcase_add_test(tc, test_set_order);
    tcase_add_loop_test(tc, test_every_mode, 0, 3);
    tcase_add_loop_test(tc, test_bad_report_size, 0, 5);
    tcase_add_loop_test(tc, test_report_of_another_release, 0, 7);
    tcase_add_loop_test(tc, test_huge_rows, 0, 2);
    return s;
}
