/* src/tensor.c: what a tensor is and who owns its memory. */
#include "unit/suites.h"

struct calls {
    int count;
    void *last;
};

static void deleter(void *user, void *data)
{
    struct calls *c = user;
    c->count++;
    c->last = data;
}

START_TEST(test_shapes)
{
    const int64_t dims[] = {2, 3, 4, 1, 5};
    relora_tensor *t = new_tensor(RELORA_BF16, 5, dims);
    ck_assert_int_eq(relora_tensor_dtype(t), RELORA_BF16);
    ck_assert_int_eq(relora_tensor_ndim(t), 5);
    ck_assert_int_eq(relora_tensor_count(t), 120);
    int64_t stride = 1;
    for (int32_t i = 4; i >= 0; i--) {
        ck_assert_int_eq(relora_tensor_dim(t, i), dims[i]);
        ck_assert_int_eq(relora_tensor_stride(t, i), stride);
        stride *= dims[i];
    }
    ck_assert_ptr_eq(relora_tensor_device(t), env.dev);
    ck_assert_uint_eq((uintptr_t)relora_tensor_data(t) % 64, 0);
}
END_TEST

/* No axis: one element. An axis of 0: none, and every call accepts it. */
START_TEST(test_one_and_none)
{
    relora_tensor *one = new_tensor(RELORA_F32, 0, NULL), *none = new_matrix(RELORA_F32, 0, 7), *to;
    float value = 5, back = 0;
    ck_assert_int_eq(relora_tensor_count(one), 1);
    ck_assert_int_eq(relora_tensor_ndim(one), 0);
    OK(relora_tensor_write(one, env.st, &value, 4));
    OK(relora_tensor_read(one, env.st, &back, 4));
    ck_assert_float_eq(back, 5);
    ck_assert_int_eq(relora_tensor_count(none), 0);
    to = new_matrix(RELORA_BF16, 0, 7);
    OK(relora_tensor_fill(none, env.st, 3));
    OK(relora_tensor_write(none, env.st, &value, 0));
    OK(relora_tensor_read(none, env.st, NULL, 0));
    OK(relora_tensor_copy(to, none, env.st));
}
END_TEST

START_TEST(test_borrow_without_memory)
{
    struct calls c = {0, NULL};
    relora_tensor *t;
    int64_t dims[] = {3, 0};
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 2, dims, NULL, NULL, deleter, &c));
    ck_assert_ptr_null(relora_tensor_data(t));
    relora_tensor_release(t);
    ck_assert_int_eq(c.count, 1);
}
END_TEST

/* The deleter is called once, when the last reference goes. */
START_TEST(test_deleter)
{
    struct calls c = {0, NULL};
    float memory[6];
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 2, (int64_t[]){2, 3}, NULL, memory, deleter, &c));
    ck_assert_ptr_eq(relora_tensor_data(t), memory);
    relora_tensor_retain(t);
    relora_tensor_release(t);
    ck_assert_int_eq(c.count, 0);
    relora_tensor_release(t);
    ck_assert_int_eq(c.count, 1);
    ck_assert_ptr_eq(c.last, memory);
}
END_TEST

/* set_data: the deleter for the old buffer now, for the new one later; nothing is allocated. */
START_TEST(test_set_data)
{
    struct calls c = {0, NULL};
    float first[4] = {1, 2, 3, 4}, second[4] = {5, 6, 7, 8};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, (int64_t[]){4}, NULL, first, deleter, &c));
    int64_t requests = env.mem.requests;
    OK(relora_tensor_set_data(t, second));
    ck_assert_int_eq(env.mem.requests, requests);
    ck_assert_int_eq(c.count, 1);
    ck_assert_ptr_eq(c.last, first);
    ck_assert_double_eq(get(t)[3], 8);
    put_all(t, 0);
    ck_assert_float_eq(second[0], 0);
    ck_assert_float_eq(first[0], 1);
    relora_tensor_release(t);
    ck_assert_int_eq(c.count, 2);
    ck_assert_ptr_eq(c.last, second);
}
END_TEST

/* set_data_owned: each user is told once, about the buffer it came with, also where the buffer is the same. */
START_TEST(test_set_data_owned)
{
    struct calls c[3] = {{0, NULL}};
    float first[4] = {1, 2, 3, 4}, second[4] = {5, 6, 7, 8};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, (int64_t[]){4}, NULL, first, deleter, &c[0]));
    int64_t requests = env.mem.requests;
    OK(relora_tensor_set_data_owned(t, second, deleter, &c[1]));
    ck_assert_int_eq(env.mem.requests, requests);
    ck_assert_int_eq(c[0].count, 1);
    ck_assert_ptr_eq(c[0].last, first);
    ck_assert_int_eq(c[1].count, 0);
    ck_assert_double_eq(get(t)[3], 8);
    OK(relora_tensor_set_data_owned(t, second, deleter, &c[2]));
    ck_assert_int_eq(c[1].count, 1);
    ck_assert_ptr_eq(c[1].last, second);
    FAILS(RELORA_E_ARGUMENT, relora_tensor_set_data_owned(t, NULL, deleter, &c[0]), "data");
    ck_assert_int_eq(c[2].count, 0); /* a failure calls nothing */
    OK(relora_tensor_set_data_owned(t, first, NULL, NULL));
    ck_assert_int_eq(c[2].count, 1);
    OK(relora_tensor_set_data(t, second));
    relora_tensor_release(t);
    ck_assert_int_eq(c[0].count + c[1].count + c[2].count, 3);
}
END_TEST

/* A layer keeps the tensor it was given: the deleter waits for it. */
START_TEST(test_deleter_waits_for_the_layer)
{
    struct calls c = {0, NULL};
    float memory[12] = {0};
    relora_tensor *w;
    relora_linear *l;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 4, 3, 2);
    OK(relora_tensor_borrow(&w, env.dev, RELORA_F32, 2, (int64_t[]){3, 4}, NULL, memory, deleter, &c));
    OK(relora_linear_create(&l, env.dev, &o));
    OK(relora_linear_set_weight(l, w, NULL));
    relora_tensor_release(w);
    ck_assert_int_eq(c.count, 0);
    OK(relora_linear_set_weight(l, new_matrix(RELORA_F32, 3, 4), NULL));
    ck_assert_int_eq(c.count, 1);
    relora_linear_release(l);
    ck_assert_int_eq(c.count, 1);
}
END_TEST

START_TEST(test_strides_of_a_view)
{
    float memory[40];
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 3, (int64_t[]){2, 2, 3}, (int64_t[]){20, 10, 1}, memory,
                            NULL, NULL));
    ck_assert_int_eq(relora_tensor_stride(t, 0), 20);
    ck_assert_int_eq(relora_tensor_stride(t, 1), 10);
    ck_assert_int_eq(relora_tensor_stride(t, 2), 1);
    ck_assert_int_eq(relora_tensor_count(t), 12);
    relora_tensor_release(t);
}
END_TEST

Suite *unit_tensor(void)
{
    Suite *s = suite_create("tensor");
    TCase *tc = env_case(s, "tensor", 20);
    tcase_add_test(tc, test_shapes);
    tcase_add_test(tc, test_one_and_none);
    tcase_add_test(tc, test_borrow_without_memory);
    tcase_add_test(tc, test_deleter);
    tcase_add_test(tc, test_set_data);
    tcase_add_test(tc, test_set_data_owned);
    tcase_add_test(tc, test_deleter_waits_for_the_layer);
    tcase_add_test(tc, test_strides_of_a_view);
    return s;
}
