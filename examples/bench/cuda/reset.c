/* The partial reset by magnitude of both moments. A pass is what reading all of them once would take at the bandwidth
 * of a copy. */
#include "bench_cuda.h"

static void report(const struct cuda *cuda, const struct work *work, double bytes, const char *name)
{
    double passes = work->median * cuda->bandwidth / bytes;
    printf("  %-17s %8.3f ms (median of %d rounds): %.2f passes\n", name, 1e3 * work->median, work->rounds,
           passes);
    add_row(1e3 * work->median, "ms", NO_TARGET, LOWER, NO_BOUND, "reset, %s", name);
    add_row(passes, "", 8, LOWER, NO_BOUND, "reset, %s, passes over the moments", name);
}

void cuda_bench_reset(struct cuda *cuda)
{
    const int64_t rows = cuda->smoke ? 40 : 100 * 1000, cols = 1000;
    struct reset joint = reset_open(&cuda->bench, rows, cols), independent = joint;
    independent.flags = RELORA_RESET_INDEPENDENT;
    struct work works[] = {timed(reset_run, &joint), timed(reset_run, &independent)};
    for (int i = 0; i < 2; i++) works[i].prepare = reset_prepare, works[i].repeats = 1;
    cuda_alternate(cuda, works, 2, cuda->bench.seconds);
    printf("\nReset of the smallest 99%% by magnitude, both moments of %d elements\n", (int)(rows * cols));
    report(cuda, &works[0], 8.0 * (double)(rows * cols), "joint mask");
    report(cuda, &works[1], 8.0 * (double)(rows * cols), "independent masks");
    reset_close(&joint);
}
