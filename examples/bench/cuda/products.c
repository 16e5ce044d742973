/* The two ceilings: the fastest product in BF16, and the fastest copy. */
#include "bench_cuda.h"

static double rate_of_product(const struct cuda *cuda, struct shape shape, int64_t tokens)
{
    const struct bench *bench = &cuda->bench;
    struct product p = product_open(bench, RELORA_BF16, shape, tokens);
    struct work work = timed(product_run, &p);
    cuda_alternate(cuda, &work, 1, bench->seconds);
    product_close(&p);
    return 2.0 * (double)tokens * (double)shape.out * (double)shape.in / work.median;
}

void cuda_bench_products(struct cuda *cuda)
{
    static const struct { struct shape shape; int64_t tokens; } sizes[] = {
        { { 8192, 8192 }, 8192 }, { { 8192, 8192 }, 16384 }, { { 2048, 2048 }, 16384 },
        { { 5461, 2048 }, 16384 }, { { 4096, 4096 }, 16384 },
    };
    const int count = cuda->smoke ? 1 : (int)(sizeof sizes / sizeof *sizes);
    printf("\nProducts in BF16, x W^T of a layer in mode FULL\n");
    for (int i = 0; i < count; i++) {
        struct shape shape = sizes[i].shape;
        int64_t tokens = sizes[i].tokens;
        if (cuda->smoke) shape = (struct shape){ 64, 64 }, tokens = 64;
        double rate = rate_of_product(cuda, shape, tokens);
        printf("  %5d x %5d x %5d  %8.3f TFLOP/s\n", (int)tokens, (int)shape.out, (int)shape.in, rate * 1e-12);
        if (rate > cuda->peak) cuda->peak = rate;
    }
    add_row(1e-12 * cuda->peak, "TFLOP/s", NO_TARGET, HIGHER, NO_BOUND, "peak bf16");
}

struct transfer {
    const struct cuda *cuda;
    void *target;
    const void *source;
    size_t bytes;
};

static void copy(void *arg)
{
    struct transfer *t = arg;
    CUDA(cudaMemcpyAsync(t->target, t->source, t->bytes, cudaMemcpyDeviceToDevice, t->cuda->stream));
}

void cuda_bench_copy(struct cuda *cuda)
{
    const struct bench *bench = &cuda->bench;
    const int64_t rows = cuda->smoke ? 100 : 500 * 1000, cols = 1000; /* 2 GB */
    relora_tensor *source = new_matrix(bench, RELORA_F32, rows, cols), *target = new_matrix(bench, RELORA_F32, rows, cols);
    struct transfer transfer = { cuda, relora_tensor_data(target), relora_tensor_data(source),
                                 (size_t)(rows * cols) * sizeof(float) };
    struct work work = timed(copy, &transfer);
    fill_random(bench, source, 1);
    cuda_alternate(cuda, &work, 1, bench->seconds);
    cuda->bandwidth = 2.0 * (double)transfer.bytes / work.median;
    printf("\nA copy on the device of %.1f GB: %.0f GB/s, read and written\n", (double)transfer.bytes * 1e-9,
           cuda->bandwidth * 1e-9);
    add_row(1e-9 * cuda->bandwidth, "GB/s", NO_TARGET, HIGHER, NO_BOUND, "copy, bytes read and written");
    relora_tensor_release(source);
    relora_tensor_release(target);
}
