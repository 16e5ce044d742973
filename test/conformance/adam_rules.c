/* What the optimizer registers, when it refuses or skips, and what stays untouched. */
#include "conformance/suites.h"
#include <stdio.h>
#include <stdlib.h>

static relora_linear_options layer(relora_linear_mode mode)
{
    relora_linear_options o = layer_options(mode, 9, 7, 3);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    return o;
}

/* adam_add_linear registers exactly what has a gradient, in the order and under the names of adam.h. */
START_TEST(test_names)
{
    static const char *const names[3][5] = {
        {"m.q.weight", "m.q.bias"},
        {"m.q.lora_A.weight", "m.q.lora_B.weight", "m.q.scaling", "m.q.bias"},
        {"m.q.lora_A.weight", "m.q.lora_B.weight", "m.q.scaling", "m.q.bias"},
    };
    static const relora_param params[3][4] = {
        {RELORA_PARAM_WEIGHT, RELORA_PARAM_BIAS},
        {RELORA_PARAM_A, RELORA_PARAM_B, RELORA_PARAM_SCALE, RELORA_PARAM_BIAS},
        {RELORA_PARAM_A, RELORA_PARAM_B, RELORA_PARAM_SCALE, RELORA_PARAM_BIAS},
    };
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer(_i + 1);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_adam *adam = new_adam(NULL);
    char prefix[] = "m.q";
    OK(relora_adam_add_linear(adam, prefix, l));
    prefix[0] = 'x'; /* names are copied */
    int32_t count = 0, index;
    for (; names[_i][count]; count++) {
        relora_tensor *t = relora_linear_param(l, params[_i][count]);
        relora_tensor *m = relora_adam_moment(adam, count, RELORA_MOMENT_SECOND);
        ck_assert_str_eq(relora_adam_name(adam, count), names[_i][count]);
        OK(relora_adam_find(adam, names[_i][count], &index));
        ck_assert_int_eq(index, count);
        ck_assert_int_eq(relora_tensor_dtype(m), RELORA_F32);
        ck_assert_int_eq(relora_tensor_ndim(m), relora_tensor_ndim(t));
        ck_assert_int_eq(relora_tensor_dim(m, 0), relora_tensor_dim(t, 0));
        ck_assert_int_eq(relora_tensor_dim(m, 1), relora_tensor_dim(t, 1));
        ck_assert_double_eq(largest(get(m), relora_tensor_count(m)), 0);
    }
    ck_assert_int_eq(relora_adam_count(adam), count);
}
END_TEST

struct world {
    relora_adam *adam;
    relora_tensor *p[2], *g[2];
};

static struct world new_world(uint32_t flags, double max_norm)
{
    struct world w;
    struct rnd r = rnd_seed(2);
    relora_adam_options o = adam_options();
    o.flags |= flags;
    o.max_norm = max_norm;
    o.weight_decay = 0.1;
    w.adam = new_adam(&o);
    add_vector(w.adam, "a", 70000, &r, &w.p[0], &w.g[0]);
    add_vector(w.adam, "b", 33, &r, &w.p[1], &w.g[1]);
    return w;
}

/* A step whose gradients hold a NaN or an infinity leaves every byte alone, step counts too; the next
 * sound one goes on as if it had not been. */
START_TEST(test_skip)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct world w = new_world(RELORA_ADAM_SKIP_NOT_FINITE, _i / 3 ? 1 : 0);
    struct world twin = new_world(RELORA_ADAM_SKIP_NOT_FINITE, _i / 3 ? 1 : 0);
    relora_step_report report = {.struct_size = sizeof report};
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    void *was[2], *m[2], *v[2];
    for (int k = 0; k < 2; k++) {
        was[k] = snapshot(w.p[k]);
        m[k] = snapshot(relora_adam_moment(w.adam, k, RELORA_MOMENT_FIRST));
        v[k] = snapshot(relora_adam_moment(w.adam, k, RELORA_MOMENT_SECOND));
    }
    double *g = get(w.g[1]), *poisoned = get(w.g[1]);
    poisoned[32] = (double)bad[_i % 3]; /* the last element of the last parameter */
    put(w.g[1], poisoned);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &report));
    ck_assert_int_eq(report.skipped, 1);
    for (int k = 0; k < 2; k++) {
        int64_t steps;
        UNCHANGED(w.p[k], was[k]);
        UNCHANGED(relora_adam_moment(w.adam, k, RELORA_MOMENT_FIRST), m[k]);
        UNCHANGED(relora_adam_moment(w.adam, k, RELORA_MOMENT_SECOND), v[k]);
        OK(relora_adam_steps(w.adam, env.st, k, &steps));
        ck_assert_int_eq(steps, 1);
    }
    put(w.g[1], g);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &report));
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    ck_assert_int_eq(report.skipped, 0);
    for (int k = 0; k < 2; k++) UNCHANGED(w.p[k], snapshot(twin.p[k]));
}
END_TEST

