/* Matrices, eight elements of a row at a time: 16 bytes of BF16, twice as much of F32, in accesses of 16
 * bytes where rows begin at a multiple of that. */
#ifndef RELORA_CUDA_TILES_CUH
#define RELORA_CUDA_TILES_CUH

#include "cuda_queue.h"

enum {
    EIGHT = 8,
    REDUCE_BLOCKS = 1024 /* of a sum, at most: the same on every device, and so is the sum */
};

/* ---- how a kernel is spread over matrices of one shape ---- */

struct tiling {
    dim3 blocks, threads;
    int wide; /* every group of eight lies on 16 bytes */
};

static inline int64_t view_gap(struct view v) /* bytes between two rows */
{
    return v.ld * (v.dtype == RELORA_F32 ? 4 : 2);
}

/* At most `most` blocks. Matrices without gaps become one long row, all together, in which a number
 * row * cols + col stays what it was. A view without data is left out. */
template <class... Views>
static inline struct tiling cuda_tiling(int64_t most, struct view &y, Views &...others)
{
    struct view *views[] = {&y, &others...};
    struct tiling t = {dim3(0, 0), dim3(1, 1), 1};
    int64_t rows = y.rows, cols = y.cols;
    if (rows == 0 || cols == 0) return t;

    bool dense = true;
    for (struct view *v : views) dense = dense && (!v->data || v->ld == v->cols);
    if (dense) cols *= rows, rows = 1;
    for (struct view *v : views) {
        if (dense) v->rows = 1, v->cols = v->ld = cols;
        if (v->data && ((uintptr_t)v->data % 16 || (rows > 1 && view_gap(*v) % 16))) t.wide = 0;
    }

    int64_t groups = (cols + EIGHT - 1) / EIGHT;
    while (t.threads.x < CUDA_THREADS && (rows == 1 || t.threads.x < groups)) t.threads.x *= 2;
    t.threads.y = CUDA_THREADS / t.threads.x;
    int64_t across = (groups + t.threads.x - 1) / t.threads.x, down = (rows + t.threads.y - 1) / t.threads.y;
    t.blocks.x = (unsigned)(across < most ? across : most);
    int64_t left = most / t.blocks.x < 65535 ? most / t.blocks.x : 65535;
    t.blocks.y = (unsigned)(down < left ? down : left);
    return t;
}

/* Blocks of a kernel that sums nothing: some more than run at once. */
static inline int64_t tiling_most(const struct queue *q)
{
    return (int64_t)q->multiprocessors * 16;
}

/* Calls f(i, j, n) for elements j to j + n - 1 of row i, n at most eight. */
template <class F> static __device__ inline void tiling_walk(const struct view &v, F f)
{
    int64_t down = (int64_t)gridDim.y * blockDim.y, across = (int64_t)gridDim.x * blockDim.x * EIGHT;
    int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT;
    for (int64_t i = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; i < v.rows; i += down)
        for (int64_t j = first; j < v.cols; j += across) f(i, j, v.cols - j < EIGHT ? (int)(v.cols - j) : EIGHT);
}

/* ---- eight elements; those beyond the first n are 0, or not stored ---- */

template <class T> static __device__ inline T *element_at(const struct view &v, int64_t i, int64_t j)
{
    return (T *)v.data + i * v.ld + j;
}

static __device__ inline float widen(float x)
{
    return x;
}

static __device__ inline float widen(bf16 x)
{
    return bf16_to_float(x);
}

/* Past the first cache: nothing is read twice. */
static __device__ inline void load_wide(float to[EIGHT], const float *from)
{
    float4 low = __ldcg((const float4 *)from), high = __ldcg((const float4 *)from + 1);
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

static __device__ inline void load_wide(float to[EIGHT], const bf16 *from)
{
    uint4 pairs = __ldcg((const uint4 *)from);
    const uint32_t pair[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
    for (int k = 0; k < 4; k++) {
        to[2 * k] = float_of_bits(pair[k] << 16);
        to[2 * k + 1] = float_of_bits(pair[k] & 0xFFFF0000u);
    }
}

template <class T> static __device__ inline void load_eight(float to[EIGHT], const T *from, int n, int wide)
{
    if (wide && n == EIGHT)
        load_wide(to, from);
    else
        for (int k = 0; k < EIGHT; k++) to[k] = k < n ? widen(from[k]) : 0.0f;
}

static __device__ inline void store_wide(float *to, const float from[EIGHT])
{
    __stcg((float4 *)to, make_float4(from[0], from[1], from[2], from[3]));
    __stcg((float4 *)to + 1, make_float4(from[4], from[5], from[6], from[7]));
}

static __device__ inline void store_wide(bf16 *to, const bf16 from[EIGHT])
{
    uint32_t pair[4];
    for (int k = 0; k < 4; k++) pair[k] = from[2 * k] | (uint32_t)from[2 * k + 1] << 16;
    __stcg((uint4 *)to, make_uint4(pair[0], pair[1], pair[2], pair[3]));
}

template <class T> static __device__ inline void store_eight(T *to, const T from[EIGHT], int n, int wide)
{
    if (wide && n == EIGHT)
        store_wide(to, from);
    else
        for (int k = 0; k < EIGHT; k++)
            if (k < n) to[k] = from[k];
}

/* As stored: to nearest. */
static __device__ inline void narrow(float *to, float x)
{
    *to = x;
}

static __device__ inline void narrow(bf16 *to, float x)
{
    *to = bf16_nearest(x);
}

/* ---- what kernels share ---- */

/* tanh() is the device's own: its last bit may differ from the CPU's. */
static __device__ inline float scale_value(const struct scale &s)
{
    return s.trainable ? tanhf(*s.trainable) : (float)s.value;
}

/* The sum over a block of CUDA_THREADS threads, in all of them; in one order. */
static __device__ inline double block_sum(double x)
{
    enum { WARPS = CUDA_THREADS / 32 };
    __shared__ double warp[WARPS];
    unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, lane);
    __syncthreads(); /* of an earlier sum, all have read */
    if (thread % 32 == 0) warp[thread / 32] = x;
    __syncthreads();
    double sum = 0;
    for (int i = 0; i < WARPS; i++) sum += warp[i];
    return sum;
}

/* The sum of n numbers `step` apart, likewise. */
static __device__ inline double block_sum_of(const double *x, int64_t n, int64_t step)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += CUDA_THREADS) sum += x[i * step];
    return block_sum(sum);
}

#endif
