/* What device code finds built in. A thread of the device is a fiber of the emulator (fibers.cpp), so an
 * atomic operation is a plain one, and only what makes threads wait for each other calls the emulator. */
#ifndef EMULATED_DEVICE_H
#define EMULATED_DEVICE_H

#include <math.h>
#include <string.h>

#include "emulated_vectors.h"

#define __global__
#define __grid_constant__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
/* Thread-local, because the emulator can find that segment of a module and fill it with garbage. */
#define __shared__ static thread_local
#ifndef __restrict__
#define __restrict__ __restrict
#endif

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/* ---- what waits ---- */

enum emulated_vote { EMULATED_BALLOT, EMULATED_ANY, EMULATED_ALL };
enum emulated_shuffle { EMULATED_SHUFFLE, EMULATED_SHUFFLE_UP, EMULATED_SHUFFLE_DOWN, EMULATED_SHUFFLE_XOR };

void emulated_block_barrier(void);
void emulated_warp_barrier(unsigned mask);
unsigned emulated_warp_vote(emulated_vote vote, unsigned mask, int predicate);
uint64_t emulated_warp_shuffle(emulated_shuffle how, unsigned mask, uint64_t value, unsigned lane, int width);
/* Memory of cudaLaunchKernel's `shared`, in place of `extern __shared__`. */
void *emulated_dynamic_shared(void);
[[noreturn]] void emulated_trap(const char *what);

static inline void __syncthreads(void) { emulated_block_barrier(); }
static inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) { emulated_warp_barrier(mask); }
static inline void __trap(void) { emulated_trap("__trap()"); }

static inline unsigned __ballot_sync(unsigned mask, int p)
{
    return emulated_warp_vote(EMULATED_BALLOT, mask, p);
}
static inline int __any_sync(unsigned mask, int p) { return (int)emulated_warp_vote(EMULATED_ANY, mask, p); }
static inline int __all_sync(unsigned mask, int p) { return (int)emulated_warp_vote(EMULATED_ALL, mask, p); }

template <class T>
static inline T emulated_shuffle_of(emulated_shuffle how, unsigned mask, T value, unsigned lane, int width)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emulated_warp_shuffle(how, mask, bits, lane, width);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32)
{
    return emulated_shuffle_of(EMULATED_SHUFFLE, mask, value, (unsigned)lane, width);
}

template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return emulated_shuffle_of(EMULATED_SHUFFLE_UP, mask, value, delta, width);
}

template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return emulated_shuffle_of(EMULATED_SHUFFLE_DOWN, mask, value, delta, width);
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32)
{
    return emulated_shuffle_of(EMULATED_SHUFFLE_XOR, mask, value, (unsigned)lanes, width);
}

static inline void __threadfence(void) {}
static inline void __threadfence_block(void) {}
static inline void __threadfence_system(void) {}

/* ---- atomic operations: they return what was there ---- */

template <class T, class F> static inline T emulated_exchange(T *address, F &&next)
{
    T old;
    memcpy(&old, address, sizeof old);
    T now = next(old);
    memcpy(address, &now, sizeof now);
    return old;
}

#define EMULATED_ATOMIC(T, name, expression)                                       \
    static inline T name(T *address, T value)                                      \
    {                                                                              \
        return emulated_exchange(address, [=](T old) -> T { return expression; }); \
    }
#define EMULATED_ATOMIC_INTEGER(T)                                                                    \
    EMULATED_ATOMIC(T, atomicExch, (void(old), value))                                                \
    EMULATED_ATOMIC(T, atomicMax, old > value ? old : value)                                          \
    EMULATED_ATOMIC(T, atomicMin, old < value ? old : value)                                          \
    EMULATED_ATOMIC(T, atomicAnd, old &value)                                                         \
    EMULATED_ATOMIC(T, atomicOr, old | value)                                                         \
    EMULATED_ATOMIC(T, atomicXor, old ^ value)                                                        \
    static inline T atomicCAS(T *address, T expected, T value)                                        \
    {                                                                                                 \
        return emulated_exchange(address, [=](T old) -> T { return old == expected ? value : old; }); \
    }
