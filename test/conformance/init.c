/* How A begins: MATCHED, GRADIENT, GIVEN, for layers, at the end of a warm start, and on tensors. */
#include "conformance/basis.h"

enum { RANK = 6, IN = 40, OUT = 30, N = RANK * IN };

struct size {
    int64_t rank, in;
};
/* tall and wide, square, more rows than columns, and enough for several threads */
static const struct size sizes[] = {{6, 40}, {1, 1}, {5, 5}, {7, 3}, {9, 1}, {1, 50}, {33, 1500}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static relora_factors_options factors_options(relora_init init, uint64_t cycle)
{
    relora_factors_options o;
    OK(relora_factors_options_init(&o, sizeof o));
    o.init = init, o.seed = 3, o.layer = 4, o.cycle = cycle;
    return o;
}

struct factors {
    relora_tensor *a, *b, *gradient;
};

static struct factors new_factors(struct size s, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    struct factors f = {new_matrix(RELORA_F32, s.rank, s.in), new_matrix(RELORA_F32, OUT, s.rank),
                        new_matrix(RELORA_F32, s.rank, s.in)};
    put_normal(f.a, &r, 1);
    put_normal(f.b, &r, 1);
    put_normal(f.gradient, &r, 1e-4); /* gradients are small */
    return f;
}

static double *renewed(struct factors f, relora_init init, uint64_t cycle, relora_merge_report *report)
{
    relora_factors_options o = factors_options(init, cycle);
    OK(relora_factors_renew(env.st, f.a, f.b, f.gradient, &o, report));
    ck_assert_double_eq(largest(get(f.b), relora_tensor_count(f.b)), 0);
    return get(f.a);
}

/* ---- oracles, in double ---- */

/* Rows are orthogonal in groups of `in`, of norm sqrt(in / rank): the bound is that of rounding A to F32. */
static void check_matched(const double *a, struct size s)
{
    double square = (double)s.in / (double)s.rank;
    for (int64_t i = 0; i < s.rank; i++)
        for (int64_t k = 0; k <= i; k++) {
            if (i / s.in != k / s.in) continue;
            double want = i == k ? square : 0;
            ck_assert_double_eq_tol(dot(a + i * s.in, a + k * s.in, s.in), want, 4e-7 * square);
        }
}

/* ---- MATCHED ---- */

START_TEST(test_matched)
{
    struct size s = sizes[_i];
    struct factors f = new_factors(s, 1), g = new_factors(s, 1);
    f.gradient = NULL;
    double *a = renewed(f, RELORA_INIT_MATCHED, 5, NULL);
    check_matched(a, s);
    OK(relora_factors_draw(env.st, g.a, g.b, 3, 4, 5)); /* the same space */
    int64_t rows = s.rank < s.in ? s.rank : s.in;
    ck_assert_double_gt(inside(get(g.a), rows, a, rows, s.in), 1 - 1e-12);
    g.gradient = new_factors(s, 2).gradient; /* which does not matter */
    ck_assert_double_eq(distance(a, renewed(g, RELORA_INIT_MATCHED, 5, NULL), s.rank * s.in), 0);
    if (s.in > 1)
        ck_assert_double_gt(distance(a, renewed(g, RELORA_INIT_MATCHED, 6, NULL), s.rank * s.in), 0.01);
}
END_TEST

START_TEST(test_uniform)
{
    struct factors f = new_factors(sizes[0], 1), g = new_factors(sizes[0], 2);
    OK(relora_factors_draw(env.st, g.a, g.b, 3, 4, 5));
    double *want = get(g.a);
    for (relora_init init = 0; init <= RELORA_INIT_UNIFORM; init++)
        ck_assert_double_eq(distance(renewed(f, init, 5, NULL), want, N), 0);
    relora_factors_options o = factors_options(RELORA_INIT_UNIFORM, 0);
    o.seed = o.layer = 0;
    OK(relora_factors_renew(env.st, f.a, f.b, NULL, NULL, NULL));
    double *usual = get(f.a);
    OK(relora_factors_renew(env.st, g.a, g.b, NULL, &o, NULL));
    ck_assert_double_eq(distance(usual, get(g.a), N), 0);
}
END_TEST

/* ---- GRADIENT ---- */

START_TEST(test_gradient)
{
    struct size s = sizes[_i];
    struct factors f = new_factors(s, 1);
    double *gradient = get(f.gradient), *a = renewed(f, RELORA_INIT_GRADIENT, 5, NULL);
    int64_t rows = s.rank < s.in ? s.rank : s.in;
    check_matched(a, s);
    ck_assert_double_gt(inside(gradient, rows, a, rows, s.in), 1 - 1e-12);
    /* the first row is the first of the gradient, and no sign changes */
    ck_assert_double_gt(dot(gradient, a, s.in),
                        0.9999999 * sqrt(dot(gradient, gradient, s.in) * dot(a, a, s.in)));
}
END_TEST

/* Two rows of the gradient say the same, one is 0, and one is not finite: the old A completes the space. */
START_TEST(test_deficient_gradient)
{
    struct factors f = new_factors(sizes[0], 1);
    double *g = get(f.gradient), *old = get(f.a);
    for (int k = 0; k < IN; k++) {
        g[IN + k] = -3 * g[k];
        g[2 * IN + k] = 0;
    }
    g[3 * IN + 7] = _i == 0 ? NAN : _i == 1 ? INFINITY : 1;
    put(f.gradient, g);
    double *a = renewed(f, RELORA_INIT_GRADIENT, 5, NULL);
    int used = _i < 2 ? 3 : 4; /* rows 0, 4, 5, and 3 if it is finite; then as many of the old A */
    double *kept = doubles(N);
    memcpy(kept, g, IN * sizeof *g);
    for (int i = 3; i < RANK; i++) memcpy(kept + (i - 2) * IN, g + i * IN, IN * sizeof *g);
    if (used == 3) memmove(kept + IN, kept + 2 * IN, 2 * IN * sizeof *kept);
    memcpy(kept + used * IN, old, (size_t)(RANK - used) * IN * sizeof *old);
    check_matched(a, sizes[0]);
    for (int i = 0; i < RANK; i++) ck_assert_double_gt(inside(kept + i * IN, 1, a, RANK, IN), 1 - 1e-12);
}
END_TEST

/* Nothing of use: the bits of MATCHED, whatever A was. */
START_TEST(test_no_gradient)
{
    struct factors f = new_factors(sizes[0], 1), g = new_factors(sizes[0], 2);
    double *want = renewed(f, RELORA_INIT_MATCHED, 5, NULL);
    if (_i == 0) g.gradient = NULL;
    else put_all(g.gradient, _i == 1 ? 0 : (double)NAN);
    ck_assert_double_eq(distance(renewed(g, RELORA_INIT_GRADIENT, 5, NULL), want, N), 0);
}
END_TEST

/* Neither gradient nor old A: the draw completes what one row leaves. */
START_TEST(test_last_resort)
{
    struct factors f = new_factors(sizes[0], 1);
    double *g = doubles(N);
    g[3] = 1e-30; /* its square is no F32 number */
    put(f.gradient, g);
    put_all(f.a, 0);
    double *a = renewed(f, RELORA_INIT_GRADIENT, 5, NULL);
    check_matched(a, sizes[0]);
    ck_assert_double_eq_tol(a[3], sqrt((double)IN / RANK), 1e-6);
}
END_TEST

/* ---- layers ---- */

static relora_linear_options options_with(relora_linear_mode mode, relora_init init)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.init = init, o.seed = 3, o.layer = 4;
    return o;
}

