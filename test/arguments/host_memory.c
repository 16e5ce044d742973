/* relora_linear_set_param, _set_grad, relora_adam_add_moments and _set_moments with wrong arguments. */
#include "arguments/arguments.h"

enum { IN = 5, OUT = 3, RANK = 2, N = 6 };

static relora_linear *layer(uint32_t flags)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = flags;
    return new_filled_linear(&o, &r);
}

static relora_tensor *gapped(void)
{
    const int64_t shape[] = {RANK, IN}, strides[] = {IN + 1, 1};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 2, shape, strides, new_floats(RANK * (IN + 1)), NULL,
                            NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    return t;
}

#define REFUSES_ALL(set)                                                                                    \
    do {                                                                                                    \
        struct stranger s = new_stranger();                                                                 \
        relora_linear *l = layer(0);                                                                        \
        relora_tensor *a = relora_linear_param(l, RELORA_PARAM_A),                                          \
                      *da = relora_linear_grad(l, RELORA_PARAM_A);                                          \
        relora_tensor *other = new_matrix(RELORA_F32, RANK, IN);                                            \
        FAILS_SILENTLY(RELORA_E_ARGUMENT, set(NULL, RELORA_PARAM_A, NULL));                                 \
        FAILS(RELORA_E_ARGUMENT, set(NULL, RELORA_PARAM_A, other), "linear");                               \
        FAILS(RELORA_E_ARGUMENT, set(l, RELORA_PARAM_A, NULL), "tensor");                                   \
        FAILS(RELORA_E_ARGUMENT, set(l, 0, other), "param", "0");                                           \
        FAILS(RELORA_E_ARGUMENT, set(l, RELORA_PARAM_DELTA, other), "param", "6");                          \
        FAILS(RELORA_E_STATE, set(l, RELORA_PARAM_SCALE, other), "scaling", "LORA");                        \
        FAILS(RELORA_E_STATE, set(l, RELORA_PARAM_BIAS, other), "bias", "LORA");                            \
        FAILS(RELORA_E_CONTEXT, set(l, RELORA_PARAM_A, stranger_matrix(&s, RELORA_F32, RANK, IN)),          \
              "tensor");                                                                                    \
        FAILS(RELORA_E_DTYPE, set(l, RELORA_PARAM_A, new_matrix(RELORA_BF16, RANK, IN)), "tensor", "BF16"); \
        FAILS(RELORA_E_SHAPE, set(l, RELORA_PARAM_B, other), "tensor", "[2, 5]");                           \
        FAILS(RELORA_E_LAYOUT, set(l, RELORA_PARAM_A, gapped()), "tensor", "6", "5");                       \
        ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_A), a);                                        \
        ck_assert_ptr_eq(relora_linear_grad(l, RELORA_PARAM_A), da);                                        \
    } while (0)

START_TEST(test_set_param)
{
    REFUSES_ALL(relora_linear_set_param);
    relora_linear *l = layer(0);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_param(l, RELORA_PARAM_WEIGHT, w), "param", "1");
    FAILS(RELORA_E_EXISTS, relora_linear_set_param(l, RELORA_PARAM_A, relora_linear_grad(l, RELORA_PARAM_A)),
          "gradient of lora_A.weight");
    OK(relora_linear_set_param(l, RELORA_PARAM_A, relora_linear_param(l, RELORA_PARAM_A)));
    l = layer(RELORA_LINEAR_BIAS);
    FAILS(RELORA_E_DTYPE, relora_linear_set_param(l, RELORA_PARAM_BIAS, new_vector(RELORA_BF16, OUT)), "BF16",
          "F32"); /* the layer is F32 */
}
END_TEST

START_TEST(test_set_grad)
{
    REFUSES_ALL(relora_linear_set_grad);
    relora_linear *l = layer(0);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    FAILS(RELORA_E_STATE, relora_linear_set_grad(l, RELORA_PARAM_WEIGHT, w), "weight", "LORA");
    FAILS(RELORA_E_EXISTS, relora_linear_set_grad(l, RELORA_PARAM_A, relora_linear_param(l, RELORA_PARAM_A)),
          "lora_A.weight");
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = RELORA_BF16, o.flags = RELORA_LINEAR_BIAS;
    FAILS(RELORA_E_DTYPE,
          relora_linear_set_grad(new_linear(&o), RELORA_PARAM_BIAS, new_vector(RELORA_BF16, OUT)), "BF16",
          "F32"); /* gradients are always F32 */
}
END_TEST

