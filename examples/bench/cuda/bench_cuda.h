/* What the benchmarks on a device share, beside ../bench.h. */
#ifndef BENCH_CUDA_H
#define BENCH_CUDA_H

#include <cuda_runtime_api.h>

#include "../bench.h"

struct cuda {
    struct bench bench;  /* its context, device and stream are used by all of ../support.c */
    cudaStream_t stream; /* the same */
    cudaEvent_t begin, end;
    double deadline;  /* of the whole run, as now() tells the time */
    int smoke;        /* tiny sizes: to see that it runs */
    double peak;      /* of products in BF16, operations per second */
    double bandwidth; /* of a copy on the device, bytes read and written per second */
};

#define CUDA(call) cuda_check(call, #call)
void cuda_check(cudaError_t error, const char *call);

/* ---- time (timing.c) ---- */

/* As alternate(), by events on the stream: time of the device, not of the host. A work whose `repeats` is 0
 * runs as often in a round as takes two milliseconds, so that its start does not count. */
void cuda_alternate(const struct cuda *cuda, struct work *works, int count, double seconds);
/* Is there time for something that takes `seconds`? If not, it says that `what` is left out. */
int cuda_has_time(const struct cuda *cuda, double seconds, const char *what);

/* ---- one benchmark each; they print a table and add rows ---- */
void cuda_bench_products(struct cuda *cuda); /* sets peak */
void cuda_bench_copy(struct cuda *cuda);     /* sets bandwidth */
void cuda_bench_layer(struct cuda *cuda);
void cuda_bench_adam(struct cuda *cuda);
void cuda_bench_reset(struct cuda *cuda);
void cuda_bench_merge(struct cuda *cuda);
void cuda_bench_pretrain(struct cuda *cuda);

/* ---- a program (child.c) ---- */

/* Run `arguments` with its output in `log`, for at most `seconds`, and watch how much memory of the device is in use:
 * the most of it goes to `most_bytes`, less what was in use before. Returns 0 if it ended well. */
int cuda_run_program(char *const *arguments, const char *log, double seconds, double *most_bytes);

#endif