static struct factors factors_of(relora_linear *l)
{
    return (struct factors){relora_linear_param(l, RELORA_PARAM_A), relora_linear_param(l, RELORA_PARAM_B),
                            relora_linear_grad(l, RELORA_PARAM_A)};
}

/* A layer and the function on tensors have the same bits: at creation, which is cycle 0, and at each reset. */
START_TEST(test_layer)
{
    relora_init init = RELORA_INIT_MATCHED + _i % 3;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = options_with(_i / 3 ? RELORA_MODE_LOWRANK : RELORA_MODE_LORA, init);
    o.dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    relora_linear *l = new_linear(&o);
    struct factors of = factors_of(l), own = new_factors(sizes[0], 2);
    double *first = get(of.a);
    put_all(own.gradient, 0);
    ck_assert_double_eq(distance(first, renewed(own, RELORA_INIT_MATCHED, 0, NULL), N), 0);
    for (uint64_t cycle = 1; cycle < 3; cycle++) {
        put_normal(of.a, &r, 1);
        put_normal(of.b, &r, 1);
        put_normal(of.gradient, &r, 1);
        put(own.a, get(of.a));
        put(own.gradient, get(of.gradient));
        void *gradient = snapshot(of.gradient);
        OK(relora_linear_reset(l, env.st, cycle));
        ck_assert_double_eq(distance(get(of.a), renewed(own, init, cycle, NULL), N), 0);
        ck_assert_double_eq(largest(get(of.b), OUT * RANK), 0);
        UNCHANGED(of.gradient, gradient);
    }
}
END_TEST

