/* A layer and an optimizer over arrays of the host: the bits of those that have their own. */
#include "conformance/suites.h"

enum { ROWS = 9, IN = 12, OUT = 10, RANK = 3, STEPS = 9 };

static const struct kind {
    relora_linear_mode mode;
    relora_dtype dtype;
    uint32_t flags;
} kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, 0},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_BIAS},
    {RELORA_MODE_LOWRANK, RELORA_F32, RELORA_LINEAR_BIAS},
    {RELORA_MODE_FULL, RELORA_F32, RELORA_LINEAR_BIAS},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct run {
    relora_linear *linear;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_tensor *x, *y, *dy, *dx;
};

static float *flat; /* the host's one array, with room that nobody may touch between the parts */
static int64_t used;

static relora_tensor *part(const relora_tensor *like)
{
    relora_tensor *t;
    int64_t shape[2] = {relora_tensor_dim(like, 0), relora_tensor_dim(like, 1)};
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, relora_tensor_ndim(like), shape, NULL, flat + used, NULL,
                            NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    OK(relora_tensor_copy(t, like, env.st));
    used += relora_tensor_count(like) + 1;
    return t;
}

static void give_memory(relora_linear *l)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) {
        if (p != RELORA_PARAM_WEIGHT && relora_linear_param(l, p))
            OK(relora_linear_set_param(l, p, part(relora_linear_param(l, p))));
        if (relora_linear_grad(l, p)) OK(relora_linear_set_grad(l, p, part(relora_linear_grad(l, p))));
    }
}

static void give_moments(relora_adam *adam)
{
    for (int32_t i = 0; i < relora_adam_count(adam); i++) {
        relora_tensor *first = part(relora_adam_moment(adam, i, RELORA_MOMENT_FIRST));
        relora_tensor *second = part(relora_adam_moment(adam, i, RELORA_MOMENT_SECOND));
        OK(relora_adam_set_moments(adam, i, first, second));
        ck_assert_ptr_eq(relora_adam_moment(adam, i, RELORA_MOMENT_FIRST), first);
        ck_assert_ptr_eq(relora_adam_moment(adam, i, RELORA_MOMENT_SECOND), second);
    }
}

static struct run new_run(const struct kind *k, int is_hosts)
{
    struct run run = {0};
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(k->mode, IN, OUT, RANK);
    relora_cycle_options co = cycle_options(4, 0);
    o.dtype = k->dtype, o.flags = k->flags;
    run.linear = new_filled_linear(&o, &r);
    OK(relora_linear_zero_grad(run.linear, env.st));
    if (is_hosts) give_memory(run.linear);
    run.adam = new_adam(NULL);
    OK(relora_adam_add_linear(run.adam, "l", run.linear));
    if (is_hosts) give_moments(run.adam);
    if (k->mode == RELORA_MODE_LORA) {
        run.cycle = new_cycle(&co, run.adam, NULL);
        OK(relora_cycle_add(run.cycle, run.linear));
    }
    run.x = new_matrix(k->dtype, ROWS, IN), run.dx = new_matrix(k->dtype, ROWS, IN);
    run.y = new_matrix(k->dtype, ROWS, OUT), run.dy = new_matrix(k->dtype, ROWS, OUT);
    put_normal(run.x, &r, 1);
    put_normal(run.dy, &r, 1);
    return run;
}

static void train(struct run *run)
{
    for (uint64_t step = 0; step < STEPS; step++) {
        OK(relora_linear_forward(run->linear, env.st, run->x, run->y, step, RELORA_TRAIN));
        OK(relora_linear_backward(run->linear, env.st, run->x, run->dy, run->dx, step, RELORA_TRAIN));
        OK(relora_adam_step(run->adam, env.st, 0.01, 1, NULL));
        OK(relora_adam_zero_grad(run->adam, env.st));
        if (run->cycle) OK(relora_cycle_advance(run->cycle, env.st, (int64_t)step + 1, NULL, NULL, NULL));
    }
}

static void same(const relora_tensor *a, const relora_tensor *b)
{
    ck_assert_int_eq(!a, !b);
    if (a) SAME_BYTES(snapshot(a), snapshot(b), bytes_of(a));
}

