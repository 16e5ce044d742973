/* Reset, factors, flat gradients and the getters of adam.h with wrong arguments. */
#include "arguments/arguments.h"

struct bench {
    relora_adam *a;
    relora_tensor *p, *g;
    struct stranger s;
    void *p_was, *m_was, *v_was;
};

static struct bench new_bench(void) /* one parameter, three steps old */
{
    struct bench b;
    struct rnd r = rnd_seed(5);
    b.a = new_adam(NULL);
    b.s = new_stranger();
    add_vector(b.a, "p", 40, &r, &b.p, &b.g);
    for (int i = 0; i < 3; i++) OK(relora_adam_step(b.a, env.st, 0.01, 1, NULL));
    b.p_was = snapshot(b.p);
    b.m_was = snapshot(relora_adam_moment(b.a, 0, RELORA_MOMENT_FIRST));
    b.v_was = snapshot(relora_adam_moment(b.a, 0, RELORA_MOMENT_SECOND));
    return b;
}

static void untouched(struct bench *b)
{
    int64_t steps = -1;
    UNCHANGED(b->p, b->p_was);
    UNCHANGED(relora_adam_moment(b->a, 0, RELORA_MOMENT_FIRST), b->m_was);
    UNCHANGED(relora_adam_moment(b->a, 0, RELORA_MOMENT_SECOND), b->v_was);
    OK(relora_adam_steps(b->a, env.st, 0, &steps));
    ck_assert_int_eq(steps, 3);
}

#define BAD(field_, value_, status_, ...)                                                           \
    do {                                                                                            \
        relora_reset_options o_ = reset_options(RELORA_RESET_MAGNITUDE, 0.5, 0);                    \
        o_.field_ = value_;                                                                         \
        FAILS(status_, relora_adam_reset(b.a, env.st, &index, 1, &o_, NULL), #field_, __VA_ARGS__); \
    } while (0)

START_TEST(test_reset_options)
{
    struct bench b = new_bench();
    int32_t index = 0;
    BAD(mode, 0, RELORA_E_ARGUMENT, "0");
    BAD(mode, 6, RELORA_E_ARGUMENT, "6");
    BAD(flags, 8, RELORA_E_ARGUMENT, "8");
    BAD(ratio, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(ratio, -0.125, RELORA_E_ARGUMENT, "-0.125");
    BAD(ratio, 1.125, RELORA_E_ARGUMENT, "1.125");
    BAD(ratio, INFINITY, RELORA_E_ARGUMENT, "inf");
    BAD(reserved, 1, RELORA_E_ARGUMENT, "1");
    relora_reset_options o = reset_options(RELORA_RESET_KEEP, 0.5, RELORA_RESET_STEP_COUNT);
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(b.a, env.st, &index, 1, &o, NULL), "flags", "STEP_COUNT",
          "KEEP");
    o = reset_options(RELORA_RESET_PROJECT, 0.5, 0);
    FAILS(RELORA_E_UNSUPPORTED, relora_adam_reset(b.a, env.st, &index, 1, &o, NULL), "PROJECT",
          "relora_cycle");
    FAILS(RELORA_E_UNSUPPORTED,
          relora_moments_reset(env.st, relora_adam_moment(b.a, 0, RELORA_MOMENT_FIRST),
                               relora_adam_moment(b.a, 0, RELORA_MOMENT_SECOND), 0, &o, NULL),
          "PROJECT", "relora_moments_project");
    o = reset_options(RELORA_RESET_RANDOM, 0.5, RELORA_RESET_QUANTILE);
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(b.a, env.st, &index, 1, &o, NULL), "flags", "QUANTILE");
    untouched(&b);
}
END_TEST

START_TEST(test_reset_struct_sizes)
{
    struct bench b = new_bench();
    struct padded p;
    int32_t index = 0;
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 1, 0);
    relora_reset_report bad = {.struct_size = 1};
    const void *options = bad_struct_size(&p, &o, sizeof o, _i);
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_reset(b.a, env.st, &index, 1, options, NULL), "struct_size");
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_reset(b.a, env.st, &index, 1, &o, &bad), "report");
    untouched(&b);
}
END_TEST

