/* The table of a GPU. */
#include "gpu.cuh"

#include <stdlib.h>

extern "C" {
#include "../report.h"
}

static relora_status gpu_status(const struct engine *engine)
{
    cudaError_t error = engine->gpu->error;
    engine->gpu->error = cudaSuccess;
    if (error == cudaSuccess) return RELORA_OK;
    fail("CUDA: %s", cudaGetErrorString(error));
    return error == cudaErrorMemoryAllocation ? RELORA_E_NO_MEMORY : RELORA_E_BACKEND;
}

static void gpu_close(struct engine *engine)
{
    struct gpu *gpu = engine->gpu;
    if (!gpu) return;
    for (int i = 0; i < GPU_SLOTS; i++) {
        if (gpu->slots[i].copied) {
            cudaEventSynchronize(gpu->slots[i].copied);
            cudaEventDestroy(gpu->slots[i].copied);
        }
        if (gpu->slots[i].host) cudaFreeHost(gpu->slots[i].host);
    }
    free(gpu->buckets);
    free(gpu);
    engine->gpu = NULL;
}

static relora_status gpu_open(struct engine *engine, relora_stream *stream)
{
    struct gpu *gpu = (struct gpu *)calloc(1, sizeof *gpu);
    if (!gpu) return RELORA_E_NO_MEMORY;
    engine->gpu = gpu;
    gpu->stream = (cudaStream_t)relora_stream_native(stream);
    gpu->error = cudaSetDevice(0); /* the first, as the model takes it */
    for (int i = 0; i < GPU_SLOTS && gpu->error == cudaSuccess; i++)
        gpu->error = cudaEventCreateWithFlags(&gpu->slots[i].copied, cudaEventDisableTiming);
    return gpu_status(engine);
}

static int64_t gpu_scratch_floats(struct shape s, const struct attention *attention)
{
    int64_t for_norm = gpu_norm_scratch(s), for_attention = gpu_attention_scratch(attention);
    if (for_norm < 0 || for_attention < 0) return -1;
    return for_norm > for_attention ? for_norm : for_attention;
}

const struct ops ops_cuda = {
    gpu_open, gpu_close, gpu_status, gpu_scratch_floats,
    1 << 27, /* logits at once: 256 MB in BF16 */
    gpu_tokens_floats, gpu_upload, gpu_embedding_forward, gpu_embedding_backward,
    gpu_norm_forward, gpu_norm_backward, gpu_swiglu_forward, gpu_swiglu_backward,
    gpu_cross_entropy, gpu_add_mean,
    gpu_rotate, gpu_attention_forward, gpu_attention_backward};
