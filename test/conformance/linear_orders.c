/* The orders of products of relora/linear.h: each gives the values of the formulas, AUTO is the one that
 * relora_linear_plan() names, and where an order is not exact the bits are those of SPLIT. */
#include "conformance/suites.h"

static const int64_t shapes[][4] = { /* rows, in, out, rank */
    {1, 1, 1, 1},     {0, 7, 5, 2},    {5, 7, 3, 2},     {13, 3, 11, 8},   /* rank above in */
    {31, 29, 1, 4},   {3, 1, 300, 2},  {65, 65, 65, 65}, {17, 31, 257, 5}, /* one past a slice of a fold */
    {9, 301, 513, 3}, {300, 20, 24, 4}, /* AUTO folds */ {400, 16, 16, 16} /* AUTO goes through g^T x */
};
enum { SHAPES = sizeof shapes / sizeof *shapes, FLAGS = 8 };

static const relora_order orders[][2] = { /* forward, backward */
    {RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
    {RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
    {RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH},
    {RELORA_ORDER_AUTO, RELORA_ORDER_AUTO},
};
enum { ORDERS = sizeof orders / sizeof *orders };

struct bench {
    relora_linear_options options;
    struct oracle o;
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
};

/* s = 2 is exact in BF16, so s B is rounded as the oracle rounds B. */
static relora_linear_options options_of(relora_linear_mode mode, const int64_t *shape, relora_dtype dtype,
                                        uint32_t flags)
{
    relora_linear_options o = layer_options(mode, shape[1], shape[2], shape[3]);
    o.dtype = dtype;
    o.flags = flags;
    o.alpha = 2 * (double)shape[3];
    o.seed = 5;
    o.layer = 3;
    return o;
}

static struct bench new_bench(const relora_linear_options *o, int64_t rows, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    struct bench b = {.options = *o, .l = new_filled_linear(o, &r)};
    if (relora_linear_param(b.l, RELORA_PARAM_SCALE)) put_all(relora_linear_param(b.l, RELORA_PARAM_SCALE), 0.6);
    b.x = new_matrix(o->dtype, rows, o->in_features);
    b.dx = new_matrix(o->dtype, rows, o->in_features);
    b.y = new_matrix(o->dtype, rows, o->out_features);
    b.dy = new_matrix(o->dtype, rows, o->out_features);
    put_normal(b.x, &r, 1);
    put_normal(b.dy, &r, 1);
    return b;
}

static void expect(struct bench *b)
{
    const relora_linear_options *o = &b->options;
    b->o = (struct oracle){.rows = relora_tensor_dim(b->x, 0),
                           .in = o->in_features,
                           .out = o->out_features,
                           .rank = o->rank,
                           .bf16 = o->dtype == RELORA_BF16,
                           .x = get(b->x),
                           .dy = get(b->dy)};
    oracle_run(&b->o, b->l, relora_linear_param(b->l, RELORA_PARAM_SCALE) ? tanh((double)0.6f) : 2);
}

/* ---- against the formulas ---- */

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

static void grads_are(const struct bench *b, double factor)
{
    const struct oracle *o = &b->o;
    const double *want[] = {NULL, NULL, o->dbias, o->da, o->db};
    const int64_t k[] = {0, 0, o->rows, o->rows + o->out, o->rows + o->in};
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++) {
        relora_tensor *g = relora_linear_grad(b->l, p);
        if (g) near(b, get(g), times(want[p], relora_tensor_count(g), factor, 0), relora_tensor_count(g), k[p]);
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

static void backward(const struct bench *b, relora_tensor *dx, uint32_t flags)
{
    OK(relora_linear_backward(b->l, env.st, b->x, b->dy, dx, 11, flags));
}

/* Stored over NaN, added to itself, and without dx. */
static void check(struct bench *b)
{
    const struct oracle *o = &b->o;
    int64_t n = o->rows * o->in;
    put_all(b->y, NAN);
    put_all(b->dx, NAN);
    fill_grads(b, NAN);
    OK(relora_linear_forward(b->l, env.st, b->x, b->y, 11, 0));
    near(b, get(b->y), o->y, o->rows * o->out, o->in + o->rank);
    backward(b, b->dx, RELORA_OVERWRITE);
    near(b, get(b->dx), o->dx, n, o->out + o->rank);
    grads_are(b, 1);
    put_all(b->dx, 3);
    backward(b, b->dx, RELORA_ACCUMULATE_DX);
    near(b, get(b->dx), times(o->dx, n, 1, 3), n, o->out + o->rank);
    grads_are(b, 2);
    backward(b, NULL, RELORA_OVERWRITE);
    grads_are(b, 1);
}

START_TEST(test_against_oracle)
{
    const int64_t *shape = shapes[_i % SHAPES];
    for (uint32_t bits = 0; bits < FLAGS; bits++) {
        const uint32_t flags = (bits & 1 ? RELORA_LINEAR_BIAS : 0) | (bits & 2 ? RELORA_LINEAR_TRAINABLE_SCALE : 0) |
                               (bits & 4 ? RELORA_LINEAR_KEEP_DELTA : 0);
        relora_linear_options o =
            options_of(RELORA_MODE_LORA, shape, _i < SHAPES ? RELORA_F32 : RELORA_BF16, flags);
        struct bench b = new_bench(&o, shape[0], (uint64_t)_i + 1);
        void *was[RELORA_PARAM_DELTA + 1] = {NULL};
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
            if (relora_linear_param(b.l, p)) was[p] = snapshot(relora_linear_param(b.l, p));
        expect(&b);
        for (int i = 0; i < ORDERS; i++) {
            OK(relora_linear_set_order(b.l, orders[i][0], orders[i][1]));
            check(&b);
        }
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
            if (was[p]) UNCHANGED(relora_linear_param(b.l, p), was[p]);
    }
}
END_TEST

/* ---- bit for bit ---- */

struct bits { /* everything a forward and a backward write */
    void *of[8];
    size_t size[8];
    int n;
};

static void keep(struct bits *bits, const relora_tensor *t)
{
    if (!t) return;
    bits->size[bits->n] = bytes_of(t);
    bits->of[bits->n++] = snapshot(t);
}

static struct bits run(const struct bench *b, relora_order forward, relora_order back, uint32_t flags)
{
    struct bits bits = {.n = 0};
    OK(relora_linear_set_order(b->l, forward, back));
    OK(relora_linear_forward(b->l, env.st, b->x, b->y, 11, flags));
    backward(b, b->dx, flags | RELORA_OVERWRITE);
    keep(&bits, b->y);
    keep(&bits, b->dx);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SCALE; p++) keep(&bits, relora_linear_grad(b->l, p));
    return bits;
}

static void same(const struct bits *a, const struct bits *b)
{
    ck_assert_int_eq(a->n, b->n);
    for (int i = 0; i < a->n; i++) SAME_BYTES(a->of[i], b->of[i], a->size[i]);
}

/* 0: y, 1: dx, 2 and on: gradients */
static int differ(const struct bits *a, const struct bits *b, int which)
{
    return memcmp(a->of[which], b->of[which], a->size[which]) != 0;
}

static relora_plan_report plan_of(const struct bench *b, uint32_t flags)
{
    relora_plan_report r = {.struct_size = sizeof r};
    OK(relora_linear_plan(b->l, relora_tensor_dim(b->x, 0), flags, &r));
    return r;
}

/* AUTO gives the bits of the order that the plan names, and the shapes above make it name each. */
START_TEST(test_auto_is_what_the_plan_says)
{
    int named[2][5] = {{0}};
    for (int i = 0; i < SHAPES; i++) {
        relora_linear_options o = options_of(RELORA_MODE_LORA, shapes[i], _i ? RELORA_BF16 : RELORA_F32, 0);
        struct bench b = new_bench(&o, shapes[i][0], 2);
        relora_plan_report plan = plan_of(&b, 0);
        struct bits chosen = run(&b, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, 0);
        struct bits forced = run(&b, plan.forward, plan.backward, 0);
        same(&chosen, &forced);
        named[0][plan.forward]++;
        named[1][plan.backward]++;
    }
    ck_assert(named[0][RELORA_ORDER_SPLIT] && named[0][RELORA_ORDER_FOLD]);
    ck_assert(named[1][RELORA_ORDER_SPLIT] && named[1][RELORA_ORDER_FOLD] && named[1][RELORA_ORDER_THROUGH]);
}
END_TEST

static const int64_t plain[4] = {70, 65, 60, 9};

/* A forced order is taken: it rounds elsewhere than SPLIT does. Forward and backward are told apart. */
START_TEST(test_forced_orders_are_taken)
{
    relora_linear_options o = options_of(RELORA_MODE_LORA, plain, _i ? RELORA_BF16 : RELORA_F32, 0);
    struct bench b = new_bench(&o, plain[0], 3);
    struct bits split = run(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, 0);
    struct bits fold = run(&b, RELORA_ORDER_FOLD, RELORA_ORDER_SPLIT, 0);
    struct bits back = run(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_FOLD, 0);
    struct bits through = run(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_THROUGH, 0);
    ck_assert(differ(&fold, &split, 0) && !differ(&fold, &split, 1));
    ck_assert(!differ(&back, &split, 0) && differ(&back, &split, 1));
    for (int i = 2; i < split.n; i++) {
        ck_assert(!differ(&back, &split, i)); /* only dx is folded */
        ck_assert(differ(&through, &split, i));
    }
    ck_assert(!differ(&through, &back, 1));
}
END_TEST

static void split_alone(const struct bench *b, uint32_t flags)
{
    struct bits split = run(b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, flags);
    for (int i = 0; i < ORDERS; i++) {
        struct bits other = run(b, orders[i][0], orders[i][1], flags);
        relora_plan_report plan = plan_of(b, flags);
        same(&other, &split);
        ck_assert_int_eq(plan.forward, RELORA_ORDER_SPLIT);
        ck_assert_int_eq(plan.backward, RELORA_ORDER_SPLIT);
    }
}

/* Dropout leaves SPLIT alone, at any shape. Where it does not act, the same layer folds, and the bits are
 * those of a layer without dropout. */
START_TEST(test_dropout)
{
    relora_linear_options o = options_of(RELORA_MODE_LORA, shapes[_i % SHAPES], RELORA_F32, RELORA_LINEAR_BIAS);
    if (_i >= SHAPES) o.dtype = RELORA_BF16;
    struct bench without = new_bench(&o, shapes[_i % SHAPES][0], 4);
    o.dropout = 0.3;
    struct bench b = new_bench(&o, shapes[_i % SHAPES][0], 4);
    split_alone(&b, RELORA_TRAIN);
    for (int i = 0; i < ORDERS; i++) {
        struct bits eval = run(&b, orders[i][0], orders[i][1], 0);
        struct bits want = run(&without, orders[i][0], orders[i][1], RELORA_TRAIN);
        relora_plan_report plan = plan_of(&b, 0), free = plan_of(&without, RELORA_TRAIN);
        same(&eval, &want);
        ck_assert_int_eq(plan.forward, free.forward);
        ck_assert_int_eq(plan.backward, free.backward);
        if (orders[i][0] == RELORA_ORDER_AUTO) continue;
        ck_assert_int_eq(plan.forward, orders[i][0]);
        ck_assert_int_eq(plan.backward, orders[i][1]);
    }
}
END_TEST

/* A BF16 layer that rounds to nearest would lose small updates in a fold; one of F32 rounds nothing. */
START_TEST(test_nearest)
{
    for (int i = 0; i < SHAPES; i++) {
        relora_linear_options o = options_of(RELORA_MODE_LORA, shapes[i], RELORA_BF16, 0);
        o.rounding = RELORA_ROUND_NEAREST;
        struct bench b = new_bench(&o, shapes[i][0], 5);
        split_alone(&b, 0);
        split_alone(&b, RELORA_TRAIN);
        o.dtype = RELORA_F32;
        struct bench wide = new_bench(&o, shapes[i][0], 5);
        OK(relora_linear_set_order(wide.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
        ck_assert_int_eq(plan_of(&wide, RELORA_TRAIN).forward, RELORA_ORDER_FOLD);
        ck_assert_int_eq(plan_of(&wide, RELORA_TRAIN).backward, RELORA_ORDER_THROUGH);
    }
}
END_TEST

/* Only LORA has what to fold. */
START_TEST(test_other_modes)
{
    static const relora_linear_mode modes[] = {RELORA_MODE_FULL, RELORA_MODE_LOWRANK};
    for (int i = 0; i < SHAPES; i++) {
        relora_linear_options o = options_of(modes[_i % 2], shapes[i], _i / 2 ? RELORA_BF16 : RELORA_F32,
                                             RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE);
        struct bench b = new_bench(&o, shapes[i][0], 6);
        split_alone(&b, 0);
        o.dropout = 0.3;
        b = new_bench(&o, shapes[i][0], 6);
        split_alone(&b, RELORA_TRAIN);
    }
}
END_TEST

/* The gradient of a trainable scale needs h and u, which THROUGH does not make. */
START_TEST(test_trainable_scale)
{
    relora_linear_options o = options_of(RELORA_MODE_LORA, plain, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE);
    struct bench b = new_bench(&o, plain[0], 7);
    struct bits split = run(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT, 0);
    struct bits through = run(&b, RELORA_ORDER_SPLIT, RELORA_ORDER_THROUGH, 0);
    ck_assert_int_eq(plan_of(&b, 0).backward, RELORA_ORDER_SPLIT);
    same(&through, &split);
    struct bits fold = run(&b, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD, 0);
    ck_assert_int_eq(plan_of(&b, 0).backward, RELORA_ORDER_FOLD);
    ck_assert(differ(&fold, &split, 0) && differ(&fold, &split, 1));
}
END_TEST

/* ---- for how long ---- */

static void is_forced(const struct bench *b)
{
    relora_plan_report plan = plan_of(b, 0);
    ck_assert_int_eq(plan.forward, RELORA_ORDER_FOLD);
    ck_assert_int_eq(plan.backward, RELORA_ORDER_THROUGH);
}

/* Whatever happens to the layer, until the next relora_linear_set_order(). */
START_TEST(test_order_stays)
{
    relora_linear_options o = options_of(RELORA_MODE_LORA, plain, RELORA_F32, RELORA_LINEAR_KEEP_DELTA);
    struct bench b = new_bench(&o, plain[0], 8), other = new_bench(&o, plain[0], 8);
    relora_tensor *w = new_matrix(RELORA_F32, plain[2], plain[1]);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    is_forced(&b);
    OK(relora_linear_merge(b.l, env.st, 1, NULL));
    is_forced(&b);
    OK(relora_linear_reset(b.l, env.st, 1));
    is_forced(&b);
    OK(relora_linear_zero_grad(b.l, env.st));
    is_forced(&b);
    OK(relora_linear_set_weight(b.l, w, NULL));
    is_forced(&b);
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_order(b.l, RELORA_ORDER_SPLIT, 9), "backward", "9");
    is_forced(&b);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO));
    ck_assert_int_eq(plan_of(&b, 0).forward, plan_of(&other, 0).forward);
    ck_assert_int_eq(plan_of(&b, 0).backward, plan_of(&other, 0).backward);
    ck_assert_int_ne(plan_of(&b, 0).backward, RELORA_ORDER_THROUGH); /* of rank 9 */
}
END_TEST

/* An order given to a FULL layer waits for LORA, and then gives what a layer that was born so gives. */
START_TEST(test_full_becomes_lora)
{
    relora_linear_options o = options_of(RELORA_MODE_LORA, plain, RELORA_F32, 0);
    struct bench born = new_bench(&o, plain[0], 9);
    o.mode = RELORA_MODE_FULL;
    struct bench b = new_bench(&o, plain[0], 9);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    ck_assert_int_eq(plan_of(&b, 0).forward, RELORA_ORDER_SPLIT);
    OK(relora_linear_set_mode(b.l, env.st, RELORA_MODE_LORA));
    is_forced(&b);
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        put(relora_linear_param(b.l, p), get(relora_linear_param(born.l, p)));
    put(b.x, get(born.x)); /* drawn after A and B, which FULL has not */
    put(b.dy, get(born.dy));
    OK(relora_linear_forward(b.l, env.st, b.x, b.y, 11, 0));
    struct bits want = run(&born, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH, 0);
    SAME_BYTES(snapshot(b.y), want.of[0], want.size[0]);
    backward(&b, b.dx, RELORA_OVERWRITE);
    SAME_BYTES(snapshot(b.dx), want.of[1], want.size[1]);
    SAME_BYTES(snapshot(relora_linear_grad(b.l, RELORA_PARAM_A)), want.of[2], want.size[2]);
}
END_TEST

Suite *linear_orders(void)
{
    Suite *s = suite_create("linear orders");
    TCase *tc = env_case(s, "orders", 60);
    tcase_add_loop_test(tc, test_against_oracle, 0, 2 * SHAPES);
    tcase_add_loop_test(tc, test_auto_is_what_the_plan_says, 0, 2);
    tcase_add_loop_test(tc, test_forced_orders_are_taken, 0, 2);
    tcase_add_loop_test(tc, test_dropout, 0, 2 * SHAPES);
    tcase_add_test(tc, test_nearest);
    tcase_add_loop_test(tc, test_other_modes, 0, 4);
    tcase_add_test(tc, test_trainable_scale);
    tcase_add_test(tc, test_order_stays);
    tcase_add_test(tc, test_full_becomes_lora);
    return s;
}
