/* Kernels with a draw: the same words for the same elements, wherever a draw begins and rows end. */
#include "cuda_kernels/twins.h"

static const uint64_t firsts[] = {0, 1, 2, 3, 8, (UINT64_C(1) << 34) - 5, (UINT64_C(1) << 40) + 3};
enum { FIRSTS = sizeof firsts / sizeof *firsts };

static struct draw draw_of(int i) { return draw_make(5, (uint64_t)i, DRAW_MERGE, (UINT64_C(3) << 32) + 1); }

START_TEST(test_dropout)
{
    const double shares[] = {0, 0.1, 0.5, 0.999};
    for (int k = 0; k < 16; k++) {
        relora_dtype dtype = k / 8 ? RELORA_BF16 : RELORA_F32;
        struct matrix y = matrix_make(shapes[_i], dtype, VALUES_NORMAL, 1);
        struct matrix x = matrix_make(shapes[_i], dtype, VALUES_ANY, 2);
        struct dropout d = {.p = shares[k % 4], .draw = draw_of(_i), .accumulate = k / 4 % 2}, e = d;
        d.y = y.cpu, d.x = x.cpu;
        e.y = y.cuda, e.x = x.cuda;
        BOTH(dropout(cpu_queue, &d), dropout(cuda_queue, &e));
        SAME(y.twin);
        twins_release();
    }
}
END_TEST

START_TEST(test_uniform)
{
    struct matrix y = matrix_make(shapes[_i], RELORA_F32, VALUES_NORMAL, 1);
    BOTH(uniform(cpu_queue, y.cpu, 0.3, draw_of(_i)), uniform(cuda_queue, y.cuda, 0.3, draw_of(_i)));
    SAME(y.twin);
}
END_TEST

START_TEST(test_fold)
{
    for (int k = 0; k < FIRSTS; k++) {
        struct matrix y = matrix_make(shapes[_i], RELORA_BF16, VALUES_NORMAL, 1);
        struct matrix w = matrix_make(shapes[_i], RELORA_BF16, VALUES_ANY, 2);
        struct matrix x = matrix_make(shapes[_i], RELORA_F32, VALUES_ANY, 3);
        struct fold f = {y.cpu, w.cpu, x.cpu, draw_of(k), firsts[k]},
                    g = {y.cuda, w.cuda, x.cuda, draw_of(k), firsts[k]};
        BOTH(fold(cpu_queue, &f), fold(cuda_queue, &g));
        SAME(y.twin);
        twins_release();
    }
}
END_TEST

/* Sums of as many squares as there are elements, in double; added to what is there. */
static void same_norms(struct twin norms, int64_t count)
{
    const double *got = twin_read(norms), *want = norms.cpu;
    for (int i = 0; i < 2; i++)
        ck_assert_double_eq_tol(got[i], want[i], 1.2e-16 * (double)(count + 8) * want[i] + 1e-300);
}

static void merge_both(struct shape s, int k, enum values values)
{
    relora_dtype dtype = k % 3 ? RELORA_BF16 : RELORA_F32;
    struct matrix y = matrix_make(s, dtype, values, 1);
    struct matrix x = matrix_make(s, RELORA_F32, values, 2);
    struct matrix delta = matrix_make(s, RELORA_F32, VALUES_NORMAL, 3);
    struct twin norms = twin_make(4, RELORA_F32, VALUES_ZERO, 4);
    struct twin partials = twin_make(4 * s.rows + 4, RELORA_F32, VALUES_ZERO, 5);
    struct merge m = {.scale = {.value = 0.4},
                      .rounding = k % 3 == 1 ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST,
                      .draw = draw_of(k),
                      .first = firsts[k / 3 % FIRSTS]},
                 n = m;
    ((double *)norms.cpu)[1] = 3;
    twin_equalize(norms);
    m.y = y.cpu, m.x = x.cpu;
    n.y = y.cuda, n.x = x.cuda;
    if (k % 4)
        m.norms = norms.cpu, m.partials = partials.cpu, n.norms = norms.cuda, n.partials = partials.cuda;
    if (k % 2) m.delta = delta.cpu, n.delta = delta.cuda;
    BOTH(merge(cpu_queue, &m), merge(cuda_queue, &n));
    SAME(y.twin);
    SAME(delta.twin);
    if (values == VALUES_NORMAL) same_norms(norms, s.rows * s.cols);
    twins_release();
}

START_TEST(test_merge)
{
    for (int k = 0; k < 3 * FIRSTS; k++) {
        merge_both(shapes[_i], k, VALUES_NORMAL);
        merge_both(shapes[_i], k, VALUES_ANY);
    }
}
END_TEST

/* What a row lacks to a whole group does not count, though 0 times infinity is a NaN. */
START_TEST(test_infinite_scale)
{
    struct matrix y = matrix_make((struct shape){3, 13, 0, 0}, RELORA_BF16, VALUES_NORMAL, 1);
    struct matrix x = matrix_make((struct shape){3, 13, 0, 0}, RELORA_F32, VALUES_NORMAL, 2);
    struct twin sums = twin_make(4, RELORA_F32, VALUES_ZERO, 4),
                partials = twin_make(12, RELORA_F32, VALUES_ZERO, 5);
    struct merge m = {.y = y.cuda,
                      .x = x.cuda,
                      .scale = {.value = INFINITY},
                      .norms = sums.cuda,
                      .partials = partials.cuda};
    on_device(cuda->merge(cuda_queue, &m));
    const double *norms = twin_read(sums);
    ck_assert(norms[0] == INFINITY && norms[1] == INFINITY);
}
END_TEST

/* More than the blocks of a sum take in one turn; twice the same. */
START_TEST(test_large_merge)
{
    double norms[2][2];
    for (int k = 0; k < 2; k++) {
        struct matrix y = matrix_make((struct shape){130, 17000, 0, 0}, RELORA_BF16, VALUES_NORMAL, 1);
        struct matrix x = matrix_make((struct shape){130, 17000, 0, 0}, RELORA_F32, VALUES_NORMAL, 2);
        struct twin sums = twin_make(4, RELORA_F32, VALUES_ZERO, 4),
                    partials = twin_make(520, RELORA_F32, VALUES_ZERO, 5);
        struct merge m = {
            .y = y.cuda, .x = x.cuda, .scale = {.value = 1}, .norms = sums.cuda, .partials = partials.cuda};
        on_device(cuda->merge(cuda_queue, &m));
        memcpy(norms[k], twin_read(sums), sizeof norms[k]);
        m.y = y.cpu, m.x = x.cpu, m.norms = sums.cpu, m.partials = partials.cpu;
        ck_assert_int_eq(backend_cpu.merge(cpu_queue, &m), RELORA_OK);
        SAME(y.twin);
        same_norms(sums, 130 * 17000);
    }
    SAME_BYTES(norms[0], norms[1], sizeof norms[0]);
}
END_TEST

Suite *kernels_random(void)
{
    Suite *s = suite_create("random");
    TCase *tc = twin_case(s, "random");
    twin_test(tc, test_dropout, shape_count());
    twin_test(tc, test_uniform, shape_count());
    twin_test(tc, test_fold, shape_count());
    twin_test(tc, test_merge, shape_count());
    twin_test(tc, test_infinite_scale, 1);
    twin_test(tc, test_large_merge, 1);
    return s;
}