/* T9: what is named and unknown is an error, and then nothing at all is reset. */
START_TEST(test_reset_selection)
{
    struct bench b = new_bench();
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 1, 0);
    relora_reset_report report = {.struct_size = sizeof report};
    const int32_t unknown[] = {0, 1}, twice[] = {0, 0}, negative[] = {0, -1};
    FAILS(RELORA_E_NOT_FOUND, relora_adam_reset(b.a, env.st, unknown, 2, &o, &report), "1");
    FAILS(RELORA_E_EXISTS, relora_adam_reset(b.a, env.st, twice, 2, &o, &report), "0");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_reset(b.a, env.st, negative, 2, &o, &report), "-1");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_reset(b.a, env.st, NULL, 0, &o, &report), "");
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(b.a, env.st, NULL, 1, &o, &report), "indices");
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(b.a, env.st, unknown, -1, &o, &report), "count", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(NULL, env.st, unknown, 1, &o, &report), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_reset(b.a, NULL, unknown, 1, &o, &report), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_reset(b.a, b.s.st, unknown, 1, &o, &report), "stream");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_reset(NULL, NULL, unknown, 1, &o, &report));
    untouched(&b);
}
END_TEST

START_TEST(test_factors_and_norm)
{
    struct bench b = new_bench();
    double norm = -7;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_set_factors(NULL, 0, 1, 0));
    FAILS(RELORA_E_NOT_FOUND, relora_adam_set_factors(b.a, 1, 1, 0), "index", "1");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_set_factors(b.a, -1, 1, 0), "index", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_factors(b.a, 0, -0.5, 0), "lr_factor", "-0.5");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_factors(b.a, 0, NAN, 0), "lr_factor", "nan");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_factors(b.a, 0, 1, NAN), "weight_decay", "nan");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_factors(b.a, 0, 1, 1e39), "weight_decay", "1e+39");
    FAILS(RELORA_E_ARGUMENT, relora_adam_grad_norm(NULL, env.st, &norm), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_grad_norm(b.a, NULL, &norm), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_grad_norm(b.a, env.st, NULL), "norm");
    FAILS(RELORA_E_CONTEXT, relora_adam_grad_norm(b.a, b.s.st, &norm), "stream");
    ck_assert_double_eq(norm, -7);
    FAILS(RELORA_E_ARGUMENT, relora_adam_sum(NULL, env.st, b.g), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_sum(b.a, NULL, b.g), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_sum(b.a, env.st, NULL), "tensor");
    FAILS(RELORA_E_CONTEXT, relora_adam_sum(b.a, b.s.st, b.g), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_zero_grad(NULL, env.st), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_zero_grad(b.a, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_zero_grad(b.a, b.s.st), "stream");
    ck_assert_double_gt(norm2(get(b.g), 40), 1); /* the gradients are still there */
    untouched(&b);
}
END_TEST

START_TEST(test_carry)
{
    struct bench b = new_bench();
    struct rnd r = rnd_seed(7);
    relora_adam *from = new_adam(NULL), *other = new_adam(NULL), *empty = new_adam(NULL), *foreign;
    const int32_t first = 0, unknown = 1, twice[] = {0, 0};
    int32_t carried = 77;
    add_vector(from, "p", 40, &r, NULL, NULL);
    add_vector(other, "p", 39, &r, NULL, NULL);
    OK(relora_adam_create(&foreign, b.s.dev, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_carry(NULL, NULL, NULL, NULL, 0, &carried));
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(NULL, env.st, from, NULL, 0, &carried), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(NULL, NULL, from, NULL, 0, &carried), "");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(b.a, NULL, from, NULL, 0, &carried), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_carry(b.a, b.s.st, from, NULL, 0, &carried), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(b.a, env.st, NULL, NULL, 0, &carried), "from");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(b.a, env.st, b.a, NULL, 0, &carried), "from");
    FAILS(RELORA_E_CONTEXT, relora_adam_carry(b.a, env.st, foreign, NULL, 0, &carried), "from");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(b.a, env.st, from, NULL, 1, &carried), "count", "1");
    FAILS(RELORA_E_ARGUMENT, relora_adam_carry(b.a, env.st, from, &first, 0, &carried), "count", "0");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_carry(b.a, env.st, from, &unknown, 1, &carried), "indices[0]", "1");
    FAILS(RELORA_E_EXISTS, relora_adam_carry(b.a, env.st, from, twice, 2, &carried), "indices[0]", "both 0");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_carry(b.a, env.st, empty, NULL, 0, &carried), "name");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_carry(b.a, env.st, empty, &first, 1, &carried), "indices[0]",
          "\"p\"");
    FAILS(RELORA_E_SHAPE, relora_adam_carry(b.a, env.st, other, NULL, 0, &carried), "\"p\"", "[40]", "[39]");
    ck_assert_int_eq(carried, 77);
    untouched(&b);
    relora_adam_release(foreign);
}
END_TEST

