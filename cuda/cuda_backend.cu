/* The table of the CUDA backend, and the one symbol of the module. */
#include <stdio.h>

#include "cuda_queue.h"

static cudaError_t count_devices(int *count)
{
    *count = 0;
    cudaError_t error = cudaGetDeviceCount(count);
    cudaGetLastError(); /* the host must not find it in a call of its own */
    if (error != cudaSuccess) *count = 0;
    return error;
}

static relora_status count(int32_t *devices)
{
    cudaError_t error = count_devices(devices);
    return error == cudaSuccess || error == cudaErrorNoDevice ? RELORA_OK : RELORA_E_BACKEND;
}

/* Why there is no such device. cudaErrorInsufficientDriver is also said where there is no driver at all. */
static void explain(cudaError_t error, int32_t device, char *name, size_t capacity)
{
    int version = CUDART_VERSION;
    if (error == cudaErrorInsufficientDriver)
        snprintf(name, capacity, "no NVIDIA driver, or one too old for CUDA %d.%d", version / 1000, version % 1000 / 10);
    else if (error != cudaSuccess)
        snprintf(name, capacity, "%s: %s", cudaGetErrorName(error), cudaGetErrorString(error));
    else
        snprintf(name, capacity, "there is no device %d", device);
}

static relora_status describe_name(int32_t device, char *name, size_t capacity)
{
    int count;
    struct cudaDeviceProp properties;
    cudaError_t error = count_devices(&count);
    int known = !error && device >= 0 && device < count;
    if (known) error = cudaGetDeviceProperties(&properties, device);
    if (error || !known) {
        cudaGetLastError();
        explain(error, device, name, capacity);
        return RELORA_E_BACKEND;
    }
    snprintf(name, capacity, "%s", properties.name);
    if (properties.major >= CUDA_LEAST_CAPABILITY) return RELORA_OK;
    snprintf(name, capacity, "%.40s has compute capability %d.%d, less than %d.0", properties.name, properties.major,
             properties.minor, CUDA_LEAST_CAPABILITY);
    return RELORA_E_BACKEND;
}

/* A device that nothing was done on yet gets a context here, for without one it does not tell. */
static relora_status describe_memory(int32_t device, uint64_t *free_bytes, uint64_t *total_bytes)
{
    size_t free_now = 0, total = 0;
    struct cuda_driver driver;
    cudaError_t error = cuda_driver_find(&driver);
    if (!error) {
        device_scope scope(driver, device);
        error = scope.result();
        if (!error) error = cudaMemGetInfo(&free_now, &total);
    }
    cudaGetLastError();
    if (free_bytes) *free_bytes = free_now;
    if (total_bytes) *total_bytes = total;
    return error ? RELORA_E_BACKEND : RELORA_OK;
}

static relora_status describe(int32_t device, char *name, size_t capacity, uint64_t *free_bytes,
                              uint64_t *total_bytes)
{
    relora_status status = name ? describe_name(device, name, capacity) : RELORA_OK;
    if (status < 0 || (!free_bytes && !total_bytes)) return status;
    return describe_memory(device, free_bytes, total_bytes);
}

static const struct backend backend_cuda = {
    BACKEND_VERSION,
    RELORA_DEVICE_CUDA,
    "CUDA",
    count,
    describe,
    cuda_queue_open,
    cuda_queue_close,
    cuda_queue_native,
    cuda_queue_error,
    cuda_queue_sync,
    cuda_queue_wait,
    cuda_alloc,
    cuda_release,
    cuda_copy,
    cuda_fill,
    cuda_convert,
    cuda_gemm,
    NULL, /* gemm_tell */
    cuda_merge,
    cuda_fold,
    cuda_sum_rows,
    cuda_dropout,
    cuda_uniform,
    cuda_scale_grad,
    cuda_largest,
    cuda_adam_norm,
    cuda_adam_decide,
    cuda_adam_step,
    cuda_prune,
    cuda_span,
    cuda_share,
    cuda_project,
    2048, /* slice_rows: they fill a device, and stay in its L2 cache mostly */
    16,   /* row_bytes: what the widest loads of products take at once */
};

extern "C" __attribute__((visibility("default"))) const struct backend *relora_cuda_backend(uint32_t version)
{
    return version == BACKEND_VERSION ? &backend_cuda : NULL;
}
