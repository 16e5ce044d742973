/* When an order of products is taken, and when not: then the bits are those of SPLIT. */
#include "conformance/orders.h"

static const int64_t plain[4] = {70, 65, 60, 9};

static void split_alone(const struct bench *b, uint32_t flags)
{
    struct bits split = bits_of(b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, flags);
    for (int i = 0; i < ORDERS; i++) {
        struct bits other = bits_of(b, orders[i][0], orders[i][1], flags);
        relora_plan_report plan = bench_plan(b, flags);
        same_bits(&other, &split);
        ck_assert_int_eq(plan.forward, RELORA_ORDER_SPLIT);
        ck_assert_int_eq(plan.backward, RELORA_ORDER_SPLIT);
    }
}

/* Dropout leaves SPLIT alone, at any shape. Where it does not act, the same layer folds, and the bits are
 * those of a layer without dropout. */
START_TEST(test_dropout)
{
    const int64_t *shape = order_shapes[_i % ORDER_SHAPES];
    relora_dtype dtype = _i < ORDER_SHAPES ? RELORA_F32 : RELORA_BF16;
    relora_linear_options o = order_options(RELORA_MODE_LORA, shape, dtype, RELORA_LINEAR_BIAS);
    struct bench without = new_bench(&o, shape[0], 4);
    o.dropout = 0.3;
    struct bench b = new_bench(&o, shape[0], 4);
    split_alone(&b, RELORA_TRAIN);
    for (int i = 0; i < ORDERS; i++) {
        struct bits eval = bits_of(&b, orders[i][0], orders[i][1], 0);
        struct bits want = bits_of(&without, orders[i][0], orders[i][1], RELORA_TRAIN);
        relora_plan_report plan = bench_plan(&b, 0), free = bench_plan(&without, RELORA_TRAIN);
        same_bits(&eval, &want);
        ck_assert_int_eq(plan.forward, free.forward);
        ck_assert_int_eq(plan.backward, free.backward);
        if (orders[i][0] == RELORA_ORDER_AUTO) continue;
        ck_assert_int_eq(plan.forward, orders[i][0]);
        ck_assert_int_eq(plan.backward, orders[i][1]);
    }
}
END_TEST

