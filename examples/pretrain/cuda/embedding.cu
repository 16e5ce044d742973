/* Tokens to the device, and the embedding's two ways. A row of the table may be wanted by many tokens; to add
 * up its gradient in a fixed order the host sorts the places of each token while it has them. */
#include "gpu.cuh"

#include <stdlib.h>
#include <string.h>

enum { THREADS = 256 };

/* The tokens; the places sorted by token; for a place in that order how many of its token begin there, or 0.
 */
int64_t gpu_tokens_floats(int64_t count)
{
    return 3 * count;
}

static cudaError_t more_buckets(struct gpu *gpu, int64_t count)
{
    if (count <= gpu->bucket_count) return cudaSuccess;
    void *more = realloc(gpu->buckets, (size_t)count * sizeof *gpu->buckets);
    if (!more) return cudaErrorMemoryAllocation;
    gpu->buckets = (int32_t *)more;
    gpu->bucket_count = count;
    return cudaSuccess;
}

/* A counting sort, which keeps equal tokens in their order. */
static void sort_places(int32_t *buckets, const int32_t *tokens, int32_t *order, int32_t *runs, int64_t count,
                        int64_t vocab)
{
    memset(buckets, 0, (size_t)vocab * sizeof *buckets);
    memset(runs, 0, (size_t)count * sizeof *runs);
    for (int64_t i = 0; i < count; i++) buckets[tokens[i]]++;
    int32_t first = 0;
    for (int64_t token = 0; token < vocab; token++) {
        int32_t run = buckets[token];
        buckets[token] = first;
        if (run) runs[first] = run;
        first += run;
    }
    for (int64_t i = 0; i < count; i++) order[buckets[tokens[i]]++] = (int32_t)i;
}

/* All slots at once, so that the first step takes all the memory there is to take. */
static cudaError_t more_pinned(struct gpu *gpu, size_t bytes)
{
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < GPU_SLOTS && error == cudaSuccess; i++) {
        auto *slot = &gpu->slots[i];
        error = cudaEventSynchronize(slot->copied);
        if (slot->host) cudaFreeHost(slot->host);
        slot->host = NULL;
        if (error == cudaSuccess) error = cudaMallocHost((void **)&slot->host, bytes);
    }
    gpu->pinned = error == cudaSuccess ? bytes : 0;
    return error;
}

/* Pinned memory that no copy reads any more. */
static cudaError_t take_slot(struct gpu *gpu, size_t bytes, int32_t **host, cudaEvent_t *copied)
{
    auto *slot = &gpu->slots[gpu->next++ % GPU_SLOTS];
    cudaError_t error = bytes > gpu->pinned ? more_pinned(gpu, bytes) : cudaEventSynchronize(slot->copied);
    *host = slot->host;
    *copied = slot->copied;
    return error;
}

void gpu_upload(const struct engine *engine, int32_t *to, const int32_t *from, int64_t count, int64_t vocab)
{
    struct gpu *gpu = engine->gpu;
    size_t bytes = (size_t)(vocab ? gpu_tokens_floats(count) : count) * sizeof *to;
    int32_t *host;
    cudaEvent_t copied;
    cudaError_t error = take_slot(gpu, (size_t)gpu_tokens_floats(count) * sizeof *to, &host, &copied);
    if (error == cudaSuccess) error = more_buckets(gpu, vocab);
    if (error == cudaSuccess) {
        memcpy(host, from, (size_t)count * sizeof *host);
        if (vocab) sort_places(gpu->buckets, from, host + count, host + 2 * count, count, vocab);
        error = cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, gpu->stream);
    }
    if (error == cudaSuccess) error = cudaEventRecord(copied, gpu->stream);
    if (gpu->error == cudaSuccess) gpu->error = error;
}

template <int N>
static __global__ void __launch_bounds__(THREADS)
    embedding_kernel(float *x, const float *table, const int32_t *tokens, int64_t rows, int width)
{
    int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N, row = at / width;
    float line[N];
    if (row >= rows) return;
    load(line, table + tokens[row] * (int64_t)width + at % width);
    store(x + at, line);
}

void gpu_embedding_forward(struct shape s, float *x, const float *table, const int32_t *tokens)
{
    int each = s.width % 4 == 0 ? 4 : 2;
    launch(s.engine, each == 4 ? embedding_kernel<4> : embedding_kernel<2>,
           dim3(blocks_for(s.rows * s.width, THREADS * each)), dim3(THREADS), x, table, tokens, s.rows,
           s.width);
}

/* A block for each place in the order, of which those work where a token's run begins. */
template <int N>
static __global__ void embedding_backward_kernel(float *dtable, const float *dx, const int32_t *tokens,
                                                 int64_t rows, int width)
{
    const int32_t *order = tokens + rows, *runs = order + rows;
    int run = runs[blockIdx.x], at = (int)(blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (!run || at >= width) return;
    order += blockIdx.x;
    float *to = dtable + tokens[order[0]] * (int64_t)width + at, sum[N], line[N];
    load(sum, to);
    for (int i = 0; i < run; i++) {
        load(line, dx + order[i] * (int64_t)width + at);
        for (int k = 0; k < N; k++) sum[k] += line[k];
    }
    store(to, sum);
}

void gpu_embedding_backward(struct shape s, float *dtable, const float *dx, const int32_t *tokens)
{
    int each = s.width % 4 == 0 ? 4 : 2;
    unsigned threads = whole_warps(smaller(s.width / each, THREADS));
    launch(s.engine, each == 4 ? embedding_backward_kernel<4> : embedding_backward_kernel<2>,
           dim3((unsigned)s.rows, blocks_for(s.width, (int64_t)threads * each)), dim3(threads), dtable, dx,
           tokens, s.rows, s.width);
}
