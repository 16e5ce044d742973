/* Partial resets on the CPU and on the device: the same masks, counts and bits, in every mode. */
#include "cuda/both.h"
#include "cuda/suites.h"

static const int64_t counts[] = {1, 5, 257, 65536, 200003};
enum { COUNTS = sizeof counts / sizeof *counts, KINDS = 4 };

static double value_of(struct rnd *r, int kind, int64_t i)
{
    switch (kind) {
    case 0: return rnd_normal(r);
    /* ties, both zeros */
    case 1: return floor(rnd_uniform(r, -3, 4));
    case 2: return i % 9 ? rnd_normal(r) : i % 2 ? INFINITY : -INFINITY;
    /* subnormal too */
    default: return ldexp(rnd_uniform(r, -1, 1), (int)rnd_uniform(r, -149, 120)) * (i % 5 != 0);
    }
}

static void put_moment(relora_tensor *t, struct rnd *r, int kind)
{
    int64_t n = relora_tensor_count(t);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++) values[i] = value_of(r, kind, i) * (i % 3 ? 1 : -1);
    if (kind == 2) values[n / 2] = NAN;
    put(t, values);
}

static const struct mode {
    relora_reset_mode mode;
    uint32_t flags;
    double ratio;
} modes[] = {
    {RELORA_RESET_ZERO, 0, 0},
    {RELORA_RESET_ZERO, RELORA_RESET_STEP_COUNT, 0},
    {RELORA_RESET_RANDOM, 0, 0.99},
    {RELORA_RESET_RANDOM, RELORA_RESET_INDEPENDENT, 0.3},
    {RELORA_RESET_MAGNITUDE, 0, 0.99},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_STEP_COUNT, 0.5},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_INDEPENDENT, 0.9},
    {RELORA_RESET_MAGNITUDE, 0, 1},
    {RELORA_RESET_MAGNITUDE, 0, 0},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_QUANTILE, 0.99},
    {RELORA_RESET_MAGNITUDE, RELORA_RESET_QUANTILE | RELORA_RESET_INDEPENDENT, 0.7},
};
enum { MODES = sizeof modes / sizeof *modes };

/* Moments of one kind in all sizes, reset together and then once more. */
static void reset(struct results *out, int variant)
{
    const struct mode *mode = &modes[variant / KINDS];
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL);
    relora_reset_options o = reset_options(mode->mode, mode->ratio, mode->flags);
    relora_reset_report report = {.struct_size = sizeof report};
    int32_t indices[COUNTS];
    for (int k = 0; k < COUNTS; k++) {
        char name[8] = {(char)('a' + k)};
        indices[k] = add_vector(adam, name, counts[k], &r, NULL, NULL);
        put_moment(relora_adam_moment(adam, k, RELORA_MOMENT_FIRST), &r, variant % KINDS);
        put_moment(relora_adam_moment(adam, k, RELORA_MOMENT_SECOND), &r, variant % KINDS);
        OK(relora_adam_set_steps(adam, env.st, k, 100));
    }
    for (o.cycle = 1; o.cycle < 3; o.cycle++) {
        OK(relora_adam_reset(adam, env.st, indices, COUNTS, &o, &report));
        keep_bytes(out, "report", &report, sizeof report);
        for (int k = 0; k < COUNTS; k++) {
            int64_t steps;
            OK(relora_adam_steps(adam, env.st, k, &steps));
            keep_bytes(out, "steps", &steps, sizeof steps);
            keep(out, "m", relora_adam_moment(adam, k, RELORA_MOMENT_FIRST));
            keep(out, "v", relora_adam_moment(adam, k, RELORA_MOMENT_SECOND));
        }
    }
}

START_TEST(test_reset) { same_on_both(reset, _i); }
END_TEST

Suite *same_reset(void)
{
    Suite *s = suite_create("CPU and device: resets");
    TCase *tc = env_case(s, "resets", 60);
    tcase_set_tags(tc, "sanitize");
    tcase_add_loop_test(tc, test_reset, 0, MODES * KINDS);
    return s;
}
