/* src/dlpack.c: both ways, and what is refused. */
#include "dlpack.h"
#include "relora/dlpack.h"
#include "support/modules.h"
#include "unit/suites.h"

/* ---- a producer ---- */

struct producer {
    struct DLManagedTensorVersioned managed;
    int64_t shape[3], strides[3];
    float values[60];
    int deleted;
};

static void deleted(struct DLManagedTensorVersioned *self)
{
    struct producer *p = self->manager_ctx;
    p->deleted++;
}

/* F32 [2, 3, 4] of the values 0, 1, 2, ... */
static struct producer *new_producer(void)
{
    struct producer *p = scratch(sizeof *p);
    *p = (struct producer){.shape = {2, 3, 4}, .strides = {12, 4, 1}};
    for (int i = 0; i < 60; i++) p->values[i] = (float)i;
    p->managed.major = 1;
    p->managed.minor = 3;
    p->managed.manager_ctx = p;
    p->managed.deleter = deleted;
    p->managed.tensor = (struct dlpack_tensor){.data = p->values,
                                               .device_type = 1,
                                               .ndim = 3,
                                               .code = 2,
                                               .bits = 32,
                                               .lanes = 1,
                                               .shape = p->shape,
                                               .strides = p->strides};
    return p;
}

static relora_tensor *take(struct producer *p)
{
    relora_tensor *t = POISON;
    OK(relora_tensor_from_dlpack(&t, env.ctx, &p->managed));
    ck_assert_int_eq(p->deleted, 0);
    return t;
}

static void expect_value(const relora_tensor *t, int64_t i, double value)
{
    ck_assert_double_eq(get(t)[i], value);
}

/* No copy: both sides see what the other writes; the deleter comes with the last reference, once. */
START_TEST(test_in)
{
    struct producer *p = new_producer();
    relora_tensor *t = take(p);
    ck_assert_ptr_eq(relora_tensor_data(t), p->values);
    ck_assert_ptr_eq(relora_tensor_device(t), env.dev);
    ck_assert_int_eq(relora_tensor_dtype(t), RELORA_F32);
    ck_assert_int_eq(relora_tensor_ndim(t), 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(relora_tensor_dim(t, i), p->shape[i]);
        ck_assert_int_eq(relora_tensor_stride(t, i), p->strides[i]);
    }
    expect_value(t, 23, 23);
    p->values[0] = 77;
    expect_value(t, 0, 77);
    OK(relora_tensor_fill(t, env.st, 5));
    ck_assert_float_eq(p->values[23], 5);
    ck_assert_float_eq(p->values[24], 24);
    relora_tensor_retain(t);
    relora_tensor_release(t);
    ck_assert_int_eq(p->deleted, 0);
    relora_tensor_release(t);
    ck_assert_int_eq(p->deleted, 1);
}
END_TEST

START_TEST(test_in_forms)
{
    struct producer *p = new_producer();
    p->managed.tensor.strides = NULL; /* as old producers do */
    p->managed.tensor.byte_offset = 8;
    p->managed.deleter = NULL;
    p->managed.flags = 2; /* a copy made for us */
    relora_tensor *t = take(p);
    expect_value(t, 0, 2);
    expect_value(t, 23, 25);
    relora_tensor_release(t);

    p->managed.tensor.strides = p->strides; /* rows 5 apart, of which 3 are ours */
    p->shape[2] = 3;
    p->strides[0] = 15, p->strides[1] = 5;
    t = take(p);
    expect_value(t, 3, 7);
    expect_value(t, 17, 29);
    relora_tensor_release(t);

    p->managed.tensor.ndim = 0; /* one element */
    p->managed.tensor.shape = p->managed.tensor.strides = NULL;
    t = take(p);
    ck_assert_int_eq(relora_tensor_count(t), 1);
    relora_tensor_release(t);

    p = new_producer(); /* none */
    p->shape[1] = 0;
    p->managed.tensor.data = NULL;
    p->managed.tensor.byte_offset = 4;
    t = take(p);
    ck_assert_int_eq(relora_tensor_count(t), 0);
    relora_tensor_release(t);

    p = new_producer();
    p->managed.tensor.code = 4;
    p->managed.tensor.bits = 16;
    t = take(p);
    ck_assert_int_eq(relora_tensor_dtype(t), RELORA_BF16);
    relora_tensor_release(t);
}
END_TEST

