/* A queue is a stream: one of its own, or one of the host's. */
#include "cuda_queue.h"

#include <stdio.h>

relora_status cuda_failed(struct queue *q, relora_status status, const char *what, const char *why)
{
    snprintf(q->error, sizeof q->error, "%s: %s", what, why);
    return status;
}

relora_status cuda_result(struct queue *q, cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return RELORA_OK;
    cudaGetLastError(); /* the host must not find it in a call of its own */
    snprintf(q->error, sizeof q->error, "%s: %s: %s", what, cudaGetErrorName(error), cudaGetErrorString(error));
    return error == cudaErrorMemoryAllocation ? RELORA_E_NO_MEMORY : RELORA_E_BACKEND;
}

static cudaError_t driver_function(const char *name, void **function)
{
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    *function = NULL;
#if CUDART_VERSION >= 12050
    cudaError_t error = cudaGetDriverEntryPointByVersion(name, function, 12000, cudaEnableDefault, &found);
#else
    cudaError_t error = cudaGetDriverEntryPoint(name, function, cudaEnableDefault, &found);
#endif
    if (error) return error;
    return found == cudaDriverEntryPointSuccess && *function ? cudaSuccess : cudaErrorNotSupported;
}

cudaError_t cuda_driver_find(struct cuda_driver *driver)
{
    void *get, *set;
    cudaError_t error = driver_function("cuCtxGetCurrent", &get);
    if (!error) error = driver_function("cuCtxSetCurrent", &set);
    if (error) return error;
    driver->get = (int (*)(void **))get;
    driver->set = (int (*)(void *))set;
    return cudaSuccess;
}

static cudaError_t open_stream(struct queue *q, const struct queue_options *options)
{
    int capability = 0;
    cudaError_t error = cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, q->device);
    if (!error && capability < CUDA_LEAST_CAPABILITY) error = cudaErrorNoKernelImageForDevice;
    if (!error) error = cudaDeviceGetAttribute(&q->multiprocessors, cudaDevAttrMultiProcessorCount, q->device);
    if (options->wrap) {
        q->wrapped = 1;
        q->stream = (cudaStream_t)options->native;
        return error;
    }
    return error ? error : cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking);
}

static cudaError_t load_kernels(void)
{
    static cudaError_t (*const loads[])(void) = {cuda_load_adam,  cuda_load_elementwise, cuda_load_gemm_plain, cuda_load_merge,
                                                 cuda_load_prune, cuda_load_reduce,      cuda_load_span,       cuda_load_write};
    cudaError_t error = cudaSuccess;
    for (cudaError_t (*load)(void) : loads)
        if (!error) error = load();
    return error;
}

static relora_status open_on_device(struct queue *q, const struct queue_options *options)
{
    device_scope scope(q->driver, q->device);
    q->context = scope.context();
    cudaError_t error = scope.result();
    relora_status status = cuda_result(q, error ? error : open_stream(q, options), "opening a queue");
    if (q->parent) q->pool = q->parent->pool;
    else if (status >= 0) status = cuda_result(q, load_kernels(), "loading the kernels");
    if (!q->parent && status >= 0) status = cuda_pool_open(q);
    return status;
}

relora_status cuda_queue_open(int32_t device, const struct queue_options *options, struct queue **out)
{
    struct queue *q = (struct queue *)memory_alloc_zero(options->memory, sizeof *q);
    if (!q) return RELORA_E_NO_MEMORY;
    q->memory = options->memory;
    q->device = device;
    q->parent = options->parent;
    relora_status status = cuda_result(q, cuda_driver_find(&q->driver), "looking for the driver");
    if (status < 0) {
        memory_free(q->memory, q, sizeof *q);
        return status;
    }
    status = open_on_device(q, options);
    if (status < 0) {
        cuda_queue_close(q);
        return status;
    }
    cuda_pool_join(q);
    *out = q;
    return RELORA_OK;
}

/* Waits for nothing. A stream that is destroyed still does what it was given. */
void cuda_queue_close(struct queue *q)
{
    device_scope scope(q);
    if (q->pool) {
        cuda_gemm_close(q);
        cuda_release(q, q->scratch, q->scratch_bytes);
        cuda_pool_leave(q);
        if (!q->parent) cuda_pool_close(q);
    }
    if (q->stream && !q->wrapped) cudaStreamDestroy(q->stream);
    memory_free(q->memory, q, sizeof *q);
}

void *cuda_queue_native(const struct queue *q)
{
    return q->stream;
}

const char *cuda_queue_error(const struct queue *q)
{
    return q->error;
}

relora_status cuda_queue_sync(struct queue *q)
{
    device_scope scope(q);
    relora_status status = cuda_result(q, cudaStreamSynchronize(q->stream), "the work that was queued");
    return status < 0 ? RELORA_E_BACKEND : RELORA_OK;
}

relora_status cuda_queue_wait(struct queue *q, struct queue *other)
{
    device_scope scope(q);
    return cuda_result(q, cuda_pool_order(q->pool, other->stream, q->stream), "waiting for another queue");
}
