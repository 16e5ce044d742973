/* group.h, and the functions that take a group, with wrong arguments. */
#include "arguments/arguments.h"

enum { IN = 5, OUT = 3, RANK = 2 };

static relora_group *stranger_group(struct stranger *s)
{
    relora_group *g;
    OK(relora_group_create(&g, s->dev));
    defer((void (*)(void *))relora_group_release, g);
    return g;
}

static relora_linear *layer(relora_linear_mode mode, int64_t rank)
{
    static uint64_t number;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(mode, IN, OUT, rank);
    o.layer = number++;
    return new_filled_linear(&o, &r);
}

START_TEST(test_create)
{
    relora_group *g = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_group_create(NULL, env.dev), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_create(NULL, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_create(&g, NULL));
    ck_assert_ptr_null(g);
    relora_group_release(NULL);
}
END_TEST

START_TEST(test_wrap)
{
    struct stranger s = new_stranger();
    relora_group *g = new_group();
    relora_linear_options good = layer_options(RELORA_MODE_LORA, 0, 0, RANK), bad = good;
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN), *b = new_vector(RELORA_F32, OUT);
    relora_linear *l = POISON;
#define REFUSED(status, ...)        \
    do {                            \
        l = POISON;                 \
        FAILS(status, __VA_ARGS__); \
        ck_assert_ptr_null(l);      \
    } while (0)
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(NULL, "l", w, NULL, &good, &l), "group");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(NULL, "l", NULL, b, &good, &l), "group");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_wrap(NULL, "l", NULL, NULL, &good, NULL));
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, NULL, w, NULL, &good, &l), "name");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "", w, NULL, &good, &l), "name");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", NULL, NULL, &good, &l), "in_features");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", w, NULL, NULL, &l), "options");
    REFUSED(RELORA_E_CONTEXT,
            relora_group_wrap(g, "l", stranger_matrix(&s, RELORA_F32, OUT, IN), NULL, &good, &l), "weight");
    REFUSED(RELORA_E_CONTEXT,
            relora_group_wrap(g, "l", w, stranger_matrix(&s, RELORA_F32, 1, OUT), &good, &l), "bias");
    REFUSED(RELORA_E_SHAPE, relora_group_wrap(g, "l", b, NULL, &good, &l), "weight", "[3]");
    REFUSED(RELORA_E_SHAPE, relora_group_wrap(g, "l", w, new_vector(RELORA_F32, IN), &good, &l), "bias",
            "[5]");
    REFUSED(RELORA_E_DTYPE, relora_group_wrap(g, "l", w, new_vector(RELORA_BF16, OUT), &good, &l), "bias",
            "BF16");
    bad.in_features = 4;
    REFUSED(RELORA_E_SHAPE, relora_group_wrap(g, "l", w, NULL, &bad, &l), "in_features", "4", "[3, 5]");
    bad = good, bad.out_features = IN;
    REFUSED(RELORA_E_SHAPE, relora_group_wrap(g, "l", w, NULL, &bad, &l), "out_features", "5", "[3, 5]");
    bad = good, bad.rank = 0;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", w, NULL, &bad, &l), "rank", "0");
    bad = good, bad.mode = RELORA_MODE_LOWRANK;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", w, NULL, &bad, &l), "weight", "LOWRANK");
    bad = good, bad.mode = RELORA_MODE_FULL;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", NULL, NULL, &bad, &l), "in_features");
    bad.in_features = bad.out_features = 4;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap(g, "l", NULL, NULL, &bad, &l), "weight");
    ck_assert_int_eq(relora_group_count(g), 0);
    OK(relora_group_wrap(g, "l", w, b, &good, NULL));
    REFUSED(RELORA_E_EXISTS, relora_group_wrap(g, "l", new_matrix(RELORA_F32, OUT, IN), NULL, &good, &l),
            "l");
    ck_assert_int_eq(relora_group_count(g), 1);
}
END_TEST

