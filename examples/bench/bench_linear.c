/* Forward and backward of a layer, against the same layer in FULL mode and against the machine. */
#include "bench.h"

struct run {
    const struct bench *bench;
    relora_linear *layer;
    relora_tensor *x, *y, *dx, *dy;
};

struct row {
    struct timing lora, full, full_forward;
    double flops, full_flops; /* of one forward and backward */
};

static void forward(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench,
          relora_linear_forward(run->layer, run->bench->stream, run->x, run->y, 0, RELORA_TRAIN));
}

static void forward_backward(void *arg)
{
    struct run *run = arg;
    forward(arg);
    CHECK(run->bench, relora_linear_backward(run->layer, run->bench->stream, run->x, run->dy,
                                             run->dx, 0, RELORA_TRAIN | RELORA_OVERWRITE));
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Operations of the cheapest exact order of products; a multiply-add counts as two. W is m x n, X
 * is T x n. Forward: x W^T + (x A^T) B^T, or x (W + B A)^T. Backward: dx and the factors' gradients
 * from dy B and x A^T, the same with dx = dy (W + B A), or all of it from dy^T x. */
static double lora_flops(double T, double m, double n, double r)
{
    double forward_apart = T * n * m + T * r * (n + m), forward_folded = T * n * m + n * m * r;
    double apart = T * n * m + 3 * T * n * r + 2 * T * m * r;
    double folded = T * n * m + 2 * T * r * (n + m) + n * m * r;
    double through_dw = 2 * T * n * m + 3 * n * m * r;
    return 2 * (least(forward_apart, forward_folded) + least(least(apart, folded), through_dw));
}

static struct row measure_shape(const struct bench *bench, relora_dtype dtype, struct shape shape)
{
    struct run run = {
        .bench = bench,
        .x = new_matrix(bench, dtype, TOKENS, shape.in),
        .y = new_matrix(bench, dtype, TOKENS, shape.out),
        .dx = new_matrix(bench, dtype, TOKENS, shape.in),
        .dy = new_matrix(bench, dtype, TOKENS, shape.out),
    };
    struct row row = {
        .flops = lora_flops(TOKENS, (double)shape.out, (double)shape.in, RANK),
        .full_flops = 6.0 * TOKENS * (double)shape.out * (double)shape.in,
    };
    fill_random(bench, run.x, 1);
    fill_random(bench, run.dy, 0.01);

    run.layer = new_layer(bench, RELORA_MODE_FULL, dtype, shape);
    row.full_forward = measure(bench, NULL, forward, &run);
    row.full = measure(bench, NULL, forward_backward, &run);
    relora_linear_release(run.layer);

    run.layer = new_layer(bench, RELORA_MODE_LORA, dtype, shape);
    row.lora = measure(bench, NULL, forward_backward, &run);
    relora_linear_release(run.layer);

    relora_tensor_release(run.x);
    relora_tensor_release(run.y);
    relora_tensor_release(run.dx);
    relora_tensor_release(run.dy);
    return row;
}

/* The best rate that any large product of the library reached in this run. */
static double peak_of(const struct row *rows, int count)
{
    double peak = 0;
    for (int i = 0; i < count; i++) {
        double product = rows[i].full_flops / 3 / rows[i].full_forward.best;
        double layer = rows[i].full_flops / rows[i].full.best;
        if (product > peak) peak = product;
        if (layer > peak) peak = layer;
    }
    return peak;
}

static void print(const struct bench *bench, relora_dtype dtype, const struct row *rows, int count)
{
    double peak = peak_of(rows, count);
    printf("%-5s matrix products reach %.1f GFLOP/s\n", dtype_name(dtype), peak / 1e9);
    for (int i = 0; i < count; i++) {
        double rate = rows[i].flops / rows[i].lora.best;
        char name[40];
        snprintf(name, sizeof name, "%dx%d", (int)shapes[i].out, (int)shapes[i].in);
        printf("  %-10s %9.2f %9.2f %5d %9.1f %6.0f%% %9.2f %7.2f %9.2f\n", name,
               1e3 * rows[i].lora.best, 1e3 * rows[i].lora.median, rows[i].lora.runs, rate / 1e9,
               100 * rate / peak, 1e3 * rows[i].full.best, rows[i].lora.best / rows[i].full.best,
               rows[i].flops / rows[i].full_flops);
        if (bench->json)
            fprintf(bench->json,
                    "%s\n    {\"dtype\": \"%s\", \"out\": %d, \"in\": %d, \"rank\": %d, "
                    "\"tokens\": %d, "
                    "\"best_ms\": %.4f, \"median_ms\": %.4f, \"runs\": %d, \"gflops\": %.2f, "
                    "\"peak_gflops\": %.2f, \"share_of_peak\": %.4f, \"full_best_ms\": %.4f, "
                    "\"full_median_ms\": %.4f, \"ratio_to_full\": %.4f}",
                    i || dtype != RELORA_F32 ? "," : "", dtype_name(dtype), (int)shapes[i].out,
                    (int)shapes[i].in, RANK, TOKENS, 1e3 * rows[i].lora.best,
                    1e3 * rows[i].lora.median, rows[i].lora.runs, rate / 1e9, peak / 1e9,
                    rate / peak, 1e3 * rows[i].full.best, 1e3 * rows[i].full.median,
                    rows[i].lora.best / rows[i].full.best);
    }
}

void bench_linear(const struct bench *bench)
{
    static const relora_dtype dtypes[] = { RELORA_F32, RELORA_BF16 };
    struct row rows[SHAPES];
    int count = bench->quick ? 2 : SHAPES;

    printf("\nForward and backward of a layer, rank %d, %d tokens; FULL has no factors\n",
           RANK, TOKENS);
    printf("  %-10s %9s %9s %5s %9s %7s %9s %7s %9s\n", "out x in", "best ms", "median", "runs",
           "GFLOP/s", "of peak", "FULL ms", "ratio", "by FLOPs");
    if (bench->json) fprintf(bench->json, ",\n  \"linear\": [");
    for (int d = 0; d < 2; d++) {
        for (int i = 0; i < count; i++) rows[i] = measure_shape(bench, dtypes[d], shapes[i]);
        print(bench, dtypes[d], rows, count);
    }
    if (bench->json) fprintf(bench->json, "\n  ]");
}
