/* The partial reset by magnitude: against a sort, which is what finds a threshold without thinking,
 * and against one pass over the memory, below which nothing can go. */
#include "bench.h"
#include <math.h>
#include <stdlib.h>

struct run {
    const struct bench *bench;
    relora_adam *adam;
    relora_tensor *first, *second;             /* the optimizer's moments */
    relora_tensor *first_start, *second_start; /* what they hold before each reset */
    uint32_t flags;
};

static void set_moments(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_tensor_copy(run->first, run->first_start, run->bench->stream));
    CHECK(run->bench, relora_tensor_copy(run->second, run->second_start, run->bench->stream));
}

static void reset(void *arg)
{
    struct run *run = arg;
    const int32_t index = 0;
    relora_reset_options options;
    relora_reset_options_init(&options, sizeof options);
    options.flags = run->flags;
    CHECK(run->bench, relora_adam_reset(run->adam, run->bench->stream, &index, 1, &options, NULL));
}

/* One pass over both moments: each is read once and written once. */
static void copy_pass(void *arg)
{
    struct run *run = arg;
    size_t bytes = ELEMENTS * sizeof(float);
    threaded_copy(run->bench, relora_tensor_data(run->first), relora_tensor_data(run->first_start),
                  bytes);
    threaded_copy(run->bench, relora_tensor_data(run->second),
                  relora_tensor_data(run->second_start), bytes);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sorting takes its time, so once is enough. */
static double seconds_to_sort(const struct run *run)
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

static void open_run(struct run *run)
{
    const struct bench *bench = run->bench;
    relora_tensor *param = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    relora_tensor *grad = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    CHECK(bench, relora_tensor_fill(param, bench->stream, 0));
    CHECK(bench, relora_tensor_fill(grad, bench->stream, 0));
    CHECK(bench, relora_adam_create(&run->adam, bench->device, NULL));
    CHECK(bench, relora_adam_add(run->adam, "p", param, grad, NULL));
    relora_tensor_release(param);
    relora_tensor_release(grad);

    run->first = relora_adam_moment(run->adam, 0, RELORA_MOMENT_FIRST);
    run->second = relora_adam_moment(run->adam, 0, RELORA_MOMENT_SECOND);
    run->first_start = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    run->second_start = new_matrix(bench, RELORA_F32, ELEMENTS / 1000, 1000);
    fill_random(bench, run->first_start, 0.01);
    float *m = relora_tensor_data(run->first_start), *v = relora_tensor_data(run->second_start);
    for (int i = 0; i < ELEMENTS; i++) v[i] = m[i] * m[i];
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
    struct run joint = { .bench = bench }, independent;
    open_run(&joint);
    independent = joint;
    independent.flags = RELORA_RESET_INDEPENDENT;
    double sort = seconds_to_sort(&joint);
    struct work works[] = { timed(copy_pass, &joint), timed(reset, &joint), timed(reset, &independent) };
    works[1].prepare = works[2].prepare = set_moments;
    alternate(works, 3, bench->seconds);
    printf("\nReset of the smallest 99%% by magnitude, both moments of %d elements\n", ELEMENTS);
    printf("  %-12s %8.2f ms for one moment\n  %-12s %8.2f ms for both\n", "qsort", 1e3 * sort, "copy",
           1e3 * works[0].best);
    print("joint", &works[1], &works[0], sort);
    print("independent", &works[2], &works[0], sort);

    relora_tensor_release(joint.first_start);
    relora_tensor_release(joint.second_start);
    relora_adam_release(joint.adam);
}