/* The memory belongs to somebody else, and cannot be exchanged for other. */
START_TEST(test_in_is_not_moved)
{
    struct producer *p = new_producer(), *g = new_producer();
    relora_tensor *param = take(p), *grad = take(g);
    relora_adam *adam = new_adam(NULL);
    FAILS(RELORA_E_STATE, relora_tensor_set_data(param, g->values), "relora_tensor_borrow");
    OK(relora_adam_add(adam, "p", param, grad, NULL));
    FAILS(RELORA_E_STATE, relora_adam_flatten_grads(adam, env.st), "borrowed");
    relora_tensor_release(param);
    relora_tensor_release(grad);
    ck_assert_int_eq(p->deleted + g->deleted, 0);
}
END_TEST

static void refused(struct producer *p, relora_status status, const char *word)
{
    relora_tensor *t = POISON;
    FAILS(status, relora_tensor_from_dlpack(&t, env.ctx, &p->managed), word);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(p->deleted, 0); /* it is still the caller's */
}

#define REFUSED(status, word, ...)                    \
    do {                                              \
        struct producer *p = new_producer();          \
        struct dlpack_tensor *t = &p->managed.tensor; \
        (void)t;                                      \
        __VA_ARGS__;                                  \
        refused(p, status, word);                     \
    } while (0)

START_TEST(test_in_refusals)
{
    REFUSED(RELORA_E_VERSION, "2.3", p->managed.major = 2);
    REFUSED(RELORA_E_VERSION, "0.3", p->managed.major = 0);
    REFUSED(RELORA_E_READ_ONLY, "read-only", p->managed.flags = 3);
    REFUSED(RELORA_E_UNSUPPORTED, "type 10", t->device_type = 10);
    REFUSED(RELORA_E_UNSUPPORTED, "type 0", t->device_type = 0);
    REFUSED(RELORA_E_DTYPE, "2 lanes", t->lanes = 2);
    REFUSED(RELORA_E_DTYPE, "0 lanes", t->lanes = 0);
    REFUSED(RELORA_E_DTYPE, "16 bits", t->bits = 16); /* F16 */
    REFUSED(RELORA_E_DTYPE, "64 bits", t->bits = 64);
    REFUSED(RELORA_E_DTYPE, "code 0", t->code = 0);
    REFUSED(RELORA_E_DTYPE, "code 4, 32 bits", t->code = 4);
    REFUSED(RELORA_E_ARGUMENT, "ndim is 9", t->ndim = 9);
    REFUSED(RELORA_E_ARGUMENT, "ndim is -1", t->ndim = -1);
    REFUSED(RELORA_E_ARGUMENT, "shape is NULL", t->shape = NULL);
    REFUSED(RELORA_E_ARGUMENT, "shape[1] is -3", p->shape[1] = -3);
    REFUSED(RELORA_E_OVERFLOW, "shape[0]", p->shape[0] = INT64_MAX / 4);
    REFUSED(RELORA_E_LAYOUT, "strides[2] is 2", p->strides[2] = 2);
    REFUSED(RELORA_E_LAYOUT, "strides[1] is 3", p->strides[1] = 3);
    REFUSED(RELORA_E_LAYOUT, "strides[0] is 24", p->strides[0] = 24);
    REFUSED(RELORA_E_LAYOUT, "multiple of 4", t->byte_offset = 2);
    REFUSED(RELORA_E_ARGUMENT, "data is NULL", t->data = NULL);
}
END_TEST

/* ---- a consumer ---- */

