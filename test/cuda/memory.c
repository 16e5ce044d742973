/* More than the device holds: the status, a sentence with the bytes, and everything as good as before. */
#include <stdio.h>
#include <string.h>
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"

static void release_tensor(void *p) { relora_tensor_release(p); }

static const char *digits(uint64_t bytes)
{
    char *text = scratch(32);
    snprintf(text, 32, "%llu", (unsigned long long)bytes);
    return text;
}

static uint64_t device_bytes(void)
{
    uint64_t free_bytes, total;
    OK(relora_device_memory(env.dev, &free_bytes, &total));
    ck_assert_uint_gt(total, 0);
    ck_assert_uint_le(free_bytes, total);
    return total;
}

static void still_works(void)
{
    relora_tensor *t = new_vector(RELORA_F32, 1000);
    put_all(t, 3);
    ck_assert_double_eq(get(t)[999], 3);
}

START_TEST(test_tensor)
{
    relora_tensor *t;
    int64_t n = (int64_t)(device_bytes() / 4 + 1000);
    FAILS(RELORA_E_NO_MEMORY, relora_tensor_create(&t, env.dev, RELORA_F32, 1, &n), "memory",
          digits((uint64_t)n * 4));
    ck_assert_ptr_null(t);
    still_works();
}
END_TEST

/* A workspace that does not fit: the batch is not even looked at. */
START_TEST(test_workspace)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 1, 1, 16);
    relora_linear *l = new_filled_linear(&o, &r);
    const int64_t rows = (int64_t)(device_bytes() / 32);
    relora_plan_report plan = {.struct_size = sizeof plan};
    relora_tensor *x, *y;
    uintptr_t nowhere = 1 << 12;
    OK(relora_tensor_borrow(&x, env.dev, RELORA_F32, 2, (int64_t[]){rows, 1}, NULL, (void *)nowhere, NULL,
                            NULL));
    defer(release_tensor, x);
    nowhere += (uintptr_t)rows * 8;
    OK(relora_tensor_borrow(&y, env.dev, RELORA_F32, 2, (int64_t[]){rows, 1}, NULL, (void *)nowhere, NULL,
                            NULL));
    defer(release_tensor, y);
    OK(relora_linear_set_order(l, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT));
    OK(relora_linear_plan(l, rows, 0, &plan));
    FAILS(RELORA_E_NO_MEMORY, relora_linear_forward(l, env.st, x, y, 0, 0), "memory",
          digits((uint64_t)plan.forward_bytes));
    still_works();
}
END_TEST

/* ---- a device without a free byte ---- */

enum { MOST = 4096, LEAST = 1 << 16 };

/* Takes all memory, in ever smaller pieces; then nothing of `LEAST` bytes is left. */
static int fill_device(relora_tensor *all[MOST])
{
    int n = 0;
    for (uint64_t bytes = device_bytes() / 2; bytes >= LEAST; bytes /= 2)
        for (int64_t count = (int64_t)(bytes / 4); n < MOST; n++)
            if (relora_tensor_create(&all[n], env.dev, RELORA_F32, 1, &count) != RELORA_OK) break;
    ck_assert_int_lt(n, MOST);
    ck_assert_int_gt(n, 1);
    return n;
}

struct net {
    relora_linear *l;
    relora_adam *adam;
    relora_tensor *x, *y, *dx;
};

static struct net new_net(void)
{
    struct net n;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 64, 48, 8);
    n.l = new_filled_linear(&o, &r);
    n.adam = new_adam(NULL);
    n.x = new_matrix(RELORA_F32, 100, 64);
    n.dx = new_matrix(RELORA_F32, 100, 64);
    n.y = new_matrix(RELORA_F32, 100, 48);
    put_normal(n.x, &r, 1);
    OK(relora_adam_add_linear(n.adam, "l", n.l));
    return n;
}

static void step(struct net *n, uint64_t call)
{
    OK(relora_linear_forward(n->l, env.st, n->x, n->y, call, RELORA_TRAIN));
    OK(relora_linear_backward(n->l, env.st, n->x, n->y, n->dx, call, RELORA_TRAIN | RELORA_OVERWRITE));
    OK(relora_adam_step(n->adam, env.st, 0.01, 1, NULL));
}

static void refusals(struct net *n, relora_tensor *p, relora_tensor *g)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 4096, 4096, 64);
    relora_linear *l = (void *)n;
    FAILS(RELORA_E_NO_MEMORY, relora_linear_create(&l, env.dev, &o), "memory");
    ck_assert_ptr_null(l);
    FAILS(RELORA_E_NO_MEMORY, relora_adam_add(n->adam, "big", p, g, NULL), "memory");
    ck_assert_int_eq(relora_adam_count(n->adam), 2);
}

START_TEST(test_full_device)
{
    static relora_tensor *all[MOST];
    struct net n = new_net(), twin = new_net();
    relora_tensor *p = new_vector(RELORA_F32, 1 << 20), *g = new_vector(RELORA_F32, 1 << 20);
    for (uint64_t i = 0; i < 2; i++) step(&n, i), step(&twin, i);
    int count = fill_device(all);
    refusals(&n, p, g);
    for (uint64_t i = 2; i < 5; i++) step(&n, i); /* what was at work goes on */
    OK(relora_stream_synchronize(env.st));
    for (int i = 0; i < count; i++) relora_tensor_release(all[i]);
    for (uint64_t i = 2; i < 5; i++) step(&twin, i);
    UNCHANGED(relora_linear_param(n.l, RELORA_PARAM_A),
              snapshot(relora_linear_param(twin.l, RELORA_PARAM_A)));
    UNCHANGED(n.dx, snapshot(twin.dx));
    int64_t half = (int64_t)(device_bytes() / 8);
    OK(relora_tensor_create(&all[0], env.dev, RELORA_F32, 1, &half)); /* and there is memory again */
    relora_tensor_release(all[0]);
}
END_TEST

Suite *memory_suite(void)
{
    Suite *s = suite_create("memory of a device");
    TCase *tc = env_case(s, "memory", 60);
    tcase_add_test(tc, test_tensor);
    tcase_add_test(tc, test_workspace);
    tcase_add_test(tc, test_full_device);
    return s;
}
