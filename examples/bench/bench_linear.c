/* Forward and backward of a layer, against the machine, against the same layer in FULL mode, and against
 * other orders of the same products. */
#include "authors.h"

struct run {
    const struct bench *bench;
    relora_linear *lora, *full;
    struct authors *authors;
    relora_tensor *x, *y, *dx, *dy;
};

enum { LORA, SPLIT, AUTHORS, FULL, PRODUCT, WORKS };
struct result {
    struct work works[WORKS];
};

static void pass(struct run *run, relora_linear *layer)
{
    relora_stream *stream = run->bench->stream;
    CHECK(run->bench, relora_linear_forward(layer, stream, run->x, run->y, 0, RELORA_TRAIN));
    CHECK(run->bench, relora_linear_backward(layer, stream, run->x, run->dy, run->dx, 0,
                                             RELORA_TRAIN | RELORA_OVERWRITE));
}

static void set_order(const struct run *run, relora_order order)
{
    CHECK(run->bench, relora_linear_set_order(run->lora, order, order));
}

static void prepare_lora(void *arg)
{
    set_order(arg, RELORA_ORDER_AUTO);
}
static void prepare_split(void *arg)
{
    set_order(arg, RELORA_ORDER_SPLIT);
}
static void run_lora(void *arg)
{
    pass(arg, ((struct run *)arg)->lora);
}
static void run_full(void *arg)
{
    pass(arg, ((struct run *)arg)->full);
}

static void run_authors(void *arg)
{
    struct run *run = arg;
    authors_forward_backward(run->authors, run->x, run->y, run->dy, run->dx);
}

static void run_product(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_linear_forward(run->full, run->bench->stream, run->x, run->y, 0, 0));
}

/* ---- operations ---- */

static double operations_of(int work, struct shape shape)
{
    switch (work) {
    case FULL: return layer_operations(TOKENS, shape, 0, 0);
    case PRODUCT: return layer_operations(TOKENS, shape, 0, 0) / 3;
    case AUTHORS: return layer_operations(TOKENS, shape, RANK, 1);
    default: return layer_operations(TOKENS, shape, RANK, 0);
    }
}

/* ---- measuring ---- */

static struct run run_open(const struct bench *bench, relora_dtype dtype, struct shape shape)
{
    struct run run = {
        .bench = bench,
        .lora = new_layer(bench, RELORA_MODE_LORA, dtype, shape, RANK, 0),
        .full = new_layer(bench, RELORA_MODE_FULL, dtype, shape, 0, 0),
        .authors = authors_create(bench, dtype, shape, RANK, TOKENS),
        .x = new_matrix(bench, dtype, TOKENS, shape.in),
        .y = new_matrix(bench, dtype, TOKENS, shape.out),
        .dx = new_matrix(bench, dtype, TOKENS, shape.in),
        .dy = new_matrix(bench, dtype, TOKENS, shape.out),
    };
    fill_random(bench, run.x, 1);
    fill_random(bench, run.dy, 0.01);
    return run;
}

static void run_close(struct run *run)
{
    relora_linear_release(run->lora);
    relora_linear_release(run->full);
    authors_destroy(run->authors);
    relora_tensor_release(run->x);
    relora_tensor_release(run->y);
    relora_tensor_release(run->dx);
    relora_tensor_release(run->dy);
}

static void measure_shape(const struct bench *bench, relora_dtype dtype, struct shape shape,
                          struct work *works)
{
    struct run run = run_open(bench, dtype, shape);
    works[LORA] = timed(run_lora, &run);
    works[LORA].prepare = prepare_lora;
    works[SPLIT] = timed(run_lora, &run);
    works[SPLIT].prepare = prepare_split;
    works[AUTHORS] = timed(run_authors, &run);
    works[FULL] = timed(run_full, &run);
    works[PRODUCT] = timed(run_product, &run);
    alternate(works, WORKS, 2 * bench->seconds);
    for (int i = FULL; i <= PRODUCT; i++) peak_seen(dtype, operations_of(i, shape) / works[i].best);
    run_close(&run);
}

/* A layer in BF16 is to take half the memory, not longer. */
static void measure_types(const struct bench *bench, struct shape shape)
{
    struct run f32 = run_open(bench, RELORA_F32, shape), bf16 = run_open(bench, RELORA_BF16, shape);
    struct work works[] = {timed(run_lora, &bf16), timed(run_lora, &f32)};
    alternate(works, 2, bench->seconds);
    const double slower = ratio(&works[0], &works[1]);
    printf("  %dx%d: bf16 takes %.3f of the time of f32 (%.2f and %.2f ms, %d rounds)\n", (int)shape.out,
           (int)shape.in, slower, 1e3 * works[0].best, 1e3 * works[1].best, works[0].rounds);
    add_row(slower, "", 1.1, LOWER, NO_BOUND, "layer %dx%d, time of bf16 over f32", (int)shape.out,
            (int)shape.in);
    run_close(&f32);
    run_close(&bf16);
}