/* A BF16 layer that rounds to nearest would lose small updates in a fold; one of F32 rounds nothing. */
START_TEST(test_nearest)
{
    for (int i = 0; i < ORDER_SHAPES; i++) {
        relora_linear_options o = order_options(RELORA_MODE_LORA, order_shapes[i], RELORA_BF16, 0);
        o.rounding = RELORA_ROUND_NEAREST;
        struct bench b = new_bench(&o, order_shapes[i][0], 5);
        split_alone(&b, 0);
        split_alone(&b, RELORA_TRAIN);
        o.dtype = RELORA_F32;
        struct bench wide = new_bench(&o, order_shapes[i][0], 5);
        OK(relora_linear_set_order(wide.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
        ck_assert_int_eq(bench_plan(&wide, RELORA_TRAIN).forward, RELORA_ORDER_FOLD);
        ck_assert_int_eq(bench_plan(&wide, RELORA_TRAIN).backward, RELORA_ORDER_THROUGH);
    }
}
END_TEST

/* Only LORA has what to fold. */
START_TEST(test_other_modes)
{
    static const relora_linear_mode modes[] = {RELORA_MODE_FULL, RELORA_MODE_LOWRANK};
    for (int i = 0; i < ORDER_SHAPES; i++) {
        relora_linear_options o =
            order_options(modes[_i % 2], order_shapes[i], _i / 2 ? RELORA_BF16 : RELORA_F32,
                          RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE);
        struct bench b = new_bench(&o, order_shapes[i][0], 6);
        split_alone(&b, 0);
        o.dropout = 0.3;
        b = new_bench(&o, order_shapes[i][0], 6);
        split_alone(&b, RELORA_TRAIN);
    }
}
END_TEST

/* The gradient of a trainable scale needs h and u, which THROUGH does not make. */
START_TEST(test_trainable_scale)
{
    relora_linear_options o =
        order_options(RELORA_MODE_LORA, plain, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE);
    struct bench b = new_bench(&o, plain[0], 7);
    struct bits split = bits_of(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, 0);
    struct bits through = bits_of(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_THROUGH, 0);
    ck_assert_int_eq(bench_plan(&b, 0).backward, RELORA_ORDER_SPLIT);
    same_bits(&through, &split);
    struct bits fold = bits_of(&b, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD, 0);
    ck_assert_int_eq(bench_plan(&b, 0).backward, RELORA_ORDER_FOLD);
    ck_assert(bits_differ(&fold, &split, 0) && bits_differ(&fold, &split, 1));
}
END_TEST

enum { FEW = 7 }; /* rows for which AUTO folds nothing */

static void is_forced(const struct bench *b)
{
    relora_plan_report plan = bench_plan(b, 0);
    ck_assert_int_eq(plan.forward, RELORA_ORDER_FOLD);
    ck_assert_int_eq(plan.backward, RELORA_ORDER_THROUGH);
}

/* Whatever happens to the layer, until the next relora_linear_set_order(). */
START_TEST(test_order_stays)
{
    relora_linear_options o = order_options(RELORA_MODE_LORA, plain, RELORA_F32, RELORA_LINEAR_KEEP_DELTA);
    struct bench b = new_bench(&o, FEW, 8);
    relora_tensor *w = new_matrix(RELORA_F32, plain[2], plain[1]);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    is_forced(&b);
    OK(relora_linear_merge(b.l, env.st, 1, NULL));
    is_forced(&b);
    OK(relora_linear_reset(b.l, env.st, 1));
    is_forced(&b);
    OK(relora_linear_zero_grad(b.l, env.st));
    is_forced(&b);
    OK(relora_linear_set_weight(b.l, w, NULL));
    is_forced(&b);
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_order(b.l, RELORA_ORDER_SPLIT, 9), "backward", "9");
    is_forced(&b);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO));
    ck_assert_int_eq(bench_plan(&b, 0).forward, RELORA_ORDER_SPLIT);
    ck_assert_int_eq(bench_plan(&b, 0).backward, RELORA_ORDER_SPLIT);
}
END_TEST

/* An order given to a FULL layer waits for LORA, and then gives what a layer that was born so gives. */
START_TEST(test_full_becomes_lora)
{
    relora_linear_options o = order_options(RELORA_MODE_LORA, plain, RELORA_F32, 0);
    struct bench born = new_bench(&o, FEW, 9);
    o.mode = RELORA_MODE_FULL;
    struct bench b = new_bench(&o, FEW, 9);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    ck_assert_int_eq(bench_plan(&b, 0).forward, RELORA_ORDER_SPLIT);
    OK(relora_linear_set_mode(b.l, env.st, RELORA_MODE_LORA));
    is_forced(&b);
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        put(relora_linear_param(b.l, p), get(relora_linear_param(born.l, p)));
    put(b.x, get(born.x)); /* drawn after A and B, which FULL has not */
    put(b.dy, get(born.dy));
    bench_forward(&b, 0);
    struct bits want = bits_of(&born, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH, 0);
    SAME_BYTES(snapshot(b.y), want.of[0], want.size[0]);
    bench_backward(&b, b.dx, RELORA_OVERWRITE);
    SAME_BYTES(snapshot(b.dx), want.of[1], want.size[1]);
    SAME_BYTES(snapshot(relora_linear_grad(b.l, RELORA_PARAM_A)), want.of[2], want.size[2]);
}
END_TEST

Suite *linear_order_rules(void)
{
    Suite *s = suite_create("linear order rules");
    TCase *tc = env_case(s, "rules", 60);
    tcase_add_loop_test(tc, test_dropout, 0, 2 * ORDER_SHAPES);
    tcase_add_test(tc, test_nearest);
    tcase_add_loop_test(tc, test_other_modes, 0, 4);
    tcase_add_test(tc, test_trainable_scale);
    tcase_add_test(tc, test_order_stays);
    tcase_add_test(tc, test_full_becomes_lora);
    return s;
}
