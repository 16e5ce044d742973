/* The orders of products of relora/linear.h: each gives the values of the formulas, and AUTO is the one that
 * relora_linear_plan() names. */
#include "conformance/orders.h"

enum { FLAGS = 8 };

static struct oracle expect(const struct bench *b)
{
    const relora_linear_options *o = &b->options;
    struct oracle want = {.rows = relora_tensor_dim(b->x, 0),
                          .in = o->in_features,
                          .out = o->out_features,
                          .rank = o->rank,
                          .bf16 = o->dtype == RELORA_BF16,
                          .x = get(b->x),
                          .dy = get(b->dy)};
    oracle_run(&want, b->l, relora_linear_param(b->l, RELORA_PARAM_SCALE) ? tanh((double)0.6f) : 2);
    return want;
}

/* F32: k roundings, and 1e-5 where terms cancel. BF16: s B is rounded again if s is not 2, V is rounded by up
 * to an eps where SPLIT rounds u and h, and THROUGH rounds neither: each moves a term of size 1 or less by up
 * to an eps, which adds up to sqrt(k) of them; storing costs half an eps of the result. */
static void near(const struct bench *b, const double *got, const double *want, int64_t n, int64_t k)
{
    double most = largest(want, n);
    CLOSE(got, want, n,
          b->options.dtype == RELORA_F32 ? close_tolerance(1e-5, RELORA_F32, most, k)
                                         : close_tolerance(1e-5, RELORA_BF16, most + sqrt((double)k), 2));
}

static double *times(const double *values, int64_t n, double factor, double more)
{
    double *scaled = doubles(n);
    for (int64_t i = 0; i < n; i++) scaled[i] = factor * values[i] + more;
    return scaled;
}

static void grads_are(const struct bench *b, const struct oracle *o, double factor)
{
    const double *want[] = {NULL, NULL, o->dbias, o->da, o->db};
    const int64_t k[] = {0, 0, o->rows, o->rows + o->out, o->rows + o->in};
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++) {
        relora_tensor *g = relora_linear_grad(b->l, p);
        if (g)
            near(b, get(g), times(want[p], relora_tensor_count(g), factor, 0), relora_tensor_count(g), k[p]);
    }
    relora_tensor *scale = relora_linear_grad(b->l, RELORA_PARAM_SCALE);
    if (!scale) return;
    /* rows * rank products of either sign: their spread is that of B's gradient, about (linear_values.c) */
    double spread = factor * (largest(o->db, o->out * o->rank) + fabs(o->dscale) + 1);
    CLOSE(get(scale), times(&o->dscale, 1, factor, 0), 1,
          close_tolerance(1e-5, b->options.dtype, spread, o->rows * o->rank));
}

static void fill_grads(const struct bench *b, double value)
{
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_grad(b->l, p)) put_all(relora_linear_grad(b->l, p), value);
}

/* Stored over NaN, added to itself, and without dx. */
static void check(const struct bench *b, const struct oracle *o)
{
    int64_t n = o->rows * o->in;
    put_all(b->y, NAN);
    put_all(b->dx, NAN);
    fill_grads(b, NAN);
    bench_forward(b, 0);
    near(b, get(b->y), o->y, o->rows * o->out, o->in + o->rank);
    bench_backward(b, b->dx, RELORA_OVERWRITE);
    near(b, get(b->dx), o->dx, n, o->out + o->rank);
    grads_are(b, o, 1);
    put_all(b->dx, 3);
    bench_backward(b, b->dx, RELORA_ACCUMULATE_DX);
    near(b, get(b->dx), times(o->dx, n, 1, 3), n, o->out + o->rank);
    grads_are(b, o, 2);
    bench_backward(b, NULL, RELORA_OVERWRITE);
    grads_are(b, o, 1);
}

START_TEST(test_against_oracle)
{
    const int64_t *shape = order_shapes[_i % ORDER_SHAPES];
    for (uint32_t bits = 0; bits < FLAGS; bits++) {
        relora_dtype dtype = _i < ORDER_SHAPES ? RELORA_F32 : RELORA_BF16;
        relora_linear_options o = order_options(RELORA_MODE_LORA, shape, dtype, 0);
        if (bits & 1) o.flags |= RELORA_LINEAR_BIAS;
        if (bits & 2) o.flags |= RELORA_LINEAR_TRAINABLE_SCALE;
        if (bits & 4) o.flags |= RELORA_LINEAR_KEEP_DELTA;
        struct bench b = new_bench(&o, shape[0], (uint64_t)_i + 1);
        void *was[RELORA_PARAM_DELTA + 1] = {NULL};
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
            if (relora_linear_param(b.l, p)) was[p] = snapshot(relora_linear_param(b.l, p));
        struct oracle want = expect(&b);
        for (int i = 0; i < ORDERS; i++) {
            OK(relora_linear_set_order(b.l, orders[i][0], orders[i][1]));
            check(&b, &want);
        }
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
            if (was[p]) UNCHANGED(relora_linear_param(b.l, p), was[p]);
    }
}
END_TEST

