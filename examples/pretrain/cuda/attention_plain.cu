/* Attention in F32, for models that want every digit: tiles in shared memory, ordinary multiply-adds. A row
 * of the 32 that a block works on belongs to four lanes, each with every fourth column. */
#include "attention.cuh"

enum {
    ROWS = 32,
    LANES = 4,
    THREADS = ROWS * LANES,
    OTHERS = 8,
    SHARE = MOST_HEAD_DIM / LANES,
    NEAR = OTHERS / LANES,
    STRIDE = MOST_HEAD_DIM +
             4 /* of rows in shared memory: eight neighbours of them have one column in banks of their own */
};

static __device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
    return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

/* Rows first .. first + count of a head, zeros after the last; `stride` elements from one to the next. */
static __device__ __forceinline__ void take_rows(const struct heads &h, float *to, const float *from,
                                                 int first, int count, int stride)
{
    for (int i = (int)threadIdx.x; i < count * h.head_dim; i += THREADS) {
        int t = first + i / h.head_dim, column = i % h.head_dim;
        to[i / h.head_dim * STRIDE + column] = t < h.seq ? from[(int64_t)t * stride + column] : 0.0f;
    }
}

static __device__ __forceinline__ float dot(const struct heads &h, const float *a, const float *b)
{
    float sum = 0.0f;
    for (int i = 0; i < h.head_dim; i++) sum = fmaf(a[i], b[i], sum);
    return sum;
}

/* sum += weights [OTHERS] rows, this lane's columns. */
static __device__ __forceinline__ void add_rows(const struct heads &h, float (&sum)[SHARE],
                                                const float *weights, const float *rows, int lane)
{
    UNROLL
    for (int i = 0; i < SHARE; i++) {
        int column = lane + LANES * i;
        if (column < h.head_dim)
            for (int j = 0; j < OTHERS; j++) sum[i] = fmaf(weights[j], rows[j * STRIDE + column], sum[i]);
    }
}

static __global__ void __launch_bounds__(THREADS)
    plain_forward_kernel(struct heads h, const float *q, const float *k, const float *v, float *out,
                         float *log_sum)
{
    __shared__ float query[ROWS * STRIDE], key[OTHERS * STRIDE], value[OTHERS * STRIDE];
    __shared__ float weight[ROWS][OTHERS + 1];
    int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS, t = first + row;
    int64_t begin = head_begin(h, blockIdx.y), shared = kv_begin(h, blockIdx.y / h.group);
    float sum[SHARE] = {}, max = -INFINITY, total = 0.0f;
    take_rows(h, query, q + begin, first, ROWS, h.row);
    for (int j = 0; j < first + ROWS && j < h.seq; j += OTHERS) {
        __syncthreads();
        take_rows(h, key, k + shared, j, OTHERS, h.kv_row);
        take_rows(h, value, v + shared, j, OTHERS, h.kv_row);
        __syncthreads();
        float score[NEAR], top = max;
        for (int i = 0; i < NEAR; i++) {
            int other = lane + LANES * i;
            score[i] =
                j + other > t ? -INFINITY : h.factor * dot(h, query + row * STRIDE, key + other * STRIDE);
            top = fmaxf(top, score[i]);
        }
        top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 2));
        float shrink = expf(max - top), part = 0.0f; /* key 0 is seen by all: top is finite */
        for (int i = 0; i < NEAR; i++) {
            weight[row][lane + LANES * i] = expf(score[i] - top);
            part += expf(score[i] - top);
        }
        total = total * shrink + quad_sum(part);
        max = top;
        __syncwarp();
        for (int i = 0; i < SHARE; i++) sum[i] *= shrink;
        add_rows(h, sum, weight[row], value, lane);
        __syncwarp();
    }
    if (t >= h.seq) return;
    for (int i = 0; i < SHARE; i++)
        if (lane + LANES * i < h.head_dim)
            out[begin + (int64_t)t * h.row + lane + LANES * i] = sum[i] / total;
    if (lane == 0) log_sum[(int64_t)blockIdx.y * h.seq + t] = max + logf(total);
}

void plain_forward(const struct attention *a, const struct attention_pass *p)
{
    launch(a->engine, plain_forward_kernel, dim3(blocks_for(a->seq, ROWS), (unsigned)(a->batch * a->heads)),
           dim3(THREADS), heads_of(a), (const float *)p->q, (const float *)p->k, (const float *)p->v,
           (float *)p->out, p->log_sum);
}

