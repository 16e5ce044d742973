/* Orthonormal rows, what they hold of a matrix, and moments that go from one A to another. Every sum has the order that
 * span_math.h states: a warp makes it, a lane has a part. Gram-Schmidt is one block, which decides as it goes: matrices are
 * as small as factors, and restarts are rare. */
#include "cuda_tiles.cuh"
#include "span_math.h"

enum { SPAN_THREADS = 1024, SPAN_WARPS = SPAN_THREADS / SPAN_LANES };

/* In every lane of the warp. */
template <class A, class B> static __device__ inline double warp_dot(const A *a, const B *b, int64_t n)
{
    double sum = 0;
    for (int64_t j = threadIdx.x % SPAN_LANES; j < n; j += SPAN_LANES) sum += (double)a[j] * (double)b[j];
    for (int half = SPAN_LANES / 2; half > 0; half /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, half);
    return sum;
}

/* ---- orthonormal rows ---- */

/* Free x of the `done` rows before it. */
static __device__ inline void take_terms_away(const struct span &s, double *x, int64_t done)
{
    for (int64_t p = threadIdx.x / SPAN_LANES; p < done; p += SPAN_WARPS) {
        double term = warp_dot(s.basis + p * s.cols, x, s.cols);
        if (threadIdx.x % SPAN_LANES == 0) s.terms[p] = term;
    }
    __syncthreads();
    for (int64_t j = threadIdx.x; j < s.cols; j += SPAN_THREADS) {
        double left = x[j];
        for (int64_t p = 0; p < done; p++) left -= s.terms[p] * s.basis[p * s.cols + j];
        x[j] = left;
    }
    __syncthreads();
}

/* Is there anything of the candidate that the rows so far do not have? All threads find the same. */
static __device__ inline bool add_row(const struct span &s, int64_t candidate, int64_t done)
{
    const float *source = span_source(&s, candidate, done);
    double *x = s.basis + done * s.cols;
    for (int64_t j = threadIdx.x; j < s.cols; j += SPAN_THREADS) x[j] = span_element(&s, source, candidate, j);
    __syncthreads();
    double before = warp_dot(x, x, s.cols);
    __syncthreads();
    for (int pass = 0; pass < 2; pass++) take_terms_away(s, x, done);
    double left = warp_dot(x, x, s.cols), length = sqrt(left);
    __syncthreads(); /* all have read it */
    if (!span_accepts(before, left)) return false;
    for (int64_t j = threadIdx.x; j < s.cols; j += SPAN_THREADS) x[j] /= length;
    __syncthreads();
    return true;
}

static __global__ void __launch_bounds__(SPAN_THREADS) span_kernel(struct span s)
{
    int64_t done = 0;
    for (int64_t c = 0; c < span_candidates(&s) && done < s.rows; c++)
        if (span_has(&s, c, done)) done += add_row(s, c, done);
    for (int64_t i = done * s.cols + threadIdx.x; i < s.rows * s.cols; i += SPAN_THREADS) s.basis[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; s.y.data && i < s.rows * s.cols; i += SPAN_THREADS)
        row_of<float>(s.y, i / s.cols)[i % s.cols] = (float)(s.length * s.basis[i]);
}

relora_status cuda_span(struct queue *q, const struct span *s)
{
    return cuda_launch(q, "orthonormal rows", span_kernel, 1, SPAN_THREADS, *s);
}

/* ---- shares ---- */

/* A warp to a row. */
static __global__ void share_kernel(struct share s)
{
    int64_t warps = (int64_t)gridDim.x * (CUDA_THREADS / SPAN_LANES);
    for (int64_t i = ((int64_t)blockIdx.x * CUDA_THREADS + threadIdx.x) / SPAN_LANES; i < s.x.rows; i += warps) {
        const float *x = row_of<float>(s.x, i);
        double inside = 0, all = warp_dot(x, x, s.x.cols);
        for (int64_t p = 0; p < s.rows; p++) {
            double term = warp_dot(x, s.basis + p * s.x.cols, s.x.cols);
            inside += term * term;
        }
        if (threadIdx.x % SPAN_LANES) continue;
        s.partials[2 * i] = inside;
        s.partials[2 * i + 1] = all;
    }
}

static __global__ void share_sums_kernel(struct share s)
{
    for (int64_t i = 0; i < s.x.rows; i++) s.sums[threadIdx.x] += s.partials[2 * i + threadIdx.x];
}

