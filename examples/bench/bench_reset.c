/* The partial reset by magnitude: against a sort, which is what finds a threshold without thinking,
 * and against one pass over the memory, below which nothing can go. */
#include "bench.h"
#include <math.h>
#include <stdlib.h>

/* One pass over both moments: each is read once and written once. */
static void copy_pass(void *arg)
{
    struct reset *run = arg;
    size_t bytes = ELEMENTS * sizeof(float);
    threaded_copy(run->bench, relora_tensor_data(run->first), relora_tensor_data(run->first_start), bytes);
    threaded_copy(run->bench, relora_tensor_data(run->second), relora_tensor_data(run->second_start), bytes);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sorting takes its time, so once is enough. */
static double seconds_to_sort(const struct reset *run)
{
    const float *from = relora_tensor_data(run->first_start);
    float *magnitudes = malloc(ELEMENTS * sizeof *magnitudes);
    if (!magnitudes) exit(1);
    for (int i = 0; i < ELEMENTS; i++) magnitudes[i] = fabsf(from[i]);
    double start = now();
    qsort(magnitudes, ELEMENTS, sizeof *magnitudes, compare);
    double seconds = now() - start;
    free(magnitudes);
    return seconds;
}

static void print(const char *name, const struct work *reset_work, const struct work *copy, double sort)
{
    double passes = ratio(reset_work, copy);
    printf("  %-12s %8.2f ms (median %.2f, %d rounds): %.2f copies; qsort takes %.1f times as long\n", name,
           1e3 * reset_work->best, 1e3 * reset_work->median, reset_work->rounds, passes,
           sort / reset_work->best);
    add_row(passes, "", 4, LOWER, NO_BOUND, "reset, %s masks, passes over the moments", name);
    add_row(sort / reset_work->best, "x", 20, HIGHER, NO_BOUND, "reset, %s masks, faster than qsort", name);
}

void bench_reset(const struct bench *bench)
{
    struct reset joint = reset_open(bench, ELEMENTS / 1000, 1000);
    float *m = relora_tensor_data(joint.first_start), *v = relora_tensor_data(joint.second_start);
    for (int i = 0; i < ELEMENTS; i++) v[i] = m[i] * m[i];
    struct reset independent = joint;
    independent.flags = RELORA_RESET_INDEPENDENT;
    double sort = seconds_to_sort(&joint);
    struct work works[] = {timed(copy_pass, &joint), timed(reset_run, &joint),
                           timed(reset_run, &independent)};
    works[1].prepare = works[2].prepare = reset_prepare;
    alternate(works, 3, bench->seconds);
    printf("\nReset of the smallest 99%% by magnitude, both moments of %d elements\n", ELEMENTS);
    printf("  %-12s %8.2f ms for one moment\n  %-12s %8.2f ms for both\n", "qsort", 1e3 * sort, "copy",
           1e3 * works[0].best);
    print("joint", &works[1], &works[0], sort);
    print("independent", &works[2], &works[0], sort);
    reset_close(&joint);
}
