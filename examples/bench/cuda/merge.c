/* A restart of the 1b model: W += s B A in all 168 layers and factors drawn afresh; then the same with the partial
 * reset of their moments. Both wait for the device, so the host's part counts. */
#include "bench_cuda.h"
#include <stdlib.h>

enum { BLOCKS = 24, PROJECTIONS = 7, HIDDEN = 2048, FFN = 5461 };

struct run {
    const struct bench *bench;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_linear *linears[BLOCKS * PROJECTIONS];
    int count;
    int64_t step;
};

/* Factors and moments as training leaves them: none is zero. The gradients stay what they are. */
static void train(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_adam_step(run->adam, run->bench->stream, 1e-3, 1.0, NULL));
}

static void merge(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_cycle_finish(run->cycle, run->bench->stream, run->step++, NULL));
}

/* Due at every odd step from 3 on. */
static void restart(void *arg)
{
    struct run *run = arg;
    uint32_t events = 0;
    CHECK(run->bench,
          relora_cycle_advance(run->cycle, run->bench->stream, 2 * ++run->step + 1, &events, NULL, NULL));
    if (events == (RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET)) return;
    fprintf(stderr, "bench-cuda: no restart was due\n");
    exit(1);
}

static void add_layer(struct run *run, struct shape shape, int64_t rank)
{
    const struct bench *bench = run->bench;
    const int index = run->count++;
    char name[16];
    relora_linear *linear = new_layer(bench, RELORA_MODE_LORA, RELORA_BF16, shape, rank, 0);
    fill_random(bench, relora_linear_grad(linear, RELORA_PARAM_A), 0.01);
    fill_random(bench, relora_linear_grad(linear, RELORA_PARAM_B), 0.01);
    snprintf(name, sizeof name, "layer%d", index);
    CHECK(bench, relora_adam_add_linear(run->adam, name, linear));
    CHECK(bench, relora_cycle_add(run->cycle, linear));
    run->linears[index] = linear;
}

static void open_run(struct run *run, int smoke)
{
    const struct shape square = {smoke ? 32 : HIDDEN, smoke ? 32 : HIDDEN};
    const struct shape wide = {smoke ? 88 : FFN, square.in}, tall = {square.in, wide.out};
    relora_cycle_options options;
    relora_cycle_options_init(&options, sizeof options);
    options.merge_every = 2;
    CHECK(run->bench, relora_adam_create(&run->adam, run->bench->device, NULL));
    CHECK(run->bench, relora_cycle_create(&run->cycle, run->bench->context, &options, run->adam, NULL));
    for (int i = 0; i < (smoke ? 2 : BLOCKS) * PROJECTIONS; i++) {
        int which = i % PROJECTIONS;
        add_layer(run, which < 4 ? square : which < 6 ? wide : tall, smoke ? 8 : RANK);
    }
}

void cuda_bench_merge(struct cuda *cuda)
{
    static struct run run;
    run.bench = &cuda->bench;
    open_run(&run, cuda->smoke);
    struct work works[] = {timed(merge, &run), timed(restart, &run)};
    for (int i = 0; i < 2; i++) works[i].prepare = train, works[i].repeats = 1;
    cuda_alternate(cuda, works, 2, cuda->bench.seconds);
    printf("\nThe 1b model, %d layers in BF16\n", run.count);
    for (int i = 0; i < 2; i++)
        printf("  %-34s %8.2f ms (median of %d rounds)\n",
               i ? "merge and reset, with the moments" : "merge and reset", 1e3 * works[i].median,
               works[i].rounds);
    add_row(1e3 * works[0].median, "ms", 20, LOWER, NO_BOUND,
            "merge and reset of all layers of the 1b model");
    add_row(1e3 * works[1].median, "ms", NO_TARGET, LOWER, NO_BOUND,
            "the same with the moments of their factors");
    for (int i = 0; i < run.count; i++) relora_linear_release(run.linears[i]);
    relora_cycle_release(run.cycle);
    relora_adam_release(run.adam);
}