/* GIVEN: what the host wrote stays, bit for bit. */
START_TEST(test_given)
{
    struct factors f = new_factors(sizes[0], 1);
    void *was = snapshot(f.a);
    renewed(f, RELORA_INIT_GIVEN, 5, NULL);
    UNCHANGED(f.a, was);
}
END_TEST

/* A group resets its layers as each would. */
START_TEST(test_group)
{
    relora_group *group = new_group();
    relora_linear_options o = options_with(RELORA_MODE_LOWRANK, RELORA_INIT_MATCHED);
    relora_linear *l[2];
    for (int i = 0; i < 2; i++) {
        o.layer = (uint64_t)i;
        l[i] = new_linear(&o);
        OK(relora_group_add_linear(group, i ? "b" : "a", l[i]));
    }
    OK(relora_group_reset(group, env.st, 7));
    for (int i = 0; i < 2; i++) {
        double *got = get(factors_of(l[i]).a);
        OK(relora_linear_reset(l[i], env.st, 7));
        ck_assert_double_eq(distance(got, get(factors_of(l[i]).a), N), 0);
    }
}
END_TEST

/* ---- the end of a warm start ---- */

/* A gradient of W whose first `of` directions are known, each half as strong as the one before; the rest is noise. */
static void put_gradient(relora_tensor *gradient, double *directions, int of, int in_out, double noise)
{
    struct rnd r = rnd_seed(9);
    double *g = doubles(OUT * IN), left[OUT], strength = 1e-3;
    for (int i = 0; i < OUT * IN; i++) g[i] = noise * rnd_normal(&r);
    for (int k = 0; k < of; k++) {
        for (int i = 0; i < OUT; i++) left[i] = rnd_normal(&r);
        for (int j = 0; j < IN; j++) directions[k * IN + j] = rnd_normal(&r);
        for (int i = 0; i < OUT; i++)
            for (int j = 0; j < IN; j++)
                g[in_out ? j * OUT + i : i * IN + j] += strength * left[i] * directions[k * IN + j];
        strength /= 2;
    }
    put(gradient, g);
}

/* All directions are found if there is nothing else, and nearly all of them below noise. */
START_TEST(test_warm_start)
{
    relora_linear_options o = options_with(RELORA_MODE_FULL, RELORA_INIT_GRADIENT);
    double *directions = doubles(N), noise = _i / 2 % 2 ? 2e-6 : 0;
    int in_out = _i % 2;
    o.flags = in_out ? RELORA_LINEAR_IN_OUT : 0;
    o.dtype = _i / 4 ? RELORA_BF16 : RELORA_F32;
    struct rnd r = rnd_seed(1);
    relora_linear *l = new_filled_linear(&o, &r), *again = new_filled_linear(&o, &r);
    relora_linear *both[] = {l, again};
    for (int i = 0; i < 2; i++) {
        put_gradient(relora_linear_grad(both[i], RELORA_PARAM_WEIGHT), directions, RANK, in_out, noise);
        OK(relora_linear_set_mode(both[i], env.st, RELORA_MODE_LORA));
    }
    double *a = get(factors_of(l).a);
    check_matched(a, sizes[0]);
    for (int k = 0; k < RANK; k++)
        ck_assert_double_gt(inside(directions + k * IN, 1, a, RANK, IN), noise > 0 ? 0.98 : 1 - 1e-9);
    ck_assert_double_eq(largest(get(factors_of(l).b), OUT * RANK), 0);
    ck_assert_double_eq(distance(a, get(factors_of(again).a), N), 0);
}
END_TEST

/* Without a gradient, and for the others, it is the first A of a layer. */
START_TEST(test_warm_start_without)
{
    static const relora_init inits[] = {RELORA_INIT_GRADIENT, RELORA_INIT_MATCHED, RELORA_INIT_GIVEN};
    relora_linear_options o = options_with(RELORA_MODE_FULL, inits[_i]);
    struct rnd r = rnd_seed(1);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_group *group = new_group();
    struct factors own = new_factors(sizes[0], 2);
    put_all(relora_linear_grad(l, RELORA_PARAM_WEIGHT), 0);
    OK(relora_group_add_linear(group, "l", l));
    OK(relora_group_set_mode(group, env.st, RELORA_MODE_LORA));
    ck_assert_double_eq(distance(get(factors_of(l).a), renewed(own, RELORA_INIT_MATCHED, 0, NULL), N), 0);
}
END_TEST

