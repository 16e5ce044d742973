/* The optimizer on the CPU and on the device: bit for bit, over 20 updates. The gradients are multiples of
 * 2^-10 up to 1, so that their squares add up exactly and both find one norm; only then can clipped updates
 * be equal. */
#include "cuda/both.h"
#include "cuda/suites.h"

enum { PARAMS = 4, STEPS = 20 };
static const int64_t counts[PARAMS] = {1, 70003, 257, 65536}; /* on both sides of a chunk */

static const struct variant {
    uint32_t flags;
    double max_norm, decay, grad_scale;
    relora_dtype param, grad;
    relora_rounding rounding;
    int bad_step; /* in which a gradient is infinite, or 0 */
} variants[] = {
    {RELORA_ADAM_DECOUPLED, 0, 0, 1, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0},
    {RELORA_ADAM_DECOUPLED, 1, 0.1, 1, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0},
    {RELORA_ADAM_DECOUPLED, 1e9, 0.1, 0.25, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0},
    {0, 0.5, 0.1, 0.25, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0},
    {RELORA_ADAM_DECOUPLED | RELORA_ADAM_SKIP_NOT_FINITE, 1, 0.1, 1, RELORA_F32, RELORA_F32,
     RELORA_ROUND_NEAREST, 7},
    {RELORA_ADAM_SKIP_NOT_FINITE, 0, 0.1, 1, RELORA_F32, RELORA_BF16, RELORA_ROUND_NEAREST, 7},
    {RELORA_ADAM_DECOUPLED, 0, 0.1, 1, RELORA_BF16, RELORA_F32, RELORA_ROUND_NEAREST, 0},
    {RELORA_ADAM_DECOUPLED, 0, 0.1, 1, RELORA_BF16, RELORA_F32, RELORA_ROUND_STOCHASTIC, 0},
    {RELORA_ADAM_DECOUPLED | RELORA_ADAM_SKIP_NOT_FINITE, 1, 0.1, 1, RELORA_BF16, RELORA_BF16,
     RELORA_ROUND_STOCHASTIC, 7},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static relora_adam *make(const struct variant *v)
{
    relora_adam_options o = adam_options();
    o.flags = v->flags;
    o.max_norm = v->max_norm;
    o.weight_decay = v->decay;
    o.rounding = v->rounding;
    o.seed = 3;
    return new_adam(&o);
}

static void put_gradient(relora_tensor *g, struct rnd *r, int infinite)
{
    int64_t n = relora_tensor_count(g);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++) values[i] = floor(rnd_uniform(r, -128, 129)) * 0x1p-10 * (i % 7 ? 1 : 8);
    if (infinite) values[n - 1] = INFINITY;
    put(g, values);
}

static void updates(struct results *out, int variant)
{
    const struct variant *v = &variants[variant];
    struct rnd r = rnd_seed(1);
    relora_adam *adam = make(v);
    relora_tensor *p[PARAMS], *g[PARAMS];
    relora_step_report report = {.struct_size = sizeof report};
    for (int k = 0; k < PARAMS; k++) {
        char name[8] = {(char)('a' + k)};
        p[k] = new_vector(v->param, counts[k]);
        g[k] = new_vector(v->grad, counts[k]);
        put_normal(p[k], &r, 1);
        OK(relora_adam_add(adam, name, p[k], g[k], NULL));
    }
    OK(relora_adam_set_factors(adam, 2, 0.5, 0.01));
    for (int step = 1; step <= STEPS; step++) {
        for (int k = 0; k < PARAMS; k++) put_gradient(g[k], &r, step == v->bad_step && k == 1);
        OK(relora_adam_step(adam, env.st, 0.01 * step, v->grad_scale, step % 3 ? NULL : &report));
        if (step % 3 == 0) keep_bytes(out, "report", &report, sizeof report);
    }
    for (int k = 0; k < PARAMS; k++) {
        int64_t steps;
        keep(out, "a parameter", p[k]);
        keep(out, "m", relora_adam_moment(adam, k, RELORA_MOMENT_FIRST));
        keep(out, "v", relora_adam_moment(adam, k, RELORA_MOMENT_SECOND));
        OK(relora_adam_steps(adam, env.st, k, &steps));
        keep_bytes(out, "steps", &steps, sizeof steps);
    }
}

START_TEST(test_updates) { same_on_both(updates, _i); }
END_TEST

/* With the learning rate in a tensor, the same as with it in a number, on either. */
static void rate(struct results *out, int variant)
{
    struct rnd r = rnd_seed(1);
    relora_adam *adam = make(&variants[1]);
    relora_tensor *p, *g, *lr = new_tensor(RELORA_F32, 0, NULL);
    add_vector(adam, "p", counts[1], &r, &p, &g);
    for (int step = 1; step <= STEPS; step++) {
        double value = (double)(float)(0.01 * step);
        put_gradient(g, &r, 0);
        put_all(lr, value);
        if (variant) OK(relora_adam_step_lr(adam, env.st, lr, 1, NULL));
        else OK(relora_adam_step(adam, env.st, value, 1, NULL));
    }
    keep(out, "p", p);
}

START_TEST(test_rate)
{
    struct results number = {0}, tensor = {0};
    same_on_both(rate, 0);
    rate(&number, 0);
    rate(&tensor, 1);
    SAME_BYTES(tensor.of[0].bytes, number.of[0].bytes, number.of[0].size);
    same_on_both(rate, 1);
}
END_TEST

Suite *same_adam(void)
{
    Suite *s = suite_create("CPU and device: adam");
    TCase *tc = env_case(s, "adam", 60);
    tcase_add_loop_test(tc, test_updates, 0, VARIANTS);
    tcase_add_test(tc, test_rate);
    return s;
}