EMULATED_ATOMIC_INTEGER(int)
EMULATED_ATOMIC_INTEGER(unsigned)
EMULATED_ATOMIC_INTEGER(unsigned long long)
EMULATED_ATOMIC(int, atomicAdd, (int)((unsigned)old + (unsigned)value))
EMULATED_ATOMIC(unsigned, atomicAdd, old + value)
EMULATED_ATOMIC(unsigned long long, atomicAdd, old + value)
EMULATED_ATOMIC(float, atomicAdd, old + value)
EMULATED_ATOMIC(double, atomicAdd, old + value)
EMULATED_ATOMIC(float, atomicExch, (void(old), value))
EMULATED_ATOMIC(int, atomicSub, (int)((unsigned)old - (unsigned)value))
EMULATED_ATOMIC(unsigned, atomicSub, old - value)
EMULATED_ATOMIC(unsigned, atomicInc, old >= value ? 0u : old + 1u)

/* ---- loads and stores with a wish for the cache ---- */

template <class T> static inline T __ldg(const T *address) { return *address; }
template <class T> static inline T __ldcs(const T *address) { return *address; }
extern bool emulated_counts_sectors;
void emulated_access(const void *address, size_t bytes);
template <class T> static inline T __ldcg(const T *address)
{
    if (emulated_counts_sectors) emulated_access(address, sizeof(T));
    return *address;
}
template <class T> static inline T __ldca(const T *address) { return *address; }
template <class T> static inline void __stcs(T *address, T value) { *address = value; }
template <class T> static inline void __stcg(T *address, T value)
{
    if (emulated_counts_sectors) emulated_access(address, sizeof(T));
    *address = value;
}

/* ---- bits ---- */

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }

static inline unsigned __brev(unsigned x)
{
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1u) << (31 - i);
    return reversed;
}

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }

static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by)
{
    return (unsigned)(((uint64_t)high << 32 | low) >> (by & 31u));
}

template <class To, class From> static inline To emulated_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bits are only renamed");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return emulated_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
static inline float __int_as_float(int x) { return emulated_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }

/* ---- mathematics; -ffp-contract=off keeps a * b + c from being fused ---- */

/* A NaN that arithmetic makes or passes on is the device's one, whatever its operands were. */
static inline float emulated_result(float x) { return x == x ? x : __uint_as_float(0x7FFFFFFFu); }
static inline double emulated_result(double x)
{
    return x == x ? x : __longlong_as_double(0x7FFFFFFFFFFFFFFFLL);
}
static inline float __fadd_rn(float a, float b) { return emulated_result(a + b); }
static inline float __fsub_rn(float a, float b) { return emulated_result(a - b); }
static inline float __fmul_rn(float a, float b) { return emulated_result(a * b); }
static inline float __fdiv_rn(float a, float b) { return emulated_result(a / b); }
static inline float __fmaf_rn(float a, float b, float c) { return emulated_result(fmaf(a, b, c)); }
static inline float __fsqrt_rn(float x) { return emulated_result(sqrtf(x)); }
static inline float __frcp_rn(float x) { return emulated_result(1.0f / x); }
static inline double __dadd_rn(double a, double b) { return emulated_result(a + b); }
static inline double __dsub_rn(double a, double b) { return emulated_result(a - b); }
static inline double __dmul_rn(double a, double b) { return emulated_result(a * b); }
static inline double __ddiv_rn(double a, double b) { return emulated_result(a / b); }
static inline double __dsqrt_rn(double x) { return emulated_result(sqrt(x)); }
static inline double __fma_rn(double a, double b, double c) { return emulated_result(fma(a, b, c)); }
#define __expf(x) expf(x) /* math.h has the name already */
#define __logf(x) logf(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }

#define EMULATED_MIN_MAX(T)                                 \
    static inline T min(T a, T b) { return b < a ? b : a; } \
    static inline T max(T a, T b) { return a < b ? b : a; }
EMULATED_MIN_MAX(int)
EMULATED_MIN_MAX(unsigned)
EMULATED_MIN_MAX(long)
EMULATED_MIN_MAX(unsigned long)
EMULATED_MIN_MAX(long long)
EMULATED_MIN_MAX(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

#endif
