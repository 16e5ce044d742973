/* Attention backward in BF16. The probabilities are made again from log_sum. One kernel has 64 queries and
 * makes dq, the other has 64 keys and makes dk and dv, so that no two blocks write to one place. */
#include "attention_tensor.cuh"

struct backward {
    struct heads h;
    struct attention_pass p;
    struct attention_gradient g;
    float *delta; /* [batch, heads, seq]: of each query the sum of out * dout */
};

/* ---- dq ---- */

template <int D> constexpr int keys_of = D <= 64 ? 64 : 32;

/* Sum of out * dout over a row; dout is here already, as A. To all four lanes that share rows g and g + 8. */
template <int D>
static __device__ __forceinline__ void row_deltas(const struct heads &h, const bf16 *out,
                                                  const uint32_t (&dout)[D / 16][4], int query,
                                                  float (&delta)[2])
{
    int lane = (int)threadIdx.x % 32;
UNROLL
    for (int half = 0; half < 2; half++) {
        int t = query + lane / 4 + 8 * half;
        float sum = 0.0f;
        for (int k = 0; k < D / 8; k++) {
            int column = 8 * k + lane % 4 * 2;
            if (t >= h.seq || column >= h.head_dim) continue;
            uint32_t o = *(const uint32_t *)(out + (int64_t)t * h.row + column),
                     d = dout[k / 2][k % 2 * 2 + half];
            sum += __uint_as_float(o << 16) * __uint_as_float(d << 16);
            sum += __uint_as_float(o & 0xFFFF0000u) * __uint_as_float(d & 0xFFFF0000u);
        }
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
        delta[half] = sum + __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
    }
}

/* slope := P (dP - delta), for 16 queries and the keys from `key` on. */
template <int N>
static __device__ __forceinline__ void query_slope(float (&slope)[N][4], const float (&score)[N][4],
                                                   const float (&log_sum)[2], const float (&delta)[2],
                                                   float scale, int query, int key)
{
    int lane = (int)threadIdx.x % 32;
    query += lane / 4, key += lane % 4 * 2;
UNROLL
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++) {
            bool seen = key + 8 * j + i % 2 <= query + i / 2 * 8;
            float p = seen ? exp2_fast(score[j][i] * scale - log_sum[i / 2]) : 0.0f;
            slope[j][i] = p * (slope[j][i] - delta[i / 2]);
        }
}

template <int D>
static __global__ void __launch_bounds__(TENSOR_THREADS) query_kernel(struct backward b)
{
    constexpr int KEYS = keys_of<D>, TILE = KEYS * stride_of<D>, STRIDE = stride_of<D>;
    __shared__ __align__(16) bf16 memory[4 * TILE]; /* keys, values; twice */
    static_assert(4 * TILE >= TENSOR_ROWS * STRIDE && 4 * TILE >= 2 * TENSOR_ROWS * D,
                  "what else passes through it");
    const struct heads &h = b.h;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TENSOR_ROWS, warp = (int)threadIdx.x / 32;
    int query = first + warp * WARP_ROWS, lane = (int)threadIdx.x % 32;
    int end = first + TENSOR_ROWS < h.seq ? first + TENSOR_ROWS : h.seq, tiles = (end + KEYS - 1) / KEYS;
    int64_t begin = head_begin(h, blockIdx.y), which = (int64_t)blockIdx.y * h.seq;
    const bf16 *k = (const bf16 *)b.p.k + kv_begin(h, blockIdx.y / h.group);
    const bf16 *v = (const bf16 *)b.p.v + kv_begin(h, blockIdx.y / h.group);
    uint32_t rows[D / 16][4], dout[D / 16][4];
    float sum[D / 8][4] = {}, delta[2], log_sum[2];

    take_tile<D, TENSOR_ROWS>(h, memory, (const bf16 *)b.p.q + begin, first, h.row);
    end_group();
    wait_groups<0>();
    __syncthreads();
    take_rows<D>(rows, memory);
    __syncthreads();
    take_tile<D, TENSOR_ROWS>(h, memory, (const bf16 *)b.g.dout + begin, first, h.row);
    end_group();
    wait_groups<0>();
    __syncthreads();
    take_rows<D>(dout, memory);
    __syncthreads();
    take_tile<D, KEYS>(h, memory, k, 0, h.kv_row);
    take_tile<D, KEYS>(h, memory + TILE, v, 0, h.kv_row);
    end_group();
    row_deltas<D>(h, (const bf16 *)b.p.out + begin, dout, query, delta);
    for (int half = 0; half < 2; half++) {
        int t = query + lane / 4 + 8 * half;
        log_sum[half] = t < h.seq ? b.p.log_sum[which + t] * LOG2_E : INFINITY;
        if (t < h.seq && lane % 4 == 0) b.delta[which + t] = delta[half];
    }
    for (int i = 0; i < tiles; i++) {
        bf16 *tile = memory + i % 2 * 2 * TILE, *next = memory + (i + 1) % 2 * 2 * TILE;
        wait_groups<0>();
        __syncthreads();
        if (i + 1 < tiles) {
            take_tile<D, KEYS>(h, next, k, (i + 1) * KEYS, h.kv_row);
            take_tile<D, KEYS>(h, next + TILE, v, (i + 1) * KEYS, h.kv_row);
        }
        end_group();
        float score[KEYS / 8][4] = {}, slope[KEYS / 8][4] = {};
        multiply_rows<STRIDE>(score, rows, tile);
        multiply_rows<STRIDE>(slope, dout, tile + TILE);
        query_slope(slope, score, log_sum, delta, h.factor * LOG2_E, query, i * KEYS);
        multiply_result<STRIDE>(sum, slope, tile);
    }
    __syncthreads();
    give_rows<D>(h, (bf16 *)b.g.dq + begin, h.row, sum, (float *)memory + warp * WARP_ROWS * D, query, true,
                 h.factor);
}

