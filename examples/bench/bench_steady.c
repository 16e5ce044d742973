/* After the first step nothing is made any more: no memory, no thread. Primitives of oneDNN are kept by
 * the stream, one for each kind of product. */
#include "bench.h"
#include <dirent.h>
#include <stdlib.h>

enum { STEPS = 20, LAYERS = 2 };

struct counter {
    int64_t allocations;
};

static void *count_alloc(void *user, size_t size, size_t alignment)
{
    ((struct counter *)user)->allocations++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void count_free(void *user, void *data, size_t size, size_t alignment)
{
    (void)user, (void)size, (void)alignment;
    free(data);
}

static int threads_running(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

/* A small model: one layer with dropout, one without, and an optimizer that clips. */
struct model {
    relora_linear *layers[LAYERS];
    relora_tensor *x, *y, *dx, *dy;
    relora_adam *adam;
};

static struct bench open_counted(const struct bench *outer, struct counter *counter)
{
    struct bench bench = *outer;
    relora_context_options options;
    relora_context_options_init(&options, sizeof options);
    options.threads = bench.threads;
    options.host_alloc = count_alloc;
    options.host_free = count_free;
    options.host_user = counter;
    CHECK(outer, relora_context_create(&bench.context, &options));
    bench.device = relora_device_get(bench.context, RELORA_DEVICE_CPU, 0);
    CHECK(&bench, relora_stream_create(&bench.stream, bench.device));
    return bench;
}

static struct model make_model(const struct bench *bench, relora_dtype dtype)
{
    struct model m = {.x = new_matrix(bench, dtype, 1024, 512),
                      .y = new_matrix(bench, dtype, 1024, 512),
                      .dx = new_matrix(bench, dtype, 1024, 512),
                      .dy = new_matrix(bench, dtype, 1024, 512)};
    relora_adam_options options;
    relora_adam_options_init(&options, sizeof options);
    options.max_norm = 1;
    CHECK(bench, relora_adam_create(&m.adam, bench->device, &options));
    for (int i = 0; i < LAYERS; i++) {
        char name[16];
        m.layers[i] = new_layer(bench, RELORA_MODE_LORA, dtype, (struct shape){512, 512}, 64, i ? 0.1 : 0);
        snprintf(name, sizeof name, "layer%d", i);
        CHECK(bench, relora_adam_add_linear(m.adam, name, m.layers[i]));
    }
    fill_random(bench, m.x, 1);
    fill_random(bench, m.dy, 0.01);
    return m;
}

static void step(const struct bench *bench, const struct model *m, uint64_t call)
{
    for (int i = 0; i < LAYERS; i++) {
        CHECK(bench, relora_linear_forward(m->layers[i], bench->stream, m->x, m->y, call, RELORA_TRAIN));
        CHECK(bench, relora_linear_backward(m->layers[i], bench->stream, m->x, m->dy, m->dx, call,
                                            RELORA_TRAIN | RELORA_OVERWRITE));
    }
    CHECK(bench, relora_adam_step(m->adam, bench->stream, 1e-3, 1.0, NULL));
}

static void release(struct bench *bench, struct model *m)
{
    for (int i = 0; i < LAYERS; i++) relora_linear_release(m->layers[i]);
    relora_adam_release(m->adam);
    relora_tensor_release(m->x);
    relora_tensor_release(m->y);
    relora_tensor_release(m->dx);
    relora_tensor_release(m->dy);
    relora_stream_release(bench->stream);
    relora_context_release(bench->context);
}

void bench_steady(const struct bench *outer)
{
    int64_t allocations = 0;
    int threads = 0;
    for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++) {
        struct counter counter = {0};
        struct bench bench = open_counted(outer, &counter);
        struct model model = make_model(&bench, dtype);
        step(&bench, &model, 0);
        allocations -= counter.allocations;
        threads -= threads_running();
        for (uint64_t call = 1; call <= STEPS; call++) step(&bench, &model, call);
        allocations += counter.allocations;
        threads += threads_running();
        release(&bench, &model);
    }
    printf("\nAfter the first step, in %d more: %d allocations by the library, %d threads started\n",
           2 * STEPS, (int)allocations, threads);
    add_row((double)allocations / (2 * STEPS), "", 0, LOWER, NO_BOUND, "steady state, allocations per step");
    add_row(threads, "", 0, LOWER, NO_BOUND, "steady state, threads started");
}
