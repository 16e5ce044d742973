/* Timing, checking and filling for the benchmarks. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIN_ROUNDS = 3 };

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct work timed(void (*run)(void *arg), void *arg)
{
    return (struct work){.run = run, .arg = arg};
}

static double seconds_of(const struct work *work)
{
    if (work->prepare) work->prepare(work->arg);
    double start = now();
    work->run(work->arg);
    return now() - start;
}

void summarize(struct work *work, int rounds)
{
    double sorted[MAX_ROUNDS];
    memcpy(sorted, work->times, sizeof sorted);
    work->rounds = rounds;
    work->median = median(sorted, rounds);
    work->best = sorted[0];
}

void alternate(struct work *works, int count, double seconds)
{
    int rounds = 0;
    for (int i = 0; i < count; i++) seconds_of(&works[i]);
    for (double spent = 0; rounds < MAX_ROUNDS && (rounds < MIN_ROUNDS || spent < seconds * count); rounds++)
        for (int i = 0; i < count; i++) spent += works[i].times[rounds] = seconds_of(&works[i]);
    for (int i = 0; i < count; i++) summarize(&works[i], rounds);
}

double ratio(const struct work *a, const struct work *b)
{
    double ratios[MAX_ROUNDS];
    for (int i = 0; i < a->rounds; i++) ratios[i] = a->times[i] / b->times[i];
    return median(ratios, a->rounds);
}

void check(const struct bench *bench, relora_status status, const char *call)
{
    char why[200] = "";
    if (status == RELORA_OK) return;
    relora_context_error(bench->context, why, sizeof why, NULL);
    fprintf(stderr, "%s: %s: %s\n", call, relora_status_name(status), why);
    exit(1);
}

relora_tensor *new_matrix(const struct bench *bench, relora_dtype dtype, int64_t rows, int64_t cols)
{
    int64_t shape[2] = {rows, cols};
    relora_tensor *tensor;
    CHECK(bench, relora_tensor_create(&tensor, bench->device, dtype, 2, shape));
    return tensor;
}

/* The sum of four uniform numbers, by Marsaglia's xorshift: near enough to a bell curve. */
static float bell(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    uint64_t s = *state;
    return (float)((int)(s & 0xffff) + (int)(s >> 16 & 0xffff) + (int)(s >> 32 & 0xffff) + (int)(s >> 48) -
                   2 * 0xffff) /
           0xffff;
}

void fill_random(const struct bench *bench, relora_tensor *tensor, double scale)
{
    enum { PIECE = 1 << 16 };
    static uint64_t seed = 1;
    const int64_t count = relora_tensor_count(tensor);
    const int narrow = relora_tensor_dtype(tensor) == RELORA_BF16;
    const size_t bytes = (size_t)count * (narrow ? 2 : 4);
    const uint64_t first = seed;
    void *values = malloc(bytes);
    if (!values) exit(1);
#pragma omp parallel for num_threads(bench->threads) schedule(static)
    for (int64_t piece = 0; piece < count; piece += PIECE) {
        uint64_t state = (first + (uint64_t)(piece / PIECE)) * 0x9e3779b97f4a7c15;
        for (int64_t i = piece; i < count && i < piece + PIECE; i++) {
            float value = (float)scale * bell(&state);
            if (narrow) ((uint16_t *)values)[i] = round_to_bf16(value);
            else ((float *)values)[i] = value;
        }
    }
    seed += (uint64_t)(count / PIECE) + 1;
    CHECK(bench, relora_tensor_write(tensor, bench->stream, values, bytes));
    free(values);
}

relora_linear *new_layer(const struct bench *bench, relora_linear_mode mode, relora_dtype dtype,
                         struct shape shape, int64_t rank, double dropout)
{
    relora_linear_options options;
    relora_linear *layer;
    relora_linear_options_init(&options, sizeof options);
    options.mode = mode;
    options.dtype = dtype;
    options.in_features = shape.in;
    options.out_features = shape.out;
    options.rank = rank;
    options.dropout = dropout;
    CHECK(bench, relora_linear_create(&layer, bench->device, &options));

    relora_tensor *weight = new_matrix(bench, dtype, shape.out, shape.in);
    fill_random(bench, weight, 0.02);
    CHECK(bench, relora_linear_set_weight(layer, weight, NULL));
    relora_tensor_release(weight);
    if (mode == RELORA_MODE_LORA) fill_random(bench, relora_linear_param(layer, RELORA_PARAM_B), 0.001);
    return layer;
}

const char *dtype_name(relora_dtype dtype)
{
    return dtype == RELORA_F32 ? "f32" : "bf16";
}

void threaded_copy(const struct bench *bench, void *target, const void *source, size_t bytes)
{
    const int threads = bench->threads;
    const size_t part = (bytes / (size_t)threads + 63) / 64 * 64;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < threads; i++) {
        size_t from = (size_t)i * part, left = from < bytes ? bytes - from : 0;
        memcpy((char *)target + from, (const char *)source + from, left < part ? left : part);
    }
}

struct copied {
    const struct bench *bench;
    char *source, *target;
    size_t bytes;
};

static void copy(void *arg)
{
    const struct copied *c = arg;
    threaded_copy(c->bench, c->target, c->source, c->bytes);
}

double bandwidth(const struct bench *bench)
{
    static double best;
    struct copied c = {.bench = bench, .bytes = 128 << 20};
    if (best > 0) return best;
    c.source = malloc(c.bytes);
    c.target = malloc(c.bytes);
    if (!c.source || !c.target) exit(1);
    memset(c.source, 1, c.bytes);
    struct work work = timed(copy, &c);
    alternate(&work, 1, bench->seconds / 4);
    free(c.source);
    free(c.target);
    best = 2 * (double)c.bytes / work.best;
    printf("A copy reads and writes %.1f GB/s\n", best / 1e9);
    add_row(best / 1e9, "GB/s", NO_TARGET, HIGHER, NO_BOUND, "copy, bytes read and written");
    return best;
}

static double best_rate[RELORA_BF16 + 1];

void peak_seen(relora_dtype dtype, double rate)
{
    if (rate > best_rate[dtype]) best_rate[dtype] = rate;
}

/* The speed of one product: of a shape that fits the caches, and not only of one with rows of 4 KiB, which
 * fall on the same lines of them. */
static void measure_product(const struct bench *bench, relora_dtype dtype, struct shape shape)
{
    struct product product = product_open(bench, dtype, shape, TOKENS);
    struct work work = timed(product_run, &product);
    alternate(&work, 1, bench->seconds / 2);
    product_close(&product);
    peak_seen(dtype, 2.0 * TOKENS * (double)shape.out * (double)shape.in / work.best);
}

void measure_peak(const struct bench *bench, relora_dtype dtype)
{
    measure_product(bench, dtype, (struct shape){2048, 2048});
    measure_product(bench, dtype, (struct shape){1376, 512});
}

double peak(const struct bench *bench, relora_dtype dtype)
{
    if (!(best_rate[dtype] > 0)) measure_peak(bench, dtype);
    return best_rate[dtype];
}
