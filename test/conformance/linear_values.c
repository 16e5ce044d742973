/* Forward and backward in every mode, with every part on and off, in both dtypes, against the formulas
 * of relora/linear.h in double. T22: odd shapes. */
#include "conformance/suites.h"

static const int64_t shapes[][4] = {
    /* rows, in, out, rank */
    {1, 1, 1, 1},      {5, 7, 3, 2},    {0, 7, 5, 2},     {13, 3, 11, 8}, /* rank above in */
    {31, 29, 1, 4},    {17, 31, 37, 1}, {65, 65, 65, 65},                 /* one past a tile of 64 */
    {64, 64, 128, 16}, {1, 129, 66, 5}, {7, 301, 9, 3}, /* one past a batch of random words */
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct variant {
    relora_linear_options options;
    struct oracle o;
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
    double s;
};

static void make(struct variant *v, const int64_t *shape, struct rnd *r)
{
    relora_linear_options *o = &v->options;
    v->l = new_filled_linear(o, r);
    v->s = o->alpha / (double)o->rank;
    if (o->flags & RELORA_LINEAR_TRAINABLE_SCALE && o->mode != RELORA_MODE_FULL) {
        put_all(relora_linear_param(v->l, RELORA_PARAM_SCALE), 0.6);
        v->s = tanh((double)0.6f);
    }
    v->x = new_matrix(o->dtype, shape[0], o->in_features);
    v->dx = new_matrix(o->dtype, shape[0], o->in_features);
    v->y = new_matrix(o->dtype, shape[0], o->out_features);
    v->dy = new_matrix(o->dtype, shape[0], o->out_features);
    put_normal(v->x, r, 1);
    put_normal(v->dy, r, 1);
}

static void expect(struct variant *v, const int64_t *shape, uint64_t call)
{
    struct oracle *o = &v->o;
    memset(o, 0, sizeof *o);
    o->rows = shape[0];
    o->in = shape[1];
    o->out = shape[2];
    o->rank = shape[3];
    o->bf16 = v->options.dtype == RELORA_BF16;
    o->x = get(v->x);
    o->dy = get(v->dy);
    if (v->options.dropout > 0 && shape[0] > 0) o->keep = oracle_keep(&v->options, shape[0], call);
    oracle_run(o, v->l, v->s);
}

/* An F32 result wanders by its k roundings, and 1e-5 where terms cancel. In BF16 each operand that was
 * rounded again (drop(x) / (1 - p), s h) moves its term, of size 1 about, by half an eps, which adds up to
 * sqrt(k) of them; storing the result costs half an eps of it. */
static void near(struct variant *v, const relora_tensor *got, const double *want, int64_t k)
{
    int64_t n = relora_tensor_count(got);
    double *values = get(got), most = largest(want, n);
    double tolerance = v->options.dtype == RELORA_F32
                           ? close_tolerance(1e-5, RELORA_F32, most, k)
                           : close_tolerance(1e-5, RELORA_BF16, most + sqrt((double)k), 2);
    CLOSE(values, want, n, tolerance);
}

static void near_grad(struct variant *v, relora_param p, const double *want, int64_t k)
{
    if (relora_linear_grad(v->l, p)) near(v, relora_linear_grad(v->l, p), want, k);
}

static void check(struct variant *v, const int64_t *shape, struct rnd *r)
{
    const uint64_t call = 11;
    make(v, shape, r);
    expect(v, shape, call);
    OK(relora_linear_forward(v->l, env.st, v->x, v->y, call, RELORA_TRAIN));
    OK(relora_linear_backward(v->l, env.st, v->x, v->dy, v->dx, call, RELORA_TRAIN | RELORA_OVERWRITE));
    int64_t rows = shape[0], in = shape[1], out = shape[2], rank = shape[3];
    near(v, v->y, v->o.y, in + rank);
    near(v, v->dx, v->o.dx, out + rank);
    near_grad(v, RELORA_PARAM_WEIGHT, v->o.dw, rows);
    near_grad(v, RELORA_PARAM_BIAS, v->o.dbias, rows);
    near_grad(v, RELORA_PARAM_A, v->o.da, rows + out);
    near_grad(v, RELORA_PARAM_B, v->o.db, rows + in);
    if (relora_linear_grad(v->l, RELORA_PARAM_SCALE)) {
        double got = *get(relora_linear_grad(v->l, RELORA_PARAM_SCALE));
        /* rows * rank products of either sign: their spread is that of B's gradient, about */
        double spread = largest(v->o.db, out * rank) + fabs(v->o.dscale) + 1;
        CLOSE(&got, &v->o.dscale, 1, close_tolerance(1e-5, v->options.dtype, spread, rows * rank));
    }
}

static int has_parts(relora_linear_mode mode, relora_linear *l, uint32_t flags)
{
    int lora = mode != RELORA_MODE_FULL;
    int scale = lora && (flags & RELORA_LINEAR_TRAINABLE_SCALE);
    return !!relora_linear_grad(l, RELORA_PARAM_A) == lora &&
           !!relora_linear_grad(l, RELORA_PARAM_B) == lora &&
           !!relora_linear_grad(l, RELORA_PARAM_SCALE) == scale &&
           !!relora_linear_grad(l, RELORA_PARAM_BIAS) == !!(flags & RELORA_LINEAR_BIAS) &&
           !!relora_linear_grad(l, RELORA_PARAM_WEIGHT) == !lora; /* W is frozen with A and B */
}

START_TEST(test_against_oracle)
{
    const int64_t *shape = shapes[_i % SHAPES];
    struct rnd r = rnd_seed((uint64_t)_i + 1);
    struct variant v;
    for (relora_linear_mode mode = RELORA_MODE_FULL; mode <= RELORA_MODE_LOWRANK; mode++)
        for (uint32_t flags = 0; flags < 4; flags++)
            for (int drop = 0; drop < 2; drop++) {
                v.options = layer_options(mode, shape[1], shape[2], shape[3]);
                v.options.flags = flags;
                v.options.dtype = _i < SHAPES ? RELORA_F32 : RELORA_BF16;
                v.options.dropout = drop ? 0.3 : 0;
                v.options.alpha = 1.5 * (double)shape[3];
                v.options.seed = 5;
                v.options.layer = 3;
                check(&v, shape, &r);
                ck_assert(has_parts(mode, v.l, flags));
            }
}
END_TEST

Suite *linear_values(void)
{
    Suite *s = suite_create("linear values");
    TCase *tc = env_case(s, "against the formulas", 60);
    tcase_add_loop_test(tc, test_against_oracle, 0, 2 * SHAPES);
    return s;
}
