/* relora_adam_create, registration and the step with wrong arguments. */
#include "arguments/arguments.h"

#define BAD(field_, value_, status_, ...)                                            \
    do {                                                                             \
        relora_adam_options o_ = adam_options();                                     \
        relora_adam *a_ = POISON;                                                    \
        o_.field_ = value_;                                                          \
        FAILS(status_, relora_adam_create(&a_, env.dev, &o_), #field_, __VA_ARGS__); \
        ck_assert_ptr_null(a_);                                                      \
    } while (0)

START_TEST(test_options)
{
    BAD(flags, 8, RELORA_E_ARGUMENT, "8");
    BAD(beta1, 1.0, RELORA_E_ARGUMENT, "1");
    BAD(beta1, -0.125, RELORA_E_ARGUMENT, "-0.125");
    BAD(beta1, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(beta2, 1.0, RELORA_E_ARGUMENT, "1");
    BAD(beta2, -0.125, RELORA_E_ARGUMENT, "-0.125");
    BAD(beta2, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(eps, 0.0, RELORA_E_ARGUMENT, "0");
    BAD(eps, -1e-8, RELORA_E_ARGUMENT, "-1e-08");
    BAD(eps, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(weight_decay, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(weight_decay, 1e39, RELORA_E_ARGUMENT, "1e+39");
    BAD(max_norm, NAN, RELORA_E_ARGUMENT, "nan");
    BAD(max_norm, -1.5, RELORA_E_ARGUMENT, "-1.5");
    BAD(rounding, 0, RELORA_E_ARGUMENT, "0");
    BAD(rounding, 3, RELORA_E_ARGUMENT, "3");
    BAD(reserved, 1, RELORA_E_ARGUMENT, "1");
}
END_TEST

START_TEST(test_struct_size)
{
    struct padded p;
    relora_adam_options o = adam_options();
    relora_adam *a = POISON;
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_create(&a, env.dev, bad_struct_size(&p, &o, sizeof o, _i)),
          "struct_size");
    ck_assert_ptr_null(a);
}
END_TEST

START_TEST(test_create_nulls)
{
    relora_adam *a = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_adam_create(NULL, env.dev, NULL), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_create(&a, NULL, NULL));
    ck_assert_ptr_null(a);
    relora_adam_release(NULL);
}
END_TEST

START_TEST(test_add)
{
    struct stranger s = new_stranger();
    float *memory = new_floats(8);
    relora_adam *a = new_adam(NULL);
    relora_tensor *p = new_vector(RELORA_F32, 6), *g = new_vector(RELORA_F32, 6),
                  *q = new_vector(RELORA_F32, 6);
    relora_tensor *g41 = new_vector(RELORA_F32, 41), *far = stranger_matrix(&s, RELORA_F32, 1, 6);
    relora_tensor *row = new_matrix(RELORA_F32, 1, 6), *view;
    int32_t index = 77;
    OK(relora_tensor_borrow(&view, env.dev, RELORA_F32, 2, (int64_t[]){2, 3}, (int64_t[]){5, 1}, memory, NULL,
                            NULL));
    relora_tensor *g23 = new_matrix(RELORA_F32, 2, 3);
    FAILS(RELORA_E_ARGUMENT, relora_adam_add(NULL, "p", p, g, &index), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add(a, NULL, p, g, &index), "name");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add(a, "p", NULL, g, &index), "param");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add(a, "p", p, NULL, &index), "grad");
    FAILS(RELORA_E_SHAPE, relora_adam_add(a, "p", p, g41, &index), "6", "41");
    FAILS(RELORA_E_SHAPE, relora_adam_add(a, "p", p, row, &index), "grad"); /* one shape, not one count */
    FAILS(RELORA_E_LAYOUT, relora_adam_add(a, "p", view, view, &index),
          "grad"); /* only param may have gaps */
    FAILS(RELORA_E_LAYOUT, relora_adam_add(a, "p", g23, view, &index), "grad");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add(a, "p", p, p, &index), "param", "grad", "memory");
    FAILS(RELORA_E_CONTEXT, relora_adam_add(a, "p", row, far, &index), "grad");
    FAILS(RELORA_E_CONTEXT, relora_adam_add(a, "p", far, row, &index), "param");
    ck_assert_int_eq(relora_adam_count(a), 0);
    ck_assert_int_eq(index, 77);
    OK(relora_adam_add(a, "p", p, g, &index));
    ck_assert_int_eq(index, 0);
    FAILS(RELORA_E_EXISTS, relora_adam_add(a, "p", q, g, &index), "name", "p");
    FAILS(RELORA_E_EXISTS, relora_adam_add(a, "again", p, q, &index), "param");
    ck_assert_int_eq(relora_adam_count(a), 1);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_add(NULL, "p", NULL, NULL, NULL));
    relora_tensor_release(view);
}
END_TEST

