/* A host with CUDA of its own: its stream, its device memory. librelora works in that memory and queues on that
 * stream, between the host's own work, and nobody waits for anybody until the host wants a number.
 *
 * One layer learns to add what its W lacks; then a merge moves that into W, which is the host's. */
#include <cuda_runtime_api.h>
#include <relora/relora.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, N = 32, STEPS = 150, NO_DEVICE = 77 };
static relora_context *context;
static relora_device *gpu;

#define CHECK(call) check(call, #call)
static void check(relora_status status, const char *call)
{
    char why[200] = "";
    if (status == RELORA_OK) return;
    relora_context_error(context, why, sizeof why, NULL);
    fprintf(stderr, "%s: %s: %s\n", call, relora_status_name(status), why);
    exit(1);
}

#define CUDA(call) cuda(call, #call)
static void cuda(cudaError_t error, const char *call)
{
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(error));
    exit(1);
}

static relora_tensor *lend(void **memory, int64_t rows) /* device memory of ours, as a tensor of theirs */
{
    const int64_t shape[2] = {rows, N};
    relora_tensor *tensor;
    CUDA(cudaMalloc(memory, (size_t)rows * N * sizeof(float)));
    CHECK(relora_tensor_borrow(&tensor, gpu, RELORA_F32, 2, shape, NULL, *memory, NULL, NULL));
    return tensor;
}

static double loss_and_gradient(const float *y, const float *wanted, float *dy)
{
    double loss = 0;
    for (int i = 0; i < ROWS * N; i++) {
        dy[i] = (y[i] - wanted[i]) / ROWS;
        loss += 0.5 * (double)((y[i] - wanted[i]) * (y[i] - wanted[i])) / ROWS;
    }
    return loss;
}

int main(void)
{
    static float x[ROWS * N], y[ROWS * N], dy[ROWS * N], wanted[ROWS * N], w[N * N], zero[N * N];
    void *memory[4];
    double first = 0, loss = 0;
    for (int i = 0; i < ROWS * N; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < ROWS * N; i++) wanted[i] = x[i / N * N + i % 4]; /* by a matrix of rank 4 */

    CHECK(relora_context_create(&context, NULL));
    gpu = relora_device_get(context, RELORA_DEVICE_CUDA, 0);
    if (!gpu) {
        char why[200];
        relora_context_error(context, why, sizeof why, NULL);
        fprintf(stderr, "%s\n", why);
        relora_context_release(context);
        return NO_DEVICE;
    }
    cudaStream_t ours;
    relora_stream *stream; /* theirs, in name: the same queue */
    CUDA(cudaStreamCreateWithFlags(&ours, cudaStreamNonBlocking));
    CHECK(relora_stream_wrap(&stream, gpu, ours));
    relora_tensor *weight = lend(&memory[0], N), *input = lend(&memory[1], ROWS);
    relora_tensor *output = lend(&memory[2], ROWS), *grad = lend(&memory[3], ROWS);
    CUDA(cudaMemcpyAsync(memory[0], zero, sizeof zero, cudaMemcpyHostToDevice, ours));
    CUDA(cudaMemcpyAsync(memory[1], x, sizeof x, cudaMemcpyHostToDevice, ours));

    relora_linear *layer;
    relora_linear_options linear;
    CHECK(relora_linear_options_init(&linear, sizeof linear));
    linear.in_features = linear.out_features = N;
    linear.rank = 8;
    linear.alpha = 8;
    linear.dropout = 0;
    CHECK(relora_linear_create(&layer, gpu, &linear));
    CHECK(relora_linear_set_weight(layer, weight, NULL));
    relora_adam *adam;
    CHECK(relora_adam_create(&adam, gpu, NULL));
    CHECK(relora_adam_add_linear(adam, "layer", layer));

    for (uint64_t step = 0; step < STEPS; step++) { /* a real host has kernels where this one copies */
        CHECK(relora_linear_forward(layer, stream, input, output, step, RELORA_TRAIN));
        CUDA(cudaMemcpyAsync(y, memory[2], sizeof y, cudaMemcpyDeviceToHost, ours));
        CUDA(cudaStreamSynchronize(ours)); /* the host wants numbers */
        loss = loss_and_gradient(y, wanted, dy);
        if (step == 0) first = loss;
        if (step % 25 == 0) printf("step %4d  loss %.5f\n", (int)step, loss);
        CUDA(cudaMemcpyAsync(memory[3], dy, sizeof dy, cudaMemcpyHostToDevice, ours));
        CHECK(
            relora_linear_backward(layer, stream, input, grad, NULL, step, RELORA_TRAIN | RELORA_OVERWRITE));
        CHECK(relora_adam_step(adam, stream, 0.02, 1.0, NULL)); /* queued, as all of this: nothing waits */
    }
    relora_merge_report merged = {.struct_size = sizeof merged};
    CHECK(relora_linear_merge(layer, stream, 1, &merged));
    CUDA(cudaMemcpyAsync(w, memory[0], sizeof w, cudaMemcpyDeviceToHost, ours));
    CUDA(cudaStreamSynchronize(ours));
    printf("end        loss %.5f, at first %.5f; W, in our memory, moved by %.3f: W[0][0] is %.3f\n", loss,
           first, merged.delta_norm, (double)w[0]);

    relora_tensor *tensors[] = {weight, input, output, grad};
    relora_adam_release(adam);
    relora_linear_release(layer);
    for (int i = 0; i < 4; i++) relora_tensor_release(tensors[i]); /* what we lent comes back as it is ... */
    relora_stream_release(stream);
    for (int i = 0; i < 4; i++) CUDA(cudaFree(memory[i])); /* ... and goes when no work needs it */
    CUDA(cudaStreamDestroy(ours));
    relora_context_release(context);
    if (loss < 0.01 * first) return 0;
    fprintf(stderr, "the loss did not fall as it should\n");
    return 1;
}