START_TEST(test_same_bits)
{
    enum { ROOM = 4096 };
    flat = new_floats(ROOM), used = 1;
    struct run own = new_run(&kinds[_i], 0), hosts = new_run(&kinds[_i], 1);
    train(&own);
    train(&hosts);
    same(hosts.y, own.y);
    same(hosts.dx, own.dx);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++)
        same(relora_linear_param(hosts.linear, p), relora_linear_param(own.linear, p));
    for (int32_t i = 0; i < relora_adam_count(own.adam); i++)
        for (relora_moment m = RELORA_MOMENT_FIRST; m <= RELORA_MOMENT_SECOND; m++)
            same(relora_adam_moment(hosts.adam, i, m), relora_adam_moment(own.adam, i, m));
    ck_assert_int_lt(used, ROOM);
    double *all = get(new_borrowed(ROOM, flat));
    ck_assert_double_eq(all[0], 0); /* in front, and behind */
    for (int64_t i = used - 1; i < ROOM; i++) ck_assert_double_eq(all[i], 0);
}
END_TEST

/* An optimizer made before knows other tensors, and says so. */
START_TEST(test_old_optimizer)
{
    struct run run = new_run(&kinds[0], 0);
    flat = new_floats(256), used = 0;
    if (_i)
        OK(relora_linear_set_param(run.linear, RELORA_PARAM_A,
                                   part(relora_linear_param(run.linear, RELORA_PARAM_A))));
    else
        OK(relora_linear_set_grad(run.linear, RELORA_PARAM_A,
                                  part(relora_linear_grad(run.linear, RELORA_PARAM_A))));
    FAILS(RELORA_E_STATE, relora_adam_step(run.adam, env.st, 0.1, 1, NULL), "l");
}
END_TEST

/* Moments that are not 0 are taken as they are, and the count that goes with them. */
START_TEST(test_add_moments)
{
    struct rnd r = rnd_seed(3);
    relora_adam *own = new_adam(NULL), *hosts = new_adam(NULL);
    relora_tensor *p[2], *g, *m[2];
    int32_t index = 7;
    add_vector(own, "p", 20, &r, &p[0], &g);
    for (int i = 0; i < 3; i++) OK(relora_adam_step(own, env.st, 0.1, 1, NULL));
    p[1] = new_vector(RELORA_F32, 20);
    put(p[1], get(p[0]));
    for (int i = 0; i < 2; i++) {
        m[i] = new_vector(RELORA_F32, 20);
        put(m[i], get(relora_adam_moment(own, 0, i ? RELORA_MOMENT_SECOND : RELORA_MOMENT_FIRST)));
    }
    OK(relora_adam_add_moments(hosts, "p", p[1], g, m[0], m[1], &index));
    ck_assert_int_eq(index, 0);
    OK(relora_adam_set_steps(hosts, env.st, 0, 3));
    OK(relora_adam_step(own, env.st, 0.1, 1, NULL));
    OK(relora_adam_step(hosts, env.st, 0.1, 1, NULL));
    same(p[1], p[0]);
    same(m[0], relora_adam_moment(own, 0, RELORA_MOMENT_FIRST));
    same(m[1], relora_adam_moment(own, 0, RELORA_MOMENT_SECOND));
}
END_TEST

/* A warm start ends: the layer makes A and B, and the host's take their place. */
START_TEST(test_warm_start)
{
    struct rnd r = rnd_seed(4);
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, RANK);
    relora_linear *l = new_filled_linear(&o, &r);
    flat = new_floats(512), used = 0;
    give_memory(l);
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    ck_assert_ptr_null(relora_linear_grad(l, RELORA_PARAM_WEIGHT));
    relora_tensor *a = part(relora_linear_param(l, RELORA_PARAM_A));
    OK(relora_linear_set_param(l, RELORA_PARAM_A, a));
    OK(relora_linear_reset(l, env.st, 3));
    ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_A), a);
    ck_assert_double_gt(largest(get(a), RANK * IN), 0);
}
END_TEST

Suite *host_memory(void)
{
    Suite *s = suite_create("host memory");
    TCase *tc = env_case(s, "host memory", 20);
    tcase_add_loop_test(tc, test_same_bits, 0, KINDS);
    tcase_add_loop_test(tc, test_old_optimizer, 0, 2);
    tcase_add_test(tc, test_add_moments);
    tcase_add_test(tc, test_warm_start);
    return s;
}
