/* One step of Adam with clipping. It is bound by memory: each element is 28 bytes of traffic (p, g,
 * m, v are read; p, m, v are written), and the norm of the gradient reads 4 more. The measure of it
 * is a plain copy that moves as many. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

enum { BYTES = 28, MANY = 200 };

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

static void print(const char *what, const struct work *work)
{
    printf("  %-11s %8.2f ms (median %.2f, %d rounds), %.3f ns per element, %.1f GB/s\n", what,
           1e3 * work->best, 1e3 * work->median, work->rounds, 1e9 * work->best / ELEMENTS,
           (double)ELEMENTS * BYTES / work->best / 1e9);
}

void bench_adam(const struct bench *bench)
{
    struct run one = {.bench = bench, .adam = new_adam(bench, ELEMENTS, 1, 1)};
    struct run many = {.bench = bench, .adam = new_adam(bench, ELEMENTS, MANY, 1)};
    size_t half = (size_t)ELEMENTS * BYTES / 2;
    one.source = malloc(half);
    one.target = malloc(half);
    if (!one.source || !one.target) exit(1);
    memset(one.source, 1, half);

    struct work works[] = {timed(step, &one), timed(step, &many), timed(copy, &one)};
    alternate(works, 3, bench->seconds);
    printf("\nAdam, one step of %d elements with clipping; the bytes are %d per element\n", ELEMENTS, BYTES);
    print("1 tensor", &works[0]);
    print("200 tensors", &works[1]);
    print("copy", &works[2]);
    add_row(ratio(&works[2], &works[0]), "", 0.85, HIGHER, NO_BOUND, "Adam, bandwidth of that of a copy");
    add_row(ratio(&works[2], &works[1]), "", 0.85, HIGHER, NO_BOUND, "Adam over %d tensors, the same", MANY);
    add_row(1e9 * works[0].best / ELEMENTS, "ns", NO_TARGET, LOWER, NO_BOUND, "Adam, per element");

    relora_adam_release(one.adam);
    relora_adam_release(many.adam);
    free(one.source);
    free(one.target);
}
