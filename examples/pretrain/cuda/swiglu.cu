/* silu(gate) * up and its gradient, eight elements to a thread. */
#include "gpu.cuh"

#include <type_traits>

enum { THREADS = 256, EIGHT = 8 };

static __device__ __forceinline__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* Calls `work(first, n)` with n of the type of the constant 8 for whole eights, 1 for what is left over. */
template <class F> static __device__ __forceinline__ void eights(int64_t count, F work)
{
    int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * EIGHT;
    if (at + EIGHT <= count)
        work(at, std::integral_constant<int, EIGHT>());
    else
        for (; at < count; at++) work(at, std::integral_constant<int, 1>());
}

template <class T>
static __global__ void __launch_bounds__(THREADS)
    swiglu_kernel(T *y, const T *gate, const T *up, int64_t count)
{
    eights(count, [=](int64_t at, auto number) {
        constexpr int n = decltype(number)::value;
        float g[n], u[n];
        load(g, gate + at);
        load(u, up + at);
        for (int i = 0; i < n; i++) g[i] *= sigmoid(g[i]) * u[i];
        store(y + at, g);
    });
}

template <class T>
static __global__ void __launch_bounds__(THREADS)
    swiglu_backward_kernel(T *dgate, T *dup, const T *dy, const T *gate, const T *up, int64_t count)
{
    eights(count, [=](int64_t at, auto number) {
        constexpr int n = decltype(number)::value;
        float g[n], u[n], d[n];
        load(g, gate + at);
        load(u, up + at);
        load(d, dy + at);
        for (int i = 0; i < n; i++) {
            float p = sigmoid(g[i]), silu = g[i] * p;
            g[i] = d[i] * u[i] * (p + silu * (1.0f - p));
            u[i] = d[i] * silu;
        }
        store(dgate + at, g);
        store(dup + at, u);
    });
}

template <class T> static void forward(struct shape s, void *y, const void *gate, const void *up)
{
    int64_t count = s.rows * s.width;
    launch(s.engine, swiglu_kernel<T>, dim3(blocks_for(count, EIGHT * THREADS)), dim3(THREADS), (T *)y,
           (const T *)gate, (const T *)up, count);
}

template <class T>
static void backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate, const void *up)
{
    int64_t count = s.rows * s.width;
    launch(s.engine, swiglu_backward_kernel<T>, dim3(blocks_for(count, EIGHT * THREADS)), dim3(THREADS),
           (T *)dgate, (T *)dup, (const T *)dy, (const T *)gate, (const T *)up, count);
}

void gpu_swiglu_forward(struct shape s, void *y, const void *gate, const void *up)
{
    if (s.dtype == RELORA_F32)
        forward<float>(s, y, gate, up);
    else
        forward<bf16>(s, y, gate, up);
}

void gpu_swiglu_backward(struct shape s, void *dgate, void *dup, const void *dy, const void *gate,
                         const void *up)
{
    if (s.dtype == RELORA_F32)
        backward<float>(s, dgate, dup, dy, gate, up);
    else
        backward<bf16>(s, dgate, dup, dy, gate, up);
}
