/* Comparing numbers. tolerance = absolute + eps(dtype) * magnitude * sqrt(k): a sum of k rounded terms
 * wanders by about sqrt(k) roundings of its largest value (the form of llm.c's tests). */
#ifndef TEST_SUPPORT_CLOSE_H
#define TEST_SUPPORT_CLOSE_H

#include <stddef.h>
#include <stdint.h>
#include "relora/types.h"

/** Distance of 1 to the next larger number: 2^-23, 2^-7. */
double close_eps(relora_dtype dtype);
double close_tolerance(double absolute, relora_dtype dtype, double magnitude, int64_t k);
double largest(const double *values, int64_t n);
double norm2(const double *values, int64_t n);
/** Largest |got - want|; infinite if one of the two is NaN where the other is not. */
double distance(const double *got, const double *want, int64_t n);

/** Fail the running test if |got - want| exceeds `tolerance` anywhere. */
#define CLOSE(got, want, n, tolerance) \
    close_check(got, want, n, tolerance, #got " near " #want, __FILE__, __LINE__)
void close_check(const double *got, const double *want, int64_t n, double tolerance, const char *what,
                 const char *file, int line);

/** Fail the running test unless both hold the same bytes. */
#define SAME_BYTES(a, b, size) same_bytes(a, b, size, #a " is " #b, __FILE__, __LINE__)
void same_bytes(const void *a, const void *b, size_t size, const char *what, const char *file, int line);

/** BF16 by the rule itself, written without the library: nearest, ties to even. */
uint16_t bf16_of(float value);
float bf16_value(uint16_t bits);
double bf16_round(double value);

#endif