/* ---- reporting ---- */

/* Seconds that this machine needs at least: the operations at the peak, and the bytes at the speed of a copy. */
static double possible_seconds(const struct bench *bench, relora_dtype dtype, int work, struct shape shape)
{
    return operations_of(work, shape) / peak(bench, dtype) +
           layer_bytes(dtype, TOKENS, shape, work == FULL ? 0 : RANK) / bandwidth(bench);
}

static void report(const struct bench *bench, relora_dtype dtype, struct shape shape,
                   const struct work *works)
{
    const double near = 0.9, nearer = 0.95; /* to what is possible: of times, and of ratios in one run */
    const double rate = operations_of(LORA, shape) / works[LORA].best, share = rate / peak(bench, dtype);
    const double possible = possible_seconds(bench, dtype, LORA, shape);
    const double possible_ratio = possible / possible_seconds(bench, dtype, FULL, shape);
    const double to_full = ratio(&works[LORA], &works[FULL]);
    const double to_authors = ratio(&works[AUTHORS], &works[LORA]);
    const double to_split = ratio(&works[SPLIT], &works[LORA]);
    const double by_operations = operations_of(AUTHORS, shape) / operations_of(LORA, shape);
    char name[40];
    snprintf(name, sizeof name, "%s %dx%d", dtype_name(dtype), (int)shape.out, (int)shape.in);
    printf("  %-15s %8.2f %8.2f %6d %7.1f %6.1f%% %7.1f%% %8.2f %8.2f %8.2f %6.3f %6.3f %6.3f\n", name,
           1e3 * works[LORA].best, 1e3 * works[LORA].median, works[LORA].rounds, rate / 1e9, 100 * share,
           100 * possible / works[LORA].best, 1e3 * works[FULL].best, 1e3 * works[AUTHORS].best,
           1e3 * works[SPLIT].best, to_full, to_authors, to_split);
    add_row(1e3 * works[LORA].best, "ms", NO_TARGET, LOWER, NO_BOUND, "layer %s", name);
    add_row(share, "", NO_TARGET, HIGHER, NO_BOUND, "layer %s, share of the peak", name);
    add_row(possible / works[LORA].best, "", near, HIGHER, NO_BOUND, "layer %s, share of what is possible",
            name);
    add_row(to_full, "", possible_ratio / nearer, LOWER,
            operations_of(LORA, shape) / operations_of(FULL, shape), "layer %s, time over FULL", name);
    add_row(to_authors, "x", nearer * by_operations, HIGHER, by_operations,
            "layer %s, faster than the authors' order", name);
    add_row(to_split, "x", NO_TARGET, HIGHER, NO_BOUND, "layer %s, faster than SPLIT", name);
}

void bench_linear(const struct bench *bench)
{
    static struct result results[SHAPES];
    const int count = bench->quick ? 2 : SHAPES;
    printf(
        "\nForward and backward of a layer, rank %d, %d tokens. GFLOP/s and share count the operations of the\n"
        "cheapest exact order; what is possible is these at the peak and the bytes at the speed of a copy. Ratios are medians over alternating rounds: time over FULL, and how much faster\n"
        "than the authors' order and than this library's SPLIT\n",
        RANK, TOKENS);
    bandwidth(bench);
    printf("  %-15s %8s %8s %6s %7s %7s %8s %8s %8s %8s %6s %6s %6s\n", "out x in", "best ms", "median",
           "rounds", "GFLOP/s", "of peak", "possible", "FULL ms", "authors", "SPLIT", "/FULL", "auth./",
           "SPLIT/");
    for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++) {
        for (int i = 0; i < count; i++) measure_shape(bench, dtype, shapes[i], results[i].works);
        for (int i = 0; i < count; i++) report(bench, dtype, shapes[i], results[i].works);
        printf("  %s products reach %.1f GFLOP/s\n", dtype_name(dtype), peak(bench, dtype) / 1e9);
        add_row(peak(bench, dtype) / 1e9, "GFLOP/s", NO_TARGET, HIGHER, NO_BOUND, "peak %s",
                dtype_name(dtype));
        fflush(stdout);
    }
    for (int i = 0; i < count; i++) measure_types(bench, shapes[i]);
}
