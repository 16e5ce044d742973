/* The partial reset by magnitude of both moments. A pass is what reading all of them once would take at the bandwidth
 * of a copy. */
#include "bench_cuda.h"

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

static struct run open_run(const struct bench *bench, int64_t rows, int64_t cols)
{
    struct run run = { .bench = bench };
    relora_tensor *param = new_matrix(bench, RELORA_F32, rows, cols), *grad = new_matrix(bench, RELORA_F32, rows, cols);
    CHECK(bench, relora_tensor_fill(param, bench->stream, 0));
    CHECK(bench, relora_tensor_fill(grad, bench->stream, 0));
    CHECK(bench, relora_adam_create(&run.adam, bench->device, NULL));
    CHECK(bench, relora_adam_add(run.adam, "p", param, grad, NULL));
    relora_tensor_release(param);
    relora_tensor_release(grad);

    run.first = relora_adam_moment(run.adam, 0, RELORA_MOMENT_FIRST);
    run.second = relora_adam_moment(run.adam, 0, RELORA_MOMENT_SECOND);
    run.first_start = new_matrix(bench, RELORA_F32, rows, cols);
    run.second_start = new_matrix(bench, RELORA_F32, rows, cols);
    fill_random(bench, run.first_start, 0.01);
    fill_random(bench, run.second_start, 0.0001);
    return run;
}

static void report(const struct cuda *cuda, const struct work *work, double bytes, const char *name)
{
    double passes = work->median * cuda->bandwidth / bytes;
    printf("  %-17s %8.3f ms (median of %d rounds): %.2f passes\n", name, 1e3 * work->median, work->rounds, passes);
    add_row(1e3 * work->median, "ms", NO_TARGET, LOWER, NO_BOUND, "reset, %s", name);
    add_row(passes, "", 8, LOWER, NO_BOUND, "reset, %s, passes over the moments", name);
}

void cuda_bench_reset(struct cuda *cuda)
{
    const int64_t rows = cuda->smoke ? 40 : 100 * 1000, cols = 1000;
    struct run joint = open_run(&cuda->bench, rows, cols), independent = joint;
    independent.flags = RELORA_RESET_INDEPENDENT;
    struct work works[] = { timed(reset, &joint), timed(reset, &independent) };
    for (int i = 0; i < 2; i++) works[i].prepare = set_moments, works[i].repeats = 1;
    cuda_alternate(cuda, works, 2, cuda->bench.seconds);
    printf("\nReset of the smallest 99%% by magnitude, both moments of %d elements\n", (int)(rows * cols));
    report(cuda, &works[0], 8.0 * (double)(rows * cols), "joint mask");
    report(cuda, &works[1], 8.0 * (double)(rows * cols), "independent masks");
    relora_tensor_release(joint.first_start);
    relora_tensor_release(joint.second_start);
    relora_adam_release(joint.adam);
}