/* dq of 32 queries, which take the keys in turns; and delta, the sum of out * dout of each query. */
static __global__ void __launch_bounds__(THREADS)
    plain_query_kernel(struct heads h, struct attention_pass p, struct attention_gradient g, float *delta)
{
    __shared__ float query[ROWS * STRIDE], slice[ROWS * STRIDE];
    __shared__ float key[OTHERS * STRIDE], value[OTHERS * STRIDE], slope[ROWS][OTHERS + 1];
    int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES;
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS, t = first + row;
    int64_t begin = head_begin(h, blockIdx.y), which = (int64_t)blockIdx.y * h.seq + t;
    int64_t shared = kv_begin(h, blockIdx.y / h.group);
    float sum[SHARE] = {}, log_sum = t < h.seq ? p.log_sum[which] : 0.0f, mine = 0.0f;
    take_rows(h, query, (const float *)p.q + begin, first, ROWS, h.row);
    take_rows(h, slice, (const float *)g.dout + begin, first, ROWS, h.row);
    __syncthreads();
    for (int i = lane; t < h.seq && i < h.head_dim; i += LANES)
        mine += ((const float *)p.out)[begin + (int64_t)t * h.row + i] * slice[row * STRIDE + i];
    mine = quad_sum(mine);
    if (t < h.seq && lane == 0) delta[which] = mine;
    for (int j = 0; j < first + ROWS && j < h.seq; j += OTHERS) {
        __syncthreads();
        take_rows(h, key, (const float *)p.k + shared, j, OTHERS, h.kv_row);
        take_rows(h, value, (const float *)p.v + shared, j, OTHERS, h.kv_row);
        __syncthreads();
        for (int other = lane; other < OTHERS; other += LANES) {
            float score = h.factor * dot(h, query + row * STRIDE, key + other * STRIDE);
            float weight = j + other > t || t >= h.seq ? 0.0f : expf(score - log_sum);
            slope[row][other] = weight * (dot(h, slice + row * STRIDE, value + other * STRIDE) - mine);
        }
        __syncwarp();
        add_rows(h, sum, slope[row], key, lane);
        __syncwarp();
    }
    __syncthreads();
    for (int i = 0; i < SHARE; i++)
        if (lane + LANES * i < h.head_dim) query[row * STRIDE + lane + LANES * i] = sum[i];
    __syncwarp();
    if (t < h.seq)
        give_row(h, (float *)g.dq + begin + (int64_t)t * h.row, query + row * STRIDE, t, true, h.factor, lane,
                 LANES);
}

/* dk and dv of 32 keys, which take the queries of all heads that share them in turns. */
static __global__ void __launch_bounds__(THREADS)
    plain_key_kernel(struct heads h, struct attention_pass p, struct attention_gradient g, const float *delta)
{
    __shared__ float key[ROWS * STRIDE], value[ROWS * STRIDE];
    __shared__ float query[OTHERS * STRIDE], slice[OTHERS * STRIDE];
    __shared__ float weight[ROWS][OTHERS + 1], slope[ROWS][OTHERS + 1];
    int row = (int)threadIdx.x / LANES, lane = (int)threadIdx.x % LANES, first = (int)blockIdx.x * ROWS,
        t = first + row;
    int64_t shared = kv_begin(h, blockIdx.y);
    float dk[SHARE] = {}, dv[SHARE] = {};
    take_rows(h, key, (const float *)p.k + shared, first, ROWS, h.kv_row);
    take_rows(h, value, (const float *)p.v + shared, first, ROWS, h.kv_row);
    for (unsigned head = blockIdx.y * h.group; head < (blockIdx.y + 1) * h.group; head++) {
        int64_t begin = head_begin(h, head), which = (int64_t)head * h.seq;
        for (int j = first / OTHERS * OTHERS; j < h.seq; j += OTHERS) {
            __syncthreads();
            take_rows(h, query, (const float *)p.q + begin, j, OTHERS, h.row);
            take_rows(h, slice, (const float *)g.dout + begin, j, OTHERS, h.row);
            __syncthreads();
            for (int other = lane; other < OTHERS; other += LANES) {
                bool seen = j + other >= t && j + other < h.seq;
                float score = h.factor * dot(h, query + other * STRIDE, key + row * STRIDE);
                float w = seen ? expf(score - p.log_sum[which + j + other]) : 0.0f;
                float d = seen ? delta[which + j + other] : 0.0f,
                      slant = dot(h, slice + other * STRIDE, value + row * STRIDE);
                weight[row][other] = w;
                slope[row][other] = w * (slant - d);
            }
            __syncwarp();
            add_rows(h, dv, weight[row], slice, lane);
            add_rows(h, dk, slope[row], query, lane);
            __syncwarp();
        }
    }
    __syncthreads();
    for (int i = 0; i < SHARE; i++)
        if (lane + LANES * i < h.head_dim) {
            key[row * STRIDE + lane + LANES * i] = dk[i];
            value[row * STRIDE + lane + LANES * i] = dv[i];
        }
    __syncwarp();
    if (t >= h.seq) return;
    give_row(h, (float *)g.dk + shared + (int64_t)t * h.kv_row, key + row * STRIDE, t, true, h.factor, lane,
             LANES);
    give_row(h, (float *)g.dv + shared + (int64_t)t * h.kv_row, value + row * STRIDE, t, false, 1.0f, lane,
             LANES);
}

void plain_backward(const struct attention *a, const struct attention_pass *p,
                    const struct attention_gradient *g, float *delta)
{
    unsigned rows = blocks_for(a->seq, ROWS);
    dim3 of_queries(rows, (unsigned)(a->batch * a->heads)), of_keys(rows, (unsigned)(a->batch * a->kv_heads));
    launch(a->engine, plain_query_kernel, of_queries, dim3(THREADS), heads_of(a), *p, *g, delta);
    launch(a->engine, plain_key_kernel, of_keys, dim3(THREADS), heads_of(a), *p, *g, (const float *)delta);
}
