/* Attention backward in BF16. The probabilities are made again from log_sum, once by a kernel whose warps have queries
 * and make dq, once by one whose warps have keys and make dk and dv, so that no two blocks write to one place. One kernel
 * for both would add up dq in memory, which moves more bytes than the two products that it saves take time. */
#include "attention_tensor.cuh"

struct backward {
    struct heads h;
    struct attention_pass p;
    struct attention_gradient g;
    float *delta; /* [batch, heads, seq]: of each query the sum of out * dout */
};

/* ---- dq ---- */

enum { CHUNK = 16 };
template <int D> constexpr int keys_of = D <= 96 ? 32 : 16; /* in a tile */
/* Steps of dout that stay in registers, as far as there are any; the others are loaded for each chunk. */
template <int D> constexpr int kept_of = D == 64 ? 0 : D == 48 ? 2 : D / 16;

/* Sum of out * dout over 16 rows, of which the first is `query`, and those of dout begin at `dout`. To all four lanes that
 * share rows g and g + 8. */
template <int D>
static __device__ __forceinline__ void row_deltas(const struct heads &h, const bf16 *out, const bf16 *dout,
                                                  int query, float (&delta)[2])
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int half = 0; half < 2; half++) {
        int row = lane / 4 + 8 * half, t = query + row;
        float sum = 0.0f;
        for (int column = lane % 4 * 2; column < h.head_dim && t < h.seq; column += 8) {
            uint32_t o = *(const uint32_t *)(out + (int64_t)t * h.row + column),
                     d = *(const uint32_t *)(dout + row * stride_of<D> + column);
            sum += __uint_as_float(o << 16) * __uint_as_float(d << 16);
            sum += __uint_as_float(o & 0xFFFF0000u) * __uint_as_float(d & 0xFFFF0000u);
        }
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
        delta[half] = sum + __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
    }
}

/* No query looks at later keys: 16 queries, and the keys from `key` on. */
template <int N> static __device__ __forceinline__ void mask(float (&score)[N][4], int query, int key)
{
    int lane = (int)threadIdx.x % 32;
    query += lane / 4, key += lane % 4 * 2;
    UNROLL
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++)
            if (key + 8 * j + i % 2 > query + i / 2 * 8) score[j][i] = -INFINITY;
}

template <int D> struct queries { /* what a warp knows of its own */
    uint32_t rows[D / 16][parts_of<D>][4], dout[kept_of<D>][parts_of<D>][4];
    float sum[parts_of<D>][D / 8][4], delta[parts_of<D>][2], log_sum[parts_of<D>][2];
};

/* CHUNK keys, of which the first is `key`, and their values; `dout` begins at the warp's own row. */
template <int D>
static __device__ __forceinline__ void add_chunk(struct queries<D> &own, const bf16 *dout, const bf16 *keys,
                                                 const bf16 *values, int query, int key, float scale)
{
    constexpr int STRIDE = stride_of<D>, PARTS = parts_of<D>;
    float score[PARTS][CHUNK / 8][4] = {}, slope[PARTS][CHUNK / 8][4];
    UNROLL
    for (int i = 0; i < PARTS; i++)
        for (int j = 0; j < CHUNK / 8; j++)
            for (int c = 0; c < 4; c++) slope[i][j][c] = -own.delta[i][c / 2];
    UNROLL
    for (int k = 0; k < D / 16; k++) {
        uint32_t a[PARTS][4];
        multiply_step<STRIDE>(score, own.rows[k], keys, 16 * k);
        if (k < kept_of<D>) {
            multiply_step<STRIDE>(slope, own.dout[k], values, 16 * k);
            continue;
        }
        for (int i = 0; i < PARTS; i++) load_a<STRIDE>(a[i], dout, 16 * i, 16 * k);
        multiply_step<STRIDE>(slope, a, values, 16 * k);
    }
    UNROLL
    for (int i = 0; i < PARTS; i++) {
        if (key + CHUNK > query) mask(score[i], query + 16 * i, key);
        UNROLL
        for (int j = 0; j < CHUNK / 8; j++)
            for (int c = 0; c < 4; c++)
                slope[i][j][c] *= exp2_fast(score[i][j][c] * scale - own.log_sum[i][c / 2]);
    }
    multiply_result<STRIDE>(own.sum, slope, keys);
}

