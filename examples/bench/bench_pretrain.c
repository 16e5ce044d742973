/* The program of examples/pretrain, whole steps with everything that belongs to them. Its operations are
 * those of the products of the projections, of the head and of attention, whatever was computed. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 1 << 20, COMMAND_BYTES = 1000, MAX_STEPS = 100, VOCABULARY = 256, SEQUENCE = 256 };

static const struct model {
    const char *name;
    int hidden, ffn, layers, rank, batch, steps;
    double target;
} models[] = {
    {"demo", 128, 352, 4, 32, 8, 20, NO_TARGET},
    {"35m", 384, 1024, 6, 96, 16, 6, 0.6},
    {"60m", 512, 1376, 8, 128, 16, 4, 0.6},
};

static const struct variant {
    const char *method, *label;
    double dropout;
} variants[] = {{"full", "full", 0}, {"lora", "lora", 0}, {"lora", "lora, dropout 0.1", 0.1}};

struct flops { /* per token */
    double needed, model;
    double attention; /* of those needed; in F32 */
};

static struct flops flops_per_token(const struct model *m, const struct variant *v)
{
    const struct llama llama = {m->hidden, m->ffn, m->layers, VOCABULARY, SEQUENCE};
    const double rank = strcmp(v->method, "full") ? m->rank : 0;
    return (struct flops){llama_operations(&llama, m->batch * SEQUENCE, rank, v->dropout > 0),
                          llama_model_flops(&llama, rank), llama_attention(&llama)};
}

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

/* The median over the steps after the first, from train.csv; 0 if there are none. */
static double read_rate(const char *folder)
{
    char path[200], line[400];
    double rates[MAX_STEPS];
    int count = 0;
    snprintf(path, sizeof path, "%s/out/train.csv", folder);
    FILE *file = fopen(path, "r");
    for (int row = 0; file && count < MAX_STEPS && fgets(line, sizeof line, file); row++) {
        int at = 0; /* step,loss,lr,grad_norm,clip,tokens_per_s,... */
        sscanf(line, "%*[^,],%*[^,],%*[^,],%*[^,],%*[^,],%n", &at);
        if (row > 1 && at) rates[count++] = atof(line + at);
    }
    if (file) fclose(file);
    return count ? median(rates, count) : 0;
}

static double tokens_per_second(const struct bench *bench, const char *folder, const struct model *m,
                                const struct variant *v, relora_dtype dtype)
{
    char command[COMMAND_BYTES];
    snprintf(command, sizeof command,
             "'%s' --size %s --method %s --dtype %s --dropout %g --rank %d --steps %d --warm-start 0 "
             "--batch %d --seq %d --accumulate 1 --threads %d --data '%s/text' --out '%s/out' "
             "--eval-every 0 --eval-batches 1 --sample 0 > '%s/log' 2>&1 || { cat '%s/log' >&2; false; }",
             bench->pretrain, m->name, v->method, dtype_name(dtype), v->dropout, m->rank, m->steps, m->batch,
             SEQUENCE, bench->threads, folder, folder, folder, folder);
    return system(command) == 0 ? read_rate(folder) : 0;
}

static void run(const struct bench *bench, const char *folder, const struct model *m, const struct variant *v,
                relora_dtype dtype)
{
    const double rate = tokens_per_second(bench, folder, m, v, dtype);
    measure_peak(bench, dtype);
    const struct flops flops = flops_per_token(m, v);
    const double possible =
        (flops.needed - flops.attention) / peak(bench, dtype) + flops.attention / peak(bench, RELORA_F32);
    const double share = rate * flops.needed / peak(bench, dtype),
                 model = rate * flops.model / peak(bench, dtype);
    printf("  %-5s %-5s %-18s %8.0f  %9.1f  %6.1f%%  %9.1f  %6.1f%%  %6.1f%%\n", m->name, dtype_name(dtype),
           v->label, rate, flops.needed / 1e6, 100 * share, flops.model / 1e6, 100 * model,
           100 * rate * possible);
    fflush(stdout);
    add_row(rate, "tokens/s", NO_TARGET, HIGHER, NO_BOUND, "pretrain %s %s %s", m->name, dtype_name(dtype),
            v->label);
    add_row(model, "", NO_TARGET, HIGHER, NO_BOUND, "pretrain %s %s %s, model flops of the peak", m->name,
            dtype_name(dtype), v->label);
    add_row(share, "", NO_TARGET, HIGHER, NO_BOUND, "pretrain %s %s %s, share of the peak", m->name,
            dtype_name(dtype), v->label);
    add_row(rate * possible, "", m->target, HIGHER, NO_BOUND, "pretrain %s %s %s, share of what is possible",
            m->name, dtype_name(dtype), v->label);
}

void bench_pretrain(const struct bench *bench)
{
    char folder[] = "/tmp/relora-bench-XXXXXX", command[COMMAND_BYTES];
    if (!bench->pretrain) return;
    if (!mkdtemp(folder) || write_text(folder)) {
        perror(folder);
        return;
    }
    printf(
        "\nTraining: examples/pretrain, sequences of %d, one micro-batch in a step, the median step.\n"
        "MFLOP per token: what the cheapest exact orders need; by 6 for each parameter that is multiplied.\n"
        "What is possible is those needed at the peak of their type, which for attention is F32\n"
        "  %-30s tokens/s     needed of peak  6 a param of peak  possible\n",
        SEQUENCE, "");
    for (int i = 0; i < (bench->quick ? 1 : 3); i++)
        for (int v = 0; v < (i ? 3 : 2); v++)
            for (relora_dtype dtype = i ? RELORA_BF16 : RELORA_F32; dtype <= RELORA_BF16; dtype++)
                run(bench, folder, &models[i], &variants[v], dtype);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command)) fprintf(stderr, "bench: %s is left\n", folder);
}
