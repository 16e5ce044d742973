/* RMSNorm with the residual connection before it, a block for each row; forward and backward. */
#include "gpu.cuh"

enum { MOST_THREADS = 1024, COLUMNS = 32, GROUPS = 32 };

/* Each thread has N neighbouring columns: four, so that the accesses of a warp to F32 fill whole sectors of memory, if the
 * threads of a block are enough for that. */
static int columns_each(int64_t width)
{
    if (width % 4 == 0 && width / 4 <= MOST_THREADS) return 4;
    return width % 8 == 0 ? 8 : 2;
}

/* The kernel for rows of that type and width: `name`<T, N>. */
#define KERNEL_FOR(name, dtype, each)                         \
    ((dtype) == RELORA_F32 ? ((each) == 4   ? name<float, 4>  \
                              : (each) == 8 ? name<float, 8>  \
                                            : name<float, 2>) \
                           : ((each) == 4   ? name<bf16, 4>   \
                              : (each) == 8 ? name<bf16, 8>   \
                                            : name<bf16, 2>))

int64_t gpu_norm_scratch(struct shape s)
{
    if (s.width % 2 || s.width / columns_each(s.width) > MOST_THREADS) return -1;
    return smaller(s.rows, NORM_PARTS) * s.width;
}

template <class T, int N>
static __global__ void __launch_bounds__(MOST_THREADS) norm_kernel(struct norm n, int width)
{
    __shared__ float shared[32];
    int at = (int)threadIdx.x * N, active = at < width;
    int64_t where = (int64_t)blockIdx.x * width + at;
    float x[N] = {}, other[N], squares = 0.0f;
    if (active) {
        load(x, n.x + where);
        if (n.branch) {
            load(other, (const T *)n.branch + where);
            for (int i = 0; i < N; i++) x[i] += other[i];
            store(n.sum + where, x);
        }
    }
    for (int i = 0; i < N; i++) squares += x[i] * x[i];
    float inverse = 1.0f / sqrtf(block_sum(squares, shared) / (float)width + n.eps);
    if (threadIdx.x == 0) n.inverse[blockIdx.x] = inverse;
    if (!active) return;
    load(other, n.w + at);
    for (int i = 0; i < N; i++) x[i] = x[i] * inverse * other[i];
    store((T *)n.y + where, x);
}

void gpu_norm_forward(struct shape s, const struct norm *n)
{
    int each = columns_each(s.width);
    launch(s.engine, KERNEL_FOR(norm_kernel, s.dtype, each), dim3((unsigned)s.rows),
           dim3(whole_warps(s.width / each)), *n, s.width);
}

/* What a thread needs of a row. */
template <int N> struct columns {
    float x[N], g[N], dx[N], inverse;
};

template <class T, int N>
static __device__ __forceinline__ struct columns<N> take_columns(const struct norm_gradient &n, int64_t row,
                                                                 int width, int at) {
    struct columns<N> c = {
    };
    c.inverse = n.inverse[row];
    if (at >= width) return c;
    load(c.x, n.x + row * width + at);
    load(c.g, (const T *)n.dy + row * width + at);
    if (!n.first) load(c.dx, n.dx + row * width + at);
    return c;
}

/* With y = x * inverse and g = dy * w: dx (+)= inverse * (g - y * mean(g * y)). A block has one part of the
 * rows, and leaves the part's sum of dy * y in the scratch memory. The next row is on its way while the threads wait for
 * each other, where registers are left for it. */
template <class T, int N>
static __global__ void __launch_bounds__(MOST_THREADS)
    norm_backward_kernel(struct norm_gradient n, int64_t rows, int width)
{
    __shared__ float shared[2][32];
    int at = (int)threadIdx.x * N, active = at < width;
    float w[N] = {}, dw[N] = {};
    int64_t r = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    struct columns<N> c = take_columns<T, N>(n, r, width, at), next = c;
    for (; r < end; r++) {
        float dot = 0.0f;
        if (N <= 4 && r + 1 < end) next = take_columns<T, N>(n, r + 1, width, at);
        if (active) load(w, n.w + at); /* from the first cache */
        for (int i = 0; i < N; i++) {
            c.x[i] *= c.inverse;
            dw[i] += c.g[i] * c.x[i];
            c.g[i] *= w[i];
            dot += c.g[i] * c.x[i];
        }
        float mean = block_sum(dot, shared[r & 1]) / (float)width;
        for (int i = 0; i < N; i++) c.dx[i] += c.inverse * (c.g[i] - c.x[i] * mean);
        if (active) store(n.dx + r * width + at, c.dx);
        if (active && n.dx_rounded) store((T *)n.dx_rounded + r * width + at, c.dx);
        if (N <= 4) c = next;
        else if (r + 1 < end) c = take_columns<T, N>(n, r + 1, width, at);
    }
    if (active) store(n.scratch + (int64_t)blockIdx.x * width + at, dw);
}

/* dw += the parts: 32 threads add every 32nd part of a column, then one adds what they have. */
static __global__ void norm_columns_kernel(float *dw, const float *parts, int count, int width)
{
    __shared__ float shared[GROUPS][COLUMNS];
    int column = (int)(blockIdx.x * COLUMNS + threadIdx.x);
    float sum = 0.0f;
    for (int i = (int)threadIdx.y; column < width && i < count; i += GROUPS)
        sum += parts[(int64_t)i * width + column];
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= width) return;
    sum = 0.0f;
    for (int i = 0; i < GROUPS; i++) sum += shared[i][threadIdx.x];
    dw[column] += sum;
}

void gpu_norm_backward(struct shape s, const struct norm_gradient *n)
{
    int each = columns_each(s.width);
    int64_t parts = smaller(s.rows, NORM_PARTS);
    launch(s.engine, KERNEL_FOR(norm_backward_kernel, s.dtype, each), dim3((unsigned)parts),
           dim3(whole_warps(s.width / each)), *n, s.rows, s.width);
    launch(s.engine, norm_columns_kernel, dim3(blocks_for(s.width, COLUMNS)), dim3(COLUMNS, GROUPS), n->dw,
           n->scratch, parts, s.width);
}
