/* A launch keeps copies of the arguments, in their types, until the stream comes to it. */
#ifndef EMULATED_LAUNCH_H
#define EMULATED_LAUNCH_H

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

struct emulated_argument {
    const void *data;
    size_t bytes;
};

struct emulated_kernel {
    const void *function; /* where it is, for its name */
    std::function<void()> thread;
    dim3 grid, block;
    size_t shared;
};

/* `arguments` are looked through for addresses that a kernel must not have. */
cudaError_t emulated_launch(emulated_kernel kernel, const emulated_argument *arguments, size_t count,
                            cudaStream_t stream);

template <class... P, size_t... I>
static inline cudaError_t emulated_launch_typed(void (*kernel)(P...), dim3 grid, dim3 block, void **args,
                                                size_t shared, cudaStream_t stream, std::index_sequence<I...>)
{
    static_assert((std::is_trivially_copyable<P>::value && ...), "arguments of kernels are copied as bytes");
    emulated_argument arguments[sizeof...(P) + 1] = {{args[I], sizeof(P)}..., {nullptr, 0}};
    auto thread = [kernel, values = std::make_tuple(*static_cast<const P *>(args[I])...)] {
        std::apply(kernel, values);
    };
    return emulated_launch({reinterpret_cast<const void *>(kernel), thread, grid, block, shared}, arguments,
                           sizeof...(P), stream);
}

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    void *attrs;
    unsigned numAttrs;
};

template <class... P, class... A>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...),
                                             A &&...arguments)
{
    return [&](P... p) {
        void *pointers[] = {(void *)&p..., nullptr};
        return emulated_launch_typed(kernel, c->gridDim, c->blockDim, pointers, c->dynamicSmemBytes,
                                     c->stream, std::index_sequence_for<P...>());
    }(std::forward<A>(arguments)...);
}

template <class... P>
static inline cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void **args,
                                           size_t shared = 0, cudaStream_t stream = 0)
{
    return emulated_launch_typed(kernel, grid, block, args, shared, stream, std::index_sequence_for<P...>());
}

#endif
