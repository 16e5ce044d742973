/* What the kernels share: the stream they are queued on, bfloat16, and elements several at a time. Work is
 * split by shape alone, so results do not depend on the device's size. */
#ifndef PRETRAIN_GPU_CUH
#define PRETRAIN_GPU_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

#include "../ops.h"

#ifdef __CUDACC__
#define UNROLL _Pragma("unroll") /* the loop after it: what it indexes stays in registers */
#define ROLLED _Pragma("unroll 1") /* the loop after it: nothing of its steps is kept in registers from one use to the next */
#else
#define UNROLL
#define ROLLED
#endif

enum { GPU_SLOTS = 4 }; /* uploads under way at once */

struct gpu {
    cudaStream_t stream;
    cudaError_t error; /* the first one since it was asked for */
    struct {
        int32_t *host;
        cudaEvent_t copied;
    } slots[GPU_SLOTS];
    size_t pinned; /* bytes of each slot's host memory */
    int next;
    int32_t *buckets; /* for each token of a vocabulary, on the host */
    int64_t bucket_count;
};

/* Queue a kernel. Arguments are converted to the types of its parameters. */
template <class... P, class... A>
static inline void launch(const struct engine *engine, void (*kernel)(P...), dim3 blocks, dim3 threads,
                          A... arguments)
{
    struct gpu *gpu = engine->gpu;
    if (!blocks.x || !blocks.y) return;
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.stream = gpu->stream;
    cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
    if (gpu->error == cudaSuccess) gpu->error = error;
}

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline unsigned blocks_for(int64_t items, int64_t each)
{
    return (unsigned)((items + each - 1) / each);
}

/* ---- bfloat16 ---- */

struct bf16 {
    uint16_t bits;
};

static __device__ __forceinline__ float widen(float x)
{
    return x;
}

static __device__ __forceinline__ float widen(bf16 x)
{
    return __uint_as_float((uint32_t)x.bits << 16);
}

/* Two numbers, rounded to nearest, ties to even; `low` comes first in memory. */
static __device__ __forceinline__ uint32_t pack(float low, float high)
{
#ifdef __CUDA_ARCH__
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#else
    uint32_t half[2] = {__float_as_uint(low), __float_as_uint(high)};
    for (int i = 0; i < 2; i++)
        half[i] = (half[i] & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FFFu
                                                        : (half[i] + 0x7FFFu + (half[i] >> 16 & 1u)) >> 16;
    return half[0] | half[1] << 16;
#endif
}

static __device__ __forceinline__ void narrow(float *to, float x)
{
    *to = x;
}

static __device__ __forceinline__ void narrow(bf16 *to, float x)
{
    to->bits = (uint16_t)pack(x, 0.0f);
}

/* ---- N elements, 16 bytes at a time where N allows; the address must fit ---- */

template <int N> static __device__ __forceinline__ void load(float (&to)[N], const float *from)
{
    if constexpr (N % 4 == 0) {
        for (int i = 0; i < N; i += 4) {
            float4 four = *(const float4 *)(from + i);
            to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
        }
    } else
        for (int i = 0; i < N; i++) to[i] = from[i];
}

template <int N> static __device__ __forceinline__ void load(float (&to)[N], const bf16 *from)
{
    if constexpr (N == 8) {
        uint4 eight = *(const uint4 *)from;
        uint32_t pair[4] = {eight.x, eight.y, eight.z, eight.w};
        for (int i = 0; i < 4; i++) {
            to[2 * i] = __uint_as_float(pair[i] << 16);
            to[2 * i + 1] = __uint_as_float(pair[i] & 0xFFFF0000u);
        }
    } else if constexpr (N == 4) {
        uint2 four = *(const uint2 *)from;
        uint32_t pair[2] = {four.x, four.y};
        for (int i = 0; i < 2; i++) {
            to[2 * i] = __uint_as_float(pair[i] << 16);
            to[2 * i + 1] = __uint_as_float(pair[i] & 0xFFFF0000u);
        }
    } else
        for (int i = 0; i < N; i++) to[i] = widen(from[i]);
}

template <int N> static __device__ __forceinline__ void store(float *to, const float (&from)[N])
{
    if constexpr (N % 4 == 0) {
        for (int i = 0; i < N; i += 4)
            *(float4 *)(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
    } else
        for (int i = 0; i < N; i++) to[i] = from[i];
}

template <int N> static __device__ __forceinline__ void store(bf16 *to, const float (&from)[N])
{
    if constexpr (N == 8)
        *(uint4 *)to = make_uint4(pack(from[0], from[1]), pack(from[2], from[3]), pack(from[4], from[5]),
                                  pack(from[6], from[7]));
    else if constexpr (N == 4)
        *(uint2 *)to = make_uint2(pack(from[0], from[1]), pack(from[2], from[3]));
    else
        for (int i = 0; i < N; i++) narrow(to + i, from[i]);
}

/* ---- sums ---- */

static __device__ __forceinline__ float warp_sum(float x)
{
    for (int lanes = 16; lanes; lanes /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, lanes);
    return x;
}

/* Of all threads, of which there are a multiple of 32, to all of them. A call with the same `shared` must be
 * kept from this one by a barrier. */
static __device__ __forceinline__ float block_sum(float x, float (&shared)[32])
{
    int warps = (int)blockDim.x / 32;
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0.0f;
    for (int i = 0; i < warps; i++) x += shared[i];
    return x;
}

static inline unsigned whole_warps(int64_t threads)
{
    return (unsigned)((threads + 31) / 32 * 32);
}

/* ---- the entries of the table, by file ---- */

enum { NORM_PARTS = 1024 }; /* that rows are cut into for the sum over them */
int64_t gpu_norm_scratch(struct shape s); /* -1: a width that is not supported */
void gpu_norm_forward(struct shape s, const struct norm *n);
void gpu_norm_backward(struct shape s, const struct norm_gradient *n);

void gpu_swiglu_forward(struct shape s, void *y, const void *gate, const void *up);
void gpu_swiglu_backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                         const void *up);

int64_t gpu_tokens_floats(int64_t count);
void gpu_upload(const struct engine *engine, int32_t *to, const int32_t *from, int64_t count, int64_t vocab);
void gpu_embedding_forward(struct shape s, float *x, const float *table, const int32_t *tokens);
void gpu_embedding_backward(struct shape s, float *dtable, float *dx, const int32_t *tokens);

void gpu_cross_entropy(struct shape s, void *logits, const int32_t *targets, float *loss, float factor);
void gpu_add_mean(const struct engine *engine, double *total, const float *losses, int64_t count);

int64_t gpu_attention_scratch(const struct attention *a); /* -1: a size that is not supported */
void gpu_rotate(const struct attention *a, void *q, void *k);
void gpu_attention_forward(const struct attention *a, const struct attention_pass *p);
void gpu_attention_backward(const struct attention *a, const struct attention_pass *p,
                            const struct attention_gradient *g);

#endif
