/* Tokens to the device, and the embedding's two ways. A row of the table may be wanted by many tokens; to add
 * up its gradient in a fixed order the host sorts the places of each token while it has them. */
#include "gpu.cuh"

#include <stdlib.h>
#include <string.h>

enum { THREADS = 256, PIECE = 32 /* places of a token that a block adds up at most */ };

/* What the host makes of `count` tokens and uploads behind them. */
template <class Int> struct places {
    Int *order; /* [count]: the places, sorted by token */
    Int *
        pieces; /* [count]: of a place in that order how many a block adds up from there on; 0: they are another's; less
                      * than 0: as many, of a token that takes more than one block */
    Int *
        longer; /* [count / PIECE][2]: tokens of more than one piece: where they begin, and how many they are, or 0 */
};

template <class Int>
static __host__ __device__ inline struct places<Int> places_of(Int *tokens, int64_t count) {
    struct places<Int> p = {
        tokens + count, tokens + 2 * count, tokens + 3 * count
    };
    return p;
}

int64_t
gpu_tokens_floats(int64_t count)
{
    return 3 * count + 2 * (count / PIECE);
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

/* `run` places of a token, from `first` in the order on: their pieces. */
static void cut_run(const struct places<int32_t> *p, int32_t first, int32_t run, int32_t **longer)
{
    int32_t sign = run > PIECE ? -1 : 1;
    for (int32_t at = 0; at < run; at += PIECE)
        p->pieces[first + at] = sign * (run - at < PIECE ? run - at : PIECE);
    if (run <= PIECE) return;
    *(*longer)++ = first;
    *(*longer)++ = run;
}

/* A counting sort, which keeps equal tokens in their order. */
static void sort_places(int32_t *buckets, int32_t *tokens, int64_t count, int64_t vocab)
{
    struct places<int32_t> p = places_of(tokens, count);
    int32_t first = 0, *longer = p.longer;
    memset(buckets, 0, (size_t)vocab * sizeof *buckets);
    memset(p.pieces, 0, (size_t)(gpu_tokens_floats(count) - 2 * count) * sizeof *p.pieces);
    for (int64_t i = 0; i < count; i++) buckets[tokens[i]]++;
    for (int64_t token = 0; token < vocab; token++) {
        int32_t run = buckets[token];
        buckets[token] = first;
        cut_run(&p, first, run, &longer);
        first += run;
    }
    for (int64_t i = 0; i < count; i++) p.order[buckets[tokens[i]]++] = (int32_t)i;
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
        if (vocab) sort_places(gpu->buckets, host, count, vocab);
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

/* Columns at .. at + N of `count` rows of dx, whose numbers are `step` apart in `order`, added to `sum`. */
template <int N>
static __device__ __forceinline__ void add_places(float (&sum)[N], const float *dx, const int32_t *order,
                                                  int count, int step, int width, int at)
{
    float line[N];
    for (int i = 0; i < count; i++) {
        load(line, dx + order[i * step] * (int64_t)width + at);
        for (int k = 0; k < N; k++) sum[k] += line[k];
    }
}

/* A block for each place in the order, of which those work where a piece begins. What is a token's only one goes to the
 * table, another to the first of its own rows, which nobody else reads. */
template <int N>
static __global__ void embedding_backward_kernel(float *dtable, float *dx, const int32_t *tokens,
                                                 int64_t rows, int width)
{
    const struct places<const int32_t> p = places_of(tokens, rows);
    int piece = p.pieces[blockIdx.x], at = (int)(blockIdx.y * blockDim.x + threadIdx.x) * N;
    const int32_t *order = p.order + blockIdx.x;
    if (!piece || at >= width) return;
    float *to = piece < 0 ? dx + order[0] * (int64_t)width + at
                          : dtable + tokens[order[0]] * (int64_t)width + at,
          sum[N];
    load(sum, to);
    if (piece < 0) add_places(sum, dx, order + 1, -piece - 1, 1, width, at);
    else add_places(sum, dx, order, piece, 1, width, at);
    store(to, sum);
}

/* The pieces of a token that has more. */
template <int N>
static __global__ void embedding_pieces_kernel(float *dtable, const float *dx, const int32_t *tokens,
                                               int64_t rows, int width)
{
    const struct places<const int32_t> p = places_of(tokens, rows);
    const int32_t *longer = p.longer + 2 * blockIdx.x, *order = p.order + longer[0];
    int run = longer[1], at = (int)(blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (!run || at >= width) return;
    float *to = dtable + tokens[order[0]] * (int64_t)width + at, sum[N];
    load(sum, to);
    add_places(sum, dx, order, (run + PIECE - 1) / PIECE, PIECE, width, at);
    store(to, sum);
}

template <int N>
static void embedding_backward(struct shape s, float *dtable, float *dx, const int32_t *tokens)
{
    unsigned threads = whole_warps(smaller(s.width / N, THREADS)),
             columns = blocks_for(s.width, (int64_t)threads * N);
    launch(s.engine, embedding_backward_kernel<N>, dim3((unsigned)s.rows, columns), dim3(threads), dtable, dx,
           tokens, s.rows, s.width);
    launch(s.engine, embedding_pieces_kernel<N>, dim3((unsigned)(s.rows / PIECE), columns), dim3(threads),
           dtable, dx, tokens, s.rows, s.width);
}

void gpu_embedding_backward(struct shape s, float *dtable, float *dx, const int32_t *tokens)
{
    if (s.width % 4 == 0) embedding_backward<4>(s, dtable, dx, tokens);
    else embedding_backward<2>(s, dtable, dx, tokens);
}
