#include "conformance/basis.h"

double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Orthonormal rows that span what those of `a` do. */
static double *basis_of(const double *a, int64_t rows, int64_t in)
{
    double *q = doubles(rows * in);
    memcpy(q, a, (size_t)(rows * in) * sizeof *q);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < 2 * i; k++) {
            double term = dot(q + i * in, q + k % i * in, in);
            for (int64_t j = 0; j < in; j++) q[i * in + j] -= term * q[k % i * in + j];
        }
        double length = sqrt(dot(q + i * in, q + i * in, in));
        for (int64_t j = 0; j < in; j++) q[i * in + j] /= length;
    }
    return q;
}

double inside(const double *x, int64_t count, const double *a, int64_t rows, int64_t in)
{
    double sum = 0, *basis = basis_of(a, rows, in);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < rows; k++) {
            double term = dot(x + i * in, basis + k * in, in);
            sum += term * term;
        }
    return sum / dot(x, x, count * in);
}
