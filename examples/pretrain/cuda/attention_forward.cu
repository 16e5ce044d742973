/* Attention forward in BF16: scores of a warp's queries and CHUNK keys at a time, softmax by a maximum and a
 * sum that are put right as they grow (Milakov and Gimelshein 2018; Dao et al. 2022). */
#include "attention_tensor.cuh"

enum { CHUNK = 32 };
template <int D> constexpr int keys_of = D <= 64 ? 64 : 32; /* in a tile */

/* score := the powers of 2 that the softmax adds up; what was summed so far shrinks by `shrink`. */
template <int N>
static __device__ __forceinline__ void soften(float (&score)[N][4], float (&max)[2], float (&total)[2],
                                              float (&shrink)[2], float scale)
{
    UNROLL
    for (int half = 0; half < 2; half++) { /* rows g and g + 8 */
        float top = max[half], sum = 0.0f;
        for (int j = 0; j < N; j++) top = fmaxf(top, fmaxf(score[j][2 * half], score[j][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 2));
        shrink[half] = exp2_fast((max[half] - top) * scale);
        max[half] = top;
        for (int j = 0; j < N; j++)
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                score[j][i] = exp2_fast(score[j][i] * scale - top * scale);
                sum += score[j][i];
            }
        total[half] = total[half] * shrink[half] + sum; /* of this lane's columns */
    }
}

/* No query looks at later keys. */
template <int N> static __device__ __forceinline__ void mask(float (&score)[N][4], int query, int key)
{
    int lane = (int)threadIdx.x % 32;
    query += lane / 4, key += lane % 4 * 2;
    UNROLL
    for (int j = 0; j < N; j++)
        for (int i = 0; i < 4; i++)
            if (key + 8 * j + i % 2 > query + i / 2 * 8) score[j][i] = -INFINITY;
}

template <int D>
static __device__ __forceinline__ void give_result(const struct heads &h, bf16 *out, float *log_sum,
                                                   const float (&sum)[D / 8][4], const float (&max)[2],
                                                   float (&total)[2], int query)
{
    int lane = (int)threadIdx.x % 32, column = lane % 4 * 2;
    UNROLL
    for (int half = 0; half < 2; half++) {
        int t = query + lane / 4 + 8 * half;
        total[half] += __shfl_xor_sync(0xFFFFFFFFu, total[half], 1);
        total[half] += __shfl_xor_sync(0xFFFFFFFFu, total[half], 2);
        if (t >= h.seq) continue;
        if (column == 0) log_sum[(int64_t)blockIdx.y * h.seq + t] = max[half] * h.factor + logf(total[half]);
        float inverse = 1.0f / total[half];
        for (int j = 0; j < D / 8; j++)
            if (8 * j + column < h.head_dim)
                *(uint32_t *)(out + (int64_t)t * h.row + 8 * j + column) =
                    pack(sum[j][2 * half] * inverse, sum[j][2 * half + 1] * inverse);
    }
}

template <int D> struct softmax { /* of a warp's queries, so far */
    float sum[parts_of<D>][D / 8][4], max[parts_of<D>][2], total[parts_of<D>][2];
};

/* CHUNK keys, of which the first is `key`, and their values. */
template <int D>
static __device__ __forceinline__ void
add_chunk(struct softmax<D> &s, const uint32_t (&rows)[D / 16][parts_of<D>][4], const bf16 *keys,
          const bf16 *values, int query, int key, float scale)
{
    float score[parts_of<D>][CHUNK / 8][4] = {};
    multiply_rows<stride_of<D>>(score, rows, keys);
    UNROLL
    for (int i = 0; i < parts_of<D>; i++) {
        float shrink[2];
        if (key + CHUNK > query) mask(score[i], query + 16 * i, key);
        soften(score[i], s.max[i], s.total[i], shrink, scale);
        UNROLL
        for (int j = 0; j < D / 8; j++)
            for (int c = 0; c < 4; c++) s.sum[i][j][c] *= shrink[c / 2];
    }
    multiply_result<stride_of<D>>(s.sum, score, values);
}

template <int D>
static __global__ void __launch_bounds__(TENSOR_THREADS, TENSOR_BLOCKS)
    forward_kernel(struct heads h, const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, float *log_sum)
{
    constexpr int KEYS = keys_of<D>, TILE = KEYS * stride_of<D>, ROWS = TENSOR_WARPS * warp_rows<D>;
    __shared__ __align__(16) bf16 memory[4 * TILE]; /* keys, values; twice */
    static_assert(4 * TILE >= ROWS * stride_of<D>, "the queries pass through the same memory");
    int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS; /* the long ones begin */
    int row = (int)threadIdx.x / 32 * warp_rows<D>, query = first + row, after = query + warp_rows<D>;
    int end = first + ROWS < h.seq ? first + ROWS : h.seq, tiles = (end + KEYS - 1) / KEYS;
    int64_t begin = head_begin(h, blockIdx.y);
    uint32_t rows[D / 16][parts_of<D>][4];
    struct softmax<D> s = {
    };
    k += kv_begin(h, blockIdx.y / h.group), v += kv_begin(h, blockIdx.y / h.group);
    for (int i = 0; i < parts_of<D>; i++) s.max[i][0] = s.max[i][1] = -INFINITY;

    take_tile<D, ROWS>(h, memory, q + begin, first, h.row);
    end_group();
    wait_groups<0>();
    __syncthreads();
    take_rows<D>(rows, memory, row);
    __syncthreads();
    take_tile<D, KEYS>(h, memory, k, 0, h.kv_row);
    take_tile<D, KEYS>(h, memory + TILE, v, 0, h.kv_row);
    end_group();
    for (int i = 0; i < tiles; i++) {
        bf16 *tile = memory + i % 2 * 2 * TILE, *next = memory + (i + 1) % 2 * 2 * TILE;
        wait_groups<0>();
        __syncthreads(); /* this tile is there, and the other one has been used */
        if (i + 1 < tiles) {
            take_tile<D, KEYS>(h, next, k, (i + 1) * KEYS, h.kv_row);
            take_tile<D, KEYS>(h, next + TILE, v, (i + 1) * KEYS, h.kv_row);
        }
        end_group();
        for (int j = 0; j < KEYS && i * KEYS + j < after;
             j += CHUNK) /* the rest comes after all of the warp's queries */
            add_chunk<D>(s, rows, tile + j * stride_of<D>, tile + TILE + j * stride_of<D>, query,
                         i * KEYS + j, h.factor * LOG2_E);
    }
    UNROLL
    for (int i = 0; i < parts_of<D>; i++)
        give_result<D>(h, out + begin, log_sum, s.sum[i], s.max[i], s.total[i], query + 16 * i);
}

void tensor_forward(const struct attention *a, const struct attention_pass *p)
{
    unsigned heads = (unsigned)(a->batch * a->heads);
#define FORWARD(D)                                                                                        \
    launch(a->engine, forward_kernel<D>, dim3(blocks_for(a->seq, TENSOR_WARPS *warp_rows<D>), heads),     \
           dim3(TENSOR_THREADS), heads_of(a), (const bf16 *)p->q, (const bf16 *)p->k, (const bf16 *)p->v, \
           (bf16 *)p->out, p->log_sum)
    FOR_HEAD_DIM(a->head_dim, FORWARD);
}
