/* The fold of a BF16 layer, V = W + s B A rounded stochastically, read off the layer itself: forward of the
 * identity gives V^T, backward of the identity V, both exactly. */
#include "conformance/suites.h"
#include <stdlib.h>

/* Two slices of the fold, rows of two batches of random words. */
enum { IN = 301, OUT = 600, RANK = 3, N = OUT * IN, SLICE = OUT / 2 };

static relora_linear_options options_of(uint64_t seed, uint64_t layer)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = RELORA_BF16;
    o.alpha = RANK;
    o.seed = seed;
    o.layer = layer;
    return o;
}

static relora_linear *new_layer_of(const relora_linear_options *o)
{
    relora_linear *l = new_linear(o);
    OK(relora_linear_set_weight(l, new_matrix(RELORA_BF16, OUT, IN), NULL));
    OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD));
    return l;
}

static relora_linear *new_layer(uint64_t seed, uint64_t layer)
{
    relora_linear_options o = options_of(seed, layer);
    return new_layer_of(&o);
}

/* Numbers that F32 adds and multiplies without rounding, so that W + s B A is known to the last bit whatever
 * product made it: W between 0.5 and 1.9 in size, A of 1/64, B of 2^-15, s of 1/4. An ulp is cut into 2^12
 * parts or more, so that nearly all of a random word counts. Every 16th row of B is 0. */
static void put_exact(relora_linear *l)
{
    struct rnd r = rnd_seed(21);
    double *w = doubles(N), *a = doubles(RANK * IN), *b = doubles(OUT * RANK);
    for (int i = 0; i < N; i++) w[i] = bf16_round(rnd_uniform(&r, 0.5, 1.9)) * (rnd_bits(&r) & 1 ? 1 : -1);
    for (int i = 0; i < RANK * IN; i++) a[i] = floor(rnd_uniform(&r, -64, 65)) / 64;
    for (int i = 0; i < OUT * RANK; i++)
        b[i] = i / RANK % 16 ? floor(rnd_uniform(&r, -255, 256)) * 0x1p-15 : 0;
    put(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    put(relora_linear_param(l, RELORA_PARAM_A), a);
    put(relora_linear_param(l, RELORA_PARAM_B), b);
}

/* W = 1 and B A = half the distance to the next BF16: each element of V is a coin. */
static void put_coins(relora_linear *l)
{
    double *a = doubles(RANK * IN), *b = doubles(OUT * RANK);
    for (int i = 0; i < IN; i++) a[i] = 1;
    for (int i = 0; i < OUT; i++) b[i * RANK] = 0x1p-8;
    put_all(relora_linear_param(l, RELORA_PARAM_WEIGHT), 1);
    put(relora_linear_param(l, RELORA_PARAM_A), a);
    put(relora_linear_param(l, RELORA_PARAM_B), b);
}

static relora_tensor *identity(int64_t n)
{
    relora_tensor *t = new_matrix(RELORA_BF16, n, n);
    double *values = doubles(n * n);
    for (int64_t i = 0; i < n; i++) values[i * n + i] = 1;
    put(t, values);
    return t;
}

struct probe { /* what reading V off a layer takes, made once for many readings */
    relora_tensor *x, *y, *dy, *dx, *none;
};

static struct probe new_probe(void)
{
    struct probe p = {identity(IN), new_matrix(RELORA_BF16, IN, OUT), identity(OUT),
                      new_matrix(RELORA_BF16, OUT, IN), new_matrix(RELORA_BF16, OUT, IN)};
    put_all(p.none, 0);
    return p;
}

static void read_forward(const struct probe *p, relora_linear *l, uint64_t call, uint16_t *v)
{
    uint16_t *turned = malloc(N * sizeof *turned);
    OK(relora_linear_forward(l, env.st, p->x, p->y, call, RELORA_TRAIN));
    OK(relora_tensor_read(p->y, env.st, turned, N * sizeof *turned));
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++) v[o * IN + i] = turned[i * OUT + o];
    free(turned);
}

static void read_backward(const struct probe *p, relora_linear *l, uint64_t call, uint16_t *v)
{
    OK(relora_linear_backward(l, env.st, p->none, p->dy, p->dx, call, RELORA_TRAIN));
    OK(relora_tensor_read(p->dx, env.st, v, N * sizeof *v));
}