START_TEST(test_pointers)
{
    relora_group *g = new_group();
    relora_linear_options good = layer_options(RELORA_MODE_LORA, IN, OUT, RANK), bad = good;
    float *w = new_floats(64), *b = w + 32;
    relora_linear *l = POISON;
    void *odd = (char *)w + 1;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_wrap_at(NULL, "l", w, NULL, &good, &l));
    ck_assert_ptr_null(l);
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, NULL, w, NULL, &good, &l), "name");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "", w, NULL, &good, &l), "name");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, NULL, NULL, &l), "options");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", NULL, NULL, &good, &l), "weight");
    REFUSED(RELORA_E_LAYOUT, relora_group_wrap_at(g, "l", odd, NULL, &good, &l), "data");
    REFUSED(RELORA_E_LAYOUT, relora_group_wrap_at(g, "l", w, odd, &good, &l), "data");
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, w + 3, &good, &l), "bias", "overlaps");
    bad.dtype = 9;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, NULL, &bad, &l), "dtype", "9");
    bad = good, bad.in_features = 0;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, NULL, &bad, &l), "in_features");
    bad = good, bad.out_features = -3;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, NULL, &bad, &l), "-3");
    bad = good, bad.mode = RELORA_MODE_LOWRANK;
    REFUSED(RELORA_E_ARGUMENT, relora_group_wrap_at(g, "l", w, NULL, &bad, &l), "weight", "LOWRANK");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_add_param_at(NULL, "p", 4, w, b));
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param_at(g, NULL, 4, w, b), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param_at(g, "", 4, w, b), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param_at(g, "p", 4, NULL, b), "param");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param_at(g, "p", -4, w, b), "-4");
    FAILS(RELORA_E_LAYOUT, relora_group_add_param_at(g, "p", 4, odd, b), "data");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param_at(g, "p", 4, w, w + 3), "param and grad");
    ck_assert_ptr_null(relora_group_linear_at(NULL, w));
    ck_assert_ptr_null(relora_group_linear_at(g, w));
    ck_assert_ptr_null(relora_group_linear_at(g, NULL));
    ck_assert_int_eq(relora_group_count(g), 0);
    OK(relora_group_wrap_at(g, "l", w, b, &good, NULL));
    FAILS(RELORA_E_EXISTS, relora_group_add_param_at(g, "p", 4, w + IN * OUT - 1, NULL), "layer \"l\"");
}
END_TEST

START_TEST(test_wrap_struct_size)
{
    struct padded p;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN);
    relora_linear *l = POISON;
    FAILS(RELORA_E_STRUCT_SIZE,
          relora_group_wrap(new_group(), "l", w, NULL, bad_struct_size(&p, &o, sizeof o, _i), &l),
          "struct_size");
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(test_add_linear)
{
    struct stranger s = new_stranger();
    relora_group *g = new_group();
    relora_linear *l = layer(RELORA_MODE_LORA, RANK), *tied = layer(RELORA_MODE_LORA, RANK);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_add_linear(NULL, "l", NULL));
    FAILS(RELORA_E_ARGUMENT, relora_group_add_linear(NULL, "l", l), "group");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_linear(g, NULL, l), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_linear(g, "", l), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_linear(g, "l", NULL), "linear");
    ck_assert_int_eq(relora_group_add_linear(stranger_group(&s), "l", l), RELORA_E_CONTEXT);
    OK(relora_group_add_linear(g, "l", l));
    FAILS(RELORA_E_EXISTS, relora_group_add_linear(g, "l", tied), "name", "l");
    FAILS(RELORA_E_EXISTS, relora_group_add_linear(g, "again", l), "linear", "layer \"l\"");
    OK(relora_linear_set_weight(tied, relora_linear_param(l, RELORA_PARAM_WEIGHT), NULL));
    FAILS(RELORA_E_EXISTS, relora_group_add_linear(g, "tied", tied), "weight", "layer \"l\"");
    ck_assert_int_eq(relora_group_count(g), 1);
}
END_TEST