/* Clipping and skipping happen whether or not somebody asks for a report. */
START_TEST(test_without_report)
{
    struct world w = new_world(RELORA_ADAM_SKIP_NOT_FINITE, 0.5),
                 twin = new_world(RELORA_ADAM_SKIP_NOT_FINITE, 0.5);
    struct world free_one = new_world(RELORA_ADAM_SKIP_NOT_FINITE, 0);
    relora_step_report report = {.struct_size = sizeof report};
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &report));
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    OK(relora_adam_step(free_one.adam, env.st, 0.01, 1, NULL));
    ck_assert_double_lt(report.clip_factor, 0.1);
    relora_tensor *m = relora_adam_moment(twin.adam, 0, RELORA_MOMENT_FIRST);
    UNCHANGED(m, snapshot(relora_adam_moment(w.adam, 0, RELORA_MOMENT_FIRST)));
    double clipped = norm2(get(m), 70000);
    double whole = norm2(get(relora_adam_moment(free_one.adam, 0, RELORA_MOMENT_FIRST)), 70000);
    ck_assert_double_eq_tol(clipped, report.clip_factor * whole, 1e-5 * clipped);
    double *g = get(twin.g[1]);
    g[0] = NAN;
    put(twin.g[1], g);
    void *was = snapshot(twin.p[0]);
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    UNCHANGED(twin.p[0], was);
}
END_TEST

static void unmoved(const struct world *w, void *const was[2], void *const m[2], void *const v[2],
                    int64_t count)
{
    for (int k = 0; k < 2; k++) {
        int64_t steps;
        UNCHANGED(w->p[k], was[k]);
        UNCHANGED(relora_adam_moment(w->adam, k, RELORA_MOMENT_FIRST), m[k]);
        UNCHANGED(relora_adam_moment(w->adam, k, RELORA_MOMENT_SECOND), v[k]);
        OK(relora_adam_steps(w->adam, env.st, k, &steps));
        ck_assert_int_eq(steps, count);
    }
}

/* With clipping one NaN or infinity would go to all parameters by the common factor. Without the flag that skips such
 * a step it is a failure, which names the gradient, and nothing moves; the next sound step goes on. Where a step
 * without a report waits for nobody, nothing moves either. */
START_TEST(test_clip_not_finite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct world w = new_world(0, 0.5), twin = new_world(0, 0.5);
    relora_step_report report = {.struct_size = sizeof report};
    void *was[2], *m[2], *v[2];
    int at = _i / 3;
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    for (int k = 0; k < 2; k++) {
        was[k] = snapshot(w.p[k]);
        m[k] = snapshot(relora_adam_moment(w.adam, k, RELORA_MOMENT_FIRST));
        v[k] = snapshot(relora_adam_moment(w.adam, k, RELORA_MOMENT_SECOND));
    }
    double *g = get(w.g[at]), *poisoned = get(w.g[at]);
    poisoned[at ? 32 : 69999] = (double)bad[_i % 3];
    put(w.g[at], poisoned);
    FAILS(RELORA_E_NOT_FINITE, relora_adam_step(w.adam, env.st, 0.01, 1, &report), at ? "\"b\"" : "\"a\"",
          "nothing was changed");
    ck_assert_int_eq(report.skipped, 1);
    ck_assert(!isfinite(report.grad_norm));
    unmoved(&w, was, m, v, 1);
    if (env_kind() == RELORA_DEVICE_CPU)
        FAILS(RELORA_E_NOT_FINITE, relora_adam_step(w.adam, env.st, 0.01, 1, NULL), at ? "\"b\"" : "\"a\"");
    else OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    unmoved(&w, was, m, v, 1);
    put(w.g[at], g);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &report));
    OK(relora_adam_step(twin.adam, env.st, 0.01, 1, NULL));
    ck_assert_int_eq(report.skipped, 0);
    for (int k = 0; k < 2; k++) UNCHANGED(w.p[k], snapshot(twin.p[k]));
}
END_TEST

