#define _GNU_SOURCE /* nanosleep beside Check's headers */
#include "cuda/device.h"
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#ifdef EMULATED_CUDA
#include "emulator.h"
#endif

void cuda_ok(cudaError_t error, const char *call, const char *file, int line)
{
    if (error != cudaSuccess) ck_abort_msg("%s:%d: %s: %s", file, line, call, cudaGetErrorString(error));
    mark_point();
}

static void destroy_stream(void *p) { cudaStreamDestroy(p); }
static void release_stream(void *p) { relora_stream_release(p); }
static void free_memory(void *p) { cudaFree(p); }
static void free_pinned(void *p) { cudaFreeHost(p); }

cudaStream_t new_cuda_stream(void)
{
    cudaStream_t stream;
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    defer(destroy_stream, stream);
    return stream;
}

relora_stream *new_wrapped(cudaStream_t native)
{
    relora_stream *stream;
    OK(relora_stream_wrap(&stream, env.dev, native));
    defer(release_stream, stream);
    return stream;
}

relora_stream *new_stream(void)
{
    relora_stream *stream;
    OK(relora_stream_create(&stream, env.dev));
    defer(release_stream, stream);
    return stream;
}

float *new_cuda_floats(int64_t n)
{
    void *memory;
    CUDA_OK(cudaMalloc(&memory, (size_t)n * sizeof(float)));
    CUDA_OK(cudaMemset(memory, 0, (size_t)n * sizeof(float)));
    CUDA_OK(cudaStreamSynchronize(NULL)); /* no other stream waits for that one */
    defer(free_memory, memory);
    return memory;
}

float *new_pinned_floats(int64_t n)
{
    void *memory;
    CUDA_OK(cudaMallocHost(&memory, (size_t)n * sizeof(float)));
    memset(memory, 0, (size_t)n * sizeof(float));
    defer(free_pinned, memory);
    return memory;
}

cudaStream_t native_of(const relora_stream *stream) { return relora_stream_native(stream); }

/* ---- the gate: a function of the host that waits in the stream, and then a number that is copied ---- */

static atomic_int is_open;
static volatile float *passed;

#ifdef EMULATED_CUDA
static void hold_back(cudaStream_t stream)
{
    (void)stream;
    emulated_cuda_seed(0); /* nothing happens before somebody waits for it */
}
#else
static void CUDART_CB hold(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3000 && !is_open; i++) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void hold_back(cudaStream_t stream) { CUDA_OK(cudaLaunchHostFunc(stream, hold, NULL)); }
#endif

static void open_at_last(void *unused)
{
    (void)unused;
    gate_open();
}

void gate_close(cudaStream_t stream)
{
    float *one = new_cuda_floats(1), *target = new_pinned_floats(1);
    passed = target;
    is_open = 0;
    CUDA_OK(cudaMemset(one, 1, sizeof *one));
    CUDA_OK(cudaStreamSynchronize(NULL));
    hold_back(stream);
    CUDA_OK(cudaMemcpyAsync(target, one, sizeof *one, cudaMemcpyDeviceToHost, stream));
    defer(open_at_last, NULL);
}

void gate_none(void) { passed = NULL; }

int gate_held(void) { return !passed || *passed == 0; }

void gate_open(void) { is_open = 1; }