START_TEST(test_add_param)
{
    struct stranger s = new_stranger();
    relora_group *g = new_group();
    relora_linear *l = layer(RELORA_MODE_FULL, 0);
    relora_tensor *p = new_vector(RELORA_F32, 6), *dp = new_vector(RELORA_F32, 6),
                  *q = new_vector(RELORA_F32, 6);
    relora_tensor *far = stranger_matrix(&s, RELORA_F32, 1, 6), *row = new_matrix(RELORA_F32, 1, 6);
    OK(relora_group_add_linear(g, "l", l));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_add_param(NULL, "p", NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(NULL, "p", p, dp), "group");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(NULL, "p", NULL, dp), "group");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(g, NULL, p, dp), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(g, "", p, dp), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(g, "p", NULL, dp), "param");
    FAILS(RELORA_E_CONTEXT, relora_group_add_param(g, "p", far, NULL), "param");
    FAILS(RELORA_E_CONTEXT, relora_group_add_param(g, "p", row, far), "grad");
    FAILS(RELORA_E_SHAPE, relora_group_add_param(g, "p", p, row), "param", "[6]", "grad", "[1, 6]");
    FAILS(RELORA_E_ARGUMENT, relora_group_add_param(g, "p", p, p), "param", "grad", "memory");
    FAILS(RELORA_E_EXISTS, relora_group_add_param(g, "l", p, dp), "name", "l");
    FAILS(RELORA_E_EXISTS, relora_group_add_param(g, "p", relora_linear_param(l, RELORA_PARAM_WEIGHT), NULL),
          "param", "layer \"l\"");
    OK(relora_group_add_param(g, "p", p, dp));
    FAILS(RELORA_E_EXISTS, relora_group_add_param(g, "q", q, dp), "grad", "\"q\"", "\"p\"");
    FAILS(RELORA_E_EXISTS, relora_group_add_param(g, "q", dp, q), "param", "\"q\"", "\"p\"");
    ck_assert_int_eq(relora_group_count(g), 2);
}
END_TEST

START_TEST(test_looking)
{
    relora_group *g = new_group();
    int32_t index = 77;
    OK(relora_group_add_linear(g, "l", layer(RELORA_MODE_LORA, RANK)));
    ck_assert_int_eq(relora_group_count(NULL), -1);
    for (int32_t i = -1; i <= 1; i += 2) {
        ck_assert_ptr_null(relora_group_name(g, i));
        ck_assert_ptr_null(relora_group_linear(g, i));
        ck_assert_ptr_null(relora_group_value(g, i));
        ck_assert_ptr_null(relora_group_grad(g, i));
    }
    ck_assert_ptr_null(relora_group_name(NULL, 0));
    ck_assert_ptr_null(relora_group_linear(NULL, 0));
    ck_assert_ptr_null(relora_group_value(NULL, 0));
    ck_assert_ptr_null(relora_group_grad(NULL, 0));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_group_find(NULL, "l", &index));
    FAILS(RELORA_E_ARGUMENT, relora_group_find(g, NULL, &index), "name");
    FAILS(RELORA_E_ARGUMENT, relora_group_find(g, "l", NULL), "index");
    FAILS(RELORA_E_NOT_FOUND, relora_group_find(g, "k", &index), "k");
    ck_assert_int_eq(index, 77);
}
END_TEST

/* Each call on a whole group: handles, and a group that has nothing for it. */
START_TEST(test_work)
{
    struct stranger s = new_stranger();
    relora_group *g = new_group(), *full = new_group();
    relora_linear *l = layer(RELORA_MODE_LORA, RANK), *head = layer(RELORA_MODE_FULL, 0);
    relora_merge_report bad = {.struct_size = 3};
    OK(relora_group_add_linear(g, "l", l));
    OK(relora_group_add_linear(full, "head", head));
    void *w = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT)),
         *a = snapshot(relora_linear_param(l, RELORA_PARAM_A));