/* Many parameters: the sums of more chunks than are read at a time. */
START_TEST(test_clip_names_the_last)
{
    enum { MANY = 300 };
    struct rnd r = rnd_seed(6);
    relora_adam_options o = adam_options();
    relora_tensor *grad = NULL, *param;
    char name[16];
    o.max_norm = 1;
    relora_adam *adam = new_adam(&o);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "p%d", i);
        add_vector(adam, name, 5, &r, &param, &grad);
    }
    put_all(grad, (double)NAN);
    relora_step_report report = {.struct_size = sizeof report};
    FAILS(RELORA_E_NOT_FINITE, relora_adam_step(adam, env.st, 0.01, 1, &report), "\"p299\"");
}
END_TEST

/* Numbers that F32 does not hold: a rate times a factor, or times a decay, leaves the parameter where it is. */
START_TEST(test_rates_beyond_f32)
{
    struct world w = new_world(0, 0);
    void *was[2] = {snapshot(w.p[0]), snapshot(w.p[1])};
    OK(relora_adam_set_factors(w.adam, 0, 1e300, 0));
    OK(relora_adam_set_factors(w.adam, 1, 1e8, 3e38));
    double *g = get(w.g[0]);
    g[0] = 0;
    put(w.g[0], g); /* 0 times infinity would be a NaN */
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    for (int k = 0; k < 2; k++) UNCHANGED(w.p[k], was[k]);
    OK(relora_adam_set_factors(w.adam, 0, 1, 0));
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    double *p = get(w.p[0]);
    for (int i = 0; i < 70000; i++) ck_assert(isfinite(p[i]));
}
END_TEST

/* Without the flag the NaN arrives: nobody filters in silence. */
START_TEST(test_no_skip)
{
    struct world w = new_world(0, 0);
    double *g = get(w.g[1]);
    g[5] = NAN;
    put(w.g[1], g);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    ck_assert(isnan(get(w.p[1])[5]));
    ck_assert(!isnan(get(w.p[1])[4]));
    ck_assert(!isnan(get(w.p[0])[5]));
}
END_TEST

/* At learning rate 0 the parameters keep every bit, decay or not, while the moments learn: what the
 * update before a merge relies on. */
START_TEST(test_learning_rate_0)
{
    struct world w = new_world(0, 0);
    void *was = snapshot(w.p[0]);
    int64_t steps;
    OK(relora_adam_step(w.adam, env.st, 0, 1, NULL));
    UNCHANGED(w.p[0], was);
    ck_assert_double_gt(largest(get(relora_adam_moment(w.adam, 0, RELORA_MOMENT_FIRST)), 70000), 0.1);
    OK(relora_adam_steps(w.adam, env.st, 0, &steps));
    ck_assert_int_eq(steps, 1);
}
END_TEST

START_TEST(test_lr_factor_0)
{
    struct world w = new_world(0, 0);
    void *was = snapshot(w.p[1]), *other = snapshot(w.p[0]);
    OK(relora_adam_set_factors(w.adam, 1, 0, 0.5));
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    UNCHANGED(w.p[1], was);
    ck_assert_int_ne(memcmp(snapshot(w.p[0]), other, bytes_of(w.p[0])), 0);
}
END_TEST

/* set_mode and set_weight make the optimizers that hold the layer refuse: a frozen W is never trained by
 * mistake, and nothing moves. A new optimizer is welcome. */
START_TEST(test_refuses_a_changed_layer)
{
    struct rnd r = rnd_seed(3);
    relora_linear_options o = layer(RELORA_MODE_FULL);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_adam *adam = new_adam(NULL), *fresh = new_adam(NULL);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    OK(relora_adam_add_linear(adam, "l", l));
    put_all(relora_linear_grad(l, RELORA_PARAM_WEIGHT), 1);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    if (_i) OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    else OK(relora_linear_set_weight(l, new_matrix(RELORA_F32, 7, 9), NULL));
    void *was = snapshot(w);
    FAILS(RELORA_E_STATE, relora_adam_step(adam, env.st, 0.01, 1, NULL), "l");
    UNCHANGED(w, was);
    OK(relora_adam_add_linear(fresh, "l", l));
    OK(relora_adam_step(fresh, env.st, 0.01, 1, NULL));
}
END_TEST

