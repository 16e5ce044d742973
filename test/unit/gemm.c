/* The matrix product: the portable one against a naive loop in double, the library's own and that of this build's
 * providers against the portable. */
#include "unit/suites.h"
#include <stdlib.h>
#include "cpu/cpu.h"
#include "stream.h"

static const int64_t shapes[][3] = {
    /* rows, columns, depth */
    {1, 1, 1},   {17, 31, 13},  {16, 32, 128}, {17, 33, 129}, {65, 65, 65},
    {2, 3, 0},   {0, 3, 2},     {3, 0, 2},     {1, 200, 3},   {130, 1, 7},
    {5, 7, 300}, {64, 96, 257}, {600, 5, 9},   {3, 1100, 5},  {20, 40, 1100},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, GAP = 3 };

struct product {
    struct gemm g;
    relora_dtype type_a, type_c;
    void *c_was;
    size_t c_bytes;
};

static struct view random_view(int64_t rows, int64_t cols, relora_dtype dtype, struct rnd *r)
{
    struct view v = {NULL, rows, cols, cols + GAP, dtype};
    int64_t n = rows * v.ld + 1;
    v.data = scratch((size_t)n * 4);
    for (int64_t i = 0; i < n; i++) {
        if (dtype == RELORA_F32) ((float *)v.data)[i] = (float)rnd_normal(r);
        else ((uint16_t *)v.data)[i] = bf16_of((float)rnd_normal(r));
    }
    return v;
}

static double at(struct view v, int64_t i, int64_t j)
{
    return v.dtype == RELORA_F32 ? (double)((float *)v.data)[i * v.ld + j]
                                 : (double)bf16_value(((uint16_t *)v.data)[i * v.ld + j]);
}

/* The bits of `variant`: ta, tb, accumulate, bias; then F32, BF16 into F32, BF16 into BF16. */
static struct product make(const int64_t *s, int variant, struct rnd *r)
{
    struct product p;
    int64_t m = s[0], n = s[1], k = s[2];
    memset(&p, 0, sizeof p);
    p.type_a = variant / 16 ? RELORA_BF16 : RELORA_F32;
    p.type_c = variant / 16 == 2 ? RELORA_BF16 : RELORA_F32;
    p.g.ta = variant & 1;
    p.g.tb = variant >> 1 & 1;
    p.g.accumulate = variant >> 2 & 1;
    p.g.a = p.g.ta ? random_view(k, m, p.type_a, r) : random_view(m, k, p.type_a, r);
    p.g.b = p.g.tb ? random_view(n, k, p.type_a, r) : random_view(k, n, p.type_a, r);
    p.g.c = random_view(m, n, p.type_c, r);
    if (variant & 8) p.g.bias = random_view(1, n, RELORA_F32, r).data;
    p.c_bytes = (size_t)(m * (n + GAP) + 1) * 4;
    p.c_was = scratch(p.c_bytes);
    memcpy(p.c_was, p.g.c.data, p.c_bytes);
    return p;
}
enum { VARIANTS = 48 };

static double naive(const struct product *p, struct view c_was, int64_t i, int64_t j)
{
    const struct gemm *g = &p->g;
    int64_t depth = g->ta ? g->a.rows : g->a.cols;
    double sum = 0;
    for (int64_t k = 0; k < depth; k++)
        sum += (g->ta ? at(g->a, k, i) : at(g->a, i, k)) * (g->tb ? at(g->b, j, k) : at(g->b, k, j));
    if (g->bias) sum += (double)g->bias[j];
    return g->accumulate ? sum + at(c_was, i, j) : sum;
}

static struct view with_data(struct view v, void *data)
{
    v.data = data;
    return v;
}

static void gaps_kept(const struct product *p)
{
    struct view was = with_data(p->g.c, p->c_was), c = p->g.c;
    for (int64_t i = 0; i < c.rows; i++)
        for (int64_t j = c.cols; j < c.ld; j++) ck_assert_double_eq(at(c, i, j), at(was, i, j));
}

/* Sums in double: only storing rounds, half an eps of the result. A compiler that fuses, here or there,
 * moves the double in its last bits: rarely to the other side of a tie, so a whole eps. */
START_TEST(test_portable)
{
    struct rnd r = rnd_seed((uint64_t)_i);
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct product p = make(shapes[_i], variant, &r);
        ck_assert_int_eq(cpu_gemm_portable(env.st->queue, &p.g), RELORA_OK);
        for (int64_t i = 0; i < p.g.c.rows; i++)
            for (int64_t j = 0; j < p.g.c.cols; j++) {
                double want = naive(&p, with_data(p.g.c, p.c_was), i, j);
                ck_assert_double_eq_tol(at(p.g.c, i, j), want, close_eps(p.type_c) * fabs(want) + 1e-300);
            }
        gaps_kept(&p);
    }
}
END_TEST

/* The same bits for any number of threads. */
START_TEST(test_portable_threads)
{
    void *bits[2];
    for (int threads = 1; threads <= 2; threads++) {
        if (threads == 2) {
            env_close();
            env_open_threads(2);
        }
        struct rnd r = rnd_seed(3);
        struct product p = make((const int64_t[]){67, 101, 53}, 12, &r);
        ck_assert_int_eq(cpu_gemm_portable(env.st->queue, &p.g), RELORA_OK);
        bits[threads - 1] = malloc(p.c_bytes);
        memcpy(bits[threads - 1], p.g.c.data, p.c_bytes);
    }
    SAME_BYTES(bits[0], bits[1], 67 * (101 + GAP) * 4);
    free(bits[0]);
    free(bits[1]);
}
END_TEST

