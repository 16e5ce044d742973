/* Every gradient against central differences of the layer's own forward. The loss is the sum of dy * y.
 * It is linear in each single parameter but scale, so a step as long as 1 has no truncation error and
 * the difference is as exact as the forward. */
#include "conformance/suites.h"

enum { ROWS = 5, IN = 7, OUT = 4, RANK = 3, CALL = 9 };

struct probe {
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
    const double *weights; /* the values of dy */
    double magnitude;      /* sum of |dy * y| */
};

static double loss(struct probe *p)
{
    OK(relora_linear_forward(p->l, env.st, p->x, p->y, CALL, RELORA_TRAIN));
    double *y = get(p->y), sum = 0;
    p->magnitude = 0;
    for (int i = 0; i < ROWS * OUT; i++) {
        sum += p->weights[i] * y[i];
        p->magnitude += fabs(p->weights[i] * y[i]);
    }
    return sum;
}

/* (L(value + h) - L(value - h)) / (distance of the two as stored) */
static double difference(struct probe *p, relora_tensor *t, double *values, int64_t i, double h)
{
    double was = values[i], high, low, l_high, l_low;
    values[i] = was + h;
    put(t, values);
    high = get(t)[i];
    l_high = loss(p);
    values[i] = was - h;
    put(t, values);
    low = get(t)[i];
    l_low = loss(p);
    values[i] = was;
    put(t, values);
    return (l_high - l_low) / (high - low);
}

static void check(struct probe *p, relora_tensor *t, const double *analytic, double h, double tolerance)
{
    int64_t n = relora_tensor_count(t);
    double *values = get(t), *numeric = doubles(n);
    for (int64_t i = 0; i < n; i++) numeric[i] = difference(p, t, values, i, h);
    ck_assert_double_gt(largest(numeric, n), 0);
    CLOSE(analytic, numeric, n, tolerance);
}

struct variant {
    relora_linear_mode mode;
    uint32_t flags;
    double dropout;
    relora_dtype dtype;
};

static struct variant variant(int i)
{
    struct variant v;
    v.dtype = i % 2 ? RELORA_BF16 : RELORA_F32;
    v.flags = (uint32_t)(i / 2 % 4);
    v.mode = i / 8 % 3 + 1;
    v.dropout = i / 24 % 2 ? 0.4 : 0;
    v.flags |= i / 48 == 1 ? RELORA_LINEAR_FREEZE_A : i / 48 == 2 ? RELORA_LINEAR_FREEZE_B : 0;
    return v;
}

static struct probe new_probe(const struct variant *v, struct rnd *r)
{
    struct probe p;
    relora_linear_options o = layer_options(v->mode, IN, OUT, RANK);
    o.flags = v->flags;
    o.dtype = v->dtype;
    o.dropout = v->dropout;
    o.alpha = 2 * RANK;
    o.seed = 77;
    p.l = new_filled_linear(&o, r);
    p.x = new_matrix(v->dtype, ROWS, IN);
    p.y = new_matrix(v->dtype, ROWS, OUT);
    p.dy = new_matrix(v->dtype, ROWS, OUT);
    p.dx = new_matrix(v->dtype, ROWS, IN);
    put_normal(p.x, r, 1);
    put_normal(p.dy, r, 1);
    p.weights = get(p.dy);
    return p;
}

START_TEST(test_central_differences)
{
    struct variant v = variant(_i);
    struct rnd r = rnd_seed((uint64_t)_i + 20);
    struct probe p = new_probe(&v, &r);
    OK(relora_linear_backward(p.l, env.st, p.x, p.dy, p.dx, CALL, RELORA_TRAIN | RELORA_OVERWRITE));
    loss(&p);
    /* F32: ROWS * OUT terms, each rounded some IN times. BF16: y is stored to 2^-9 of each term, u, h and
     * the factors are rounded too; a difference over a distance of 2 sees two such losses */
    double tolerance = v.dtype == RELORA_F32 ? 16 * 0x1p-23 * p.magnitude : 3 * 0x1p-8 * p.magnitude;
    check(&p, p.x, get(p.dx), 1, tolerance);
    for (relora_param q = RELORA_PARAM_WEIGHT; q <= RELORA_PARAM_B; q++)
        if (relora_linear_grad(p.l, q))
            check(&p, relora_linear_param(p.l, q), get(relora_linear_grad(p.l, q)), 1, tolerance);
    relora_tensor *scale = relora_linear_grad(p.l, RELORA_PARAM_SCALE);
    if (scale) {
        /* tanh bends: h = 1/16 costs h^2 / 3 of the gradient, and divides the rounding by 1/8 only */
        double *g = get(scale);
        check(&p, relora_linear_param(p.l, RELORA_PARAM_SCALE), g, 0.0625,
              0.0625 * 0.0625 / 3 * 2 * fabs(*g) + 16 * tolerance);
    }
}
END_TEST

Suite *linear_gradient(void)
{
    Suite *s = suite_create("linear gradient");
    TCase *tc = env_case(s, "central differences", 60);
    tcase_add_loop_test(tc, test_central_differences, 0, 3 * 48);
    return s;
}
