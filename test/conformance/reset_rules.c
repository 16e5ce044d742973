/* What a reset touches, and what it says it did. T8, T9, T16 */
#include "conformance/suites.h"
#include <stdlib.h>

enum { PARAMS = 9 }; /* two layers with bias and scale, and one plain vector */

struct world {
    relora_adam *adam;
    relora_tensor *m[PARAMS], *v[PARAMS];
    void *m_was[PARAMS], *v_was[PARAMS];
    void *m_data[PARAMS], *v_data[PARAMS];
};

static void fill(struct world *w, struct rnd *r)
{
    for (int32_t i = 0; i < PARAMS; i++) {
        w->m[i] = relora_adam_moment(w->adam, i, RELORA_MOMENT_FIRST);
        w->v[i] = relora_adam_moment(w->adam, i, RELORA_MOMENT_SECOND);
        put_normal(w->m[i], r, 1);
        put_normal(w->v[i], r, 1);
        w->m_was[i] = snapshot(w->m[i]);
        w->v_was[i] = snapshot(w->v[i]);
        w->m_data[i] = relora_tensor_data(w->m[i]);
        w->v_data[i] = relora_tensor_data(w->v[i]);
        OK(relora_adam_set_steps(w->adam, env.st, i, 100 + i));
    }
}

static struct world new_world(int64_t in, int64_t out)
{
    struct world w;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, in, out, 4);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    w.adam = new_adam(NULL);
    OK(relora_adam_add_linear(w.adam, "q", new_filled_linear(&o, &r)));
    add_vector(w.adam, "norm", 50, &r, NULL, NULL);
    OK(relora_adam_add_linear(w.adam, "k", new_filled_linear(&o, &r)));
    ck_assert_int_eq(relora_adam_count(w.adam), PARAMS);
    fill(&w, &r);
    return w;
}

static int is_factor(struct world *w, int32_t i)
{
    return strstr(relora_adam_name(w->adam, i), "lora_") != NULL;
}

static int64_t steps(struct world *w, int32_t i)
{
    int64_t n = -1;
    OK(relora_adam_steps(w->adam, env.st, i, &n));
    return n;
}

static int64_t zeros(const relora_tensor *t)
{
    double *values = get(t);
    int64_t count = 0;
    for (int64_t i = 0; i < relora_tensor_count(t); i++) count += values[i] == 0;
    return count;
}

static void untouched(struct world *w, int32_t i)
{
    UNCHANGED(w->m[i], w->m_was[i]);
    UNCHANGED(w->v[i], w->v_was[i]);
    ck_assert_int_eq(steps(w, i), 100 + i);
}

/* T8, T16: of a NULL list only A and B are touched; bias, scale and norm keep every byte. Nothing moves. */
START_TEST(test_only_factors)
{
    static const relora_reset_mode modes[] = {RELORA_RESET_ZERO, RELORA_RESET_RANDOM, RELORA_RESET_MAGNITUDE};
    struct world w = new_world(30, 20);
    relora_reset_options o = reset_options(modes[_i], 0.9, RELORA_RESET_STEP_COUNT);
    OK(relora_adam_reset(w.adam, env.st, NULL, 0, &o, NULL));
    int factors = 0;
    for (int32_t i = 0; i < PARAMS; i++) {
        ck_assert_ptr_eq(relora_adam_moment(w.adam, i, RELORA_MOMENT_FIRST), w.m[i]);
        ck_assert_ptr_eq(relora_adam_moment(w.adam, i, RELORA_MOMENT_SECOND), w.v[i]);
        ck_assert_ptr_eq(relora_tensor_data(w.m[i]), w.m_data[i]);
        ck_assert_ptr_eq(relora_tensor_data(w.v[i]), w.v_data[i]);
        if (!is_factor(&w, i)) {
            untouched(&w, i);
            continue;
        }
        factors++;
        ck_assert_int_gt(zeros(w.m[i]), relora_tensor_count(w.m[i]) / 2);
        ck_assert_int_eq(steps(&w, i), 0);
    }
    ck_assert_int_eq(factors, 4);
}
END_TEST

/* T9: the report is what a count on the host finds, for every mode and flag. */
START_TEST(test_report)
{
    static const relora_reset_mode modes[] = {RELORA_RESET_ZERO, RELORA_RESET_RANDOM, RELORA_RESET_MAGNITUDE,
                                              RELORA_RESET_MAGNITUDE};
    static const uint32_t quantile[] = {0, 0, 0, RELORA_RESET_QUANTILE}; /* a rule of MAGNITUDE only */
    struct world w = new_world(30, 20);
    relora_reset_report report = {.struct_size = sizeof report};
    relora_reset_options o = reset_options(modes[_i / 2], 0.8, quantile[_i / 2]);
    if (_i % 2) o.flags |= RELORA_RESET_INDEPENDENT;
    OK(relora_adam_reset(w.adam, env.st, NULL, 0, &o, &report));
    int64_t elements = 0, first = 0, second = 0, unpaired = 0;
    for (int32_t i = 0; i < PARAMS; i++) {
        if (!is_factor(&w, i)) continue;
        double *m = get(w.m[i]), *v = get(w.v[i]);
        elements += relora_tensor_count(w.m[i]);
        for (int64_t k = 0; k < relora_tensor_count(w.m[i]); k++) unpaired += m[k] != 0 && v[k] == 0;
        first += zeros(w.m[i]);
        second += zeros(w.v[i]);
    }
    ck_assert_int_eq(report.params, 4);
    ck_assert_int_eq(report.elements, elements);
    ck_assert_int_eq(report.zeroed_first, first);
    ck_assert_int_eq(report.zeroed_second, second);
    ck_assert_int_eq(report.unpaired, unpaired);
    ck_assert_int_gt(first, 0);
    int joint = modes[_i / 2] == RELORA_RESET_ZERO || !(o.flags & RELORA_RESET_INDEPENDENT);
    ck_assert_int_eq(unpaired == 0, joint);
}
END_TEST