START_TEST(test_add_linear)
{
    struct stranger s = new_stranger();
    struct rnd r = rnd_seed(1);
    relora_adam *a = new_adam(NULL), *far;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    OK(relora_adam_create(&far, s.dev, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_add_linear(NULL, "l", NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_linear(NULL, "l", l), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_linear(a, NULL, l), "prefix");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_linear(a, "l", NULL), "linear");
    ck_assert_int_eq(relora_adam_add_linear(far, "l", l), RELORA_E_CONTEXT);
    ck_assert_int_eq(relora_adam_count(a), 0);
    o.mode = RELORA_MODE_FULL; /* W is what it would train, and it has none yet */
    FAILS(RELORA_E_STATE, relora_adam_add_linear(a, "bare", new_linear(&o)), "bare", "weight");
    ck_assert_int_eq(relora_adam_count(a), 0);
    /* all or none: the second name is taken, so the first is not registered either */
    add_vector(a, "l.lora_B.weight", 4, &r, NULL, NULL);
    FAILS(RELORA_E_EXISTS, relora_adam_add_linear(a, "l", l), "l.lora_B.weight");
    ck_assert_int_eq(relora_adam_count(a), 1);
    OK(relora_adam_add_linear(a, "k", l));
    FAILS(RELORA_E_EXISTS, relora_adam_add_linear(a, "j", l), "");
    ck_assert_int_eq(relora_adam_count(a), 3);
    relora_adam_release(far);
}
END_TEST

START_TEST(test_step)
{
    struct stranger s = new_stranger();
    struct rnd r = rnd_seed(2);
    relora_tensor *p;
    relora_adam *empty = new_adam(NULL), *a = new_adam(NULL);
    relora_step_report bad = {.struct_size = 2};
    int32_t index = add_vector(a, "p", 9, &r, &p, NULL);
    void *was = snapshot(p), *m = snapshot(relora_adam_moment(a, index, RELORA_MOMENT_FIRST));
    int64_t steps = -1;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_step(NULL, NULL, 0.1, 1, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(NULL, env.st, 0.1, 1, NULL), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, NULL, 0.1, 1, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_step(a, s.st, 0.1, 1, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, NAN, 1, NULL), "lr", "nan");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, INFINITY, 1, NULL), "lr", "inf");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, -0.25, 1, NULL), "lr", "-0.25");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, 1e39, 1, NULL), "lr", "1e+39");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, 0.1, -1e39, NULL), "grad_scale", "-1e+39");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, 0.1, NAN, NULL), "grad_scale", "nan");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(a, env.st, 0.1, INFINITY, NULL), "grad_scale", "inf");
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_step(a, env.st, 0.1, 1, &bad), "report");
    FAILS(RELORA_E_STATE, relora_adam_step(empty, env.st, 0.1, 1, NULL), "");
    UNCHANGED(p, was);
    UNCHANGED(relora_adam_moment(a, index, RELORA_MOMENT_FIRST), m);
    OK(relora_adam_steps(a, env.st, index, &steps));
    ck_assert_int_eq(steps, 0);
}
END_TEST

START_TEST(test_step_lr)
{
    struct stranger s = new_stranger();
    struct rnd r = rnd_seed(2);
    relora_tensor *p, *lr = new_vector(RELORA_F32, 1);
    relora_adam *empty = new_adam(NULL), *a = new_adam(NULL);
    relora_step_report bad = {.struct_size = 2};
    add_vector(a, "p", 9, &r, &p, NULL);
    put_all(lr, 0.1);
    void *was = snapshot(p);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_step_lr(NULL, NULL, NULL, 1, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_step_lr(NULL, NULL, lr, 1, NULL), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step_lr(NULL, env.st, lr, 1, NULL), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step_lr(a, NULL, lr, 1, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_adam_step_lr(a, s.st, lr, 1, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step_lr(a, env.st, NULL, 1, NULL), "lr");
    FAILS(RELORA_E_CONTEXT, relora_adam_step_lr(a, env.st, stranger_matrix(&s, RELORA_F32, 1, 1), 1, NULL),
          "lr");
    FAILS(RELORA_E_DTYPE, relora_adam_step_lr(a, env.st, new_vector(RELORA_BF16, 1), 1, NULL), "lr", "BF16");
    FAILS(RELORA_E_SHAPE, relora_adam_step_lr(a, env.st, new_vector(RELORA_F32, 2), 1, NULL), "lr", "[2]");
    FAILS(RELORA_E_SHAPE, relora_adam_step_lr(a, env.st, new_vector(RELORA_F32, 0), 1, NULL), "lr", "[0]");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step_lr(a, env.st, lr, NAN, NULL), "grad_scale", "nan");
    FAILS(RELORA_E_STRUCT_SIZE, relora_adam_step_lr(a, env.st, lr, 1, &bad), "report");
    FAILS(RELORA_E_STATE, relora_adam_step_lr(empty, env.st, lr, 1, NULL), "");
    UNCHANGED(p, was);
}
END_TEST

Suite *adam_arguments(void)
{
    Suite *s = suite_create("arguments of adam");
    TCase *tc = env_case(s, "adam", 20);
    tcase_add_test(tc, test_options);
    tcase_add_loop_test(tc, test_struct_size, 0, 5);
    tcase_add_test(tc, test_create_nulls);
    tcase_add_test(tc, test_add);
    tcase_add_test(tc, test_add_linear);
    tcase_add_test(tc, test_step);
    tcase_add_test(tc, test_step_lr);
    return s;
}
