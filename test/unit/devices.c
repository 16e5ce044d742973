/* Objects of two devices in one call. There is one device today, so the second is made here: another struct
 * with the backend and the queue of the first. */
#include <stdio.h>
#include "context.h"
#include "unit/suites.h"

struct twin {
    relora_device device;
    relora_stream *st;
    relora_tensor *matrix; /* F32 [3, 5] */
};

static void release_stream(void *p) { relora_stream_release(p); }
static void release_tensor(void *p) { relora_tensor_release(p); }

static struct twin *new_twin(void)
{
    struct twin *t = scratch(sizeof *t);
    t->device = *env.dev;
    snprintf(t->device.name, sizeof t->device.name, "the twin");
    OK(relora_stream_create(&t->st, &t->device));
    defer(release_stream, t->st);
    OK(relora_tensor_create(&t->matrix, &t->device, RELORA_F32, 2, (int64_t[]){3, 5}));
    defer(release_tensor, t->matrix);
    return t;
}

START_TEST(test_streams)
{
    struct twin *t = new_twin();
    FAILS(RELORA_E_DEVICE, relora_stream_wait(env.st, t->st), "other", "the twin", env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_stream_wait(t->st, env.st), "other", "the twin", env.dev->name);
}
END_TEST

START_TEST(test_tensors)
{
    struct twin *t = new_twin();
    relora_tensor *here = new_matrix(RELORA_F32, 3, 5);
    float values[15] = {0};
    put_all(here, 7);
    OK(relora_tensor_fill(t->matrix, t->st, 9));
    void *was = snapshot(here);
    FAILS(RELORA_E_DEVICE, relora_tensor_fill(t->matrix, env.st, 1), "tensor", "the twin", env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_tensor_write(t->matrix, env.st, values, sizeof values), "the twin");
    FAILS(RELORA_E_DEVICE, relora_tensor_read(t->matrix, env.st, values, sizeof values), "the twin");
    FAILS(RELORA_E_DEVICE, relora_tensor_copy(here, t->matrix, env.st), "the twin");
    FAILS(RELORA_E_DEVICE, relora_tensor_copy(t->matrix, here, env.st), "the twin");
    UNCHANGED(here, was);
    OK(relora_tensor_read(t->matrix, t->st, values, sizeof values));
    for (int i = 0; i < 15; i++) ck_assert_float_eq(values[i], 9);
}
END_TEST

START_TEST(test_layers)
{
    struct twin *t = new_twin();
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    relora_linear *l = new_filled_linear(&o, &r), *bare = new_linear(&o);
    relora_tensor *x = new_matrix(RELORA_F32, 3, 5), *y = new_matrix(RELORA_F32, 3, 3);
    void *was = snapshot(y), *weight = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    FAILS(RELORA_E_DEVICE, relora_linear_set_weight(bare, t->matrix, 0), "weight", "the twin", env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_linear_forward(l, t->st, x, y, 0, 0), "stream", "the twin", env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_linear_forward(l, env.st, t->matrix, y, 0, 0), "x", "the twin");
    FAILS(RELORA_E_DEVICE, relora_linear_merge(l, t->st, 1, NULL), "stream", "the twin");
    UNCHANGED(y, was);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_WEIGHT), weight);
}
END_TEST

START_TEST(test_optimizers)
{
    struct twin *t = new_twin();
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL), *far;
    relora_tensor *p, *g, *grad = new_matrix(RELORA_F32, 3, 5);
    add_vector(adam, "p", 9, &r, &p, &g);
    void *was = snapshot(p);
    FAILS(RELORA_E_DEVICE, relora_adam_add(adam, "far", t->matrix, grad, NULL), "param", "the twin",
          env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_adam_add(adam, "far", grad, t->matrix, NULL), "grad", "the twin");
    FAILS(RELORA_E_DEVICE, relora_adam_step(adam, t->st, 0.1, 1, NULL), "stream", "the twin", env.dev->name);
    OK(relora_adam_create(&far, &t->device, NULL));
    FAILS(RELORA_E_DEVICE, relora_adam_carry(adam, env.st, far, NULL, 0, NULL), "from", "the twin",
          env.dev->name);
    relora_adam_release(far);
    ck_assert_int_eq(relora_adam_count(adam), 1);
    UNCHANGED(p, was);
}
END_TEST

START_TEST(test_groups)
{
    struct twin *t = new_twin();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, 2);
    relora_group *group = new_group();
    relora_tensor *here = new_matrix(RELORA_F32, 3, 5);
    relora_linear *l;
    FAILS(RELORA_E_DEVICE, relora_group_wrap(group, "far", t->matrix, NULL, &o, &l), "weight", "the twin",
          env.dev->name);
    FAILS(RELORA_E_DEVICE, relora_group_add_param(group, "far", t->matrix, NULL), "param", "the twin");
    FAILS(RELORA_E_DEVICE, relora_group_add_param(group, "far", here, t->matrix), "grad", "the twin");
    ck_assert_int_eq(relora_group_count(group), 0);
}
END_TEST

Suite *unit_devices(void)
{
    Suite *s = suite_create("devices");
    TCase *tc = env_case(s, "two devices", 20);
    tcase_add_test(tc, test_streams);
    tcase_add_test(tc, test_tensors);
    tcase_add_test(tc, test_layers);
    tcase_add_test(tc, test_optimizers);
    tcase_add_test(tc, test_groups);
    return s;
}
