/* Sums over the rows of a matrix, and over products of two. Which elements a thread adds, and in which
 * order, follows from the shape alone; everything is added in double. */
#include "cuda_tiles.cuh"

/* ---- sums[j] (+)= the sum of column j ---- */

enum {
    SUM_THREADS_X = 32,
    SUM_THREADS_Y = CUDA_THREADS / SUM_THREADS_X,
    SUM_COLS = SUM_THREADS_X * EIGHT,
    SUM_ROWS = 256,   /* of a block, at least */
    SUM_AT_ONCE = 4,  /* rows a thread has under way */
    SUM_SLICES = 1024 /* of the rows, at most */
};

/* A block sums a slice of the rows: into `slices`, a row for each of them, or, if there is one alone, into `sums`. */
template <class T>
static __global__ void sum_rows_kernel(float *sums, double *slices, struct view x, int64_t slice_rows,
                                       int32_t accumulate, int step)
{
    __shared__ double part[SUM_THREADS_Y][SUM_COLS];
    double sum[EIGHT] = {0};
    int64_t j0 = (int64_t)blockIdx.x * SUM_COLS, first = blockIdx.y * slice_rows;
    struct eight e = eight_of(j0, x.cols, step, (int)threadIdx.x), none = {e.first, e.first, step};
    int64_t end = first + slice_rows < x.rows ? first + slice_rows : x.rows;
    for (int64_t i = first + threadIdx.y; i < end && e.has(0); i += SUM_AT_ONCE * SUM_THREADS_Y) {
        float from[SUM_AT_ONCE][EIGHT];
        for (int r = 0; r < SUM_AT_ONCE; r++) {
            int64_t row = i + r * SUM_THREADS_Y;
            load_eight(from[r], row_of<T>(x, row), row < end ? e : none);
        }
        for (int r = 0; r < SUM_AT_ONCE; r++)
            for (int k = 0; k < EIGHT; k++) sum[k] += (double)from[r][k];
    }
    for (int k = 0; k < EIGHT; k++) part[threadIdx.y][e.at(k) - j0] = sum[k];
    __syncthreads();
    int col = (int)(threadIdx.y * SUM_THREADS_X + threadIdx.x); /* as many threads as columns */
    if (j0 + col >= x.cols) return;
    double total = 0;
    for (int k = 0; k < SUM_THREADS_Y; k++) total += part[k][col];
    if (slices)
        slices[blockIdx.y * x.cols + j0 + col] = total;
    else
        sums[j0 + col] = (float)(total + (accumulate ? (double)sums[j0 + col] : 0));
}

static __global__ void sum_slices_kernel(float *sums, const double *slices, int64_t count, int64_t cols,
                                         int32_t accumulate)
{
    int64_t j = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= cols) return;
    double total = 0;
    for (int64_t i = 0; i < count; i++) total += slices[i * cols + j];
    sums[j] = (float)(total + (accumulate ? (double)sums[j] : 0));
}

static unsigned blocks_of(int64_t items, int64_t each)
{
    return (unsigned)((items + each - 1) / each);
}

relora_status cuda_sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate)
{
    static_assert((int)SUM_COLS == (int)CUDA_THREADS, "a thread finishes a column");
    int64_t each = x.rows / SUM_SLICES + 1; /* rows of a slice, and a whole number of SUM_ROWS */
    each = (each + SUM_ROWS - 1) / SUM_ROWS * SUM_ROWS;
    int64_t count = x.rows ? (x.rows + each - 1) / each : 1;
    int step = x.dtype == RELORA_F32 ? FOUR * SUM_THREADS_X : FOUR;
    double *slices = NULL;
    if (!x.cols) return RELORA_OK;
    if (count > 1) {
        slices = (double *)cuda_scratch(q, (size_t)count * (size_t)x.cols * sizeof *slices);
        if (!slices) return RELORA_E_NO_MEMORY;
    }
    relora_status status =
        cuda_launch(q, "a sum of rows", x.dtype == RELORA_F32 ? sum_rows_kernel<float> : sum_rows_kernel<bf16>,
                    dim3(blocks_of(x.cols, SUM_COLS), (unsigned)count), dim3(SUM_THREADS_X, SUM_THREADS_Y), sums,
                    slices, x, each, accumulate, step);
    if (status < 0 || !slices) return status;
    return cuda_launch(q, "a sum of rows", sum_slices_kernel, blocks_of(x.cols, CUDA_THREADS), CUDA_THREADS, sums,
                       slices, count, x.cols, accumulate);
}

/* ---- *grad (+)= (1 - tanh(*scale)^2) * the sum of h * u ---- */

template <class T> static __global__ void dot_kernel(double *partials, struct view h, struct view u, int step)
{
    double sum = 0;
    tiling_walk(h, step, [&](int64_t i, struct eight e) {
        float a[EIGHT], b[EIGHT];
        load_eight(a, row_of<T>(h, i), e);
        load_eight(b, row_of<T>(u, i), e);
        for (int k = 0; k < EIGHT; k++) sum += (double)a[k] * (double)b[k];
    });
    sum = block_sum(sum);
    if (!threadIdx.x && !threadIdx.y) partials[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

static __global__ void scale_grad_kernel(float *grad, const float *scale, const double *partials, int64_t count,
                                         int32_t accumulate)
{
    double sum = block_sum_of(partials, count, 1), s = (double)tanhf(*scale);
    if (threadIdx.x) return;
    *grad = (float)((1 - s * s) * sum + (accumulate ? (double)*grad : 0));
}

relora_status cuda_scale_grad(struct queue *q, float *grad, const float *scale, struct view h, struct view u,
                              int32_t accumulate)
{
    relora_dtype dtype = h.dtype;
    struct tiling t = cuda_tiling(REDUCE_BLOCKS, h, u);
    int64_t count = (int64_t)t.blocks.x * t.blocks.y;
    double *partials = (double *)cuda_scratch(q, REDUCE_BLOCKS * sizeof *partials);
    if (!partials) return RELORA_E_NO_MEMORY;
    relora_status status =
        cuda_launch(q, "the gradient of a scale", dtype == RELORA_F32 ? dot_kernel<float> : dot_kernel<bf16>,
                    t.blocks, t.threads, partials, h, u, t.step);
    if (status < 0) return status;
    return cuda_launch(q, "the gradient of a scale", scale_grad_kernel, 1, CUDA_THREADS, grad, scale, partials,
                       count, accumulate);
}

cudaError_t cuda_load_reduce(void)
{
    return cuda_load(sum_rows_kernel<float>, sum_rows_kernel<bf16>, sum_slices_kernel, dot_kernel<float>,
                     dot_kernel<bf16>, scale_grad_kernel);
}
