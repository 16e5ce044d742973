/* Measures librelora on this machine: prints tables, and writes the same numbers as JSON. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct shape shapes[SHAPES] = { { 512, 512 }, { 1376, 512 }, { 2048, 2048 }, { 5461, 2048 } };

static const struct {
    const char *name;
    void (*run)(const struct bench *bench);
} benchmarks[] = {
    { "linear", bench_linear }, { "merge", bench_merge },       { "adam", bench_adam },
    { "reset", bench_reset },   { "checkpoint", bench_checkpoint },
    { "pretrain", bench_pretrain },
};
enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

static void usage(FILE *to)
{
    fprintf(
        to,
        "bench [--threads N] [--seconds S] [--quick] [--json FILE] [--pretrain PROGRAM] [NAME...]\n"
        "  --threads N         CPU threads; default: all cores that are online\n"
        "  --seconds S         how long to repeat each measurement; default 2\n"
        "  --quick             the two smallest layers only, half a second each\n"
        "  --json FILE         also write the numbers there\n"
        "  --pretrain PROGRAM  the program of examples/pretrain, to measure tokens per second\n"
        "  NAME                linear, merge, adam, reset, checkpoint, pretrain\n");
}

static void cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown CPU");
    while (info && fgets(line, sizeof line, info))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(name, size, "%s", strchr(line, ':') + 2);
            name[strcspn(name, "\n\"\\")] = 0;
            break;
        }
    if (info) fclose(info);
}

/* Threads that wait for one another lose far more than their share to another program. */
static void warn_if_busy(void)
{
    int running = 1; /* this program */
    FILE *file = fopen("/proc/loadavg", "r");
    if (!file) return;
    if (fscanf(file, "%*f %*f %*f %d", &running) == 1 && running > 1)
        printf("Something else is running: expect times that are too long.\n");
    fclose(file);
}

static void open_library(struct bench *bench)
{
    relora_context_options options;
    relora_context_options_init(&options, sizeof options);
    options.threads = bench->threads;
    CHECK(bench, relora_context_create(&bench->context, &options));
    bench->cpu = relora_device_get(bench->context, RELORA_DEVICE_CPU, 0);
    CHECK(bench, relora_stream_create(&bench->stream, bench->cpu));
}

static int wanted(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return count == 0;
}

/* The value of the option at argv[*i], which must be there. */
static const char *value(int argc, char **argv, int *i)
{
    if (++*i < argc) return argv[*i];
    fprintf(stderr, "bench: %s needs a value\n", argv[argc - 1]);
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
        else if (strcmp(argv[i], "--quick") == 0) bench->quick = 1, bench->seconds = 0.5;
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
    struct bench bench = { .threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .seconds = 2 };
    const char *json = NULL;
    char cpu[200];
    int first = read_options(&bench, &json, argc, argv);
    if (json && !(bench.json = fopen(json, "w"))) return perror(json), 1;

    open_library(&bench);
    cpu_name(cpu, sizeof cpu);
    printf("%s, %d threads\nlibrelora %s (%s)\n", cpu, bench.threads, relora_version_string(),
           relora_build_info());
    warn_if_busy();
    if (bench.json)
        fprintf(bench.json,
                "{\n  \"cpu\": \"%s\",\n  \"threads\": %d,\n  \"version\": \"%s\",\n"
                "  \"build\": \"%s\"",
                cpu, bench.threads, relora_version_string(), relora_build_info());
    for (int i = 0; i < BENCHMARKS; i++)
        if (wanted(benchmarks[i].name, argv + first, argc - first)) {
            fflush(stdout);
            benchmarks[i].run(&bench);
        }
    if (bench.json) {
        fputs("\n}\n", bench.json);
        if (fclose(bench.json)) return perror(json), 1;
    }
    relora_stream_release(bench.stream);
    relora_context_release(bench.context);
    return 0;
}
