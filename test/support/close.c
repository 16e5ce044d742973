#include "support/close.h"
#include <check.h>
#include <math.h>
#include <string.h>

double close_eps(relora_dtype dtype) { return dtype == RELORA_BF16 ? 0x1p-7 : 0x1p-23; }

double close_tolerance(double absolute, relora_dtype dtype, double magnitude, int64_t k)
{
    return absolute + close_eps(dtype) * magnitude * sqrt((double)(k > 0 ? k : 1));
}

double largest(const double *values, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(values[i]));
    return most;
}

double norm2(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i] * values[i];
    return sqrt(sum);
}

double distance(const double *got, const double *want, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) != isnan(want[i])) return INFINITY;
        if (isnan(got[i]) || got[i] == want[i]) continue;
        most = fmax(most, fabs(got[i] - want[i]));
    }
    return most;
}

void close_check(const double *got, const double *want, int64_t n, double tolerance, const char *what,
                 const char *file, int line)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance) && got[i] != want[i])
            ck_abort_msg("%s:%d: %s: element %lld is %.9g, expected %.9g within %.3g", file, line, what,
                         (long long)i, got[i], want[i], tolerance);
    mark_point();
}

void same_bytes(const void *a, const void *b, size_t size, const char *what, const char *file, int line)
{
    const unsigned char *p = a, *q = b;
    for (size_t i = 0; i < size; i++)
        if (p[i] != q[i]) ck_abort_msg("%s:%d: %s: byte %zu of %zu differs", file, line, what, i, size);
    mark_point();
}

uint16_t bf16_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)((bits >> 16) | 0x40);
    uint32_t low = bits & 0xffff, high = bits >> 16;
    if (low > 0x8000 || (low == 0x8000 && (high & 1))) high++;
    return (uint16_t)high;
}

float bf16_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

double bf16_round(double value) { return (double)bf16_value(bf16_of((float)value)); }
