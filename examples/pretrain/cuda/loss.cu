/* Cross-entropy with its gradient, in place over the logits, a block for each row; and the mean of losses. */
#include "gpu.cuh"

enum { THREADS = 512, WARPS = THREADS / 32, MEAN_THREADS = 1024 };

struct softmax { /* sum of exp(x - max) */
    float max, sum;
};

static __device__ __forceinline__ struct softmax join(struct softmax a, struct softmax b)
{
    float max = fmaxf(a.max, b.max);
    if (max == -INFINITY) return a;
    return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

template <class T, int N>
static __device__ __forceinline__ struct softmax row_part(const T *row, int64_t width)
{
    struct softmax all = {-INFINITY, 0.0f};
    for (int64_t at = threadIdx.x * N; at < width; at += THREADS * N) {
        float x[N];
        load(x, row + at);
        struct softmax part = {x[0], 0.0f};
        for (int i = 1; i < N; i++) part.max = fmaxf(part.max, x[i]);
        for (int i = 0; i < N; i++) part.sum += expf(x[i] - part.max);
        all = join(all, part);
    }
    return all;
}

static __device__ __forceinline__ struct softmax block_join(struct softmax mine)
{
    __shared__ struct softmax shared[WARPS];
    for (int lanes = 16; lanes; lanes /= 2)
        mine = join(mine, {__shfl_xor_sync(0xFFFFFFFFu, mine.max, lanes),
                           __shfl_xor_sync(0xFFFFFFFFu, mine.sum, lanes)});
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
    __syncthreads();
    mine = shared[0];
    for (int i = 1; i < WARPS; i++) mine = join(mine, shared[i]);
    return mine;
}

template <class T, int N>
static __global__ void __launch_bounds__(THREADS)
    cross_entropy_kernel(T *logits, const int32_t *targets, float *loss, int64_t width, float factor)
{
    T *row = logits + blockIdx.x * width;
    int64_t target = targets[blockIdx.x];
    float wanted = threadIdx.x == 0 && target >= 0 ? widen(row[target]) : 0.0f; /* before anybody writes */
    struct softmax all = block_join(row_part<T, N>(row, width));
    if (threadIdx.x == 0) loss[blockIdx.x] = target < 0 ? 0.0f : logf(all.sum) + all.max - wanted;
    if (factor == 0.0f) return;
    float scale = target < 0 ? 0.0f : factor / all.sum;
    for (int64_t at = threadIdx.x * N; at < width; at += THREADS * N) {
        float x[N];
        load(x, row + at);
        for (int i = 0; i < N; i++) x[i] = scale * expf(x[i] - all.max) - (at + i == target ? factor : 0.0f);
        store(row + at, x);
    }
}

template <class T>
static void cross_entropy(struct shape s, T *logits, const int32_t *targets, float *loss, float factor)
{
    launch(s.engine, s.width % 8 == 0 ? cross_entropy_kernel<T, 8> : cross_entropy_kernel<T, 1>,
           dim3((unsigned)s.rows), dim3(THREADS), logits, targets, loss, s.width, factor);
}

void gpu_cross_entropy(struct shape s, void *logits, const int32_t *targets, float *loss, float factor)
{
    if (s.dtype == RELORA_F32)
        cross_entropy(s, (float *)logits, targets, loss, factor);
    else
        cross_entropy(s, (bf16 *)logits, targets, loss, factor);
}

static __global__ void __launch_bounds__(MEAN_THREADS)
    add_mean_kernel(double *total, const float *losses, int64_t count)
{
    __shared__ double shared[MEAN_THREADS];
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += MEAN_THREADS) sum += (double)losses[i];
    shared[threadIdx.x] = sum;
    for (unsigned half = MEAN_THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *total += shared[0] / (double)count;
}

void gpu_add_mean(const struct engine *engine, double *total, const float *losses, int64_t count)
{
    launch(engine, add_mean_kernel, dim3(1), dim3(MEAN_THREADS), total, losses, count);
}