/* The rest of what a warp knows, when its rows of dout are in shared memory, from `dout` on. */
template <int D>
static __device__ __forceinline__ void take_deltas(const struct backward &b, struct queries<D> &own,
                                                   const bf16 *dout, int query)
{
    int64_t begin = head_begin(b.h, blockIdx.y), which = (int64_t)blockIdx.y * b.h.seq;
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int k = 0; k < kept_of<D>; k++)
        for (int i = 0; i < parts_of<D>; i++) load_a<stride_of<D>>(own.dout[k][i], dout, 16 * i, 16 * k);
    UNROLL
    for (int i = 0; i < parts_of<D>; i++) {
        row_deltas<D>(b.h, (const bf16 *)b.p.out + begin, dout + 16 * i * stride_of<D>, query + 16 * i,
                      own.delta[i]);
        for (int half = 0; half < 2; half++) {
            int t = query + 16 * i + lane / 4 + 8 * half;
            own.log_sum[i][half] = t < b.h.seq ? b.p.log_sum[which + t] * LOG2_E : INFINITY;
            if (t < b.h.seq && lane % 4 == 0) b.delta[which + t] = own.delta[i][half];
        }
    }
}

template <int D>
static __global__ void __launch_bounds__(TENSOR_THREADS, TENSOR_BLOCKS) query_kernel(struct backward b)
{
    constexpr int KEYS = keys_of<D>, STRIDE = stride_of<D>, TILE = KEYS * STRIDE,
                  ROWS = TENSOR_WARPS * warp_rows<D>;
    __shared__ __align__(16) bf16 memory[ROWS * STRIDE + 4 * TILE]; /* dout; keys, values; twice */
    static_assert(sizeof memory >= TENSOR_WARPS * 16 * D * sizeof(float), "what else passes through it");
    const struct heads &h = b.h;
    bf16 *tiled = memory + ROWS * STRIDE;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS, warp = (int)threadIdx.x / 32;
    int row = warp * warp_rows<D>, query = first + row, after = query + warp_rows<D>;
    int end = first + ROWS < h.seq ? first + ROWS : h.seq, tiles = (end + KEYS - 1) / KEYS;
    int64_t begin = head_begin(h, blockIdx.y);
    const bf16 *k = (const bf16 *)b.p.k + kv_begin(h, blockIdx.y / h.group);
    const bf16 *v = (const bf16 *)b.p.v + kv_begin(h, blockIdx.y / h.group);
    struct queries<D> own = {
    };

    take_tile<D, ROWS>(h, memory, (const bf16 *)b.p.q + begin, first, h.row);
    end_group();
    wait_groups<0>();
    __syncthreads();
    take_rows<D>(own.rows, memory, row);
    __syncthreads();
    take_tile<D, ROWS>(h, memory, (const bf16 *)b.g.dout + begin, first, h.row);
    end_group();
    take_tile<D, KEYS>(h, tiled, k, 0, h.kv_row);
    take_tile<D, KEYS>(h, tiled + TILE, v, 0, h.kv_row);
    end_group();
    wait_groups<1>();
    __syncthreads();
    take_deltas<D>(b, own, memory + row * STRIDE, query);
    for (int i = 0; i < tiles; i++) {
        bf16 *tile = tiled + i % 2 * 2 * TILE, *next = tiled + (i + 1) % 2 * 2 * TILE;
        wait_groups<0>();
        __syncthreads();
        if (i + 1 < tiles) {
            take_tile<D, KEYS>(h, next, k, (i + 1) * KEYS, h.kv_row);
            take_tile<D, KEYS>(h, next + TILE, v, (i + 1) * KEYS, h.kv_row);
        }
        end_group();
        for (int j = 0; j < KEYS && i * KEYS + j < after; j += CHUNK)
            add_chunk<D>(own, memory + row * STRIDE, tile + j * STRIDE, tile + TILE + j * STRIDE, query,
                         i * KEYS + j, h.factor * LOG2_E);
    }
    __syncthreads();
    give_rows<D>(h, (bf16 *)b.g.dq + begin, h.row, own.sum, (float *)memory + warp * 16 * D, query, true,
                 h.factor);
}

