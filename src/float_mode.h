/* The floating-point mode in which the library computes: what C starts a program with. A host, or a library
 * of its, may have set another one in a thread (flush-to-zero, a rounding, traps); numbers must not depend on
 * it, nor on which threads it was set in, and the host gets its own back, its flags included. */
#ifndef RELORA_SRC_FLOAT_MODE_H
#define RELORA_SRC_FLOAT_MODE_H

#include <fenv.h>
#include <math.h>

static inline fenv_t float_mode_enter(void)
{
    fenv_t host;
    fegetenv(&host);
    fesetenv(FE_DFL_ENV);
    return host;
}

static inline void float_mode_leave(const fenv_t *host)
{
    fesetenv(host);
}

/* One operation in that mode. What is volatile cannot be computed before or after it. */
static inline double float_mode_quotient(double above, double below)
{
    volatile double a = above, b = below;
    fenv_t host = float_mode_enter();
    volatile double result = a / b;
    float_mode_leave(&host);
    return result;
}

static inline double float_mode_product(double x, double y)
{
    volatile double a = x, b = y;
    fenv_t host = float_mode_enter();
    volatile double result = a * b;
    float_mode_leave(&host);
    return result;
}

static inline double float_mode_root(double x)
{
    volatile double square = x;
    fenv_t host = float_mode_enter();
    volatile double result = sqrt(square);
    float_mode_leave(&host);
    return result;
}

/* Whether it is finite as F32 too. Beyond half a step above the largest one it would round to infinity. */
static inline int float_mode_fits_f32(double x)
{
    return fabs(x) < 0x1.ffffffp127;
}

#endif