/* ---- reports ---- */

START_TEST(test_report)
{
    relora_init init = RELORA_INIT_UNIFORM + _i;
    struct factors f = new_factors(sizes[0], 1);
    relora_merge_report r = {.struct_size = sizeof r};
    double *old = get(f.a), *gradient = get(f.gradient);
    double *a = renewed(f, init, 5, &r);
    ck_assert_int_eq(r.layers, 1);
    ck_assert_double_eq(r.delta_norm, 0);
    ck_assert_double_eq(r.weight_norm, 0);
    if (init == RELORA_INIT_UNIFORM) {
        ck_assert(r.overlap == 0 && r.gradient_before == 0 && r.gradient_after == 0);
        return;
    }
    ck_assert_double_eq_tol(r.gradient_before, inside(gradient, RANK, old, RANK, IN), 1e-6);
    ck_assert_double_eq_tol(r.gradient_after, inside(gradient, RANK, a, RANK, IN), 1e-6);
    if (init != RELORA_INIT_GIVEN) ck_assert_double_eq_tol(r.overlap, inside(a, RANK, old, RANK, IN), 1e-6);
    else ck_assert_double_eq_tol(r.overlap, 1, 1e-12);
    f.gradient = NULL;
    renewed(f, init, 6, &r);
    ck_assert(r.gradient_before == 0 && r.gradient_after == 0 && r.overlap > 0);
}
END_TEST

/* More rows than columns: the space is all there is. An A of 0 has nothing in common with another. */
START_TEST(test_report_extremes)
{
    struct factors f = new_factors((struct size){7, 3}, 1), g = new_factors(sizes[0], 1);
    relora_merge_report r = {.struct_size = sizeof r};
    renewed(f, RELORA_INIT_MATCHED, 5, &r);
    ck_assert_double_eq_tol(r.overlap, 1, 1e-6);
    ck_assert_double_eq_tol(r.gradient_after, 1, 1e-6);
    put_all(g.a, 0);
    renewed(g, RELORA_INIT_MATCHED, 5, &r);
    ck_assert_double_eq(r.overlap, 0);
    ck_assert_double_eq(r.gradient_before, 0);
}
END_TEST

/* Of what is not finite there is no share. */
START_TEST(test_report_not_finite)
{
    static const double odd[] = {INFINITY, -INFINITY, NAN};
    struct factors f = new_factors(sizes[0], 1);
    relora_merge_report r = {.struct_size = sizeof r};
    double *gradient = get(f.gradient), *a = get(f.a);
    gradient[7] = odd[_i], a[9] = odd[_i];
    put(f.gradient, gradient);
    renewed(f, RELORA_INIT_GRADIENT, 5, &r);
    ck_assert(r.overlap > 0 && r.gradient_before == 0 && r.gradient_after == 0);
    put(f.a, a);
    renewed(f, RELORA_INIT_GIVEN, 5, &r);
    ck_assert(r.overlap == 0 && r.gradient_before == 0 && r.gradient_after == 0);
}
END_TEST

Suite *init_suite(void)
{
    Suite *s = suite_create("inits of A");
    TCase *tc = env_case(s, "A", 20);
    tcase_add_loop_test(tc, test_matched, 0, SIZES);
    tcase_add_test(tc, test_uniform);
    tcase_add_loop_test(tc, test_gradient, 0, SIZES);
    tcase_add_loop_test(tc, test_deficient_gradient, 0, 3);
    tcase_add_loop_test(tc, test_no_gradient, 0, 3);
    tcase_add_test(tc, test_last_resort);
    tcase_add_loop_test(tc, test_layer, 0, 6);
    tcase_add_test(tc, test_given);
    tcase_add_test(tc, test_group);
    tc = env_case(s, "warm start", 20);
    tcase_add_loop_test(tc, test_warm_start, 0, 8);
    tcase_add_loop_test(tc, test_warm_start_without, 0, 3);
    tc = env_case(s, "report", 20);
    tcase_add_loop_test(tc, test_report, 0, 4);
    tcase_add_test(tc, test_report_extremes);
    tcase_add_loop_test(tc, test_report_not_finite, 0, 3);
    return s;
}
