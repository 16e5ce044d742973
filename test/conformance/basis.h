/* Row spaces in double, for what a new A spans. */
#ifndef TEST_CONFORMANCE_BASIS_H
#define TEST_CONFORMANCE_BASIS_H

#include "conformance/suites.h"

double dot(const double *a, const double *b, int64_t n);
/** Of `count` rows of x, the share of their squares that is inside of the span of the rows of `a`. */
double inside(const double *x, int64_t count, const double *a, int64_t rows, int64_t in);

#endif
