/* Measures librelora on a CUDA device: prints tables, and writes the same numbers as JSON after each of them. */
#include "bench_cuda.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    void (*run)(struct cuda *cuda);
    double seconds; /* it takes about so long */
} benchmarks[] = {
    {"products", cuda_bench_products, 6},  {"copy", cuda_bench_copy, 3},   {"layer", cuda_bench_layer, 6},
    {"adam", cuda_bench_adam, 8},          {"reset", cuda_bench_reset, 4}, {"merge", cuda_bench_merge, 12},
    {"pretrain", cuda_bench_pretrain, 10},
};
enum {
    BENCHMARKS = sizeof benchmarks / sizeof *benchmarks,
    NEEDED = 2 /* products and copy: what others are shares of */
};

static void usage(FILE *to)
{
    fprintf(
        to,
        "Usage: bench-cuda [--budget S] [--seconds S] [--smoke] [--json FILE] [--pretrain PROGRAM] [NAME...]\n"
        "  --budget S          stop after S seconds and report what was left out (110)\n"
        "  --seconds S         time for each measurement (1)\n"
        "  --smoke             tiny sizes, only to check that everything runs\n"
        "  --json FILE         also write the results to FILE\n"
        "  --pretrain PROGRAM  also measure PROGRAM, which is examples/pretrain\n"
        "  NAME                what to measure: layer, adam, reset, merge, pretrain (all of these)\n");
}

static const char *value(int argc, char **argv, int *i)
{
    if (++*i < argc) return argv[*i];
    fprintf(stderr, "bench-cuda: %s needs a value\n", argv[argc - 1]);
    exit(2);
}

/* Fills `cuda` and returns where the names of benchmarks begin in argv. */
static int read_options(struct cuda *cuda, double *budget, const char **json, int argc, char **argv)
{
    int i;
    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--budget") == 0) *budget = atof(value(argc, argv, &i));
        else if (strcmp(argv[i], "--seconds") == 0) cuda->bench.seconds = atof(value(argc, argv, &i));
        else if (strcmp(argv[i], "--json") == 0) *json = value(argc, argv, &i);
        else if (strcmp(argv[i], "--pretrain") == 0) cuda->bench.pretrain = value(argc, argv, &i);
        else if (strcmp(argv[i], "--smoke") == 0) cuda->smoke = 1, cuda->bench.seconds = 0.05;
        else if (strcmp(argv[i], "--help") == 0) usage(stdout), exit(0);
        else usage(stderr), exit(2);
    }
    for (int n = i; n < argc; n++) {
        int known = 0;
        for (int b = 0; b < BENCHMARKS; b++) known |= strcmp(argv[n], benchmarks[b].name) == 0;
        if (!known) usage(stderr), exit(2);
    }
    return i;
}

/* Something hangs: the tables so far are written already. */
static void too_late(int signal)
{
    static const char text[] = "bench-cuda: stopped, 15 seconds beyond the budget\n";
    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(4);
    _exit(3);
}

/* Returns 0 if there is no device. */
static int open_library(struct cuda *cuda)
{
    struct bench *bench = &cuda->bench;
    relora_context_options options;
    char why[300] = "";
    relora_context_options_init(&options, sizeof options);
    options.threads = bench->threads;
    CHECK(bench, relora_context_create(&bench->context, &options));
    bench->device = relora_device_get(bench->context, RELORA_DEVICE_CUDA, 0);
    if (!bench->device) {
        relora_context_error(bench->context, why, sizeof why, NULL);
        fprintf(stderr, "bench-cuda: %s\n", why[0] ? why : "there is no CUDA device");
        relora_context_release(bench->context);
        return 0;
    }
    CHECK(bench, relora_stream_create(&bench->stream, bench->device));
    cuda->stream = relora_stream_native(bench->stream);
    CUDA(cudaEventCreate(&cuda->begin));
    CUDA(cudaEventCreate(&cuda->end));
    return 1;
}

static int wanted(int index, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(benchmarks[index].name, names[i]) == 0) return 1;
    return count == 0 || index < NEEDED;
}

int main(int argc, char **argv)
{
    struct cuda cuda = {.bench = {.threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .seconds = 1}};
    const char *json = NULL;
    double budget = 110, start = now();
    char head[500];
    int first = read_options(&cuda, &budget, &json, argc, argv);
    if (!open_library(&cuda)) return 1;

    cuda.deadline = start + budget;
    signal(SIGALRM, too_late);
    alarm((unsigned)budget + 15);
    snprintf(head, sizeof head, "  \"device\": \"%s\",\n  \"version\": \"%s\",\n  \"build\": \"%s\",\n",
             relora_device_name(cuda.bench.device), relora_version_string(), relora_build_info());
    printf("%s\nlibrelora %s (%s)\n", relora_device_name(cuda.bench.device), relora_version_string(),
           relora_build_info());
    for (int i = 0; i < BENCHMARKS; i++) {
        if (!wanted(i, argv + first, argc - first) ||
            !cuda_has_time(&cuda, benchmarks[i].seconds * cuda.bench.seconds, benchmarks[i].name))
            continue;
        benchmarks[i].run(&cuda);
        fflush(stdout);
        if (json && write_rows(json, head)) return perror(json), 1;
    }
    printf("\n%.0f s\n", now() - start);
    print_rows();
    CUDA(cudaEventDestroy(cuda.begin));
    CUDA(cudaEventDestroy(cuda.end));
    relora_stream_release(cuda.bench.stream);
    relora_context_release(cuda.bench.context);
    return 0;
}
