/* The update of relora_adam_step() against the formulas of adam.h in double. */
#include "conformance/suites.h"

struct variant {
    uint32_t flags;
    double beta1, beta2, eps, decay, max_norm, grad_scale, lr_factor, own_decay; /* own_decay < 0: none */
};

static const struct variant variants[] = {
    {RELORA_ADAM_DECOUPLED, 0.9, 0.999, 1e-8, 0, 0, 1, 1, -1},
    {RELORA_ADAM_DECOUPLED, 0.9, 0.95, 1e-8, 0.1, 0, 1, 1, -1},           /* AdamW */
    {0, 0.9, 0.95, 1e-8, 0.1, 0, 1, 1, -1},                               /* L2 */
    {RELORA_ADAM_DECOUPLED, 0.9, 0.999, 1e-3, 0, 0.5, 1, 1, -1},          /* clipped */
    {RELORA_ADAM_DECOUPLED, 0.9, 0.999, 1e-3, 0.1, 0, 0.25, 1, -1},       /* accumulation */
    {RELORA_ADAM_DECOUPLED, 0.9, 0.99, 1e-8, 0.1, 0.3, 0.125, 0.5, 0.02}, /* everything, factors too */
    {0, 0.8, 0.99, 1e-8, 0.1, 0.3, 0.125, 2, 0.02},
    {RELORA_ADAM_DECOUPLED, 0, 0, 1e-8, 0, 0, 1, 1, -1}, /* no memory: the sign of g */
    {RELORA_ADAM_DECOUPLED | RELORA_ADAM_SKIP_NOT_FINITE, 0.9, 0.999, 1e-8, 0.1, 1, 1, 1, -1},
};
enum { VARIANTS = sizeof variants / sizeof *variants, STEPS = 12 };

struct reference {
    int64_t n;
    double *p, *m, *v, *g;
};

static double reference_norm(const struct reference *r, int count, double scale)
{
    double sum = 0;
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < r[k].n; i++) sum += scale * r[k].g[i] * scale * r[k].g[i];
    return sqrt(sum);
}

static void reference_step(struct reference *r, const struct variant *o, double clip, double lr, double decay,
                           int t)
{
    double c1 = 1 - pow(o->beta1, t), c2 = sqrt(1 - pow(o->beta2, t));
    int decoupled = (o->flags & RELORA_ADAM_DECOUPLED) != 0;
    for (int64_t i = 0; i < r->n; i++) {
        double g = clip * o->grad_scale * r->g[i];
        if (decoupled) r->p[i] *= 1 - lr * decay;
        else g += decay * r->p[i];
        r->m[i] = o->beta1 * r->m[i] + (1 - o->beta1) * g;
        r->v[i] = o->beta2 * r->v[i] + (1 - o->beta2) * g * g;
        r->p[i] -= lr / c1 * r->m[i] / (sqrt(r->v[i]) / c2 + o->eps);
    }
}

static relora_adam *make(const struct variant *v)
{
    relora_adam_options o = adam_options();
    o.flags = v->flags;
    o.beta1 = v->beta1;
    o.beta2 = v->beta2;
    o.eps = v->eps;
    o.weight_decay = v->decay;
    o.max_norm = v->max_norm;
    return new_adam(&o);
}

