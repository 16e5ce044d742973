/* The instructions of the tensor cores that attention needs, sm_80 and later, and what surrounds them.
 *
 * A warp multiplies fragments: A is 16 x 16, B is 16 x 8, C is 16 x 8. With g = lane / 4 and t = lane % 4 a
 * lane holds, two neighbouring columns to a register, A  rows g and g + 8, columns 2 t, 2 t + 1 and 2 t + 8,
 * 2 t + 9, in the order (g, low) (g + 8, low) (g, high) ... B  column g, rows 2 t, 2 t + 1 and then 2 t + 8,
 * 2 t + 9 C  rows g and g + 8, columns 2 t, 2 t + 1, in floats.
 *
 * The emulated device, on which tests run these kernels without a GPU, has functions for them. */
#ifndef PRETRAIN_TENSOR_CORE_CUH
#define PRETRAIN_TENSOR_CORE_CUH

#include "gpu.cuh"

/* c += a b. */
static __device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                                    uint32_t b1)
{
#ifdef __CUDA_ARCH__
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#elif defined(EMULATED_CUDA)
    const uint32_t b[2] = {b0, b1};
    emulated_mma_m16n8k16(c, a, b, c);
#endif
}

/* Four 8 x 8 matrices of shared memory; lane i names row i % 8 of number i / 8, at a multiple of 16 bytes. A
 * lane gets the elements (g, 2 t) and (g, 2 t + 1) of each; with `Transposed`, (2 t, g) and (2 t + 1, g). */
template <bool Transposed>
static __device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const bf16 *row)
{
#ifdef __CUDA_ARCH__
    uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    if constexpr (Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
#elif defined(EMULATED_CUDA)
    if (Transposed) emulated_ldmatrix_x4_trans(to, row);
    else emulated_ldmatrix_x4(to, row);
#endif
}

/* Begin to copy 16 bytes to shared memory, or zeros. */
static __device__ __forceinline__ void copy_16(bf16 *to, const bf16 *from, bool zero)
{
#ifdef __CUDA_ARCH__
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
        "l"(from), "r"(zero ? 0 : 16)
        : "memory");
#elif defined(EMULATED_CUDA)
    emulated_cp_async(to, from, 16, zero ? 0 : 16);
#endif
}

/* The same of 4 bytes, for which both addresses need less. */
static __device__ __forceinline__ void copy_4(float *to, const float *from, bool zero)
{
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(zero ? 0 : 4)
                 : "memory");
#elif defined(EMULATED_CUDA)
    emulated_cp_async(to, from, 4, zero ? 0 : 4);
#endif
}

/* What was begun since the last call is a group. */
static __device__ __forceinline__ void end_group(void)
{
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.commit_group;" ::: "memory");
#elif defined(EMULATED_CUDA)
    emulated_cp_async_commit();
#endif
}

/* Wait until at most `Left` groups of this thread are under way. */
template <int Left> static __device__ __forceinline__ void wait_groups(void)
{
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
#elif defined(EMULATED_CUDA)
    emulated_cp_async_wait(Left);
#endif
}

static __device__ __forceinline__ float exp2_fast(float x)
{
#ifdef __CUDA_ARCH__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

/* ---- tiles of shared memory, rows of `Stride` elements: an odd number of 16 bytes, so that neither eight
 * rows of one column nor eight columns of one row meet in a bank ---- */

/* Rows i .. i + 15 as A, columns k .. k + 15. */
template <int Stride>
static __device__ __forceinline__ void load_a(uint32_t (&a)[4], const bf16 *tile, int i, int k)
{
    int lane = (int)threadIdx.x % 32;
    load_matrices<false>(a, tile + (i + lane % 16) * Stride + k + lane / 16 * 8);
}

/* Two neighbouring B's from a tile whose rows are the columns of B: j .. j + 15, from its columns k .. k
 * + 15. */
template <int Stride>
static __device__ __forceinline__ void load_b(uint32_t (&b)[4], const bf16 *tile, int j, int k)
{
    int lane = (int)threadIdx.x % 32;
    load_matrices<false>(b, tile + (j + lane / 16 * 8 + lane % 8) * Stride + k + lane / 8 % 2 * 8);
}

/* The same from a tile whose rows are the rows of B: k .. k + 15, its columns j .. j + 15. */
template <int Stride>
static __device__ __forceinline__ void load_b_rows(uint32_t (&b)[4], const bf16 *tile, int k, int j)
{
    int lane = (int)threadIdx.x % 32;
    load_matrices<true>(b, tile + (k + lane % 16) * Stride + j + lane / 16 * 8);
}

/* Step k of the sum: c [Parts 16, 8 Columns] += a b, with b's columns the rows of a tile, from its columns k .. k + 15 on.
 * What is loaded of b serves all parts. */
template <int Stride, int Parts, int Columns>
static __device__ __forceinline__ void multiply_step(float (&c)[Parts][Columns][4],
                                                     const uint32_t (&a)[Parts][4], const bf16 *tile, int k)
{
    UNROLL
    for (int j = 0; j < Columns; j += 2) {
        uint32_t b[4];
        load_b<Stride>(b, tile, 8 * j, k);
        UNROLL
        for (int i = 0; i < Parts; i++) {
            multiply_add(c[i][j], a[i], b[0], b[1]);
            multiply_add(c[i][j + 1], a[i], b[2], b[3]);
        }
    }
}

/* All steps. */
template <int Stride, int Parts, int Columns, int Steps>
static __device__ __forceinline__ void multiply_rows(float (&c)[Parts][Columns][4],
                                                     const uint32_t (&a)[Steps][Parts][4], const bf16 *tile)
{
    UNROLL
    for (int k = 0; k < Steps; k++) multiply_step<Stride>(c, a[k], tile, 16 * k);
}

/* c [Parts 16, 8 Columns] += p tile, with p [Parts 16, 8 Depth] the result of another product, rounded. */
template <int Stride, int Parts, int Columns, int Depth>
static __device__ __forceinline__ void multiply_result(float (&c)[Parts][Columns][4],
                                                       const float (&p)[Parts][Depth][4], const bf16 *tile)
{
    UNROLL
    for (int k = 0; k < Depth; k += 2) {
        uint32_t a[Parts][4];
        UNROLL
        for (int i = 0; i < Parts; i++)
            for (int half = 0; half < 2; half++) {
                a[i][2 * half] = pack(p[i][k + half][0], p[i][k + half][1]);
                a[i][2 * half + 1] = pack(p[i][k + half][2], p[i][k + half][3]);
            }
        UNROLL
        for (int j = 0; j < Columns; j += 2) {
            uint32_t b[4];
            load_b_rows<Stride>(b, tile, 8 * k, 8 * j);
            UNROLL
            for (int i = 0; i < Parts; i++) {
                multiply_add(c[i][j], a[i], b[0], b[1]);
                multiply_add(c[i][j + 1], a[i], b[2], b[3]);
            }
        }
    }
}

#endif
