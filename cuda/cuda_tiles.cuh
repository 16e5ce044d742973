/* Matrices, eight elements of a row to a thread, in accesses of 16 bytes, or of 8 for BF16 beside F32. A thread has four
 * elements, and four more a step further: so those of a warp lie side by side, and no sector of memory is asked for in
 * halves. Among BF16 alone the step is 4, and all eight are one access. */
#ifndef RELORA_CUDA_TILES_CUH
#define RELORA_CUDA_TILES_CUH

#include "cuda_queue.h"

enum {
    EIGHT = 8,
    FOUR = 4,
    REDUCE_BLOCKS = 1024 /* of a sum, at most: the same on every device, and so is the sum */
};

/* ---- how a kernel is spread over matrices of one shape ---- */

struct tiling {
    dim3 blocks, threads;
    int step; /* from a thread's first four elements to its other four */
};

/* At most `most` blocks. Matrices without gaps become one long row, all together, in which a number
 * row * cols + col stays what it was. A view without data is left out. */
template <class... Views>
static inline struct tiling cuda_tiling(int64_t most, struct view &y, Views &...others)
{
    struct view *views[] = {&y, &others...};
    struct tiling t = {dim3(0, 0), dim3(1, 1), FOUR};
    int64_t rows = y.rows, cols = y.cols;
    if (rows == 0 || cols == 0) return t;

    bool dense = true;
    for (struct view *v : views) dense = dense && (!v->data || v->ld == v->cols);
    if (dense) cols *= rows, rows = 1;
    bool narrow = true;
    for (struct view *v : views) {
        if (dense) v->rows = 1, v->cols = v->ld = cols;
        if (v->data && v->dtype == RELORA_F32) narrow = false;
    }

    int64_t groups = (cols + EIGHT - 1) / EIGHT;
    while (t.threads.x < CUDA_THREADS && (rows == 1 || t.threads.x < groups)) t.threads.x *= 2;
    t.threads.y = CUDA_THREADS / t.threads.x;
    if (!narrow) t.step = FOUR * (int)t.threads.x;
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

/* Which elements of a row a thread has: the k-th is at(k), if it is below `end`. */
struct eight {
    int64_t first, end;
    int step;
    __device__ int64_t at(int k) const { return first + (k < FOUR ? k : step + k - FOUR); }
    __device__ bool has(int k) const { return at(k) < end; }
    __device__ bool is_whole() const { return first + step + FOUR <= end; }
};

/* Those of thread `x` of a block whose first is `begin`. */
static __device__ inline struct eight eight_of(int64_t begin, int64_t end, int step, int x)
{
    return {begin + (int64_t)x * (step == FOUR ? EIGHT : FOUR), end, step};
}

/* Calls f(i, e) for each eight `e` of row i that this thread has. */
template <class F> static __device__ inline void tiling_walk(const struct view &v, int step, F f)
{
    int64_t down = (int64_t)gridDim.y * blockDim.y, across = (int64_t)gridDim.x * blockDim.x * EIGHT;
    struct eight first = eight_of((int64_t)blockIdx.x * blockDim.x * EIGHT, v.cols, step, (int)threadIdx.x);
    for (int64_t i = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; i < v.rows; i += down)
        for (struct eight e = first; e.first < v.cols; e.first += across) f(i, e);
}

/* ---- their values; those that are not there are 0, or not stored ---- */

template <class T> static __device__ inline T *row_of(const struct view &v, int64_t i)
{
    return (T *)v.data + i * v.ld;
}

static __device__ inline float widen(float x)
{
    return x;
}

static __device__ inline float widen(bf16 x)
{
    return bf16_to_float(x);
}

template <class T> static __device__ inline bool is_aligned(const T *x, int count)
{
    return (uintptr_t)x % (count * sizeof(T)) == 0;
}

/* Past the first cache: nothing is read twice. */
static __device__ inline void load_vector(float to[FOUR], const float *from)
{
    float4 four = __ldcg((const float4 *)from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

static __device__ inline void widen_pair(float to[2], uint32_t pair)
{
    to[0] = float_of_bits(pair << 16);
    to[1] = float_of_bits(pair & 0xFFFF0000u);
}

static __device__ inline void load_vector(float to[FOUR], const bf16 *from)
{
    uint2 pairs = __ldcg((const uint2 *)from);
    widen_pair(to, pairs.x), widen_pair(to + 2, pairs.y);
}

template <class T> static __device__ inline void load_four(float to[FOUR], const T *row, int64_t first, int64_t end)
{
    if (first + FOUR <= end && is_aligned(row + first, FOUR))
        load_vector(to, row + first);
    else
        for (int k = 0; k < FOUR; k++) to[k] = first + k < end ? widen(row[first + k]) : 0.0f;
}

static __device__ inline void load_eight(float to[EIGHT], const float *row, const struct eight &e)
{
    load_four(to, row, e.first, e.end);
    load_four(to + FOUR, row, e.first + e.step, e.end);
}

static __device__ inline void load_eight(float to[EIGHT], const bf16 *row, const struct eight &e)
{
    if (e.step == FOUR && e.is_whole() && is_aligned(row + e.first, EIGHT)) {
        uint4 pairs = __ldcg((const uint4 *)(row + e.first));
        widen_pair(to, pairs.x), widen_pair(to + 2, pairs.y), widen_pair(to + 4, pairs.z), widen_pair(to + 6, pairs.w);
        return;
    }
    load_four(to, row, e.first, e.end);
    load_four(to + FOUR, row, e.first + e.step, e.end);
}

static __device__ inline uint32_t pair_of(const bf16 *x)
{
    return x[0] | (uint32_t)x[1] << 16;
}

static __device__ inline void store_vector(float *to, const float from[FOUR])
{
    __stcg((float4 *)to, make_float4(from[0], from[1], from[2], from[3]));
}

static __device__ inline void store_vector(bf16 *to, const bf16 from[FOUR])
{
    __stcg((uint2 *)to, make_uint2(pair_of(from), pair_of(from + 2)));
}

template <class T> static __device__ inline void store_four(T *row, const T from[FOUR], int64_t first, int64_t end)
{
    if (first + FOUR <= end && is_aligned(row + first, FOUR))
        store_vector(row + first, from);
    else
        for (int k = 0; k < FOUR; k++)
            if (first + k < end) row[first + k] = from[k];
}

static __device__ inline void store_eight(float *row, const float from[EIGHT], const struct eight &e)
{
    store_four(row, from, e.first, e.end);
    store_four(row, from + FOUR, e.first + e.step, e.end);
}

static __device__ inline void store_eight(bf16 *row, const bf16 from[EIGHT], const struct eight &e)
{
    if (e.step == FOUR && e.is_whole() && is_aligned(row + e.first, EIGHT)) {
        __stcg((uint4 *)(row + e.first), make_uint4(pair_of(from), pair_of(from + 2), pair_of(from + 4), pair_of(from + 6)));
        return;
    }
    store_four(row, from, e.first, e.end);
    store_four(row, from + FOUR, e.first + e.step, e.end);
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
