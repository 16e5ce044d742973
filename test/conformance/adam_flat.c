/* relora_adam_flatten_grads(): one buffer for a host that sums gradients over machines. */
#include "conformance/suites.h"

enum { ROWS = 12, IN = 9, OUT = 7, RANK = 3, PLAIN = 21 };

struct world {
    relora_adam *adam;
    relora_linear *l;
    relora_tensor *p, *g, *x, *dy;
};

static struct world new_world(void)
{
    struct world w;
    struct rnd r = rnd_seed(2);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS;
    w.adam = new_adam(NULL);
    w.l = new_filled_linear(&o, &r);
    OK(relora_adam_add_linear(w.adam, "l", w.l));
    add_vector(w.adam, "p", PLAIN, &r, &w.p, &w.g);
    w.x = new_matrix(RELORA_F32, ROWS, IN);
    w.dy = new_matrix(RELORA_F32, ROWS, OUT);
    put_normal(w.x, &r, 1);
    put_normal(w.dy, &r, 1);
    return w;
}

static void step(struct world *w)
{
    OK(relora_linear_backward(w->l, env.st, w->x, w->dy, NULL, 0, RELORA_OVERWRITE));
    OK(relora_adam_step(w->adam, env.st, 0.01, 1, NULL));
}

static void grads_of(struct world *w, relora_tensor *grads[4]) /* in order of registration */
{
    grads[0] = relora_linear_grad(w->l, RELORA_PARAM_A);
    grads[1] = relora_linear_grad(w->l, RELORA_PARAM_B);
    grads[2] = relora_linear_grad(w->l, RELORA_PARAM_BIAS);
    grads[3] = w->g;
}

/* In order, each at a multiple of 16 elements, the contents moved along and zeros between. */
START_TEST(test_layout)
{
    struct world w = new_world();
    relora_tensor *grads[4];
    void *was[4];
    step(&w);
    grads_of(&w, grads);
    for (int i = 0; i < 4; i++) was[i] = snapshot(grads[i]);
    ck_assert_ptr_null(relora_adam_flat_grad(w.adam));
    OK(relora_adam_flatten_grads(w.adam, env.st));
    relora_tensor *flat = relora_adam_flat_grad(w.adam);
    ck_assert_ptr_nonnull(flat);
    ck_assert_int_eq(relora_tensor_ndim(flat), 1);
    ck_assert_int_eq(relora_tensor_dtype(flat), RELORA_F32);
    const float *base = relora_tensor_data(flat), *values = snapshot(flat);
    int64_t at = 0;
    for (int i = 0; i < 4; i++) {
        int64_t n = relora_tensor_count(grads[i]);
        ck_assert_ptr_eq(relora_tensor_data(grads[i]), base + at);
        SAME_BYTES(values + at, was[i], (size_t)n * 4);
        for (at += n; at % 16; at++) {
            ck_assert_int_lt(at, relora_tensor_count(flat) + 16);
            if (at < relora_tensor_count(flat)) ck_assert_float_eq(values[at], 0);
        }
    }
    ck_assert_int_le(relora_tensor_count(flat), at); /* a tail behind the last one is no rule */
    ck_assert_int_ge(relora_tensor_count(flat), at - 16);
}
END_TEST

/* Training goes on as if nothing had happened, and an all-reduce over the buffer reaches the update. */
START_TEST(test_continues)
{
    struct world flat = new_world(), plain = new_world();
    step(&flat);
    step(&plain);
    OK(relora_adam_flatten_grads(flat.adam, env.st));
    for (int i = 0; i < 3; i++) {
        step(&flat);
        step(&plain);
    }
    UNCHANGED(flat.p, snapshot(plain.p));
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++)
        UNCHANGED(relora_linear_param(flat.l, p), snapshot(relora_linear_param(plain.l, p)));
    double one, two;
    OK(relora_adam_grad_norm(plain.adam, env.st, &one));
    put_all(relora_adam_flat_grad(flat.adam), 0);
    OK(relora_adam_grad_norm(flat.adam, env.st, &two));
    ck_assert_double_gt(one, 0.1);
    ck_assert_double_eq(two, 0);
}
END_TEST

/* A parameter added later is updated as well, outside the buffer. */
START_TEST(test_added_later)
{
    struct world w = new_world();
    struct rnd r = rnd_seed(3);
    relora_tensor *p, *g;
    OK(relora_adam_flatten_grads(w.adam, env.st));
    add_vector(w.adam, "late", 5, &r, &p, &g);
    const float *base = relora_tensor_data(relora_adam_flat_grad(w.adam)), *late = relora_tensor_data(g);
    int64_t n = relora_tensor_count(relora_adam_flat_grad(w.adam));
    ck_assert(late + 5 <= base || late >= base + n);
    void *was = snapshot(p);
    step(&w);
    ck_assert_int_ne(memcmp(snapshot(p), was, bytes_of(p)), 0);
}
END_TEST

/* A layer may be released after its gradients were moved, and an optimizer before its layer. */
START_TEST(test_lifetime)
{
    struct rnd r = rnd_seed(4);
    relora_adam *adam;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *l = new_filled_linear(&o, &r);
    OK(relora_adam_create(&adam, env.dev, NULL));
    OK(relora_adam_add_linear(adam, "l", l));
    put_all(relora_linear_grad(l, RELORA_PARAM_B), 4);
    OK(relora_adam_flatten_grads(adam, env.st));
    relora_adam_release(adam);
    ck_assert_double_eq(get(relora_linear_grad(l, RELORA_PARAM_B))[OUT * RANK - 1], 4);
    OK(relora_linear_zero_grad(l, env.st));
    ck_assert_double_eq(get(relora_linear_grad(l, RELORA_PARAM_B))[0], 0);
}
END_TEST

/* A buffer in which gradients lie may be a gradient itself, but it stays where it is. */
START_TEST(test_buffer_as_gradient)
{
    struct world w = new_world();
    OK(relora_adam_flatten_grads(w.adam, env.st));
    relora_tensor *flat = relora_adam_flat_grad(w.adam),
                  *p = new_vector(RELORA_F32, relora_tensor_count(flat));
    relora_adam *other = new_adam(NULL);
    put_all(p, 1);
    OK(relora_adam_add(other, "all", p, flat, NULL));
    FAILS(RELORA_E_STATE, relora_adam_flatten_grads(other, env.st), "all");
    step(&w);
    OK(relora_adam_step(other, env.st, 0.01, 1, NULL));
}
END_TEST

Suite *adam_flat(void)
{
    Suite *s = suite_create("adam flat gradients");
    TCase *tc = env_case(s, "flat", 20);
    tcase_add_test(tc, test_layout);
    tcase_add_test(tc, test_continues);
    tcase_add_test(tc, test_added_later);
    tcase_add_test(tc, test_lifetime);
    tcase_add_test(tc, test_buffer_as_gradient);
    return s;
}