static int can(int tile) /* on this processor */ { return tile <= (int)cpu_gemm_own_best(); }

/* As long a sum of F32 as oneDNN's below; the same bound. */
START_TEST(test_own)
{
    struct rnd r = rnd_seed((uint64_t)_i);
    int64_t depth = shapes[_i][2];
    for (int variant = 0; variant < VARIANTS; variant++)
        for (int tile = 0; tile < OWN_TILES && can(tile); tile++) {
            struct product p = make(shapes[_i], variant, &r), q = p;
            q.g.c.data = scratch(p.c_bytes);
            memcpy(q.g.c.data, p.c_was, p.c_bytes);
            ck_assert_int_eq(cpu_gemm_portable(env.st->queue, &p.g), RELORA_OK);
            ck_assert_int_eq(cpu_gemm_own(env.st->queue, &q.g, (enum own_tile)tile), RELORA_OK);
            double sums = close_tolerance(0, RELORA_F32, 2 * sqrt((double)depth + 1), depth + 1);
            for (int64_t i = 0; i < p.g.c.rows; i++)
                for (int64_t j = 0; j < p.g.c.cols; j++) {
                    double want = at(p.g.c, i, j);
                    ck_assert_double_eq_tol(at(q.g.c, i, j), want, sums + close_eps(p.type_c) * fabs(want));
                }
            gaps_kept(&q);
        }
}
END_TEST

/* Bits of a product on some threads, by some tile; to be freed. */
static void *own_bits(int threads, int tile, int variant, const int64_t *shape, size_t *bytes)
{
    struct rnd r = rnd_seed(3);
    env_close();
    env_open_threads(threads);
    struct product p = make(shape, variant, &r);
    ck_assert_int_eq(cpu_gemm_own(env.st->queue, &p.g, (enum own_tile)tile), RELORA_OK);
    void *bits = malloc(*bytes = p.c_bytes);
    memcpy(bits, p.g.c.data, p.c_bytes);
    return bits;
}

/* The same bits for any number of threads, and on every processor that fuses multiply-adds. */
START_TEST(test_own_bits)
{
    static const int64_t large[][3] = {{300, 290, 1030}, {1300, 40, 70}, {40, 1200, 600}};
    for (int tile = 0; tile < OWN_TILES && can(tile); tile++)
        for (int s = 0; s < 3; s++) {
            size_t bytes;
            int same = tile == OWN_AVX512 ? OWN_AVX2 : tile;
            void *one = own_bits(1, same, _i, large[s], &bytes),
                 *many = own_bits(2 + s, tile, _i, large[s], &bytes);
            SAME_BYTES(one, many, bytes);
            free(one);
            free(many);
        }
}
END_TEST

/* The vectors of the processor are used, and the report says which. `make check-neon` looks into the code. */
START_TEST(test_own_path)
{
    struct rnd r = rnd_seed(3);
    struct product p = make(shapes[4], 0, &r);
    struct gemm_path path;
    memset(&path, 0, sizeof path);
    ck_assert_int_eq(cpu_gemm_own_tell(env.st->queue, &p.g, &path), RELORA_OK);
    ck_assert_int_eq(path.provider, RELORA_PROVIDER_OWN);
#if defined(__aarch64__)
    ck_assert_int_eq(cpu_gemm_own_best(), OWN_PLAIN);
    ck_assert_int_eq(path.isa, RELORA_ISA_NEON);
#elif defined(__x86_64__)
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl");
    ck_assert_int_eq(path.isa, avx512 ? RELORA_ISA_AVX512 : avx2 ? RELORA_ISA_AVX2 : RELORA_ISA_BASE);
#endif
}
END_TEST

/* oneDNN and a BLAS sum k terms of size 1 in F32: the sum grows to sqrt(k), 2 sqrt(k) at worst, and each of k
 * additions rounds it. BF16 results may fall on the other side of a tie: an eps of the largest. */
START_TEST(test_providers)
{
    struct rnd r = rnd_seed((uint64_t)_i);
    int64_t depth = shapes[_i][2];
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct product p = make(shapes[_i], variant, &r), q = p;
        q.g.c.data = scratch(p.c_bytes);
        memcpy(q.g.c.data, p.c_was, p.c_bytes);
        ck_assert_int_eq(cpu_gemm_portable(env.st->queue, &p.g), RELORA_OK);
        ck_assert_int_eq(cpu_gemm(env.st->queue, &q.g), RELORA_OK);
        double sums = close_tolerance(0, RELORA_F32, 2 * sqrt((double)depth + 1), depth + 1);
        for (int64_t i = 0; i < p.g.c.rows; i++)
            for (int64_t j = 0; j < p.g.c.cols; j++) {
                double want = at(p.g.c, i, j);
                ck_assert_double_eq_tol(at(q.g.c, i, j), want, sums + close_eps(p.type_c) * fabs(want));
            }
        gaps_kept(&q);
    }
}
END_TEST

Suite *unit_gemm(void)
{
    Suite *s = suite_create("gemm");
    TCase *tc = env_case(s, "gemm", 60);
    tcase_add_loop_test(tc, test_portable, 0, SHAPES);
    tcase_add_test(tc, test_portable_threads);
    tcase_add_loop_test(tc, test_own, 0, SHAPES);
    tcase_add_loop_test(tc, test_own_bits, 0, VARIANTS);
    tcase_add_test(tc, test_own_path);
    tcase_add_loop_test(tc, test_providers, 0, SHAPES);
    return s;
}
