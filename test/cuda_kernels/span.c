/* Orthonormal rows, shares of a basis, and moments for a new A: the same bits. */
#include "cuda_kernels/twins.h"

static const struct size {
    int64_t rows, cols;
} sizes[] = {{1, 1}, {3, 3}, {1, 70}, {5, 33}, {17, 40}, {40, 1100}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct matrix matrix_of(struct size s, enum values values, uint64_t seed)
{
    return matrix_make((struct shape){s.rows, s.cols, 3, 1}, RELORA_F32, values, seed);
}

static struct twin doubles_of(int64_t count) { return twin_make(2 * count, RELORA_F32, VALUES_ZERO, 0); }

/* Bit by bit what there is to choose from, and whether unit vectors complete it. */
static void span_both(struct size s, int k)
{
    struct matrix y = matrix_of(s, VALUES_NORMAL, 1),
                  first = matrix_of(s, k & 16 ? VALUES_ANY : VALUES_NORMAL, 2);
    struct matrix last = matrix_of(s, k & 8 ? VALUES_ZERO : VALUES_WIDE, 3);
    struct twin basis = doubles_of(s.rows * s.cols), terms = doubles_of(s.rows);
    struct span cpu = {.rows = s.rows, .cols = s.cols, .complete = k & 4, .length = 1.5}, cuda_span;
    if (s.rows > 2) memcpy((float *)first.cpu.data + first.cpu.ld, first.cpu.data, (size_t)s.cols * 4);
    twin_equalize(first.twin);
    cuda_span = cpu;
    cpu.y = y.cpu, cpu.last = last.cpu, cpu.basis = basis.cpu, cpu.terms = terms.cpu;
    cuda_span.y = y.cuda, cuda_span.last = last.cuda, cuda_span.basis = basis.cuda,
    cuda_span.terms = terms.cuda;
    if (k & 1) cpu.first = first.cpu, cuda_span.first = first.cuda;
    if (k & 2) cpu.then = y.cpu, cuda_span.then = y.cuda;
    BOTH(span(cpu_queue, &cpu), span(cuda_queue, &cuda_span));
    SAME(y.twin);
    SAME(basis);
    twins_release();
}

START_TEST(test_span)
{
    for (int k = 0; k < 32; k++) span_both(sizes[_i], k);
}
END_TEST

START_TEST(test_share)
{
    struct size s = sizes[_i];
    struct matrix x = matrix_of(s, VALUES_NORMAL, 1);
    struct twin basis = doubles_of(s.rows * s.cols), sums = doubles_of(2), partials = doubles_of(2 * s.rows);
    for (int64_t i = 0; i < s.rows * s.cols; i++) ((double *)basis.cpu)[i] = sin((double)i);
    ((double *)sums.cpu)[1] = 3;
    twin_equalize(basis);
    twin_equalize(sums);
    struct share cpu = {x.cpu, basis.cpu, s.rows, sums.cpu, partials.cpu};
    struct share on = {x.cuda, basis.cuda, s.rows, sums.cuda, partials.cuda};
    for (int k = 0; k < 2; k++) BOTH(share(cpu_queue, &cpu), share(cuda_queue, &on));
    SAME(sums);
    CHANGED(sums);
}
END_TEST

START_TEST(test_project)
{
    struct size s = sizes[_i / 3], moments = {29, s.rows};
    struct matrix m = matrix_of(moments, VALUES_NORMAL, 1), v = matrix_of(moments, VALUES_NORMAL, 2);
    struct matrix m_from = matrix_of(moments, VALUES_NORMAL, 3),
                  v_from = matrix_of(moments, VALUES_NORMAL, 4);
    struct matrix old = matrix_of(s, _i % 3 == 2 ? VALUES_ZERO : VALUES_NORMAL, 5),
                  now = matrix_of(s, VALUES_NORMAL, 6);
    struct twin map = doubles_of(2 * s.rows * s.rows), steps = doubles_of(1);
    *(int64_t *)steps.cpu = 7;
    twin_equalize(steps);
    struct project cpu = {m.cpu, v.cpu, m_from.cpu, v_from.cpu, old.cpu, now.cpu,
                          0.9,   0.99,  NULL,       0,          map.cpu};
    struct project on = {m.cuda, v.cuda, m_from.cuda, v_from.cuda, old.cuda, now.cuda,
                         0.9,    0.99,   NULL,        0,           map.cuda};
    if (_i % 3) cpu.steps = steps.cpu, on.steps = steps.cuda;
    BOTH(project(cpu_queue, &cpu), project(cuda_queue, &on));
    SAME(m.twin);
    SAME(v.twin);
    CHANGED(m.twin);
}
END_TEST

/* Every kernel was loaded when the device was opened. */
START_TEST(test_loaded) { ck_assert_int_eq(device_late_loads(), 0); }
END_TEST

Suite *kernels_span(void)
{
    Suite *s = suite_create("span");
    TCase *tc = twin_case(s, "span");
    twin_test(tc, test_span, SIZES);
    twin_test(tc, test_share, SIZES);
    twin_test(tc, test_project, 3 * SIZES);
    twin_test(tc, test_loaded, 1);
    return s;
}
