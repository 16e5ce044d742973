/* Moments that stay, and moments of B that go with A: KEEP and PROJECT. */
#include "conformance/suites.h"

enum { RANK = 5, IN = 24, OUT = 17, N = OUT * RANK };

struct moments {
    relora_tensor *m, *v, *old, *now;
};

static struct moments new_moments(int64_t rank, int64_t in, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    struct moments w = {new_matrix(RELORA_F32, OUT, rank), new_matrix(RELORA_F32, OUT, rank),
                        new_matrix(RELORA_F32, rank, in), new_matrix(RELORA_F32, rank, in)};
    put_normal(w.m, &r, 0.1);
    double *v = doubles(OUT * rank);
    for (int64_t i = 0; i < OUT * rank; i++) v[i] = pow(0.2 + fabs(rnd_normal(&r)), 2);
    put(w.v, v);
    put_normal(w.old, &r, 1);
    put_normal(w.now, &r, 1);
    return w;
}

/* ---- the oracle: the definition, by a solver of its own ---- */

/* Solves S X = C, [n, n] both, in place, with the largest pivot first. */
static void solve(double *s, double *c, int64_t n)
{
    for (int64_t p = 0; p < n; p++) {
        int64_t most = p;
        for (int64_t i = p; i < n; i++)
            if (fabs(s[i * n + p]) > fabs(s[most * n + p])) most = i;
        for (int64_t k = 0; k < n; k++) {
            double t = s[p * n + k], u = c[p * n + k];
            s[p * n + k] = s[most * n + k], s[most * n + k] = t;
            c[p * n + k] = c[most * n + k], c[most * n + k] = u;
        }
        for (int64_t i = 0; i < n; i++) {
            double factor = s[i * n + p] / s[p * n + p];
            if (i == p) continue;
            for (int64_t k = 0; k < n; k++) {
                s[i * n + k] -= factor * s[p * n + k];
                c[i * n + k] -= factor * c[p * n + k];
            }
        }
    }
    for (int64_t i = 0; i < n * n; i++) c[i] /= s[i / n * n + i / n];
}

static double *map_of(const double *old, const double *now, int64_t rank, int64_t in)
{
    double *s = doubles(rank * rank), *x = doubles(rank * rank), trace = 0;
    for (int64_t i = 0; i < rank; i++)
        for (int64_t k = 0; k < rank; k++)
            for (int64_t j = 0; j < in; j++) {
                s[i * rank + k] += old[i * in + j] * old[k * in + j];
                x[i * rank + k] += old[i * in + j] * now[k * in + j];
            }
    for (int64_t i = 0; i < rank; i++) trace += s[i * rank + i];
    for (int64_t i = 0; i < rank; i++) s[i * rank + i] += 1e-6 * trace / (double)rank;
    solve(s, x, rank);
    return x;
}

static void transport(double *m, double *v, const double *x, int64_t rank, double beta1, double beta2,
                      double steps)
{
    double c1 = steps > 0 ? 1 - pow(beta1, steps) : 1, c2 = steps > 0 ? 1 - pow(beta2, steps) : 1;
    double *mean = doubles(OUT * rank), *second = doubles(OUT * rank);
    for (int64_t i = 0; i < OUT; i++)
        for (int64_t k = 0; k < rank; k++) {
            double variance = 0;
            for (int64_t l = 0; l < rank; l++) {
                double own = m[i * rank + l], to = x[l * rank + k];
                mean[i * rank + k] += own * to;
                variance += (v[i * rank + l] / c2 - own * own / c1 / c1) * to * to;
            }
            second[i * rank + k] = c2 * fabs(variance + pow(mean[i * rank + k] / c1, 2));
        }
    memcpy(m, mean, (size_t)(OUT * rank) * sizeof *m);
    memcpy(v, second, (size_t)(OUT * rank) * sizeof *v);
}

static void check(const double *got, const double *want, int64_t n)
{
    CLOSE(got, want, n, 1e-6 * largest(want, n)); /* rounded to F32 once, and some cancel */
}

/* ---- on tensors ---- */