static relora_tensor *host[4]; /* p, g, m, v */

static void new_host(void)
{
    for (int i = 0; i < 4; i++) host[i] = new_vector(RELORA_F32, N);
}

START_TEST(test_add_moments)
{
    struct stranger s = new_stranger();
    relora_adam *adam = new_adam(NULL);
    int32_t index = 7;
    new_host();
    relora_tensor *p = host[0], *g = host[1], *m = host[2], *v = host[3],
                  *far = stranger_matrix(&s, RELORA_F32, 1, N);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_add_moments(NULL, "p", NULL, NULL, NULL, NULL, &index));
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(NULL, "p", NULL, NULL, NULL, v, &index), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(NULL, "p", p, g, m, v, &index), "adam");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, NULL, p, g, m, v, &index), "name");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "", p, g, m, v, &index), "name");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "p", NULL, g, m, v, &index), "param");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "p", p, NULL, m, v, &index), "grad");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "p", p, g, NULL, v, &index), "first", "\"p\"");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "p", p, g, m, NULL, &index), "second", "\"p\"");
    FAILS(RELORA_E_CONTEXT, relora_adam_add_moments(adam, "p", p, g, m, far, &index), "second");
    FAILS(RELORA_E_DTYPE, relora_adam_add_moments(adam, "p", p, g, new_vector(RELORA_BF16, N), v, &index),
          "first");
    FAILS(RELORA_E_SHAPE, relora_adam_add_moments(adam, "p", p, g, m, new_vector(RELORA_F32, 5), &index),
          "second", "[6]", "[5]");
    FAILS(RELORA_E_ARGUMENT, relora_adam_add_moments(adam, "p", p, g, m, m, &index), "first", "second");
    FAILS(RELORA_E_EXISTS, relora_adam_add_moments(adam, "p", p, g, p, v, &index), "first", "\"p\"");
    FAILS(RELORA_E_EXISTS, relora_adam_add_moments(adam, "p", p, g, m, g, &index), "second", "\"p\"");
    ck_assert_int_eq(relora_adam_count(adam), 0);
    ck_assert_int_eq(index, 7);
    OK(relora_adam_add_moments(adam, "p", p, g, m, v, NULL));
    FAILS(RELORA_E_EXISTS, relora_adam_add(adam, "q", m, new_vector(RELORA_F32, N), NULL), "moment of \"p\"");
    FAILS(RELORA_E_EXISTS, relora_adam_add(adam, "q", new_vector(RELORA_F32, N), v, NULL), "moment of \"p\"");
}
END_TEST

START_TEST(test_set_moments)
{
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL);
    new_host();
    relora_tensor *m = host[2], *v = host[3], *p;
    add_vector(adam, "p", N, &r, &p, NULL);
    add_vector(adam, "q", N, &r, NULL, NULL);
    relora_tensor *was = relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_adam_set_moments(NULL, 0, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_moments(NULL, 0, m, v), "adam");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_set_moments(adam, 2, m, v), "index", "2");
    FAILS(RELORA_E_NOT_FOUND, relora_adam_set_moments(adam, -1, m, v), "index", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_moments(adam, 0, NULL, v), "first");
    FAILS(RELORA_E_ARGUMENT, relora_adam_set_moments(adam, 0, m, NULL), "second");
    FAILS(RELORA_E_EXISTS, relora_adam_set_moments(adam, 0, m, p), "second", "\"p\"");
    FAILS(RELORA_E_EXISTS,
          relora_adam_set_moments(adam, 0, relora_adam_moment(adam, 1, RELORA_MOMENT_FIRST), v), "first",
          "\"q\"");
    ck_assert_ptr_eq(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST), was);
    OK(relora_adam_set_moments(adam, 0, m, v));
    OK(relora_adam_set_moments(adam, 0, m, v));
}
END_TEST

Suite *host_memory_arguments(void)
{
    Suite *s = suite_create("arguments of host memory");
    TCase *tc = env_case(s, "host memory", 20);
    tcase_add_test(tc, test_set_param);
    tcase_add_test(tc, test_set_grad);
    tcase_add_test(tc, test_add_moments);
    tcase_add_test(tc, test_set_moments);
    return s;
}
