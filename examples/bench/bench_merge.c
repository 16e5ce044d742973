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
    int count = bench->quick ? 2 : SHAPES;
    printf("\nMerge of a layer, rank %d\n", RANK);
    printf("  %-5s %-10s %9s %9s %7s %9s\n", "dtype", "out x in", "best ms", "median", "rounds", "GFLOP/s");
    for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++)
        for (int i = 0; i < count; i++) {
            struct run run = {bench, new_layer(bench, RELORA_MODE_LORA, dtype, shapes[i], RANK, 0), 0};
            struct work work = timed(merge, &run);
            double flops = 2.0 * RANK * (double)shapes[i].out * (double)shapes[i].in;
            char name[40];
            alternate(&work, 1, bench->seconds);
            relora_linear_release(run.layer);
            snprintf(name, sizeof name, "%dx%d", (int)shapes[i].out, (int)shapes[i].in);
            printf("  %-5s %-10s %9.2f %9.2f %7d %9.1f\n", dtype_name(dtype), name, 1e3 * work.best,
                   1e3 * work.median, work.rounds, flops / work.best / 1e9);
            add_row(1e3 * work.best, "ms", NO_TARGET, LOWER, NO_BOUND, "merge %s %s", dtype_name(dtype),
                    name);
        }
}
