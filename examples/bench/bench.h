/* What the benchmarks share: where to work, how to time, how to report. */
#ifndef BENCH_H
#define BENCH_H

#include <string.h>
#include <math.h>
#include <relora/relora.h>
#include <stdint.h>
#include <stdio.h>

struct bench {
    relora_context *context;
    relora_device *device;
    relora_stream *stream;
    int threads;
    int quick;            /* smaller shapes, less time */
    double seconds;       /* how long to repeat one measurement */
    const char *pretrain; /* the program of examples/pretrain, or NULL */
    int part, parts;      /* of plan's cases: every so many, from this one on; from 1 */
    const char *cases;    /* a file for the times of plan's cases, or NULL */
};

/* Layers of the sizes that ReLoRA is used on: those of the example, and of a model of 1.3 billion. */
struct shape {
    int64_t out, in;
};
enum { SHAPES = 4, RANK = 128, TOKENS = 4096, ELEMENTS = 10 * 1000 * 1000 };
extern const struct shape shapes[SHAPES];

/* ---- time ---- */

/* Things that are timed in turn, A, B, A, B, ..., because the speed of a machine drifts: what is compared
 * has to be compared at the same time. */
enum { MAX_ROUNDS = 100 };
struct work {
    void (*run)(void *arg);
    void *arg;
    void (*prepare)(void *arg); /* before each run, not timed; or NULL */
    int repeats;                /* of run in a round, if the time is a device's; 0: enough to be timed well */
    int rounds;
    double best, median; /* seconds */
    double times[MAX_ROUNDS];
};
struct work timed(void (*run)(void *arg), void *arg);
/* One round that does not count, then as many as fit into `seconds` for each work; at least 3. */
void alternate(struct work *works, int count, double seconds);
/* `median` and `best` of what was timed in so many rounds. */
void summarize(struct work *work, int rounds);
/* The median of a's time over b's in the same round. */
double ratio(const struct work *a, const struct work *b);
double median(double *values, int count); /* sorts them */
double now(void);

/* ---- results ---- */

#define NO_TARGET ((double)NAN)
#define NO_BOUND ((double)NAN)
enum { LOWER = 0, HIGHER = 1 }; /* which is better */
/* A row of bench.json; printed at the end if it has a target. `bound` is the best that is possible if all
 * products run equally fast, or NAN. */
void add_row(double value, const char *unit, double target, int higher, double bound, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
void print_rows(void);
/* bench.json, after `head`: its first members. Returns 0, or -1 with errno. */
int write_rows(const char *path, const char *head);

/* ---- work ---- */

#define CHECK(bench, call) check(bench, call, #call)
void check(const struct bench *bench, relora_status status, const char *call);

relora_tensor *new_matrix(const struct bench *bench, relora_dtype dtype, int64_t rows, int64_t cols);
void fill_random(const struct bench *bench, relora_tensor *tensor, double scale); /* bell-shaped */
relora_linear *new_layer(const struct bench *bench, relora_linear_mode mode, relora_dtype dtype,
                         struct shape shape, int64_t rank, double dropout);
const char *dtype_name(relora_dtype dtype);
/* To nearest; no NaN. Here, so that loops with it become vectors. */
static inline uint16_t round_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
/* memcpy by all threads, a part each. */
void threaded_copy(const struct bench *bench, void *target, const void *source, size_t bytes);

/* ---- what is measured on the CPU and on a device alike (works.c) ---- */

struct product {
    const struct bench *bench;
    relora_linear *layer;
    relora_tensor *x, *y;
};
struct product product_open(const struct bench *bench, relora_dtype dtype, struct shape shape,
                            int64_t tokens);
void product_run(void *product);
void product_close(struct product *product);

/* `elements` in so many tensors of equal size. */
relora_adam *new_adam(const struct bench *bench, int64_t elements, int tensors, double max_norm);

struct reset {
    const struct bench *bench;
    relora_adam *adam;
    relora_tensor *first, *second;             /* the optimizer's moments */
    relora_tensor *first_start, *second_start; /* what they hold before each reset */
    uint32_t flags;
};
struct reset reset_open(const struct bench *bench, int64_t rows, int64_t cols);
void reset_prepare(void *reset);
void reset_run(void *reset);
void reset_close(struct reset *reset);

/* ---- what this machine can do: targets are shares of that ---- */

struct machine {
    char processor[200], f32[60], bf16[60]; /* the last two: what multiplies */
    int cores, threads;
};
struct machine machine_of(const struct bench *bench);
void machine_print(const struct machine *machine);
void machine_head(const struct machine *machine, char *head, size_t size); /* for write_rows() */

/* Bytes that a copy by all threads reads and writes in a second; measured once. */
double bandwidth(const struct bench *bench);
/* The best rate, in operations per second, that a large product has reached in this run so far. */
double peak(const struct bench *bench, relora_dtype dtype);
/* Once more, for a machine that is faster now than before. */
void measure_peak(const struct bench *bench, relora_dtype dtype);
void peak_seen(relora_dtype dtype, double rate);

/* Operations of forward and backward of a layer with `rank` factors in the cheapest exact order; dropout
 * forbids the fold, and then x A^T counts once, as if it were kept. Rank 0: FULL. W is [m, n], x is [T, n],
 * a multiply-add counts as two. */
double layer_operations(double tokens, struct shape shape, double rank, int dropout);

/* Bytes that forward and backward of a layer read and write if each matrix comes from memory once in each. */
double layer_bytes(relora_dtype dtype, double tokens, struct shape shape, double rank);

/* Operations of a training step of examples/pretrain for each token, whatever was computed. */
struct llama {
    int hidden, ffn, layers, vocabulary, sequence;
};
double llama_operations(const struct llama *model, double tokens, double rank, int dropout);
/* Those of attention among them, which are in F32. */
double llama_attention(const struct llama *model);
/* The same as it is usually counted, which is more: the gradient of a frozen W counts too. */
double llama_model_flops(const struct llama *model, double rank);

/* ---- one benchmark each; they print a table and add rows ---- */
void bench_linear(const struct bench *bench);
void bench_plan(const struct bench *bench);
void bench_plan_long(const struct bench *bench);
void bench_merge(const struct bench *bench);
void bench_adam(const struct bench *bench);
void bench_reset(const struct bench *bench);
void bench_steady(const struct bench *bench);
void bench_checkpoint(const struct bench *bench);
void bench_pretrain(const struct bench *bench);

#endif