static uint16_t *folded(relora_linear *l, uint64_t call)
{
    struct probe p = new_probe();
    uint16_t *v = scratch(N * sizeof *v);
    read_forward(&p, l, call, v);
    return v;
}

/* The largest BF16 that is not above the size of `value`, in size. */
static double toward_zero(double value)
{
    double ulp = ldexp(1, ilogb(value) - 7);
    return trunc(value / ulp) * ulp;
}

/* Forward and backward of one call see one V, through whatever order dx is made. */
START_TEST(test_one_v_in_a_call)
{
    struct probe p = new_probe();
    relora_linear *l = new_layer(1, 2);
    uint16_t *v = scratch(N * sizeof *v), *other = scratch(N * sizeof *other);
    put_exact(l);
    for (uint64_t call = 7; call < 10; call++) {
        OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, _i ? RELORA_ORDER_THROUGH : RELORA_ORDER_FOLD));
        read_forward(&p, l, call, v);
        read_backward(&p, l, call, other);
        SAME_BYTES(v, other, N * sizeof *v);
        read_forward(&p, l, call, other); /* and again */
        SAME_BYTES(v, other, N * sizeof *v);
    }
}
END_TEST

/* Each element is one of the two neighbours of W + s B A, itself if BF16 holds it, both are met. */
static void are_neighbours(const uint16_t *v, const double *exact)
{
    int down = 0, up = 0, held = 0;
    for (int i = 0; i < N; i++) {
        double got = (double)bf16_value(v[i]), low = toward_zero(exact[i]);
        double high = low == exact[i] ? low : low + copysign(ldexp(1, ilogb(exact[i]) - 7), low);
        ck_assert_msg(got == low || got == high, "%d: %.9g of %.9g", i, got, exact[i]);
        held += low == high, down += low != high && got == low, up += low != high && got == high;
    }
    ck_assert_msg(down > N / 5 && up > N / 5 && held > N / 20, "%d down, %d up, %d held", down, up, held);
}

/* s = 1; s = -1/4, which is exact in the products too; and the same as tanh(scale), which is to the last bits
 * of F32, that go when s B is rounded. */
START_TEST(test_neighbours)
{
    const double s = _i ? -0.25 : 1;
    relora_linear_options o = options_of(1, 2);
    o.flags = _i == 2 ? RELORA_LINEAR_TRAINABLE_SCALE : 0;
    o.alpha = s * RANK;
    relora_linear *l = new_layer_of(&o);
    put_exact(l);
    if (_i == 2) put_all(relora_linear_param(l, RELORA_PARAM_SCALE), atanh(s));
    are_neighbours(folded(l, 3), oracle_merged(l, s));
}
END_TEST

/* The mean over many calls is W + s B A: element by element, and over all of them neither above nor
 * outside it. An element of which BF16 cuts off the part p of an ulp has the variance p (1 - p). By Bernstein's
 * inequality a sum passes 6 deviations + 6^2 / 3 ulps, which is for small p, with a probability of 3e-8, so one
 * of 180600 in 0.5 % of all seeds; the sums over all elements are normal and get 5 deviations. */
START_TEST(test_mean)
{
    enum { CALLS = 400 };
    struct probe p = new_probe();
    relora_linear *l = new_layer(1, 2);
    put_exact(l);
    double *exact = oracle_merged(l, 1), *sum = doubles(N), above = 0, outside = 0, variance = 0;
    uint16_t *v = scratch(N * sizeof *v);
    for (uint64_t call = 0; call < CALLS; call++) {
        read_backward(&p, l, call, v);
        for (int i = 0; i < N; i++) sum[i] += (double)bf16_value(v[i]);
    }
    for (int i = 0; i < N; i++) {
        double ulp = ldexp(1, ilogb(exact[i]) - 7), part = fabs(exact[i] - toward_zero(exact[i])) / ulp;
        double off = (sum[i] - CALLS * exact[i]) / ulp, spread = CALLS * part * (1 - part);
        ck_assert_msg(fabs(off) <= 6 * sqrt(spread) + (spread > 0 ? 12 : 0), "%d: off by %g of %g", i, off,
                      spread);
        above += off, outside += copysign(off, off * exact[i]), variance += spread;
    }
    ck_assert_double_lt(fabs(above), 5 * sqrt(variance));
    ck_assert_double_lt(fabs(outside), 5 * sqrt(variance));
}
END_TEST

static double share_that_differs(const uint16_t *a, const uint16_t *b, int n)
{
    double differs = 0;
    for (int i = 0; i < n; i++) differs += a[i] != b[i];
    return differs / n;
}

