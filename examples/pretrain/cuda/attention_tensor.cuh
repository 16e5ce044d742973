/* Attention on the tensor cores: a block of four warps has 64 rows, 16 to a warp, and takes tiles of the
 * other side in turns, the next one on its way while this one is worked on. Heads are padded with zeros to
 * `D` columns. */
#ifndef PRETRAIN_ATTENTION_TENSOR_CUH
#define PRETRAIN_ATTENTION_TENSOR_CUH

#include "attention.cuh"
#include "tensor_core.cuh"

enum { TENSOR_ROWS = 64, TENSOR_THREADS = 128, WARP_ROWS = 16 };

#define LOG2_E 1.44269504f

/* Elements of a row of a tile. */
template <int D> constexpr int stride_of = D + 8;

/* Begin to copy `Rows` rows of a head from its row `first`, with zeros for what is not there; the next token's
 * is `stride` elements further. */
template <int D, int Rows>
static __device__ __forceinline__ void take_tile(const struct heads &h, bf16 *tile, const bf16 *head,
                                                 int first, int stride)
{
    if (h.head_dim % 8 == 0) {
UNROLL
        for (int i = (int)threadIdx.x; i < Rows * (D / 8); i += TENSOR_THREADS) {
            int row = i / (D / 8), column = i % (D / 8) * 8;
            bool zero = first + row >= h.seq || column >= h.head_dim;
            copy_16(tile + row * stride_of<D> + column,
                    zero ? head : head + (int64_t)(first + row) * stride + column, zero);
        }
        return;
    }
    for (int i = (int)threadIdx.x; i < Rows * D / 2; i += TENSOR_THREADS) {
        int row = i / (D / 2), column = i % (D / 2) * 2;
        bool zero = first + row >= h.seq || column >= h.head_dim;
        *(uint32_t *)(tile + row * stride_of<D> + column) =
            zero ? 0 : *(const uint32_t *)(head + (int64_t)(first + row) * stride + column);
    }
}

/* This warp's 16 rows of a tile as A. */
template <int D> static __device__ __forceinline__ void take_rows(uint32_t (&a)[D / 16][4], const bf16 *tile)
{
    int row = (int)threadIdx.x / 32 * WARP_ROWS;
UNROLL
    for (int k = 0; k < D / 16; k++) load_a<stride_of<D>>(a[k], tile, row, 16 * k);
}

/* This warp's 16 rows of a gradient, by way of `room`, 16 x D floats of its own. The first of them is row
 * `first`. */
template <int D>
static __device__ __forceinline__ void give_rows(const struct heads &h, bf16 *head, int stride,
                                                 const float (&sum)[D / 8][4], float *room, int first,
                                                 bool rotated, float factor)
{
    int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    __syncwarp();
UNROLL
    for (int j = 0; j < D / 8; j++)
        for (int i = 0; i < 4; i++) room[(g + i / 2 * 8) * D + 8 * j + 2 * t + i % 2] = sum[j][i];
    __syncwarp();
    for (int row = 0; row < WARP_ROWS && first + row < h.seq; row++)
        give_row(h, head + (int64_t)(first + row) * stride, room + row * D, first + row, rotated, factor, lane,
                 32);
}

/* Calls `kernels<D>` with the padded head size. */
#define FOR_HEAD_DIM(head_dim, call)                                                             \
    do {                                                                                         \
        if ((head_dim) <= 32) call(32);                                                          \
        else if ((head_dim) <= 48) call(48);                                                     \
        else if ((head_dim) <= 64) call(64);                                                     \
        else if ((head_dim) <= 96) call(96);                                                     \
        else call(128);                                                                          \
    } while (0)

#endif
