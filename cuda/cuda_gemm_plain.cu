/* The matrix product as a kernel of our own, for the few that cuBLASLt does not take and for those with
 * nothing to multiply: c is only given its bias, or 0. A block finishes a tile of c at a time, from tiles
 * of a and b in shared memory; every sum is made in F32, from the first term to the last. */
#include "cuda_queue.h"

enum { TILE = 16 };

static __device__ inline float element(struct view v, int64_t i, int64_t j)
{
    int64_t at = i * v.ld + j;
    return v.dtype == RELORA_F32 ? ((const float *)v.data)[at] : bf16_to_float(((const bf16 *)v.data)[at]);
}

/* Element i, j of op(v), which is rows x cols; 0 outside of it. */
static __device__ inline float operand(struct view v, int32_t transposed, int64_t i, int64_t j, int64_t rows,
                                       int64_t cols)
{
    if (i >= rows || j >= cols) return 0;
    return transposed ? element(v, j, i) : element(v, i, j);
}

static __device__ inline void store(const struct gemm &g, int64_t i, int64_t j, float sum)
{
    if (g.bias) sum += g.bias[j];
    if (g.accumulate) sum += element(g.c, i, j);
    if (g.c.dtype == RELORA_F32)
        ((float *)g.c.data)[i * g.c.ld + j] = sum;
    else
        ((bf16 *)g.c.data)[i * g.c.ld + j] = bf16_nearest(sum);
}

static __global__ void product(struct gemm g, int64_t depth, int64_t tiles, int64_t across)
{
    __shared__ float a[TILE][TILE + 1], b[TILE][TILE + 1];
    int row = (int)threadIdx.x / TILE, col = (int)threadIdx.x % TILE;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        int64_t i = t / across * TILE + row, j = t % across * TILE + col;
        float sum = 0;
        for (int64_t k0 = 0; k0 < depth; k0 += TILE) {
            a[row][col] = operand(g.a, g.ta, i, k0 + col, g.c.rows, depth);
            b[row][col] = operand(g.b, g.tb, k0 + row, j, depth, g.c.cols);
            __syncthreads();
            for (int k = 0; k < TILE; k++) sum = fmaf(a[row][k], b[k][col], sum);
            __syncthreads();
        }
        if (i < g.c.rows && j < g.c.cols) store(g, i, j, sum);
    }
}

relora_status cuda_gemm_plain(struct queue *q, const struct gemm *g)
{
    int64_t down = (g->c.rows + TILE - 1) / TILE, across = (g->c.cols + TILE - 1) / TILE;
    int64_t depth = g->ta ? g->a.rows : g->a.cols;
    return cuda_launch(q, "a matrix product", product, dim3(cuda_blocks(q, down * across, 1)), dim3(TILE * TILE),
                       *g, depth, down * across, across);
}

cudaError_t cuda_load_gemm_plain(void)
{
    return cuda_load(product);
}