/* Two parameters of which the first has factors of its own; sizes with a tail after any vector width. */
START_TEST(test_against_double)
{
    const struct variant *v = &variants[_i];
    struct rnd r = rnd_seed((uint64_t)_i + 1);
    relora_adam *adam = make(v);
    relora_tensor *p[2], *g[2];
    struct reference ref[2];
    const int64_t sizes[] = {517, 1};
    for (int k = 0; k < 2; k++) {
        add_vector(adam, k ? "b" : "a", sizes[k], &r, &p[k], &g[k]);
        ref[k] = (struct reference){sizes[k], get(p[k]), doubles(sizes[k]), doubles(sizes[k]), NULL};
    }
    if (v->own_decay >= 0) OK(relora_adam_set_factors(adam, 0, v->lr_factor, v->own_decay));
    for (int t = 1; t <= STEPS; t++) {
        double lr = 0.01 * t;
        for (int k = 0; k < 2; k++) {
            put_normal(g[k], &r, 1);
            ref[k].g = get(g[k]);
        }
        double norm = reference_norm(ref, 2, v->grad_scale);
        double clip = v->max_norm > 0 ? fmin(1, v->max_norm / (norm + 1e-6)) : 1;
        relora_step_report report = {.struct_size = sizeof report};
        OK(relora_adam_step(adam, env.st, lr, v->grad_scale, &report));
        ck_assert_double_eq_tol(report.grad_norm, norm, 1e-6 * norm); /* F32 squares at worst */
        ck_assert_double_eq_tol(report.clip_factor, clip, 1e-6 * clip);
        ck_assert_int_eq(report.skipped, 0);
        for (int k = 0; k < 2; k++) {
            int own = k == 0 && v->own_decay >= 0;
            reference_step(&ref[k], v, clip, own ? lr * v->lr_factor : lr, own ? v->own_decay : v->decay, t);
            /* each step rounds p once, m and v a few times; m / sqrt(v) is of size 1 */
            double tolerance = close_tolerance(2e-6 * lr * t, RELORA_F32, largest(ref[k].p, ref[k].n), t);
            CLOSE(get(p[k]), ref[k].p, ref[k].n, tolerance);
            /* terms of m cancel: the size is that of what was added, gradients up to 3 */
            double size = 3 * v->grad_scale * clip + v->decay;
            CLOSE(get(relora_adam_moment(adam, k, RELORA_MOMENT_FIRST)), ref[k].m, ref[k].n,
                  close_tolerance(0, RELORA_F32, largest(ref[k].m, ref[k].n) + (1 - v->beta1) * size, 4 * t));
            CLOSE(get(relora_adam_moment(adam, k, RELORA_MOMENT_SECOND)), ref[k].v, ref[k].n,
                  close_tolerance(0, RELORA_F32, largest(ref[k].v, ref[k].n) + (1 - v->beta2) * size * size,
                                  4 * t));
        }
    }
}
END_TEST

/* Parameters longer than the optimizer's inner piece of 65536 elements, and around its edges. */
START_TEST(test_large)
{
    static const int64_t sizes[] = {65535, 65536, 65537, 3 * 65536 + 5};
    const struct variant *v = &variants[1];
    struct rnd r = rnd_seed(77);
    relora_adam *adam = make(v);
    relora_tensor *p, *g, *p2, *g2;
    int64_t n = sizes[_i];
    add_vector(adam, "large", n, &r, &p, &g);
    add_vector(adam, "after", 9, &r, &p2, &g2);
    struct reference ref = {n, get(p), doubles(n), doubles(n), get(g)};
    struct reference ref2 = {9, get(p2), doubles(9), doubles(9), get(g2)};
    for (int t = 1; t <= 2; t++) {
        OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
        reference_step(&ref, v, 1, 0.01, v->decay, t);
        reference_step(&ref2, v, 1, 0.01, v->decay, t);
    }
    /* two steps of two roundings each, and the factor 1 - lr * decay itself is rounded: 6 in all */
    CLOSE(get(p), ref.p, n, close_tolerance(4e-8, RELORA_F32, largest(ref.p, n), 6));
    CLOSE(get(p2), ref2.p, 9, close_tolerance(4e-8, RELORA_F32, largest(ref2.p, 9), 6));
    double norm, want[] = {reference_norm(&ref, 1, 1), reference_norm(&ref2, 1, 1)};
    OK(relora_adam_grad_norm(adam, env.st, &norm));
    ck_assert_double_eq_tol(norm, hypot(want[0], want[1]), 1e-6 * norm);
}
END_TEST

/* A BF16 gradient of an F32 parameter is read as it is: the bits are those of the same values in F32. */
START_TEST(test_bf16_gradient)
{
    struct rnd r = rnd_seed(11);
    relora_adam_options o = adam_options();
    o.weight_decay = 0.1;
    relora_adam *wide = new_adam(&o), *narrow = new_adam(&o);
    relora_tensor *p, *g, *q = new_vector(RELORA_F32, 517), *h = new_vector(RELORA_BF16, 517);
    add_vector(wide, "p", 517, &r, &p, &g);
    put(q, get(p));
    OK(relora_adam_add(narrow, "p", q, h, NULL));
    for (int t = 1; t <= STEPS; t++) {
        put_normal(h, &r, 1);
        put(g, get(h));
        OK(relora_adam_step(wide, env.st, 0.01, 1, NULL));
        OK(relora_adam_step(narrow, env.st, 0.01, 1, NULL));
        UNCHANGED(q, snapshot(p));
    }
}
END_TEST

/* A BF16 parameter rounded to nearest holds the rounded F32 result; where that lies within an F32 error
 * of a tie it may fall on the other side: at most 1 in 100. BF16 gradients are read as they are. */