/* Parameters and gradients of the host are used where they lie, and where set_data() moves them. */
START_TEST(test_borrowed_memory)
{
    static const double values[] = {1, 2, 3, 4, 5}, signs[] = {1, -1, 1, -1, 1},
                        others[] = {-1, 1, -1, 1, -1};
    relora_tensor *p = new_vector(RELORA_F32, 5), *g = new_vector(RELORA_F32, 5),
                  *moved = new_vector(RELORA_F32, 5);
    relora_tensor *tp = new_borrowed(5, relora_tensor_data(p)), *tg = new_borrowed(5, relora_tensor_data(g));
    relora_adam *adam = new_adam(NULL);
    put(p, values);
    put(g, signs);
    put(moved, others);
    OK(relora_adam_add(adam, "p", tp, tg, NULL));
    OK(relora_adam_step(adam, env.st, 0.5, 1, NULL)); /* the first update is lr against the sign of g */
    CLOSE(get(p), ((double[]){0.5, 2.5, 2.5, 4.5, 4.5}), 5, 1e-5);
    OK(relora_tensor_set_data(tg, relora_tensor_data(moved)));
    OK(relora_adam_set_steps(adam, env.st, 0, 0));
    put_all(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST), 0);
    put_all(relora_adam_moment(adam, 0, RELORA_MOMENT_SECOND), 0);
    OK(relora_adam_step(adam, env.st, 0.5, 1, NULL));
    CLOSE(get(p), values, 5, 1e-5);
    CLOSE(get(g), signs, 5, 0); /* gradients are only read */
}
END_TEST

/* Retained tensors and layers live on in the optimizer when everybody else has let go. */
START_TEST(test_keeps_alive)
{
    struct rnd r = rnd_seed(4);
    relora_linear *l;
    relora_tensor *w, *p, *g;
    int64_t n = 5;
    relora_linear_options o = layer(RELORA_MODE_LORA);
    relora_adam *adam = new_adam(NULL);
    OK(relora_linear_create(&l, env.dev, &o));
    OK(relora_tensor_create(&w, env.dev, RELORA_F32, 2, (int64_t[]){7, 9}));
    OK(relora_linear_set_weight(l, w, NULL));
    OK(relora_tensor_create(&p, env.dev, RELORA_F32, 1, &n));
    OK(relora_tensor_create(&g, env.dev, RELORA_F32, 1, &n));
    put_normal(p, &r, 1);
    put_normal(g, &r, 1);
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_adam_add(adam, "p", p, g, NULL));
    relora_tensor_release(w);
    relora_tensor_release(p);
    relora_tensor_release(g);
    relora_linear_release(l);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
}
END_TEST

START_TEST(test_zero_grad_and_norm)
{
    struct world w = new_world(0, 0);
    double norm, want = hypot(norm2(get(w.g[0]), 70000), norm2(get(w.g[1]), 33));
    OK(relora_adam_grad_norm(w.adam, env.st, &norm));
    ck_assert_double_eq_tol(norm, want, 1e-6 * want);
    OK(relora_adam_zero_grad(w.adam, env.st));
    OK(relora_adam_grad_norm(w.adam, env.st, &norm));
    ck_assert_double_eq(norm, 0);
    ck_assert_double_eq(largest(get(w.g[0]), 70000), 0);
}
END_TEST

/* A parameter registered after some steps joins in, with a step count of its own. */
START_TEST(test_added_after_steps)
{
    struct world w = new_world(0, 1);
    struct rnd r = rnd_seed(5);
    relora_tensor *late;
    relora_step_report before = {.struct_size = sizeof before}, after = before;
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &before));
    int32_t index = add_vector(w.adam, "late", 90000, &r, &late, NULL);
    void *was = snapshot(late);
    int64_t steps[2];
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &after));
    ck_assert_int_ne(memcmp(snapshot(late), was, bytes_of(late)), 0);
    ck_assert_double_gt(after.grad_norm, 1.2 * before.grad_norm); /* sqrt(160 / 70) */
    OK(relora_adam_steps(w.adam, env.st, 0, &steps[0]));
    OK(relora_adam_steps(w.adam, env.st, index, &steps[1]));
    ck_assert_int_eq(steps[0], 2);
    ck_assert_int_eq(steps[1], 1);
}
END_TEST