#define HANDLES(call, ...)                                                    \
    do {                                                                      \
        FAILS_SILENTLY(RELORA_E_ARGUMENT, call(NULL, NULL, ##__VA_ARGS__));   \
        FAILS(RELORA_E_ARGUMENT, call(NULL, env.st, ##__VA_ARGS__), "group"); \
        FAILS(RELORA_E_ARGUMENT, call(g, NULL, ##__VA_ARGS__), "stream");     \
        FAILS(RELORA_E_CONTEXT, call(g, s.st, ##__VA_ARGS__), "stream");      \
    } while (0)
    HANDLES(relora_group_set_mode, RELORA_MODE_LORA);
    HANDLES(relora_group_merge, 1, NULL);
    HANDLES(relora_group_reset, 1);
    HANDLES(relora_group_zero_grad);
#undef HANDLES
    FAILS(RELORA_E_ARGUMENT, relora_group_set_mode(full, env.st, 0), "mode", "0");
    FAILS(RELORA_E_ARGUMENT, relora_group_set_mode(full, env.st, 4), "mode", "4");
    FAILS(RELORA_E_STATE, relora_group_set_mode(full, env.st, RELORA_MODE_FULL), "LORA");
    FAILS(RELORA_E_UNSUPPORTED, relora_group_set_mode(full, env.st, RELORA_MODE_LOWRANK), "LOWRANK");
    FAILS(RELORA_E_STATE, relora_group_set_mode(full, env.st, RELORA_MODE_LORA), "FULL", "rank");
    FAILS(RELORA_E_STRUCT_SIZE, relora_group_merge(g, env.st, 1, &bad), "report", "struct_size");
    FAILS(RELORA_E_STATE, relora_group_merge(full, env.st, 1, NULL), "LORA");
    FAILS(RELORA_E_STATE, relora_group_merge(new_group(), env.st, 1, NULL), "LORA");
    FAILS(RELORA_E_STATE, relora_group_reset(full, env.st, 1), "factors");
    OK(relora_group_zero_grad(new_group(), env.st));
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_A), a);
}
END_TEST

START_TEST(test_given)
{
    struct stranger s = new_stranger();
    relora_group *g = new_group(), *frozen = new_group(), *far = stranger_group(&s);
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(10, 0);
    relora_cycle *c = new_cycle(&co, NULL, NULL);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    OK(relora_group_add_linear(g, "bare", new_linear(&o)));
    OK(relora_group_add_param(frozen, "p", new_vector(RELORA_F32, 4), NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_add_group(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_group(NULL, g), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_group(adam, NULL), "group");
    FAILS(RELORA_E_CONTEXT, relora_adam_add_group(adam, far), "group");
    FAILS(RELORA_E_STATE, relora_adam_add_group(adam, g), "bare", "weight");
    FAILS(RELORA_E_STATE, relora_adam_add_group(adam, frozen), "nothing");
    ck_assert_int_eq(relora_adam_count(adam), 0);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_add_group(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_add_group(NULL, g), "cycle");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_add_group(c, NULL), "group");
    FAILS(RELORA_E_CONTEXT, relora_cycle_add_group(c, far), "group");
    FAILS(RELORA_E_STATE, relora_cycle_add_group(c, g), "bare", "weight");
    FAILS(RELORA_E_STATE, relora_cycle_add_group(c, frozen), "LORA");
}
END_TEST

Suite *group_arguments(void)
{
    Suite *s = suite_create("arguments of groups");
    TCase *tc = env_case(s, "group", 20);
    tcase_add_test(tc, test_create);
    tcase_add_test(tc, test_wrap);
    tcase_add_test(tc, test_pointers);
    tcase_add_loop_test(tc, test_wrap_struct_size, 0, 5);
    tcase_add_test(tc, test_add_linear);
    tcase_add_test(tc, test_add_param);
    tcase_add_test(tc, test_looking);
    tcase_add_test(tc, test_work);
    tcase_add_test(tc, test_given);
    return s;
}