/* ---- dk and dv ----
 *
 * Two warps have the same keys. One makes the weights P and dv, the other the slopes P (dP - delta) and dk, one tile
 * later: it finds P in shared memory. So each has registers for one gradient of twice the keys. */

enum { WEIGHTS, SLOPES, PAIRS = TENSOR_WARPS / 2, STAGES = 3 /* loading, weighted, sloped */ };

template <int D> constexpr int queries_of = D <= 64 ? 32 : 16;                /* in a tile */
template <int D> constexpr int query_tile_size = queries_of<D> *stride_of<D>; /* elements of it */

template <int D> struct query_stage {
    __align__(16) bf16 q[query_tile_size<D>], dout[query_tile_size<D>];
    float log_sum[queries_of<D>], delta[queries_of<D>];
};

/* Begin to copy a tile of queries of a head, from row `first` on. Past the end all is 0, so that nothing is added. */
template <int D>
static __device__ __forceinline__ void take_queries(const struct backward &b, struct query_stage<D> &stage,
                                                    unsigned head, int first)
{
    int64_t begin = head_begin(b.h, head), which = (int64_t)head * b.h.seq;
    int i = (int)threadIdx.x % queries_of<D>, zero = first + i >= b.h.seq;
    take_tile<D, queries_of<D>>(b.h, stage.q, (const bf16 *)b.p.q + begin, first, b.h.row);
    take_tile<D, queries_of<D>>(b.h, stage.dout, (const bf16 *)b.g.dout + begin, first, b.h.row);
    which = zero ? 0 : which + first + i;
    if (threadIdx.x < queries_of<D>) copy_4(stage.log_sum + i, b.p.log_sum + which, zero);
    else if (threadIdx.x < 2 * queries_of<D>) copy_4(stage.delta + i, b.delta + which, zero);
}

/* score := P, with a row for each of 16 keys and a column for each query. */
template <int N>
static __device__ __forceinline__ void key_weights(float (&score)[N][4], const float *log_sum, float scale,
                                                   int key, int query)
{
    int lane = (int)threadIdx.x % 32;
    bool all = key + 15 <= query; /* queries see all keys */
    key += lane / 4;
    UNROLL
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++) {
            int column = 8 * j + lane % 4 * 2 + i % 2;
            bool seen = all || key + i / 2 * 8 <= query + column;
            score[j][i] = seen ? exp2_fast(score[j][i] * scale - log_sum[column] * LOG2_E) : 0.0f;
        }
}

template <int D> struct keys { /* what a warp knows of its own */
    int role;
    uint32_t rows[D / 16][parts_of<D>][4]; /* keys, or values */
    float sum[parts_of<D>][D / 8][4];      /* dv, or dk */
};

/* What the warps of a pair hand on: the weights of a tile. */
template <int D> using weight_tile = float4[parts_of<D>][queries_of<D> / 8][32];

/* score := weights, which are handed on; or slopes, from those that were. */
template <int D>
static __device__ __forceinline__ void weigh(float (&score)[parts_of<D>][queries_of<D> / 8][4],
                                             weight_tile<D> &shared, const struct query_stage<D> &stage,
                                             int role, float scale, int key, int query)
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int p = 0; p < parts_of<D>; p++) {
        if (role == WEIGHTS) key_weights(score[p], stage.log_sum, scale, key + 16 * p, query);
        UNROLL
        for (int j = 0; j < queries_of<D> / 8; j++) {
            float(&s)[4] = score[p][j];
            if (role == WEIGHTS) {
                shared[p][j][lane] = make_float4(s[0], s[1], s[2], s[3]);
            } else {
                float4 weight = shared[p][j][lane];
                s[0] *= weight.x, s[1] *= weight.y, s[2] *= weight.z, s[3] *= weight.w;
            }
        }
    }
}

