/* One step of Adam with clipping. It is bound by memory: each element is 28 bytes of traffic (p, g,
 * m, v are read; p, m, v are written), and the norm of the gradient reads 4 more. The measure of it
 * is a plain copy that moves as many. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

enum { BYTES = 28 };

struct run {
    const struct bench *bench;
    relora_adam *adam;
    char *source, *target;
};

static void step(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_adam_step(run->adam, run->bench->stream, 1e-3, 1.0, NULL));
}

/* Half of the bytes are read and half are written. */
static void copy(void *arg)
{
    struct run *run = arg;
    threaded_copy(run->bench, run->target, run->source, (size_t)ELEMENTS * BYTES / 2);
}

static relora_adam *new_adam(const struct bench *bench)
{
    relora_adam_options options;
    relora_adam *adam;
    relora_tensor *param = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    relora_tensor *grad = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    fill_random(bench, param, 0.02);
    fill_random(bench, grad, 0.01);

    relora_adam_options_init(&options, sizeof options);
    options.max_norm = 1; /* the gradient is longer than that */
    CHECK(bench, relora_adam_create(&adam, bench->cpu, &options));
    CHECK(bench, relora_adam_add(adam, "p", param, grad, NULL));
    relora_tensor_release(param);
    relora_tensor_release(grad);
    return adam;
}

void bench_adam(const struct bench *bench)
{
    struct run run = { .bench = bench, .adam = new_adam(bench) };
    struct timing adam = measure(bench, NULL, step, &run), plain;
    relora_adam_release(run.adam);

    run.source = malloc((size_t)ELEMENTS * BYTES / 2);
    run.target = malloc((size_t)ELEMENTS * BYTES / 2);
    if (!run.source || !run.target) exit(1);
    memset(run.source, 1, (size_t)ELEMENTS * BYTES / 2);
    plain = measure(bench, NULL, copy, &run);
    free(run.source);
    free(run.target);

    double bytes = (double)ELEMENTS * BYTES;
    printf("\nAdam, one step of %d elements with clipping\n", ELEMENTS);
    printf("  step  %8.2f ms (median %.2f, %d runs), %.3f ns per element, %.1f GB/s\n",
           1e3 * adam.best, 1e3 * adam.median, adam.runs, 1e9 * adam.best / ELEMENTS,
           bytes / adam.best / 1e9);
    printf("  copy  %8.2f ms for as many bytes (%d), %.1f GB/s; the step reaches %.0f%% of that\n",
           1e3 * plain.best, BYTES, bytes / plain.best / 1e9, 100 * plain.best / adam.best);
    if (bench->json)
        fprintf(bench->json,
                ",\n  \"adam\": {\"elements\": %d, \"best_ms\": %.4f, \"median_ms\": %.4f, "
                "\"runs\": %d, \"ns_per_element\": %.4f, \"gb_per_s\": %.3f, \"copy_gb_per_s\": %.3f}",
                ELEMENTS, 1e3 * adam.best, 1e3 * adam.median, adam.runs, 1e9 * adam.best / ELEMENTS,
                bytes / adam.best / 1e9, bytes / plain.best / 1e9);
}