START_TEST(test_flatten)
{
    struct bench b = new_bench();
    struct rnd r = rnd_seed(6);
    float *memory = new_floats(8);
    relora_adam *borrowed = new_adam(NULL), *narrow = new_adam(NULL);
    relora_tensor *own = new_vector(RELORA_F32, 8), *bg = new_vector(RELORA_BF16, 8),
                  *g = new_borrowed(8, memory);
    put_all(bg, 0);
    OK(relora_adam_add(borrowed, "q", own, g, NULL));
    OK(relora_adam_add(narrow, "q", own, bg, NULL));
    add_vector(narrow, "r", 8, &r, NULL, NULL);
    void *before = relora_tensor_data(b.g);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_flatten_grads(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_flatten_grads(NULL, env.st), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_flatten_grads(b.a, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_flatten_grads(b.a, b.s.st), "stream");
    FAILS(RELORA_E_STATE, relora_adam_flatten_grads(borrowed, env.st), "q");
    FAILS(RELORA_E_DTYPE, relora_adam_flatten_grads(narrow, env.st), "q");
    ck_assert_ptr_null(relora_adam_flat_grad(NULL));
    ck_assert_ptr_null(relora_adam_flat_grad(b.a));
    ck_assert_ptr_null(relora_adam_flat_grad(borrowed));
    ck_assert_ptr_null(relora_adam_flat_grad(narrow));
    ck_assert_ptr_eq(relora_tensor_data(b.g), before);
    ck_assert_ptr_eq(relora_tensor_data(g), memory);
    OK(relora_adam_flatten_grads(b.a, env.st));
    FAILS(RELORA_E_STATE, relora_adam_flatten_grads(b.a, env.st), "");
    untouched(&b);
}
END_TEST

START_TEST(test_getters)
{
    struct bench b = new_bench();
    int32_t index = 77;
    ck_assert_int_eq(relora_adam_count(NULL), -1);
    ck_assert_ptr_null(relora_adam_name(NULL, 0));
    ck_assert_ptr_null(relora_adam_name(b.a, 1));
    ck_assert_ptr_null(relora_adam_name(b.a, -1));
    ck_assert_ptr_null(relora_adam_moment(NULL, 0, RELORA_MOMENT_FIRST));
    ck_assert_ptr_null(relora_adam_moment(b.a, 1, RELORA_MOMENT_FIRST));
    ck_assert_ptr_null(relora_adam_moment(b.a, -1, RELORA_MOMENT_FIRST));
    ck_assert_ptr_null(relora_adam_moment(b.a, 0, 0));
    ck_assert_ptr_null(relora_adam_moment(b.a, 0, 3));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_find(NULL, "p", &index));
    FAILS(RELORA_E_ARGUMENT, relora_adam_find(b.a, NULL, &index), "name");
    FAILS(RELORA_E_ARGUMENT, relora_adam_find(b.a, "p", NULL), "index");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_find(b.a, "wq.none", &index), "wq.none");
    ck_assert_int_eq(index, 77);
}
END_TEST

START_TEST(test_steps)
{
    struct bench b = new_bench();
    int64_t steps = 77;
    FAILS(RELORA_E_ARGUMENT, relora_adam_steps(NULL, env.st, 0, &steps), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_steps(b.a, NULL, 0, &steps), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_steps(b.a, env.st, 0, NULL), "steps");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_steps(b.a, env.st, 1, &steps), "index", "1");
    FAILS(RELORA_E_CONTEXT, relora_adam_steps(b.a, b.s.st, 0, &steps), "stream");
    ck_assert_int_eq(steps, 77);
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_steps(NULL, env.st, 0, 5), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_steps(b.a, NULL, 0, 5), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_steps(b.a, env.st, 0, -5), "steps", "-5");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_set_steps(b.a, env.st, -1, 5), "index", "-1");
    FAILS(RELORA_E_CONTEXT, relora_adam_set_steps(b.a, b.s.st, 0, 5), "stream");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_set_steps(NULL, NULL, 0, 5));
    untouched(&b);
}
END_TEST

START_TEST(test_refresh)
{
    struct bench b = new_bench();
    FAILS(RELORA_E_ARGUMENT, relora_adam_refresh(NULL, env.st), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_refresh(b.a, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_refresh(b.a, b.s.st), "stream");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_refresh(NULL, NULL));
    untouched(&b);
}
END_TEST

Suite *adam_more_arguments(void)
{
    Suite *s = suite_create("arguments of adam_reset and the rest of adam");
    TCase *tc = env_case(s, "adam, more", 20);
    tcase_add_test(tc, test_reset_options);
    tcase_add_loop_test(tc, test_reset_struct_sizes, 0, 5);
    tcase_add_test(tc, test_reset_selection);
    tcase_add_test(tc, test_factors_and_norm);
    tcase_add_test(tc, test_carry);
    tcase_add_test(tc, test_flatten);
    tcase_add_test(tc, test_getters);
    tcase_add_test(tc, test_steps);
    tcase_add_test(tc, test_refresh);
    return s;
}