/* ---- dk and dv ---- */

/* Of a wide head the keys and values stay in shared memory, not in registers, and tiles come one at a time.
 */
template <int D> constexpr bool wide = D > 64;
template <int D> constexpr int queries_of = wide<D> ? 16 : 32;

struct query_tile { /* what a tile of queries comes with */
    float log_sum[32], delta[32];
};

template <int D> constexpr int query_tile_size = queries_of<D> * stride_of<D>; /* elements of a tile */

/* Begin to copy rows of q and dout of a head from row `first` on, one behind the other, and what comes with
 * them. */
template <int D>
static __device__ __forceinline__ void take_queries(const struct backward &b, bf16 *tile,
                                                    struct query_tile *numbers, unsigned head, int first)
{
    constexpr int QUERIES = queries_of<D>;
    int64_t begin = head_begin(b.h, head), which = (int64_t)head * b.h.seq;
    int i = (int)threadIdx.x, t = first + i;
    take_tile<D, QUERIES>(b.h, tile, (const bf16 *)b.p.q + begin, first, b.h.row);
    take_tile<D, QUERIES>(b.h, tile + query_tile_size<D>, (const bf16 *)b.g.dout + begin, first, b.h.row);
    end_group();
    if (i >= QUERIES) return;
    numbers->log_sum[i] =
        t < b.h.seq ? b.p.log_sum[which + t] * LOG2_E : INFINITY; /* past the end nothing has weight */
    numbers->delta[i] = t < b.h.seq ? b.delta[which + t] : 0.0f;
}

/* score := P, slope := P (dP - delta), both with a row for each key. */
template <int N>
static __device__ __forceinline__ void key_slope(float (&score)[N][4], float (&slope)[N][4],
                                                 const struct query_tile &q, float scale, int key, int query)
{
    int lane = (int)threadIdx.x % 32;
    key += lane / 4;
UNROLL
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++) {
            int column = 8 * j + lane % 4 * 2 + i % 2;
            bool seen = key + i / 2 * 8 <= query + column;
            score[j][i] = seen ? exp2_fast(score[j][i] * scale - q.log_sum[column]) : 0.0f;
            slope[j][i] = score[j][i] * (slope[j][i] - q.delta[column]);
        }
}

/* c += this warp's rows of `tile` times the rows of another. */
template <int D, int N>
static __device__ __forceinline__ void multiply_tiles(float (&c)[N][4], const bf16 *tile, const bf16 *other)
{
    uint32_t a[D / 16][4];
    take_rows<D>(a, tile);
    multiply_rows<stride_of<D>>(c, a, other);
}

