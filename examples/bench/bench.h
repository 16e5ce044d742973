/* What the benchmarks share: where to work, how to time, where to write. */
#ifndef BENCH_H
#define BENCH_H

#include <relora/relora.h>
#include <stdint.h>
#include <stdio.h>

struct bench {
    relora_context *context;
    relora_device *cpu;
    relora_stream *stream;
    int threads;
    int quick;            /* smaller shapes, less time */
    double seconds;       /* how long to repeat one measurement */
    const char *pretrain; /* the program of examples/pretrain, or NULL */
    FILE *json;           /* or NULL */
};

/* Layers of the sizes that ReLoRA is used on: those of the example, and of a model of 1.3 billion. */
struct shape {
    int64_t out, in;
};
enum { SHAPES = 4, RANK = 128, TOKENS = 4096, ELEMENTS = 10 * 1000 * 1000 };
extern const struct shape shapes[SHAPES];

/* A repeated measurement, in seconds. */
struct timing {
    double best, median;
    int runs;
};
/* Time `work(arg)` again and again for `bench->seconds`, at least 3 and at most 100 times, after
 * one run that does not count. `prepare`, which may be NULL, runs before each and is not timed. */
struct timing measure(const struct bench *bench, void (*prepare)(void *), void (*work)(void *),
                      void *arg);
double now(void);

#define CHECK(bench, call) check(bench, call, #call)
void check(const struct bench *bench, relora_status status, const char *call);

relora_tensor *new_matrix(const struct bench *bench, relora_dtype dtype, int64_t rows,
                          int64_t cols);
void fill_random(const struct bench *bench, relora_tensor *tensor, double scale); /* bell-shaped */
relora_linear *new_layer(const struct bench *bench, relora_linear_mode mode, relora_dtype dtype,
                         struct shape shape);
const char *dtype_name(relora_dtype dtype);
/* memcpy by all threads, a part each. */
void threaded_copy(const struct bench *bench, void *target, const void *source, size_t bytes);

/* One benchmark each; they print a table, and add a member to bench->json. */
void bench_linear(const struct bench *bench);
void bench_merge(const struct bench *bench);
void bench_adam(const struct bench *bench);
void bench_reset(const struct bench *bench);
void bench_checkpoint(const struct bench *bench);
void bench_pretrain(const struct bench *bench);

#endif