START_TEST(test_bf16)
{
    struct rnd r = rnd_seed(5);
    relora_adam_options o = adam_options();
    o.rounding = RELORA_ROUND_NEAREST;
    relora_adam *adam = new_adam(&o);
    enum { N = 3001 };
    relora_tensor *p = new_vector(RELORA_BF16, N), *g = new_vector(_i ? RELORA_BF16 : RELORA_F32, N);
    put_normal(p, &r, 1);
    put_normal(g, &r, 1);
    OK(relora_adam_add(adam, "p", p, g, NULL));
    ck_assert_int_eq(relora_tensor_dtype(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST)), RELORA_F32);
    const struct variant *v = &variants[0];
    struct reference ref = {N, get(p), doubles(N), doubles(N), get(g)};
    for (int t = 1; t <= 5; t++) {
        int off = 0;
        OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
        reference_step(&ref, v, 1, 0.01, 0, t);
        double *now = get(p);
        for (int i = 0; i < N; i++) {
            off += now[i] != bf16_round(ref.p[i]);
            ck_assert_double_eq_tol(now[i], ref.p[i], 0x1p-8 * fabs(ref.p[i]) * 1.01);
        }
        ck_assert_int_le(off, N / 100);
        ref.p = now;
    }
}
END_TEST

/* Stochastic: 1.5 - 1/4 of the distance to the next goes down in 1/4 of the elements, and differently at
 * each step and for each seed. */
static double *stochastic(uint64_t seed, int n)
{
    relora_adam_options o = adam_options();
    o.seed = seed;
    relora_adam *adam = new_adam(&o);
    relora_tensor *p = new_vector(RELORA_BF16, n), *g = new_vector(RELORA_F32, n);
    put_all(p, 1.5);
    put_all(g, 1);
    OK(relora_adam_add(adam, "p", p, g, NULL));
    OK(relora_adam_step(adam, env.st, 0.25 * 0x1p-7, 1, NULL));
    double *now = get(p), down = 0;
    for (int i = 0; i < n; i++) {
        ck_assert(now[i] == 1.5 || now[i] == 1.5 - 0x1p-7);
        down += now[i] < 1.5;
    }
    ck_assert_double_lt(fabs(down - n * 0.25), 5 * sqrt(n * 0.1875)); /* 5 standard deviations */
    return now;
}

START_TEST(test_bf16_stochastic)
{
    enum { N = 20000 };
    double *a = stochastic(1, N);
    ck_assert_double_eq(distance(a, stochastic(1, N), N), 0);
    ck_assert_double_gt(distance(a, stochastic(2, N), N), 0);
}
END_TEST

/* The W of a layer follows the layer: nearest never moves by a quarter, stochastic moves a quarter of it. */
START_TEST(test_bf16_weight_of_a_layer)
{
    struct rnd r = rnd_seed(6);
    relora_adam_options o = adam_options();
    o.rounding = _i ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC; /* of other parameters: not looked at */
    relora_adam *adam = new_adam(&o);
    relora_linear_options lo = layer_options(RELORA_MODE_FULL, 100, 100, 0);
    lo.dtype = RELORA_BF16;
    lo.rounding = _i ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST;
    relora_linear *l = new_filled_linear(&lo, &r);
    relora_tensor *w = relora_linear_param(l, RELORA_PARAM_WEIGHT);
    put_all(w, 1.5);
    put_all(relora_linear_grad(l, RELORA_PARAM_WEIGHT), 1);
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_adam_step(adam, env.st, 0.25 * 0x1p-7, 1, NULL));
    double *now = get(w), moved = 0;
    for (int i = 0; i < 10000; i++) moved += now[i] != 1.5;
    if (_i) ck_assert_double_lt(fabs(moved - 2500), 5 * sqrt(1875));
    else ck_assert_double_eq(moved, 0);
}
END_TEST

Suite *adam_values(void)
{
    Suite *s = suite_create("adam values");
    TCase *tc = env_case(s, "values", 60);
    tcase_add_loop_test(tc, test_against_double, 0, VARIANTS);
    tcase_add_loop_test(tc, test_large, 0, 4);
    tcase_add_test(tc, test_bf16_gradient);
    tcase_add_loop_test(tc, test_bf16, 0, 2);
    tcase_add_test(tc, test_bf16_stochastic);
    tcase_add_loop_test(tc, test_bf16_weight_of_a_layer, 0, 2);
    return s;
}
