/* Timing by events on the stream, in turn. */
#include "bench_cuda.h"
#include <stdlib.h>
#include <string.h>

enum { MIN_ROUNDS = 3 };
static const double round_seconds = 2e-3;

void cuda_check(cudaError_t error, const char *call)
{
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(error));
    exit(1);
}

/* Of one run, on the device. */
static double seconds_of(const struct cuda *cuda, const struct work *work, int repeats)
{
    float milliseconds = 0;
    if (work->prepare) work->prepare(work->arg);
    CUDA(cudaEventRecord(cuda->begin, cuda->stream));
    for (int i = 0; i < repeats; i++) work->run(work->arg);
    CUDA(cudaEventRecord(cuda->end, cuda->stream));
    CUDA(cudaEventSynchronize(cuda->end));
    CUDA(cudaEventElapsedTime(&milliseconds, cuda->begin, cuda->end));
    return 1e-3 * (double)milliseconds / repeats;
}

/* The first run does not count; the second tells how many fit into a round. */
static void warm_up(const struct cuda *cuda, struct work *work)
{
    seconds_of(cuda, work, 1);
    double once = seconds_of(cuda, work, 1);
    if (work->repeats == 0)
        work->repeats = once < round_seconds / 100 ? 100 : (int)(round_seconds / once) + 1;
}

void cuda_alternate(const struct cuda *cuda, struct work *works, int count, double seconds)
{
    int rounds = 0;
    double stop = now() + seconds;
    for (int i = 0; i < count; i++) warm_up(cuda, &works[i]);
    for (; rounds < MAX_ROUNDS && (rounds < MIN_ROUNDS || now() < stop); rounds++)
        for (int i = 0; i < count; i++)
            works[i].times[rounds] = seconds_of(cuda, &works[i], works[i].repeats);
    for (int i = 0; i < count; i++) summarize(&works[i], rounds);
}

int cuda_has_time(const struct cuda *cuda, double seconds, const char *what)
{
    if (now() + seconds < cuda->deadline) return 1;
    printf("  left out for want of time: %s\n", what);
    return 0;
}