template <int D>
static __device__ __forceinline__ void add_tile(struct keys<D> &own, weight_tile<D> &shared,
                                                const struct query_stage<D> &stage, float scale, int key,
                                                int query)
{
    float score[parts_of<D>][queries_of<D> / 8][4];
    int lane = (int)threadIdx.x % 32, role = own.role;
    UNROLL
    for (int p = 0; p < parts_of<D>; p++)
        for (int j = 0; j < queries_of<D> / 8; j++)
            for (int c = 0; c < 4; c++)
                score[p][j][c] = role == SLOPES ? -stage.delta[8 * j + lane % 4 * 2 + c % 2] : 0.0f;
    multiply_rows<stride_of<D>>(score, own.rows, role == SLOPES ? stage.dout : stage.q);
    weigh<D>(score, shared, stage, role, scale, key, query);
    multiply_result<stride_of<D>>(own.sum, score, role == SLOPES ? stage.q : stage.dout);
}

template <int D>
static __global__ void __launch_bounds__(TENSOR_THREADS, TENSOR_BLOCKS) key_kernel(struct backward b)
{
    constexpr int QUERIES = queries_of<D>, ROWS = PAIRS * warp_rows<D>;
    union query_memory { /* for the results, for keys and values, for tiles */
        __align__(16) float room[TENSOR_WARPS][16 * D];
        bf16 own[2][ROWS * stride_of<D>];
        struct query_stage<D> stages[STAGES];
    };
    __shared__ union query_memory memory;
    __shared__ weight_tile<D> weights[2][PAIRS];
    const struct heads &h = b.h;
    int warp = (int)threadIdx.x / 32, pair = warp / 2, first = (int)blockIdx.x * ROWS;
    int row = pair * warp_rows<D>, key = first + row;
    int64_t begin = kv_begin(h, blockIdx.y);
    struct keys<D> own = {
    };
    own.role = warp % 2;

    take_tile<D, ROWS>(h, memory.own[WEIGHTS], (const bf16 *)b.p.k + begin, first, h.kv_row);
    take_tile<D, ROWS>(h, memory.own[SLOPES], (const bf16 *)b.p.v + begin, first, h.kv_row);
    end_group();
    wait_groups<0>();
    __syncthreads();
    take_rows<D>(own.rows, memory.own[own.role], row);
    __syncthreads();
    int of_head = (h.seq - first + QUERIES - 1) / QUERIES, tiles = h.group * of_head;
    take_queries<D>(b, memory.stages[0], blockIdx.y * h.group, first);
    end_group();
    for (int i = 0; i <= tiles; i++) {
        wait_groups<0>();
        __syncthreads();
        if (i + 1 < tiles)
            take_queries<D>(b, memory.stages[(i + 1) % STAGES], blockIdx.y * h.group + (i + 1) / of_head,
                            first + (i + 1) % of_head * QUERIES);
        end_group();
        int mine = i - own.role, query = first + mine % of_head * QUERIES;
        if (mine < 0 || mine == tiles || query + QUERIES <= key) continue; /* no query looks at later keys */
        add_tile<D>(own, weights[mine % 2][pair], memory.stages[mine % STAGES], h.factor * LOG2_E, key,
                    query);
    }
    __syncthreads();
    bool slopes = own.role == SLOPES;
    give_rows<D>(h, (bf16 *)(slopes ? b.g.dk : b.g.dv) + begin, h.kv_row, own.sum, memory.room[warp], key,
                 slopes, slopes ? h.factor : 1.0f);
}

void tensor_backward(const struct attention *a, const struct attention_pass *p,
                     const struct attention_gradient *g, float *delta)
{
    struct backward b = {heads_of(a), *p, *g, delta};
    unsigned heads = (unsigned)(a->batch * a->heads), kv_heads = (unsigned)(a->batch * a->kv_heads);
    dim3 threads(TENSOR_THREADS);
#define BACKWARD(D)                                                                                        \
    do {                                                                                                   \
        launch(a->engine, query_kernel<D>, dim3(blocks_for(a->seq, TENSOR_WARPS *warp_rows<D>), heads),    \
               threads, b);                                                                                \
        launch(a->engine, key_kernel<D>, dim3(blocks_for(a->seq, PAIRS *warp_rows<D>), kv_heads), threads, \
               b);                                                                                         \
    } while (0)
    FOR_HEAD_DIM(a->head_dim, BACKWARD);
}