relora_status cuda_share(struct queue *q, const struct share *s)
{
    unsigned blocks = cuda_blocks(q, s->x.rows, CUDA_THREADS / SPAN_LANES);
    relora_status status = cuda_launch(q, "shares of a basis", share_kernel, blocks, CUDA_THREADS, *s);
    return status < 0 ? status : cuda_launch(q, "shares of a basis", share_sums_kernel, 1, 2, *s);
}

/* ---- moments ---- */

/* [A A^T | A A'^T], a warp to an element. */
static __global__ void map_products_kernel(struct project p)
{
    int64_t rank = p.old.rows, warps = (int64_t)gridDim.x * (CUDA_THREADS / SPAN_LANES);
    for (int64_t i = ((int64_t)blockIdx.x * CUDA_THREADS + threadIdx.x) / SPAN_LANES; i < 2 * rank * rank; i += warps) {
        int64_t k = i % (2 * rank);
        const float *other = k < rank ? row_of<float>(p.old, k) : row_of<float>(p.now, k - rank);
        double product = warp_dot(row_of<float>(p.old, i / (2 * rank)), other, p.old.cols);
        if (threadIdx.x % SPAN_LANES == 0) p.map[i] = product;
    }
}

/* One block: the ridge, and elimination. */
static __global__ void __launch_bounds__(SPAN_THREADS) map_solve_kernel(struct project p)
{
    int64_t rank = p.old.rows, wide = 2 * rank;
    double trace = 0;
    for (int64_t i = 0; i < rank; i++) trace += p.map[i * wide + i];
    __syncthreads();
    for (int64_t i = threadIdx.x; i < rank; i += SPAN_THREADS) p.map[i * wide + i] += project_ridge(trace, rank);
    for (int64_t pivot = 0; pivot < rank; pivot++) {
        int64_t right = wide - pivot - 1; /* what is left of it is not looked at again */
        const double *from = p.map + pivot * wide;
        __syncthreads();
        for (int64_t e = threadIdx.x; e < rank * right; e += SPAN_THREADS) {
            double *row = p.map + e / right * wide;
            int64_t k = pivot + 1 + e % right;
            if (row != from) row[k] -= project_ratio(row[pivot], from[pivot]) * from[k];
        }
    }
    __syncthreads();
    for (int64_t e = threadIdx.x; e < rank * rank; e += SPAN_THREADS) {
        double *row = p.map + e / rank * wide;
        row[rank + e % rank] = project_ratio(row[rank + e % rank], row[e / rank]);
    }
}

static __global__ void project_kernel(struct project p)
{
    int64_t rank = p.old.rows, threads = (int64_t)gridDim.x * CUDA_THREADS;
    struct project_bias bias = project_bias_make(p.beta1, p.beta2, p.steps ? *p.steps : p.count);
    for (int64_t e = (int64_t)blockIdx.x * CUDA_THREADS + threadIdx.x; e < p.m.rows * rank; e += threads) {
        int64_t i = e / rank, c = e % rank;
        const float *m = row_of<float>(p.m_from, i), *v = row_of<float>(p.v_from, i);
        double mean = 0, variance = 0;
        for (int64_t k = 0; k < rank; k++) {
            double x = p.map[k * 2 * rank + rank + c];
            mean += (double)m[k] * x;
            variance += project_variance(bias, (double)m[k], (double)v[k]) * (x * x);
        }
        row_of<float>(p.m, i)[c] = (float)mean;
        row_of<float>(p.v, i)[c] = project_second(bias, mean, variance);
    }
}

relora_status cuda_project(struct queue *q, const struct project *p)
{
    int64_t rank = p->old.rows;
    unsigned products = cuda_blocks(q, 2 * rank * rank, CUDA_THREADS / SPAN_LANES);
    relora_status status = cuda_launch(q, "moments of a new A", map_products_kernel, products, CUDA_THREADS, *p);
    if (status >= 0) status = cuda_launch(q, "moments of a new A", map_solve_kernel, 1, SPAN_THREADS, *p);
    if (status < 0) return status;
    return cuda_launch(q, "moments of a new A", project_kernel, cuda_blocks(q, p->m.rows * rank, CUDA_THREADS),
                       CUDA_THREADS, *p);
}

cudaError_t cuda_load_span(void)
{
    return cuda_load(span_kernel, share_kernel, share_sums_kernel, map_products_kernel, map_solve_kernel, project_kernel);
}
