/* Tokens per second of the program of examples/pretrain, on the model that `make demo` trains. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 1 << 20, COMMAND_BYTES = 1000 };

static const struct {
    const char *method, *dtype;
} variants[] = { { "full", "f32" }, { "lora", "f32" }, { "full", "bf16" }, { "lora", "bf16" } };
enum { VARIANTS = sizeof variants / sizeof *variants };

/* The speed does not depend on what is learned, so letters at random will do. */
static int write_text(const char *folder)
{
    char path[200];
    FILE *file;
    snprintf(path, sizeof path, "%s/text", folder);
    if (!(file = fopen(path, "w"))) return -1;
    for (int i = 0; i < TEXT_BYTES; i++) fputc("etaoin shrdlu\n"[rand() % 14], file);
    return fclose(file);
}

/* What the program says of itself in summary.txt; 0 if it failed. */
static double read_rate(const char *folder)
{
    char path[200], line[400] = "";
    double rate = 0;
    snprintf(path, sizeof path, "%s/out/summary.txt", folder);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *at = strstr(line, "tokens_per_s=");
        if (at) rate = atof(at + strlen("tokens_per_s="));
    }
    if (file) fclose(file);
    return rate;
}

static double run(const struct bench *bench, const char *folder, const char *method, const char *dtype)
{
    char command[COMMAND_BYTES];
    snprintf(command, sizeof command,
             "'%s' --size demo --method %s --dtype %s --steps %d --warm-start 0 --threads %d "
             "--data '%s/text' --out '%s/out' --eval-every 0 --eval-batches 1 --sample 0 "
             "> '%s/log' 2>&1 || cat '%s/log' >&2",
             bench->pretrain, method, dtype, bench->quick ? 5 : 20, bench->threads, folder, folder,
             folder, folder);
    return system(command) == 0 ? read_rate(folder) : 0;
}

void bench_pretrain(const struct bench *bench)
{
    char folder[] = "/tmp/relora-bench-XXXXXX", command[COMMAND_BYTES];
    if (!bench->pretrain) return;
    if (!mkdtemp(folder) || write_text(folder)) {
        perror(folder);
        return;
    }
    printf("\nTraining of the model of `make demo`\n");
    if (bench->json) fprintf(bench->json, ",\n  \"pretrain\": [");
    for (int i = 0; i < VARIANTS; i++) {
        double rate = run(bench, folder, variants[i].method, variants[i].dtype);
        printf("  %-5s %-5s %9.0f tokens/s\n", variants[i].dtype, variants[i].method, rate);
        fflush(stdout);
        if (bench->json)
            fprintf(bench->json, "%s\n    {\"dtype\": \"%s\", \"method\": \"%s\", \"tokens_per_s\": %.0f}",
                    i ? "," : "", variants[i].dtype, variants[i].method, rate);
    }
    if (bench->json) fprintf(bench->json, "\n  ]");
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command)) fprintf(stderr, "bench: %s is left\n", folder);
}
