/* W += s B A, which happens once in a cycle. */
#include "bench.h"

struct run {
    const struct bench *bench;
    relora_linear *layer;
    uint64_t cycle;
};

static void merge(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_linear_merge(run->layer, run->bench->stream, run->cycle++, NULL));
}

void bench_merge(const struct bench *bench)
{
    static const relora_dtype dtypes[] = { RELORA_F32, RELORA_BF16 };
    int count = bench->quick ? 2 : SHAPES;

    printf("\nMerge of a layer, rank %d\n", RANK);
    printf("  %-5s %-10s %9s %9s %5s %9s\n", "dtype", "out x in", "best ms", "median", "runs",
           "GFLOP/s");
    if (bench->json) fprintf(bench->json, ",\n  \"merge\": [");
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < count; i++) {
            struct run run = { .bench = bench,
                               .layer = new_layer(bench, RELORA_MODE_LORA, dtypes[d], shapes[i]) };
            struct timing t = measure(bench, NULL, merge, &run);
            double flops = 2.0 * RANK * (double)shapes[i].out * (double)shapes[i].in;
            char name[40];
            relora_linear_release(run.layer);

            snprintf(name, sizeof name, "%dx%d", (int)shapes[i].out, (int)shapes[i].in);
            printf("  %-5s %-10s %9.2f %9.2f %5d %9.1f\n", dtype_name(dtypes[d]), name,
                   1e3 * t.best, 1e3 * t.median, t.runs, flops / t.best / 1e9);
            if (bench->json)
                fprintf(bench->json,
                        "%s\n    {\"dtype\": \"%s\", \"out\": %d, \"in\": %d, \"rank\": %d, "
                        "\"best_ms\": %.4f, \"median_ms\": %.4f, \"runs\": %d}",
                        d || i ? "," : "", dtype_name(dtypes[d]), (int)shapes[i].out,
                        (int)shapes[i].in, RANK, 1e3 * t.best, 1e3 * t.median, t.runs);
        }
    if (bench->json) fprintf(bench->json, "\n  ]");
}
