/* Instructions that have no name in C++, for use where PTX cannot be:
 *
 *     #ifdef __CUDA_ARCH__
 *         asm volatile("mma.sync.aligned.m16n8k16...");
 *     #elif defined(EMULATED_CUDA)
 *         emulated_mma_m16n8k16(d, a, b, c);
 *     #endif
 *
 * Fragments lie in the registers of the lanes as "Matrix Fragments" of the PTX ISA says; all 32 lanes call. */
#ifndef EMULATED_TENSOR_CORE_H
#define EMULATED_TENSOR_CORE_H

/* mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32; d may be c. */
void emulated_mma_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4]);

/* ldmatrix.sync.aligned.m8n8.x4(.trans).shared.b16, and x2: each lane gives the address of a row of 16 bytes. */
void emulated_ldmatrix_x4(unsigned out[4], const void *row);
void emulated_ldmatrix_x4_trans(unsigned out[4], const void *row);
void emulated_ldmatrix_x2(unsigned out[2], const void *row);
void emulated_ldmatrix_x2_trans(unsigned out[2], const void *row);

/* cp.async.ca or .cg: 4, 8 or 16 bytes, of which `given` come from `from` and the others are 0. They arrive
 * no sooner than the thread waits for them. */
void emulated_cp_async(void *to, const void *from, int bytes, int given);
void emulated_cp_async_commit(void);          /* cp.async.commit_group */
void emulated_cp_async_wait(int groups_left); /* cp.async.wait_group */

/* `extern __shared__ T name[]` has no like in C++. Kernels say DYNAMIC_SHARED of a header of their own:
 *
 *     #ifdef EMULATED_CUDA
 *     #define DYNAMIC_SHARED(T, name) T *name = static_cast<T *>(emulated_dynamic_shared())
 *     #else
 *     #define DYNAMIC_SHARED(T, name) extern __shared__ __align__(16) T name[]
 *     #endif */

#endif