/* AUTO gives the bits of the order that the plan names, and on the CPU the shapes make it name each. */
START_TEST(test_auto_is_what_the_plan_says)
{
    relora_dtype dtype = _i ? RELORA_BF16 : RELORA_F32;
    int named[2][5] = {{0}};
    for (int i = 0; i < ORDER_SHAPES; i++) {
        relora_linear_options o = order_options(RELORA_MODE_LORA, order_shapes[i], dtype, 0);
        struct bench b = new_bench(&o, order_shapes[i][0], 2);
        relora_plan_report plan = bench_plan(&b, 0);
        struct bits chosen = bits_of(&b, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, 0);
        struct bits forced = bits_of(&b, plan.forward, plan.backward, 0);
        same_bits(&chosen, &forced);
        named[0][plan.forward]++;
        named[1][plan.backward]++;
    }
    if (relora_device_get_kind(env.dev) != RELORA_DEVICE_CPU) return; /* its costs are others: unit/plan.c */
    ck_assert(named[0][RELORA_ORDER_SPLIT] && named[0][RELORA_ORDER_FOLD]);
    ck_assert(named[1][RELORA_ORDER_SPLIT] && named[1][RELORA_ORDER_FOLD] && named[1][RELORA_ORDER_THROUGH]);
}
END_TEST

static const int64_t plain[4] = {70, 65, 60, 9};

/* A forced order is taken: it rounds elsewhere than SPLIT does. Forward and backward are told apart. */
START_TEST(test_forced_orders_are_taken)
{
    relora_linear_options o = order_options(RELORA_MODE_LORA, plain, _i ? RELORA_BF16 : RELORA_F32, 0);
    struct bench b = new_bench(&o, plain[0], 3);
    struct bits split = bits_of(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, 0);
    struct bits fold = bits_of(&b, RELORA_ORDER_FOLD, RELORA_ORDER_SPLIT, 0);
    struct bits back = bits_of(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_FOLD, 0);
    struct bits through = bits_of(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_THROUGH, 0);
    ck_assert(bits_differ(&fold, &split, 0) && !bits_differ(&fold, &split, 1));
    ck_assert(!bits_differ(&back, &split, 0) && bits_differ(&back, &split, 1));
    for (int i = 2; i < split.n; i++) {
        ck_assert(!bits_differ(&back, &split, i)); /* only dx is folded */
        ck_assert(bits_differ(&through, &split, i));
    }
    ck_assert(!bits_differ(&through, &back, 1));
}
END_TEST

/* The gradient of the scale over many layers. It adds up rows * rank products h u, of sums over out and over in. If a
 * sum is off by r roundings of its result, r from a step of 64 terms and from adding steps up (linear_split.c), each by
 * eps / sqrt(12), then the gradient is off by this. In one go r would be 16 at 512 terms. */
START_TEST(test_scale_gradient_is_near)
{
    enum { DRAWS = 60 };
    const int64_t *shape = order_shapes[8];
    relora_linear_options o =
        order_options(RELORA_MODE_LORA, shape, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE);
    double squares = 0, s = tanh((double)0.6f), in = (double)shape[1], out = (double)shape[2];
    for (uint64_t draw = 1; draw <= DRAWS; draw++) {
        struct bench b = new_bench(&o, shape[0], draw);
        struct oracle want = expect(&b);
        bench_backward(&b, NULL, RELORA_OVERWRITE);
        squares += pow(*get(relora_linear_grad(b.l, RELORA_PARAM_SCALE)) - want.dscale, 2);
    }
    double h = 0.3 * sqrt(out), u = 0.3 * sqrt(in), terms = sqrt((double)(shape[0] * shape[3]));
    double roundings = sqrt(64 / 2 + out / 64 / 2 + 64 / 2 + in / 64 / 2);
    double expected = (1 - s * s) * terms * h * u * roundings * close_eps(RELORA_F32) / sqrt(12);
    ck_assert_double_lt(sqrt(squares / DRAWS), expected);
}
END_TEST

Suite *linear_orders(void)
{
    Suite *s = suite_create("linear orders");
    TCase *tc = env_case(s, "orders", 60);
    tcase_add_loop_test(tc, test_against_oracle, 0, 2 * ORDER_SHAPES);
    tcase_add_loop_test(tc, test_auto_is_what_the_plan_says, 0, 2);
    tcase_add_loop_test(tc, test_forced_orders_are_taken, 0, 2);
    tcase_add_test(tc, test_scale_gradient_is_near);
    return s;
}