/* Finite gradients whose squares no F32 can hold are clipped, not skipped. */
START_TEST(test_huge_gradients)
{
    struct world w = new_world(RELORA_ADAM_SKIP_NOT_FINITE, 1);
    relora_step_report report = {.struct_size = sizeof report};
    put_all(w.g[0], 1e30);
    put_all(w.g[1], 0);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, &report));
    ck_assert_int_eq(report.skipped, 0);
    ck_assert_double_eq_tol(report.grad_norm, 1e30 * sqrt(70000), 1e25);
    double m = get(relora_adam_moment(w.adam, 0, RELORA_MOMENT_FIRST))[0];
    ck_assert_double_eq_tol(m, 0.1 / sqrt(70000), 1e-9); /* of the gradient clipped to norm 1 */
}
END_TEST

/* Steps count updates; set_steps is what bias correction then uses: at t = 1 a fresh moment moves by lr. */
START_TEST(test_steps)
{
    struct world w = new_world(0, 0);
    int64_t steps = -1;
    for (int i = 0; i < 3; i++) OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    OK(relora_adam_steps(w.adam, env.st, 0, &steps));
    ck_assert_int_eq(steps, 3);
    OK(relora_adam_set_steps(w.adam, env.st, 0, 0));
    OK(relora_adam_set_steps(w.adam, env.st, 1, INT64_C(5000000000)));
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
    OK(relora_adam_steps(w.adam, env.st, 0, &steps));
    ck_assert_int_eq(steps, 1);
    OK(relora_adam_steps(w.adam, env.st, 1, &steps));
    ck_assert_int_eq(steps, INT64_C(5000000001));
}
END_TEST

/* One and two threads: the same bits, with sizes above the inner piece and clipping over all of them. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    void *p[2][2], *m[2];
    for (int threads = 1; threads <= 2; threads++) {
        if (threads == 2) {
            env_close();
            env_open_threads(2);
        }
        struct world w = new_world(0, 0.5);
        for (int i = 0; i < 4; i++) OK(relora_adam_step(w.adam, env.st, 0.01, 1, NULL));
        for (int k = 0; k < 2; k++) {
            size_t size = bytes_of(w.p[k]);
            p[threads - 1][k] = malloc(size);
            memcpy(p[threads - 1][k], snapshot(w.p[k]), size);
        }
        m[threads - 1] = malloc(70000 * 4);
        memcpy(m[threads - 1], snapshot(relora_adam_moment(w.adam, 0, RELORA_MOMENT_SECOND)), 70000 * 4);
    }
    SAME_BYTES(p[0][0], p[1][0], 70000 * 4);
    SAME_BYTES(p[0][1], p[1][1], 33 * 4);
    SAME_BYTES(m[0], m[1], 70000 * 4);
    for (int i = 0; i < 2; i++) {
        free(p[i][0]);
        free(p[i][1]);
        free(m[i]);
    }
}
END_TEST

/* A shorter report gets no more than its size. */
START_TEST(test_report_size)
{
    struct world w = new_world(0, 0);
    _Alignas(8) unsigned char bytes[64];
    uint32_t size = 8;
    memset(bytes, 0xee, sizeof bytes);
    memcpy(bytes, &size, sizeof size);
    OK(relora_adam_step(w.adam, env.st, 0.01, 1, (void *)bytes));
    ck_assert_uint_eq(bytes[4], 0); /* skipped */
    for (size_t i = 8; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xee);
}
END_TEST

Suite *adam_rules(void)
{
    Suite *s = suite_create("adam rules");
    TCase *tc = env_case(s, "rules", 30);
    tcase_add_loop_test(tc, test_names, 0, 3);
    tcase_add_loop_test(tc, test_skip, 0, 6);
    tcase_add_test(tc, test_without_report);
    tcase_add_loop_test(tc, test_clip_not_finite, 0, 6);
    tcase_add_test(tc, test_clip_names_the_last);
    tcase_add_test(tc, test_rates_beyond_f32);
    tcase_add_test(tc, test_no_skip);
    tcase_add_test(tc, test_learning_rate_0);
    tcase_add_test(tc, test_lr_factor_0);
    tcase_add_loop_test(tc, test_refuses_a_changed_layer, 0, 2);
    tcase_add_test(tc, test_borrowed_memory);
    tcase_add_test(tc, test_keeps_alive);
    tcase_add_test(tc, test_zero_grad_and_norm);
    tcase_add_test(tc, test_added_after_steps);
    tcase_add_test(tc, test_huge_gradients);
    tcase_add_test(tc, test_steps);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_report_size);
    return s;
}