START_TEST(test_project)
{
    static const int64_t steps[] = {0, 1, 17, 100000};
    static const int64_t ranks[] = {RANK, 1, 70}, ins[] = {IN, 9, 90};
    int64_t rank = ranks[_i / 4], in = ins[_i / 4];
    struct moments w = new_moments(rank, in, 1);
    double *m = get(w.m), *v = get(w.v);
    void *old = snapshot(w.old), *now = snapshot(w.now);
    transport(m, v, map_of(get(w.old), get(w.now), rank, in), rank, 0.9, 0.99, (double)steps[_i % 4]);
    OK(relora_moments_project(env.st, w.m, w.v, w.old, w.now, 0.9, 0.99, steps[_i % 4]));
    check(get(w.m), m, OUT * rank);
    check(get(w.v), v, OUT * rank);
    UNCHANGED(w.old, old);
    UNCHANGED(w.now, now);
}
END_TEST

/* The mean of G A^T for a G in the row space of the old A is that for the new A. */
START_TEST(test_meaning)
{
    struct moments w = new_moments(RANK, IN, 1);
    struct rnd r = rnd_seed(2);
    double *old = get(w.old), *now = get(w.now), g[IN], *m = doubles(N), *want = doubles(N);
    for (int i = 0; i < OUT; i++) {
        memset(g, 0, sizeof g);
        for (int k = 0; k < RANK; k++) {
            double weight = rnd_normal(&r);
            for (int j = 0; j < IN; j++) g[j] += weight * old[k * IN + j];
        }
        for (int k = 0; k < RANK; k++)
            for (int j = 0; j < IN; j++) {
                m[i * RANK + k] += g[j] * old[k * IN + j];
                want[i * RANK + k] += g[j] * now[k * IN + j];
            }
    }
    put(w.m, m);
    OK(relora_moments_project(env.st, w.m, w.v, w.old, w.now, 0.9, 0.99, 10));
    CLOSE(get(w.m), want, N,
          2e-5 *
              largest(want, N)); /* the ridge takes about 1e-6 of the weaker directions, times their rest */
}
END_TEST

/* The same A: the moments stay, but for the ridge. */
START_TEST(test_same_a)
{
    struct moments w = new_moments(RANK, IN, 1);
    double *m = get(w.m), *v = get(w.v);
    put(w.now, get(w.old));
    OK(relora_moments_project(env.st, w.m, w.v, w.old, w.now, 0.9, 0.99, 10));
    CLOSE(get(w.m), m, N, 2e-5 * largest(m, N));
    CLOSE(get(w.v), v, N, 2e-5 * largest(v, N));
    OK(relora_moments_project(env.st, w.m, w.v, w.now, w.now, 0.9, 0.99, 10)); /* one tensor for both */
}
END_TEST

/* Rows that depend on each other, or are 0, make nothing large. */
START_TEST(test_singular)
{
    struct moments w = new_moments(RANK, IN, 1);
    double *old = get(w.old), most = largest(get(w.m), N);
    for (int j = 0; j < IN; j++) old[IN + j] = old[j];
    if (_i) memset(old, 0, RANK * IN * sizeof *old);
    put(w.old, old);
    OK(relora_moments_project(env.st, w.m, w.v, w.old, w.now, 0.9, 0.99, 10));
    if (_i) ck_assert_double_eq(largest(get(w.m), N), 0);
    else ck_assert_double_lt(largest(get(w.m), N), 1000 * most);
    ck_assert(isfinite(largest(get(w.v), N)));
}
END_TEST

/* ---- with an optimizer and a cycle ---- */

struct world {
    relora_linear *l;
    relora_adam *adam;
    relora_cycle *cycle;
};

static struct world new_world(relora_reset_mode mode, uint32_t flags, relora_init init)
{
    struct rnd r = rnd_seed(1);
    struct world w;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_cycle_options co = cycle_options(4, 0);
    relora_reset_options ro = reset_options(mode, 0.5, flags);
    o.init = init;
    w.l = new_filled_linear(&o, &r);
    w.adam = new_adam(NULL);
    OK(relora_adam_add_linear(w.adam, "l", w.l));
    w.cycle = new_cycle(&co, w.adam, &ro);
    OK(relora_cycle_add(w.cycle, w.l));
    for (int i = 0; i < 3; i++) {
        put_normal(relora_linear_grad(w.l, RELORA_PARAM_A), &r, 1);
        put_normal(relora_linear_grad(w.l, RELORA_PARAM_B), &r, 1);
        OK(relora_adam_step(w.adam, env.st, 1e-3, 1, NULL));
    }
    return w;
}

static relora_tensor *moment(struct world w, int32_t index, relora_moment m)
{
    return relora_adam_moment(w.adam, index, m);
}

static int64_t steps_of(struct world w, int32_t index)
{
    int64_t steps;
    OK(relora_adam_steps(w.adam, env.st, index, &steps));
    return steps;
}

