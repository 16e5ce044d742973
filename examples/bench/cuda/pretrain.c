/* The program of examples/pretrain on the device: whole steps with everything that belongs to them. */
#include "bench_cuda.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 300, MAX_STEPS = 200, TOKENS_IN_FILE = 4 << 20 };

static const struct model {
    const char *name;
    struct llama llama;
    int rank, batch, steps;
    double seconds; /* that it may take */
} models[] =
    {
        {"350m", {1024, 2736, 24, 32000, 512}, RANK, 32, 30, 30},
        {"1b", {2048, 5461, 24, 32000, 512}, RANK, 32, 15, 40},
},
  smoke_model = {"demo", {128, 352, 4, 256, 32}, 8, 2, 4, 300};

static const struct variant {
    const char *method, *label;
    double dropout, target;
} variants[] = {
    {"lora", "lora", 0, 0.4}, {"lora", "lora, dropout 0.1", 0.1, NO_TARGET}, {"full", "full", 0, NO_TARGET}};

struct paths {
    char folder[PATH / 2], tokens[PATH], out[PATH], metrics[PATH], log[PATH];
};

/* The speed does not depend on what is learned, so tokens at random will do. */
static int write_tokens(const char *path, int vocabulary)
{
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    for (int i = 0; i < TOKENS_IN_FILE; i++) {
        uint16_t token = (uint16_t)(rand() % vocabulary);
        if (fwrite(&token, sizeof token, 1, file) != 1) break;
    }
    return fclose(file);
}

/* The median over the steps after the second, from train.csv; 0 if there are none. */
static double read_rate(const char *path)
{
    char line[400];
    double rates[MAX_STEPS];
    int count = 0;
    FILE *file = fopen(path, "r");
    for (int row = 0; file && count < MAX_STEPS && fgets(line, sizeof line, file); row++) {
        int at = 0; /* step,loss,lr,grad_norm,clip,tokens_per_s,... */
        sscanf(line, "%*[^,],%*[^,],%*[^,],%*[^,],%*[^,],%n", &at);
        if (row > 2 && at) rates[count++] = atof(line + at);
    }
    if (file) fclose(file);
    return count ? median(rates, count) : 0;
}

/* Bytes of weights, gradients, moments and activations, of which the program tells; 0 if it did not. */
static double read_bytes(const char *path)
{
    char line[400];
    double bytes = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        double tensors, activations;
        const char *memory = strstr(line, "moments "), *sum = memory ? strstr(memory, "), ") : NULL;
        if (sum && sscanf(sum, "), %lf MB; activations %lf MB", &tensors, &activations) == 2)
            bytes = (tensors + activations) * 1e6;
    }
    if (file) fclose(file);
    return bytes;
}

static void show(const char *log)
{
    char line[400];
    FILE *file = fopen(log, "r");
    while (file && fgets(line, sizeof line, file)) fprintf(stderr, "    %s", line);
    if (file) fclose(file);
}

static int train(const struct cuda *cuda, struct paths *p, const struct model *m, const struct variant *v,
                 double *bytes)
{
    char program[PATH], numbers[6][24], dropout[24];
    const int values[] = {
        m->rank, m->steps, m->batch, m->llama.sequence, m->llama.vocabulary, cuda->bench.threads};
    for (int i = 0; i < 6; i++) snprintf(numbers[i], sizeof numbers[i], "%d", values[i]);
    snprintf(dropout, sizeof dropout, "%g", v->dropout);
    snprintf(program, sizeof program, "%s", cuda->bench.pretrain);
    /* clang-format off */
    const char *const words[] = {
        program, "--device", "cuda", "--size", m->name, "--method", v->method, "--dtype", "bf16", "--dropout", dropout,
        "--rank", numbers[0], "--steps", numbers[1], "--batch", numbers[2], "--seq", numbers[3], "--vocab", numbers[4],
        "--threads", numbers[5], "--warm-start", "0", "--accumulate", "1", "--data", p->tokens, "--out", p->out,
        "--eval-every", "0", "--eval-batches", "1", "--sample", "0", NULL };
    /* clang-format on */
    char *arguments[sizeof words / sizeof *words];
    memcpy(arguments, words, sizeof words);
    return cuda_run_program(arguments, p->log, m->seconds, bytes);
}

