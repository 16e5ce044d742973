/* What a test may ask of the emulated device, beyond CUDA. Compiles as C and C++. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include "cuda_runtime_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The environment sets the same before the first call: EMULATED_CUDA_DEVICES, EMULATED_CUDA_MEMORY (bytes of
 * each device), EMULATED_CUDA_SEED, EMULATED_CUDA_PAGEABLE, EMULATED_CUDA_FAIL ("n:error" or "n:error:function"). */

void emulated_cuda_devices(int count); /* 0 to 2; 1 at first */
void emulated_cuda_memory(size_t bytes);

/* The order of independent work: of streams, of blocks, of threads. With 0 a stream does nothing before
 * somebody waits for it; with other seeds it may, at any call. */
void emulated_cuda_seed(uint64_t seed);

/* The n-th call of the runtime from now (1 is the next), or of `function` unless that is NULL, fails with
 * `error` and does nothing. Errors that break a real device break this one. n = 0 takes it back. */
void emulated_cuda_fail(int64_t n, cudaError_t error, const char *function);
/* The n-th kernel from now fails when it runs, with an error that breaks the device. */
void emulated_cuda_fail_kernel(int64_t n, cudaError_t error);
int64_t emulated_cuda_calls(void);   /* of the runtime so far */
int64_t emulated_cuda_kernels(void); /* that have run so far, a product of cuBLASLt being one */

/* What kernels read by __ldcg() and write by __stcg() while it is counted: bytes, and the bytes of the sectors of 32 that the
 * accesses of warps touch. If both are equal, no sector is asked for in parts. */
void emulated_cuda_count_sectors(int on);
void emulated_cuda_sectors(uint64_t *bytes, uint64_t *touched);
/* Products of fragments, loads of matrices from shared memory, and the passes of 128 bytes that those took, one for each
 * matrix of 8 x 8 unless rows meet in a bank; since they were last asked for. */
void emulated_cuda_matrices(uint64_t *products, uint64_t *loads, uint64_t *passes);
/* 1 if something made the device's context, which takes memory of it */
int emulated_cuda_contexts(int device);
/* 1: algorithms that the heuristic offers for leading dimensions that are odd are refused when they are to run. */
void emulated_cuda_refuse_odd(int refuse);
int emulated_cuda_refused(void); /* products so far */
/* Bytes of the operands a and b of the products of cuBLASLt that have run so far. */
uint64_t emulated_cuda_product_bytes(void);
/* 1: as on a device that can touch the host's pageable memory, which then reads it when a copy runs. */
void emulated_cuda_pageable(int accessible);
int emulated_cuda_late_loads(void);    /* kernels that were loaded by their first launch */
size_t emulated_cuda_used(int device); /* bytes allocated */
/* streams, events, graphs, pools, allocations and handles that exist */
int emulated_cuda_objects(void);

/* Everything as at the first call; what exists is forgotten, and a broken device works again. */
void emulated_cuda_reset(void);

/* For a test that must look: the device's memory at `ptr`, copied as if everything queued before were done
 * or not, as it is now. */
void emulated_cuda_peek(void *to, const void *ptr, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
