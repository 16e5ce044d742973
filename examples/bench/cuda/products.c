/* The two ceilings: the fastest product in BF16, and the fastest copy. */
#include "bench_cuda.h"

static double operations_of(struct shape shape, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)shape.out * (double)shape.in;
}

static double rate_of_product(const struct cuda *cuda, struct shape shape, int64_t tokens)
{
    const struct bench *bench = &cuda->bench;
    struct product p = product_open(bench, RELORA_BF16, shape, tokens);
    struct work work = timed(product_run, &p);
    cuda_alternate(cuda, &work, 1, bench->seconds);
    product_close(&p);
    return operations_of(shape, tokens) / work.median;
}

/* ---- rows that are not aligned, and addresses that are less so ---- */

/* x W^T, dy W and dy^T x; FAR: a multiple of what cuBLASLt can be told, in elements */
enum { WAYS = 3, FAR = 8192 };

/* one product of a layer in mode FULL: forward, or backward for dx or for the gradient of W */
struct passes {
    const struct bench *bench;
    relora_linear *layer;
    relora_tensor *x, *y, *dx, *dy;
    void *memory;
    int way;
};

static void run_way(void *arg)
{
    struct passes *p = arg;
    relora_stream *stream = p->bench->stream;
    if (p->way == 0) CHECK(p->bench, relora_linear_forward(p->layer, stream, p->x, p->y, 0, RELORA_TRAIN));
    else
        CHECK(p->bench, relora_linear_backward(p->layer, stream, p->x, p->dy, p->way == 1 ? p->dx : NULL, 0,
                                               RELORA_TRAIN | RELORA_OVERWRITE));
}

/* Rows `ld` elements apart that begin `offset` elements after an aligned address. */
static relora_tensor *rows_at(const struct bench *bench, char **memory, int64_t rows, int64_t cols,
                              int64_t ld, int64_t offset)
{
    relora_tensor *t;
    CHECK(bench, relora_tensor_borrow(&t, bench->device, RELORA_BF16, 2, (int64_t[]){rows, cols},
                                      (int64_t[]){ld, 1}, *memory + 2 * offset, NULL, NULL));
    *memory += 2 * ((rows * ld + offset + FAR - 1) / FAR * FAR);
    return t;
}

static struct passes open_passes(const struct cuda *cuda, struct shape shape, int64_t tokens, int64_t pad,
                                 int64_t offset)
{
    const struct bench *bench = &cuda->bench;
    struct passes p = {.bench = bench, .layer = new_layer(bench, RELORA_MODE_FULL, RELORA_BF16, shape, 0, 0)};
    int64_t in = (shape.in + pad - 1) / pad * pad, out = (shape.out + pad - 1) / pad * pad;
    size_t bytes = (size_t)(4 * (tokens * (in > out ? in : out) + 2 * FAR)) * 2;
    CUDA(cudaMalloc(&p.memory, bytes));
    CUDA(cudaMemset(p.memory, 0, bytes));
    char *free_memory = p.memory;
    p.x = rows_at(bench, &free_memory, tokens, shape.in, in, offset);
    p.dx = rows_at(bench, &free_memory, tokens, shape.in, in, offset);
    p.y = rows_at(bench, &free_memory, tokens, shape.out, out, offset);
    p.dy = rows_at(bench, &free_memory, tokens, shape.out, out, offset);
    return p;
}

static void close_passes(struct passes *p)
{
    CUDA(cudaStreamSynchronize(relora_stream_native(p->bench->stream)));
    relora_tensor *all[] = {p->x, p->dx, p->y, p->dy};
    for (int i = 0; i < 4; i++) relora_tensor_release(all[i]);
    relora_linear_release(p->layer);
    CUDA(cudaFree(p->memory));
}