/* A list of indices is that and nothing else; it may name what is no factor. */
START_TEST(test_listed)
{
    struct world w = new_world(30, 20);
    const int32_t listed[] = {4, 1};                                 /* norm, q.lora_B */
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 0, 0); /* the ratio is not looked at */
    relora_reset_report report = {.struct_size = sizeof report};
    OK(relora_adam_reset(w.adam, env.st, listed, 2, &o, &report));
    for (int32_t i = 0; i < PARAMS; i++) {
        if (i != 4 && i != 1) untouched(&w, i);
        else ck_assert_int_eq(zeros(w.m[i]) + zeros(w.v[i]), 2 * relora_tensor_count(w.m[i]));
        ck_assert_int_eq(steps(&w, i), 100 + i); /* the count goes on */
    }
    ck_assert_int_eq(report.params, 2);
    ck_assert_int_eq(report.elements, 50 + 20 * 4);
    ck_assert_int_eq(report.zeroed_first, 50 + 20 * 4);
}
END_TEST

/* One bad index among good ones: nothing is reset. */
START_TEST(test_all_or_none)
{
    struct world w = new_world(30, 20);
    const int32_t unknown[] = {0, 1, PARAMS}, twice[] = {0, 1, 0};
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 1, RELORA_RESET_STEP_COUNT);
    FAILS(RELORA_E_NOT_FOUND, relora_adam_reset(w.adam, env.st, unknown, 3, &o, NULL), "9");
    FAILS(RELORA_E_EXISTS, relora_adam_reset(w.adam, env.st, twice, 3, &o, NULL), "0");
    for (int32_t i = 0; i < PARAMS; i++) untouched(&w, i);
}
END_TEST

/* NULL options: magnitude, 0.99, joint, exact, the count goes on. */
START_TEST(test_defaults)
{
    struct world w = new_world(300, 200);
    relora_reset_report report = {.struct_size = sizeof report};
    OK(relora_adam_reset(w.adam, env.st, NULL, 0, NULL, &report));
    ck_assert_int_eq(report.elements, 2 * 4 * 500);
    ck_assert_int_eq(report.zeroed_first, 2 * ((int64_t)floor(0.99 * 1200) + (int64_t)floor(0.99 * 800)));
    ck_assert_int_eq(report.zeroed_second, report.zeroed_first);
    ck_assert_int_eq(report.unpaired, 0);
    for (int32_t i = 0; i < PARAMS; i++) ck_assert_int_eq(steps(&w, i), 100 + i);
}
END_TEST

/* One and two threads: the same bits, in tensors above the inner piece of 65536. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    static const uint32_t flags[] = {0, RELORA_RESET_INDEPENDENT, RELORA_RESET_QUANTILE, 0};
    enum { N = 4 * 40000 };
    void *m[2], *v[2];
    for (int threads = 1; threads <= 2; threads++) {
        if (threads == 2) {
            env_close();
            env_open_threads(2);
        }
        struct world w = new_world(40000, 20);
        relora_reset_mode mode = _i == 3 ? RELORA_RESET_RANDOM : RELORA_RESET_MAGNITUDE;
        relora_reset_options o = reset_options(mode, 0.9, flags[_i]);
        OK(relora_adam_reset(w.adam, env.st, NULL, 0, &o, NULL));
        m[threads - 1] = malloc(N * 4);
        v[threads - 1] = malloc(N * 4);
        ck_assert_int_eq(relora_tensor_count(w.m[0]), N);
        memcpy(m[threads - 1], snapshot(w.m[0]), N * 4);
        memcpy(v[threads - 1], snapshot(w.v[0]), N * 4);
    }
    SAME_BYTES(m[0], m[1], N * 4);
    SAME_BYTES(v[0], v[1], N * 4);
    for (int i = 0; i < 2; i++) {
        free(m[i]);
        free(v[i]);
    }
}
END_TEST

Suite *reset_rules(void)
{
    Suite *s = suite_create("reset rules");
    TCase *tc = env_case(s, "rules", 30);
    tcase_add_loop_test(tc, test_only_factors, 0, 3);
    tcase_add_loop_test(tc, test_report, 0, 8);
    tcase_add_test(tc, test_listed);
    tcase_add_test(tc, test_all_or_none);
    tcase_add_test(tc, test_defaults);
    tcase_add_loop_test(tc, test_threads, 0, 4);
    return s;
}
