/* Measures librelora on this machine: prints tables, and writes the same numbers as JSON. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <sys/times.h>
#include <unistd.h>

const struct shape shapes[SHAPES] = {{512, 512}, {1376, 512}, {2048, 2048}, {5461, 2048}};

static const struct {
    const char *name;
    void (*run)(const struct bench *bench);
    int only_if_named;
} benchmarks[] = {
    {"linear", bench_linear, 0},       {"adam", bench_adam, 0},
    {"reset", bench_reset, 0},         {"pretrain", bench_pretrain, 0},
    {"steady", bench_steady, 0},       {"plan", bench_plan, 0},
    {"merge", bench_merge, 0},         {"checkpoint", bench_checkpoint, 0},
    {"plan-long", bench_plan_long, 1},
};
enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

static void usage(FILE *to)
{
    fprintf(
        to,
        "Usage: bench [--threads N] [--seconds S] [--quick] [--json FILE] [--pretrain PROGRAM] [--part K/N]\n"
        "             [--cases FILE] [NAME...]\n"
        "  --threads N         CPU threads (all cores that are online)\n"
        "  --seconds S         time for each measurement (1)\n"
        "  --quick             only the two smallest layers, a quarter of the time each\n"
        "  --json FILE         also write the results to FILE\n"
        "  --pretrain PROGRAM  also measure PROGRAM, which is examples/pretrain\n"
        "  --part K/N          of plan's cases only the K-th and then every N-th\n"
        "  --cases FILE        also write the times of plan's cases to FILE\n"
        "  NAME                what to measure: linear, adam, reset, pretrain, steady, plan, merge, checkpoint\n"
        "                      (all of these), or plan-long: more shapes, several minutes\n");
}

/* Processor time in seconds since the machine started, of everything or of this program and its children. */
static double busy_seconds(int own)
{
    unsigned long long user = 0, nice = 0, system = 0, irq = 0, softirq = 0, steal = 0;
    struct tms t;
    const double tick = (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq,
                        &softirq, &steal) != 6)
        user = 0;
    if (file) fclose(file);
    if (!own) return (double)(user + nice + system + irq + softirq + steal) / tick;
    times(&t);
    return (double)(t.tms_utime + t.tms_stime + t.tms_cutime + t.tms_cstime) / tick;
}

/* Threads that wait for one another lose far more than their share to another program. */
static void report_others(const struct bench *bench, double start, double others)
{
    others = (busy_seconds(0) - busy_seconds(1) - others) / ((now() - start) * bench->threads);
    printf("\n%.0f s; other programs used %.0f%% of the processors meanwhile%s\n", now() - start,
           100 * others, others > 0.03 ? ": expect times that are too long" : "");
}

static void open_library(struct bench *bench)
{
    relora_context_options options;
    relora_context_options_init(&options, sizeof options);
    options.threads = bench->threads;
    CHECK(bench, relora_context_create(&bench->context, &options));
    bench->device = relora_device_get(bench->context, RELORA_DEVICE_CPU, 0);
    CHECK(bench, relora_stream_create(&bench->stream, bench->device));
}

static int wanted(int index, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(benchmarks[index].name, names[i]) == 0) return 1;
    return count == 0 && !benchmarks[index].only_if_named;
}

/* The value of the option at argv[*i], which must be there. */
static const char *value(int argc, char **argv, int *i)
{
    if (++*i < argc) return argv[*i];
    fprintf(stderr, "bench: %s needs a value\n", argv[argc - 1]);
    exit(2);
}

static void read_part(struct bench *bench, const char *text)
{
    if (sscanf(text, "%d/%d", &bench->part, &bench->parts) == 2 && bench->part >= 1 &&
        bench->part <= bench->parts)
        return;
    fprintf(stderr, "bench: --part is %s, not such as 1/2\n", text);
    exit(2);
}

/* Fills `bench` and returns where the names of benchmarks begin in argv. */
static int read_options(struct bench *bench, const char **json, int argc, char **argv)
{
    int i;
    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--threads") == 0) bench->threads = atoi(value(argc, argv, &i));
        else if (strcmp(argv[i], "--seconds") == 0) bench->seconds = atof(value(argc, argv, &i));
        else if (strcmp(argv[i], "--json") == 0) *json = value(argc, argv, &i);
        else if (strcmp(argv[i], "--pretrain") == 0) bench->pretrain = value(argc, argv, &i);
        else if (strcmp(argv[i], "--part") == 0) read_part(bench, value(argc, argv, &i));
        else if (strcmp(argv[i], "--cases") == 0) bench->cases = value(argc, argv, &i);
        else if (strcmp(argv[i], "--quick") == 0) bench->quick = 1, bench->seconds = 0.25;
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

int main(int argc, char **argv)
{
    struct bench bench = {.threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .seconds = 1, .part = 1, .parts = 1};
    const char *json = NULL;
    char head[1000];
    int first = read_options(&bench, &json, argc, argv);

    open_library(&bench);
    const struct machine machine = machine_of(&bench);
    machine_print(&machine);
    double start = now(), others = busy_seconds(0) - busy_seconds(1);
    for (int i = 0; i < BENCHMARKS; i++)
        if (wanted(i, argv + first, argc - first)) {
            fflush(stdout);
            benchmarks[i].run(&bench);
        }
    report_others(&bench, start, others);
    print_rows();
    machine_head(&machine, head, sizeof head);
    if (json && write_rows(json, head)) return perror(json), 1;
    relora_stream_release(bench.stream);
    relora_context_release(bench.context);
    return 0;
}
