/* Timing, checking and filling for the benchmarks. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIN_RUNS = 3, MAX_RUNS = 100 };

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

struct timing measure(const struct bench *bench, void (*prepare)(void *), void (*work)(void *),
                      void *arg)
{
    double times[MAX_RUNS], spent = 0;
    int runs = 0;
    if (prepare) prepare(arg);
    work(arg);
    while (runs < MAX_RUNS && (runs < MIN_RUNS || spent < bench->seconds)) {
        if (prepare) prepare(arg);
        double start = now();
        work(arg);
        times[runs] = now() - start;
        spent += times[runs++];
    }
    qsort(times, (size_t)runs, sizeof *times, compare);
    double median = runs % 2 ? times[runs / 2] : (times[runs / 2 - 1] + times[runs / 2]) / 2;
    return (struct timing){ .best = times[0], .median = median, .runs = runs };
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
    int64_t shape[2] = { rows, cols };
    relora_tensor *tensor;
    CHECK(bench, relora_tensor_create(&tensor, bench->cpu, dtype, 2, shape));
    return tensor;
}

/* The sum of four uniform numbers, by Marsaglia's xorshift: near enough to a bell curve. */
static float bell(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    uint64_t s = *state;
    return (float)((int)(s & 0xffff) + (int)(s >> 16 & 0xffff) + (int)(s >> 32 & 0xffff) +
                   (int)(s >> 48) - 2 * 0xffff) /
           0xffff;
}

void fill_random(const struct bench *bench, relora_tensor *tensor, double scale)
{
    static uint64_t seed = 0x9e3779b97f4a7c15;
    size_t count = (size_t)relora_tensor_count(tensor);
    uint64_t state = seed++;
    float *values = malloc(count * sizeof *values);
    if (!values) exit(1);
    for (size_t i = 0; i < count; i++) values[i] = (float)scale * bell(&state);

    if (relora_tensor_dtype(tensor) == RELORA_F32) {
        CHECK(bench, relora_tensor_write(tensor, bench->stream, values, count * sizeof *values));
    } else { /* relora_tensor_copy() rounds */
        int32_t ndim = relora_tensor_ndim(tensor);
        int64_t shape[RELORA_MAX_DIMS];
        relora_tensor *wide;
        for (int32_t i = 0; i < ndim; i++) shape[i] = relora_tensor_dim(tensor, i);
        CHECK(bench, relora_tensor_borrow(&wide, bench->cpu, RELORA_F32, ndim, shape, NULL, values,
                                          NULL, NULL));
        CHECK(bench, relora_tensor_copy(tensor, wide, bench->stream));
        relora_tensor_release(wide);
    }
    free(values);
}

relora_linear *new_layer(const struct bench *bench, relora_linear_mode mode, relora_dtype dtype,
                         struct shape shape)
{
    relora_linear_options options;
    relora_linear *layer;
    relora_linear_options_init(&options, sizeof options);
    options.mode = mode;
    options.dtype = dtype;
    options.in_features = shape.in;
    options.out_features = shape.out;
    options.rank = RANK;
    options.dropout = 0;
    CHECK(bench, relora_linear_create(&layer, bench->cpu, &options));

    relora_tensor *weight = new_matrix(bench, dtype, shape.out, shape.in);
    fill_random(bench, weight, 0.02);
    CHECK(bench, relora_linear_set_weight(layer, weight, NULL));
    relora_tensor_release(weight);
    if (mode == RELORA_MODE_LORA)
        fill_random(bench, relora_linear_param(layer, RELORA_PARAM_B), 0.001);
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