static uint16_t *coins(uint64_t seed, uint64_t layer, uint64_t call)
{
    relora_linear *l = new_layer(seed, layer);
    put_coins(l);
    return folded(l, call);
}

/* Two independent rows of coins differ in half of them, +- 0.0012 in 180600 and 0.0016 in 103544: 0.0078 is
 * 5 deviations of the second. */
static void independent(const uint16_t *a, const uint16_t *b, int n)
{
    ck_assert_double_eq_tol(share_that_differs(a, b, n), 0.5, 0.0078);
}

/* V is a function of (seed, layer, call), of each of them, and of all their bits. */
START_TEST(test_key)
{
    uint16_t *v = coins(1, 2, 3);
    SAME_BYTES(v, coins(1, 2, 3), N * sizeof *v);
    independent(v, coins(9, 2, 3), N);
    independent(v, coins(1, 9, 3), N);
    independent(v, coins(1, 2, 4), N);
    independent(v, coins(1, 2, 3 + (UINT64_C(1) << 40)), N);
    independent(v, coins(1, 2 + (UINT64_C(1) << 40), 3), N);
    independent(v, coins(1 + (UINT64_C(1) << 40), 2, 3), N);
    independent(v, coins(2, 1, 3), N);
}
END_TEST

/* No element shares its coin with the next one, the next row, the next slice, or the one that is 256
 * further, a batch of random words. */
START_TEST(test_elements_are_independent)
{
    static const int distances[] = {
        1, 2, 4, 256, IN, 4 * IN, 256 * IN - 512, 256 * IN, SLICE * IN - 512, SLICE * IN};
    uint16_t *v = coins(1, 2, 3);
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        independent(v, v + distances[i], N - distances[i]);
}
END_TEST

/* Nor with the merge of a cycle of the same number. */
START_TEST(test_not_the_draw_of_a_merge)
{
    relora_linear *l = new_layer(1, 2);
    put_coins(l);
    OK(relora_linear_merge(l, env.st, 3, NULL));
    independent(coins(1, 2, 3), snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT)), N);
}
END_TEST

/* The same V for any number of threads. */
START_TEST(test_threads)
{
    if (cpu_only()) return;
    uint16_t *first = malloc(N * sizeof *first);
    for (int32_t threads = 1; threads <= 3; threads++) {
        env_close();
        env_open_threads(threads);
        relora_linear *l = new_layer(1, 2);
        put_exact(l);
        uint16_t *v = folded(l, 3);
        if (threads == 1) memcpy(first, v, N * sizeof *v);
        SAME_BYTES(v, first, N * sizeof *v);
    }
    free(first);
}
END_TEST

static void release_tensor(void *p) { relora_tensor_release(p); }

/* W in the rows of something wider gives the V of W alone. */
START_TEST(test_strided_weight)
{
    enum { GAP = 9 };
    relora_linear *l = new_layer(1, 2);
    relora_tensor *view, *wide = new_matrix(RELORA_BF16, OUT, IN + GAP);
    put_exact(l);
    uint16_t *v = folded(l, 3), *memory = scratch(bytes_of(wide));
    uint16_t *w = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    for (int i = 0; i < OUT; i++) memcpy(memory + i * (IN + GAP), w + i * IN, IN * sizeof *w);
    OK(relora_tensor_write(wide, env.st, memory, bytes_of(wide)));
    OK(relora_tensor_borrow(&view, env.dev, RELORA_BF16, 2, (int64_t[]){OUT, IN}, (int64_t[]){IN + GAP, 1},
                            relora_tensor_data(wide), NULL, NULL));
    defer(release_tensor, view);
    OK(relora_linear_set_weight(l, view, NULL));
    SAME_BYTES(folded(l, 3), v, N * sizeof *v);
}
END_TEST

Suite *linear_fold(void)
{
    Suite *s = suite_create("linear fold");
    TCase *tc = env_case(s, "BF16 fold", 120);
    tcase_add_loop_test(tc, test_one_v_in_a_call, 0, 2);
    tcase_add_loop_test(tc, test_neighbours, 0, 3);
    tcase_add_test(tc, test_mean);
    tcase_add_test(tc, test_key);
    tcase_add_test(tc, test_elements_are_independent);
    tcase_add_test(tc, test_not_the_draw_of_a_merge);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_strided_weight);
    return s;
}