template <int D>
static __global__ void __launch_bounds__(TENSOR_THREADS) key_kernel(struct backward b)
{
    constexpr int QUERIES = queries_of<D>, STRIDE = stride_of<D>, TILE = query_tile_size<D>,
                  STAGES = wide<D> ? 1 : 2;
    constexpr int OWN = wide<D> ? TENSOR_ROWS * STRIDE : 0, STAGED = STAGES * 2 * TILE;
    __shared__ __align__(16) bf16 memory[2 * OWN + STAGED]; /* keys, values; queries, dout, for each stage */
    __shared__ struct query_tile numbers[STAGES];
    static_assert(2 * OWN + STAGED >= TENSOR_ROWS * STRIDE && 2 * OWN + STAGED >= 2 * TENSOR_ROWS * D,
                  "what else passes through it");
    const struct heads &h = b.h;
    int first = (int)blockIdx.x * TENSOR_ROWS, warp = (int)threadIdx.x / 32, key = first + warp * WARP_ROWS;
    int64_t begin = kv_begin(h, blockIdx.y);
    bf16 *stages = memory + 2 * OWN;
    uint32_t rows[wide<D> ? 1 : D / 16][4], values[wide<D> ? 1 : D / 16][4];
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};

    take_tile<D, TENSOR_ROWS>(h, memory, (const bf16 *)b.p.k + begin, first, h.kv_row);
    if constexpr (wide<D>)
        take_tile<D, TENSOR_ROWS>(h, memory + OWN, (const bf16 *)b.p.v + begin, first, h.kv_row);
    if constexpr (!wide<D>) {
        end_group();
        wait_groups<0>();
        __syncthreads();
        take_rows<D>(rows, memory);
        __syncthreads();
        take_tile<D, TENSOR_ROWS>(h, memory, (const bf16 *)b.p.v + begin, first, h.kv_row);
        end_group();
        wait_groups<0>();
        __syncthreads();
        take_rows<D>(values, memory);
        __syncthreads();
    }
    unsigned head = blockIdx.y * h.group, last = head + h.group;
    for (int query = first, stage = -1; head < last;) {
        if (stage < 0 || STAGES == 1) { /* the first tile, or the only room for one */
            __syncthreads();
            stage = 0;
            take_queries<D>(b, stages, &numbers[0], head, query);
        }
        bf16 *tile = stages + stage * 2 * TILE;
        const struct query_tile &numbered = numbers[stage];
        int now = query;
        query += QUERIES;
        if (query >= h.seq) query = first, head++; /* the next head that has these keys */
        wait_groups<0>();
        __syncthreads();
        if (STAGES == 2 && head < last) {
            stage = 1 - stage;
            take_queries<D>(b, stages + stage * 2 * TILE, &numbers[stage], head, query);
        }
        float score[QUERIES / 8][4] = {}, slope[QUERIES / 8][4] = {};
        if constexpr (wide<D>) {
            multiply_tiles<D>(score, memory, tile);
            multiply_tiles<D>(slope, memory + OWN, tile + TILE);
        } else {
            multiply_rows<STRIDE>(score, rows, tile);
            multiply_rows<STRIDE>(slope, values, tile + TILE);
        }
        key_slope(score, slope, numbered, h.factor * LOG2_E, key, now);
        multiply_result<STRIDE>(dv, score, tile + TILE);
        multiply_result<STRIDE>(dk, slope, tile);
    }
    __syncthreads();
    float *room = (float *)memory + warp * WARP_ROWS * D;
    give_rows<D>(h, (bf16 *)b.g.dk + begin, h.kv_row, dk, room, key, true, h.factor);
    give_rows<D>(h, (bf16 *)b.g.dv + begin, h.kv_row, dv, room, key, false, 1.0f);
}

void tensor_backward(const struct attention *a, const struct attention_pass *p,
                     const struct attention_gradient *g, float *delta)
{
    struct backward b = {heads_of(a), *p, *g, delta};
    unsigned rows = blocks_for(a->seq, TENSOR_ROWS);
    dim3 of_queries(rows, (unsigned)(a->batch * a->heads)), of_keys(rows, (unsigned)(a->batch * a->kv_heads));
    dim3 threads(TENSOR_THREADS);
#define BACKWARD(D)                                                                              \
    do {                                                                                         \
        launch(a->engine, query_kernel<D>, of_queries, threads, b);                              \
        launch(a->engine, key_kernel<D>, of_keys, threads, b);                                   \
    } while (0)
    FOR_HEAD_DIM(a->head_dim, BACKWARD);
}