/* Of index 0, A, and 1, B. */
START_TEST(test_keep)
{
    struct world w = new_world(RELORA_RESET_KEEP, 0, RELORA_INIT_GIVEN);
    relora_reset_report r = {.struct_size = sizeof r};
    void *was[2][2], *a = snapshot(relora_linear_param(w.l, RELORA_PARAM_A));
    for (int i = 0; i < 2; i++)
        for (int m = 0; m < 2; m++) was[i][m] = snapshot(moment(w, i, RELORA_MOMENT_FIRST + m));
    OK(relora_cycle_advance(w.cycle, env.st, 5, NULL, NULL, &r));
    for (int i = 0; i < 2; i++)
        for (int m = 0; m < 2; m++) UNCHANGED(moment(w, i, RELORA_MOMENT_FIRST + m), was[i][m]);
    UNCHANGED(relora_linear_param(w.l, RELORA_PARAM_A), a);
    ck_assert_int_eq(r.params, 2);
    ck_assert_int_eq(r.zeroed_first + r.zeroed_second + r.unpaired, 0);
    ck_assert_int_eq(steps_of(w, 0), 3);
    ck_assert_int_eq(steps_of(w, 1), 3);
    relora_reset_options o = reset_options(RELORA_RESET_KEEP, 1, 0);
    OK(relora_adam_reset(w.adam, env.st, NULL, 0, &o, NULL));
    OK(relora_moments_reset(env.st, moment(w, 0, RELORA_MOMENT_FIRST), moment(w, 0, RELORA_MOMENT_SECOND), 0,
                            &o, &r));
    UNCHANGED(moment(w, 0, RELORA_MOMENT_FIRST), was[0][0]);
    ck_assert_int_eq(r.elements, RANK * IN);
}
END_TEST

/* B's moments by the bits of the function on tensors, A's are 0, and so is A's count if that is asked for. */
START_TEST(test_cycle_projects)
{
    relora_init init = RELORA_INIT_UNIFORM + _i % 4;
    uint32_t flags = _i / 4 ? RELORA_RESET_STEP_COUNT : 0;
    struct world w = new_world(RELORA_RESET_PROJECT, flags, init);
    struct moments own = new_moments(RANK, IN, 2);
    relora_reset_report r = {.struct_size = sizeof r};
    relora_merge_report merge = {.struct_size = sizeof merge};
    put(own.m, get(moment(w, 1, RELORA_MOMENT_FIRST)));
    put(own.v, get(moment(w, 1, RELORA_MOMENT_SECOND)));
    put(own.old, get(relora_linear_param(w.l, RELORA_PARAM_A)));
    OK(relora_cycle_advance(w.cycle, env.st, 5, NULL, _i % 2 ? &merge : NULL, &r));
    put(own.now, get(relora_linear_param(w.l, RELORA_PARAM_A)));
    OK(relora_moments_project(env.st, own.m, own.v, own.old, own.now, 0.9, 0.999, 3));
    UNCHANGED(moment(w, 1, RELORA_MOMENT_FIRST), snapshot(own.m));
    UNCHANGED(moment(w, 1, RELORA_MOMENT_SECOND), snapshot(own.v));
    ck_assert_double_gt(largest(get(own.m), N), 0);
    ck_assert_double_eq(largest(get(moment(w, 0, RELORA_MOMENT_FIRST)), RANK * IN), 0);
    ck_assert_double_eq(largest(get(moment(w, 0, RELORA_MOMENT_SECOND)), RANK * IN), 0);
    ck_assert_int_eq(steps_of(w, 0), flags ? 0 : 3);
    ck_assert_int_eq(steps_of(w, 1), 3);
    ck_assert_int_eq(r.zeroed_first, RANK * IN);
    if (_i % 2) ck_assert_int_eq(merge.overlap > 0, init != RELORA_INIT_UNIFORM);
}
END_TEST

Suite *transport_suite(void)
{
    Suite *s = suite_create("moments that go with A");
    TCase *tc = env_case(s, "moments", 20);
    tcase_add_loop_test(tc, test_project, 0, 12);
    tcase_add_test(tc, test_meaning);
    tcase_add_test(tc, test_same_a);
    tcase_add_loop_test(tc, test_singular, 0, 2);
    tc = env_case(s, "cycle", 20);
    tcase_add_test(tc, test_keep);
    tcase_add_loop_test(tc, test_cycle_projects, 0, 8);
    return s;
}
