/* Attention on the tensor cores: each of a block's four warps has rows of its own, and they take tiles of the
 * other side in turns, the next one on its way while this one is worked on. Heads are padded with zeros to
 * `D` columns. */
#ifndef PRETRAIN_ATTENTION_TENSOR_CUH
#define PRETRAIN_ATTENTION_TENSOR_CUH

#include "attention.cuh"
#include "tensor_core.cuh"

enum {
    TENSOR_WARPS = 4,
    TENSOR_THREADS = 32 * TENSOR_WARPS,
    TENSOR_BLOCKS = 3 /* of a multiprocessor, at least */
};

#define LOG2_E 1.44269504f

/* Elements of a row of a tile. */
template <int D> constexpr int stride_of = D + 8;

/* Parts of 16 rows that a warp has. Two halve what it reads of shared memory for each product of fragments: enough
 * for the tensor cores to be the bound. Of wide heads two would leave room for few warps. */
template <int D> constexpr int parts_of = D <= 64 ? 2 : 1;
template <int D> constexpr int warp_rows = 16 * parts_of<D>;

/* Begin to copy `Rows` rows of a head from its row `first`, with zeros for what is not there; the next token's
 * is `stride` elements further. */
template <int D, int Rows>
static __device__ __forceinline__ void take_tile(const struct heads &h, bf16 *tile, const bf16 *head,
                                                 int first, int stride)
{
    if (h.head_dim % 8 == 0) {
        ROLLED
        for (int i = (int)threadIdx.x; i < Rows * (D / 8); i += TENSOR_THREADS) {
            int row = i / (D / 8), column = i % (D / 8) * 8;
            bool zero = first + row >= h.seq || column >= h.head_dim;
            copy_16(tile + row * stride_of<D> + column,
                    zero ? head : head + (int64_t)(first + row) * stride + column, zero);
        }
        return;
    }
    ROLLED
    for (int i = (int)threadIdx.x; i < Rows * D / 2; i += TENSOR_THREADS) {
        int row = i / (D / 2), column = i % (D / 2) * 2;
        bool zero = first + row >= h.seq || column >= h.head_dim;
        *(uint32_t *)(tile + row * stride_of<D> + column) =
            zero ? 0 : *(const uint32_t *)(head + (int64_t)(first + row) * stride + column);
    }
}

/* The rows from `row` on of a tile as A. */
template <int D>
static __device__ __forceinline__ void take_rows(uint32_t (&a)[D / 16][parts_of<D>][4], const bf16 *tile,
                                                 int row)
{
    UNROLL
    for (int k = 0; k < D / 16; k++)
        for (int i = 0; i < parts_of<D>; i++) load_a<stride_of<D>>(a[k][i], tile, row + 16 * i, 16 * k);
}

/* This warp's rows of a gradient, by way of `room`, 16 x D floats of its own. The first of them is row
 * `first`. */
template <int D>
static __device__ __forceinline__ void give_rows(const struct heads &h, bf16 *head, int stride,
                                                 const float (&sum)[parts_of<D>][D / 8][4], float *room,
                                                 int first, bool rotated, float factor)
{
    int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    UNROLL
    for (int part = 0; part < parts_of<D>; part++, first += 16) {
        __syncwarp();
        UNROLL
        for (int j = 0; j < D / 8; j++)
            for (int i = 0; i < 4; i++) room[(g + i / 2 * 8) * D + 8 * j + 2 * t + i % 2] = sum[part][j][i];
        __syncwarp();
        for (int row = 0; row < 16 && first + row < h.seq; row++)
            give_row(h, head + (int64_t)(first + row) * stride, room + row * D, first + row, rotated, factor,
                     lane, 32);
    }
}

/* Calls `kernels<D>` with the padded head size. */
#define FOR_HEAD_DIM(head_dim, call)         \
    do {                                     \
        if ((head_dim) <= 32) call(32);      \
        else if ((head_dim) <= 48) call(48); \
        else if ((head_dim) <= 64) call(64); \
        else if ((head_dim) <= 96) call(96); \
        else call(128);                      \
    } while (0)

#endif