/* Milliseconds of forward, of backward, and of backward without dx. */
static void time_ways(const struct cuda *cuda, struct shape shape, int64_t tokens, int64_t pad,
                      int64_t offset, const char *what)
{
    double ms[WAYS];
    struct passes p = open_passes(cuda, shape, tokens, pad, offset);
    for (int way = 0; way < WAYS; way++) {
        p.way = way;
        struct work work = timed(run_way, &p);
        cuda_alternate(cuda, &work, 1, cuda->bench.seconds / 4);
        ms[way] = 1e3 * work.median;
    }
    close_passes(&p);
    const double each[WAYS] = {ms[0], ms[1] - ms[2], ms[2]};
    static const char *const names[WAYS] = {"x W^T", "dy W", "dy^T x"};
    printf("  %5d x %5d x %5d, %-36s", (int)tokens, (int)shape.out, (int)shape.in, what);
    for (int way = 0; way < WAYS; way++) {
        double rate = each[way] > 0 ? operations_of(shape, tokens) / each[way] * 1e-9 : 0;
        printf(" %8.3f", rate);
        add_row(rate, "TFLOP/s", NO_TARGET, HIGHER, NO_BOUND, "product bf16 %dx%d, %s, %s", (int)shape.out,
                (int)shape.in, what, names[way]);
    }
    printf("\n");
}

static void bench_alignment(const struct cuda *cuda)
{
    struct shape wide = {5461, 2048}, padded = {5464, 2048}, tall = {2048, 5461}, square = {4096, 4096};
    int64_t tokens = 16384;
    if (cuda->smoke) {
        wide = (struct shape){45, 16}, padded = (struct shape){48, 16};
        tall = (struct shape){16, 45}, square = (struct shape){32, 32}, tokens = 64;
    }
    printf("\nProducts of a layer in mode FULL by how their rows lie, TFLOP/s: x W^T, dy W, dy^T x\n");
    time_ways(cuda, wide, tokens, 1, 0, "rows as long as they are");
    time_ways(cuda, wide, tokens, 8, 0, "rows 16 bytes apart");
    time_ways(cuda, padded, tokens, 1, 0, "three columns more");
    time_ways(cuda, tall, tokens, 1, 0, "rows as long as they are");
    time_ways(cuda, tall, tokens, 8, 0, "rows 16 bytes apart, but for W");
    time_ways(cuda, square, tokens, 1, 0, "addresses aligned to 256");
    time_ways(cuda, square, tokens, 1, 8, "addresses aligned to 16");
}

void cuda_bench_products(struct cuda *cuda)
{
    static const struct {
        struct shape shape;
        int64_t tokens;
    } sizes[] = {
        {{8192, 8192}, 8192},  {{8192, 8192}, 16384}, {{2048, 2048}, 16384},
        {{5461, 2048}, 16384}, {{4096, 4096}, 16384},
    };
    const int count = cuda->smoke ? 1 : (int)(sizeof sizes / sizeof *sizes);
    printf("\nProducts in BF16, x W^T of a layer in mode FULL\n");
    for (int i = 0; i < count; i++) {
        struct shape shape = sizes[i].shape;
        int64_t tokens = sizes[i].tokens;
        if (cuda->smoke) shape = (struct shape){64, 64}, tokens = 64;
        double rate = rate_of_product(cuda, shape, tokens);
        printf("  %5d x %5d x %5d  %8.3f TFLOP/s\n", (int)tokens, (int)shape.out, (int)shape.in,
               rate * 1e-12);
        if (rate > cuda->peak) cuda->peak = rate;
    }
    add_row(1e-12 * cuda->peak, "TFLOP/s", NO_TARGET, HIGHER, NO_BOUND, "peak bf16");
    if (cuda_has_time(cuda, 6 * cuda->bench.seconds, "products by alignment")) bench_alignment(cuda);
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
    relora_tensor *source = new_matrix(bench, RELORA_F32, rows, cols),
                  *target = new_matrix(bench, RELORA_F32, rows, cols);
    struct transfer transfer = {cuda, relora_tensor_data(target), relora_tensor_data(source),
                                (size_t)(rows * cols) * sizeof(float)};
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