START_TEST(test_out)
{
    for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++) {
        relora_tensor *t;
        struct DLManagedTensorVersioned *m = POISON;
        OK(relora_tensor_create(&t, env.dev, dtype, 3, (int64_t[]){2, 1, 5}));
        OK(relora_tensor_to_dlpack(&m, t, _i ? env.st : NULL, NULL));
        ck_assert_uint_eq(m->major, 1);
        ck_assert_uint_eq(m->flags, 0);
        const struct dlpack_tensor *d = &m->tensor;
        ck_assert_ptr_eq(d->data, relora_tensor_data(t));
        ck_assert(d->device_type == 1 && d->device_id == 0 && d->ndim == 3 && d->byte_offset == 0);
        ck_assert(d->lanes == 1 && d->code == (dtype == RELORA_F32 ? 2 : 4) &&
                  d->bits == (dtype == RELORA_F32 ? 32 : 16));
        ck_assert(d->shape[0] == 2 && d->shape[1] == 1 && d->shape[2] == 5);
        ck_assert(d->strides[0] == 5 && d->strides[1] == 5 && d->strides[2] == 1);
        put_all(t, 3);
        relora_tensor_release(t); /* it lives on */
        relora_tensor *back;
        OK(relora_tensor_from_dlpack(&back, env.ctx, m));
        expect_value(back, 9, 3);
        relora_tensor_release(back); /* the fixture sees that nothing is left */
    }
}
END_TEST

/* Memory that somebody looks at is not moved, nor is that of a buffer which the gradient would leave. */
START_TEST(test_out_is_not_moved)
{
    struct DLManagedTensorVersioned *first, *second;
    relora_tensor *param = new_vector(RELORA_F32, 20), *grad = new_vector(RELORA_F32, 20);
    for (int round = 0; round < 2; round++) {
        relora_adam *adam = new_adam(NULL);
        OK(relora_adam_add(adam, "p", param, grad, NULL));
        put_all(grad, 3);
        OK(relora_tensor_to_dlpack(&first, grad, env.st, NULL));
        OK(relora_tensor_to_dlpack(&second, grad, NULL, NULL));
        FAILS(RELORA_E_STATE, relora_adam_flatten_grads(adam, env.st), "p", "shared");
        first->deleter(first);
        FAILS(RELORA_E_STATE, relora_adam_flatten_grads(adam, env.st), "p", "shared");
        ck_assert_ptr_eq(second->tensor.data, relora_tensor_data(grad));
        expect_value(grad, 19, 3);
        second->deleter(second);
        OK(relora_adam_flatten_grads(adam, env.st));
        expect_value(grad, 19, 3);
    }
}
END_TEST

/* The deleter may be the last that holds the context. */
START_TEST(test_out_outlives)
{
    relora_context_options o;
    relora_context *ctx;
    relora_tensor *t;
    struct DLManagedTensorVersioned *m;
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&env.mem, &o);
    int64_t before = env.mem.blocks;
    OK(relora_context_create(&ctx, &o));
    OK(relora_tensor_create(&t, relora_device_get(ctx, RELORA_DEVICE_CPU, 0), RELORA_F32, 0, NULL));
    OK(relora_tensor_to_dlpack(&m, t, NULL, NULL));
    relora_tensor_release(t);
    relora_context_release(ctx);
    *(float *)m->tensor.data = 1;
    ck_assert_int_gt(env.mem.blocks, before);
    m->deleter(m);
    ck_assert_int_eq(env.mem.blocks, before);
}
END_TEST

START_TEST(test_out_rows)
{
    struct producer *p = new_producer();
    p->strides[0] = 30, p->strides[1] = 10;
    relora_tensor *t = take(p);
    struct DLManagedTensorVersioned *m;
    OK(relora_tensor_to_dlpack(&m, t, env.st, NULL));
    ck_assert(m->tensor.strides[0] == 30 && m->tensor.strides[1] == 10 && m->tensor.strides[2] == 1);
    relora_tensor_release(t);
    ck_assert_int_eq(p->deleted, 0);
    m->deleter(m);
    ck_assert_int_eq(p->deleted, 1);
}
END_TEST

/* ---- CUDA, as far as it can be had without ---- */

