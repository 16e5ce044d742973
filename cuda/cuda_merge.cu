/* What is added to a weight and rounded with it: a merge for good, a fold for one product. */
#include "cuda_random.cuh"
#include "cuda_tiles.cuh"

/* ---- y = round(y + s * x) ---- */

static __device__ inline void merge_store(float *to, float *after, uint32_t word, int stochastic)
{
    (void)word, (void)stochastic;
    *to = *after;
}

static __device__ inline void merge_store(bf16 *to, float *after, uint32_t word, int stochastic)
{
    *to = stochastic ? bf16_stochastic(*after, word) : bf16_nearest(*after);
    *after = bf16_to_float(*to);
}

/* partials: of each block |change of y|^2 and |y|^2, of what is stored; may be NULL. Three blocks to a multiprocessor, for
 * which the compiler has to be asked, have enough loads under way. */
template <class T>
static __global__ void __launch_bounds__(CUDA_THREADS, 3)
    merge_kernel(struct merge m, int stochastic, double *partials, int step)
{
    float s = scale_value(m.scale);
    double changed = 0, size = 0;
    tiling_walk(m.y, step, [&](int64_t i, struct eight e) {
        float before[EIGHT], x[EIGHT], change[EIGHT];
        T y[EIGHT];
        uint32_t words[EIGHT] = {0};
        load_eight(before, row_of<T>(m.y, i), e);
        load_eight(x, row_of<float>(m.x, i), e);
        if (stochastic) cuda_draw_eight(words, m.draw, m.first + (uint64_t)(i * m.y.cols), e);
        for (int k = 0; k < EIGHT; k++) {
            float after = before[k] + s * x[k];
            merge_store(&y[k], &after, words[k], stochastic);
            change[k] = after - before[k];
            if (!e.has(k)) continue;
            double exact = (double)after - (double)before[k];
            changed += exact * exact;
            size += (double)after * (double)after;
        }
        store_eight(row_of<T>(m.y, i), y, e);
        if (!m.delta.data) return;
        float delta[EIGHT];
        load_eight(delta, row_of<float>(m.delta, i), e);
        for (int k = 0; k < EIGHT; k++) delta[k] += change[k];
        store_eight(row_of<float>(m.delta, i), delta, e);
    });
    if (!partials) return;
    changed = block_sum(changed);
    size = block_sum(size);
    if (threadIdx.x || threadIdx.y) return;
    int64_t block = (int64_t)blockIdx.y * gridDim.x + blockIdx.x;
    partials[2 * block] = changed;
    partials[2 * block + 1] = size;
}

static __global__ void merge_norms_kernel(double *norms, const double *partials, int64_t blocks)
{
    double changed = block_sum_of(partials, blocks, 2), size = block_sum_of(partials + 1, blocks, 2);
    if (threadIdx.x) return;
    norms[0] += changed;
    norms[1] += size;
}

/* The sums of blocks lie in the queue's scratch: there may be more of them than rows. */
relora_status cuda_merge(struct queue *q, const struct merge *merge)
{
    struct merge m = *merge;
    relora_dtype dtype = m.y.dtype;
    int stochastic = dtype == RELORA_BF16 && m.rounding == RELORA_ROUND_STOCHASTIC;
    struct tiling t = cuda_tiling(REDUCE_BLOCKS, m.y, m.x, m.delta);
    int64_t blocks = (int64_t)t.blocks.x * t.blocks.y;
    double *partials = NULL;
    if (!blocks) return RELORA_OK;
    if (m.norms) {
        partials = (double *)cuda_scratch(q, 2 * (size_t)blocks * sizeof *partials);
        if (!partials) return RELORA_E_NO_MEMORY;
    }
    relora_status status =
        cuda_launch(q, "a merge", dtype == RELORA_F32 ? merge_kernel<float> : merge_kernel<bf16>, t.blocks,
                    t.threads, m, stochastic, partials, t.step);
    if (status < 0 || !m.norms) return status;
    return cuda_launch(q, "the norms of a merge", merge_norms_kernel, 1, CUDA_THREADS, m.norms, partials, blocks);
}

/* ---- y = w + x, rounded stochastically ---- */

static __global__ void fold_kernel(struct fold f, int step)
{
    tiling_walk(f.y, step, [&](int64_t i, struct eight e) {
        float w[EIGHT], x[EIGHT];
        bf16 y[EIGHT];
        uint32_t words[EIGHT];
        load_eight(w, row_of<bf16>(f.w, i), e);
        load_eight(x, row_of<float>(f.x, i), e);
        cuda_draw_eight(words, f.draw, f.first + (uint64_t)(i * f.y.cols), e);
        for (int k = 0; k < EIGHT; k++) y[k] = bf16_stochastic(w[k] + x[k], words[k]);
        store_eight(row_of<bf16>(f.y, i), y, e);
    });
}

relora_status cuda_fold(struct queue *q, const struct fold *fold)
{
    struct fold f = *fold;
    struct tiling t = cuda_tiling(tiling_most(q), f.y, f.w, f.x);
    return cuda_launch(q, "a fold", fold_kernel, t.blocks, t.threads, f, t.step);
}

cudaError_t cuda_load_merge(void)
{
    return cuda_load(merge_kernel<float>, merge_kernel<bf16>, merge_norms_kernel, fold_kernel);
}
