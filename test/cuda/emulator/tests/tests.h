/* The emulator's own tests: that kernels compute what they should, and that each check is seen to fire. */
#ifndef EMULATOR_TESTS_H
#define EMULATOR_TESTS_H

#include <check.h>

#include "cuda_runtime.h"
#include "emulator.h"

#define OK(call) ck_assert_int_eq((call), cudaSuccess)

Suite *kernels(void);
Suite *warps(void);
Suite *tensor_core(void);
Suite *memory(void);
Suite *streams(void);
Suite *graphs(void);
Suite *blas(void);
Suite *errors(void);

/* `body`, in a process of its own, must end by abort() or a fault, with `words` in what it prints. */
void must_die(void (*body)(void), const char *words);

/* Start on the device's legacy stream, or on `stream`; a first launch waits for nobody. */
template <class... P, class... A>
static inline cudaError_t launch_on(cudaStream_t stream, void (*kernel)(P...), unsigned blocks,
                                    unsigned threads, A... a)
{
    cudaFuncAttributes attributes;
    cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(kernel));
    return [&](P... p) {
        void *pointers[] = {(void *)&p..., nullptr};
        return cudaLaunchKernel(kernel, dim3(blocks), dim3(threads), pointers, 0, stream);
    }(static_cast<P>(a)...);
}

template <class... P, class... A>
static inline void run(void (*kernel)(P...), unsigned blocks, unsigned threads, A... a)
{
    OK(launch_on(nullptr, kernel, blocks, threads, a...));
    OK(cudaDeviceSynchronize());
}

template <class T> static inline T *device_array(size_t n)
{
    T *p;
    OK(cudaMalloc(&p, n * sizeof(T)));
    return p;
}

template <class T> static inline T *device_copy(const T *from, size_t n)
{
    T *p = device_array<T>(n);
    OK(cudaMemcpy(p, from, n * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}

template <class T> static inline void to_host(T *to, const T *from, size_t n)
{
    OK(cudaMemcpy(to, from, n * sizeof(T), cudaMemcpyDeviceToHost));
}

#endif