START_TEST(test_cuda_in)
{
    struct producer *p;
    for (int32_t i = 0; i < FAKE_DEVICES; i++) {
        p = new_producer();
        p->managed.tensor.device_type = 2;
        p->managed.tensor.device_id = i;
        relora_tensor *t = take(p);
        ck_assert_ptr_eq(relora_tensor_device(t), relora_device_get(env.ctx, RELORA_DEVICE_CUDA, i));
        relora_tensor_release(t);
    }
    p = new_producer();
    p->managed.tensor.device_type = 2;
    p->managed.tensor.device_id = FAKE_DEVICES;
    refused(p, RELORA_E_NOT_FOUND, "CUDA devices is 2");
}
END_TEST

START_TEST(test_cuda_in_without)
{
    struct producer *p;
    env_close();
    env_open_module(MODULE("nowhere"));
    p = new_producer();
    p->managed.tensor.device_type = 2;
    refused(p, RELORA_E_NOT_FOUND, "No such file");
}
END_TEST

/* The consumer's stream waits for the producer's, unless they are one or nobody is named. */
START_TEST(test_cuda_out)
{
    struct fake *fake = fake_module();
    int theirs;
    relora_tensor *t = new_vector(RELORA_F32, 3);
    struct DLManagedTensorVersioned *m;
    OK(relora_tensor_to_dlpack(&m, t, env.st, &theirs));
    ck_assert(m->tensor.device_type == 2 && m->tensor.device_id == 0);
    m->deleter(m);
    ck_assert_int_eq(fake->waits, 1);
    ck_assert_ptr_eq(fake->waiter, &theirs);
    ck_assert_ptr_eq(fake->waited, relora_stream_native(env.st));
    ck_assert(fake->last.wrap == 1 && fake->last.parent != NULL);
    ck_assert_int_eq(fake->opened, fake->closed);     /* since the test began */
    OK(relora_tensor_to_dlpack(&m, t, env.st, NULL)); /* the legacy default stream */
    m->deleter(m);
    ck_assert_int_eq(fake->waits, 2);
    ck_assert_ptr_null(fake->waiter);
    OK(relora_tensor_to_dlpack(&m, t, env.st, relora_stream_native(env.st)));
    m->deleter(m);
    OK(relora_tensor_to_dlpack(&m, t, NULL, &theirs));
    m->deleter(m);
    ck_assert_int_eq(fake->waits, 2);
}
END_TEST

START_TEST(test_cuda_out_failures)
{
    struct fake *fake = fake_module();
    int theirs;
    relora_tensor *t = new_vector(RELORA_F32, 3);
    struct DLManagedTensorVersioned *m = POISON;
    fake->open_status = RELORA_E_NO_MEMORY;
    FAILS(RELORA_E_NO_MEMORY, relora_tensor_to_dlpack(&m, t, env.st, &theirs), "consumer", "memory");
    ck_assert_ptr_null(m);
    fake->open_status = RELORA_OK;
    fake->wait_status = RELORA_E_BACKEND;
    FAILS(RELORA_E_BACKEND, relora_tensor_to_dlpack(&m, t, env.st, &theirs), "fake");
    ck_assert_ptr_null(m);
    ck_assert_int_eq(fake->opened, fake->closed);
    FAILS(RELORA_E_BACKEND, relora_stream_synchronize(env.st), "finished");
}
END_TEST

Suite *unit_dlpack(void)
{
    Suite *s = suite_create("dlpack");
    TCase *tc = env_case(s, "on the CPU", 20), *cuda = fake_case(s, "on a device", 20);
    tcase_add_test(tc, test_in);
    tcase_add_test(tc, test_in_forms);
    tcase_add_test(tc, test_in_is_not_moved);
    tcase_add_test(tc, test_in_refusals);
    tcase_add_loop_test(tc, test_out, 0, 2);
    tcase_add_test(tc, test_out_is_not_moved);
    tcase_add_test(tc, test_out_outlives);
    tcase_add_test(tc, test_out_rows);
    tcase_add_test(cuda, test_cuda_in);
    tcase_add_test(cuda, test_cuda_in_without);
    tcase_add_test(cuda, test_cuda_out);
    tcase_add_test(cuda, test_cuda_out_failures);
    return s;
}