static void run(const struct cuda *cuda, struct paths *p, const struct model *m, const struct variant *v)
{
    const double tokens = (double)m->batch * m->llama.sequence;
    double bytes;
    if (train(cuda, p, m, v, &bytes)) {
        fprintf(stderr, "  %s %s has failed, or took longer than %.0f s:\n", m->name, v->label, m->seconds);
        show(p->log);
        return;
    }
    const double rate = read_rate(p->metrics);
    const double flops =
        llama_operations(&m->llama, tokens, strcmp(v->method, "full") ? m->rank : 0, v->dropout > 0);
    const double share = rate * flops / cuda->peak;
    printf(
        "  %-5s %-18s %9.0f tokens/s, %.2f GFLOP per token, %6.1f TFLOP/s, %5.1f%% of the peak, %6.2f GB\n",
        m->name, v->label, rate, flops * 1e-9, rate * flops * 1e-12, 100 * share, bytes * 1e-9);
    fflush(stdout);
    add_row(rate, "tokens/s", NO_TARGET, HIGHER, NO_BOUND, "pretrain %s bf16 %s", m->name, v->label);
    add_row(share, "", v->target, HIGHER, NO_BOUND, "pretrain %s bf16 %s, share of the peak", m->name,
            v->label);
    add_row(bytes * 1e-9, "GB", NO_TARGET, LOWER, NO_BOUND, "pretrain %s bf16 %s, device memory", m->name,
            v->label);
    const double tensors = read_bytes(p->log);
    if (tensors > 0)
        add_row(bytes / tensors, "", cuda->smoke ? NO_TARGET : 1.15, LOWER, NO_BOUND,
                "pretrain %s bf16 %s, device memory over that of its tensors", m->name, v->label);
}

static void run_all(const struct cuda *cuda, struct paths *p)
{
    char what[80];
    if (cuda->smoke) {
        for (int v = 0; v < 3; v++) run(cuda, p, &smoke_model, &variants[v]);
        return;
    }
    for (int v = 0; v < 3; v++)
        for (int i = 0; i < 2; i++) {
            snprintf(what, sizeof what, "%s %s", models[i].name, variants[v].label);
            if (cuda_has_time(cuda, models[i].seconds, what)) run(cuda, p, &models[i], &variants[v]);
        }
}

void cuda_bench_pretrain(struct cuda *cuda)
{
    struct paths p = {.folder = "/tmp/relora-bench-cuda-XXXXXX"};
    char command[2 * PATH];
    if (!cuda->bench.pretrain) return;
    if (!mkdtemp(p.folder)) {
        perror(p.folder);
        return;
    }
    snprintf(p.tokens, sizeof p.tokens, "%s/tokens.bin", p.folder);
    snprintf(p.out, sizeof p.out, "%s/out", p.folder);
    snprintf(p.metrics, sizeof p.metrics, "%s/out/train.csv", p.folder);
    snprintf(p.log, sizeof p.log, "%s/log", p.folder);
    printf(
        "\nTraining: examples/pretrain, sequences of 512, 16384 tokens in a step, the median step; memory of the device\n"
        "is the most that was in use, the driver's part included. The first weights are drawn by %d threads of the host\n",
        cuda->bench.threads);
    if (write_tokens(p.tokens, cuda->smoke ? smoke_model.llama.vocabulary : models[0].llama.vocabulary))
        perror(p.tokens);
    else run_all(cuda, &p);
    snprintf(command, sizeof command, "rm -r '%s'", p.folder);
    if (system(command)) fprintf(stderr, "bench-cuda: %s is left\n", p.folder);
}
