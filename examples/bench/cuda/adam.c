/* One step of Adam, which is bound by memory: each element is 28 bytes of traffic (p, g, m, v are read; p, m, v are
 * written), and with clipping the gradient is read once more, for its norm. */
#include "bench_cuda.h"

struct run {
    const struct bench *bench;
    relora_adam *adam;
    int64_t elements;
    int bytes; /* of traffic for each element */
};

static void step(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_adam_step(run->adam, run->bench->stream, 1e-3, 1.0, NULL));
}

static struct run open_run(const struct bench *bench, int64_t elements, int tensors, int clips)
{
    return (struct run){.bench = bench,
                        .adam = new_adam(bench, elements, tensors, clips ? 1 : 0),
                        .elements = elements,
                        .bytes = clips ? 32 : 28};
}

static void report(const struct cuda *cuda, const struct run *run, const struct work *work, double target,
                   const char *what)
{
    double rate = (double)run->elements * run->bytes / work->median, share = rate / cuda->bandwidth;
    printf("  %-26s %8.3f ms (median of %d rounds), %2d bytes per element, %5.0f GB/s, %5.1f%% of a copy's\n",
           what, 1e3 * work->median, work->rounds, run->bytes, 1e-9 * rate, 100 * share);
    add_row(1e3 * work->median, "ms", NO_TARGET, LOWER, NO_BOUND, "Adam, %s", what);
    add_row(share, "", target, HIGHER, NO_BOUND, "Adam, %s, bandwidth of that of a copy", what);
}

void cuda_bench_adam(struct cuda *cuda)
{
    static const char *const names[] = {"1 tensor", "200 tensors", "200 tensors, clipping"};
    const int64_t elements = cuda->smoke ? 40000 : 100 * 1000 * 1000;
    printf("\nAdam, one step of %d elements\n", (int)elements);
    struct run runs[] = {open_run(&cuda->bench, elements, 1, 0), open_run(&cuda->bench, elements, 200, 0),
                         open_run(&cuda->bench, elements, 200, 1)};
    struct work works[] = {timed(step, &runs[0]), timed(step, &runs[1]), timed(step, &runs[2])};
    cuda_alternate(cuda, works, 3, 2 * cuda->bench.seconds);
    for (int i = 0; i < 3; i++) {
        report(cuda, &runs[i], &works[i], 0.85, names[i]);
        relora_adam_release(runs[i].adam);
    }
}
