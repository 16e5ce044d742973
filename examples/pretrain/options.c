#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "report.h"

enum kind { WHOLE, REAL, TEXT, CHOICE };

struct choice {
    const char *name;
    int64_t value;
};

static const struct choice methods[] = {{"full", METHOD_FULL}, {"lora", METHOD_LORA},
                                        {"lowrank", METHOD_LOWRANK}, {"relora", METHOD_RELORA},
                                        {NULL, 0}};
static const struct choice dtypes[] = {{"f32", RELORA_F32}, {"bf16", RELORA_BF16}, {NULL, 0}};
static const struct choice devices[] = {{"cpu", RELORA_DEVICE_CPU}, {"cuda", RELORA_DEVICE_CUDA}, {NULL, 0}};
static const struct choice orders[] = {{"auto", RELORA_ORDER_AUTO}, {"split", RELORA_ORDER_SPLIT},
                                       {"fold", RELORA_ORDER_FOLD}, {NULL, 0}};
static const struct choice recomputes[] = {{"none", 0}, {"blocks", 1}, {NULL, 0}};
static const struct choice resets[] = {{"zero", RELORA_RESET_ZERO}, {"random", RELORA_RESET_RANDOM},
                                       {"magnitude", RELORA_RESET_MAGNITUDE}, {NULL, 0}};

struct option_row {
    const char *name, *argument, *help;
    enum kind kind;
    size_t offset;        /* in struct options */
    double low, high;     /* accepted, both ends included */
    double initial;       /* UNSET: found later from the size or from other options */
    const struct choice *choices;
    enum { BOUND, FREE } free; /* FREE: a resumed run may have another value, its numbers do not
                                  depend on it */
};

#define AT(field) offsetof(struct options, field)
#define UNSET (-1.0) /* no option accepts it */
#define ANY 1e300 /* a real number without a limit */
#define BIG 1e12
#define ABOVE_0 1e-30
#define BELOW_1 0.9999999

static const struct option_row rows[] = {
    {"size", "NAME", "model size, see below (demo; with --init its own, and settings of the nearest)", CHOICE,
     AT(size), 0, 0, UNSET, NULL, BOUND},
    {"method", "NAME", "full, lora, lowrank or relora (relora)", CHOICE, AT(method), 0, 0,
     METHOD_RELORA, methods, BOUND},
    {"data", "FILE", "text, or tokens in a .bin of nanoGPT or llm.c (the King James Bible)", TEXT,
     AT(data), 0, 0, 0, NULL, FREE},
    {"vocab", "N", "size of the vocabulary (that of --init; 256 for text; for .bin the largest token + 1)", WHOLE,
     AT(vocab), 2, 1 << 24, 0, NULL, FREE},
    {"out", "DIR", "folder for train.csv, eval.csv and summary.txt (out)", TEXT, AT(out), 0, 0, 0, NULL, FREE},
    {"dtype", "NAME", "f32 or bf16: of projections, head, and what enters them (f32)", CHOICE,
     AT(dtype), 0, 0, RELORA_F32, dtypes, BOUND},
    {"device", "NAME", "cpu or cuda, the first NVIDIA GPU (cpu)", CHOICE, AT(device), 0, 0, RELORA_DEVICE_CPU,
     devices, FREE},
    {"threads", "N", "CPU threads (all processors)", WHOLE, AT(threads), 1, 1024, UNSET, NULL, FREE},
    {"seed", "N", "everything random follows from it (1)", WHOLE, AT(seed), 0, BIG, 1, NULL, BOUND},
    {"steps", "N", "updates of the whole run (by size)", WHOLE, AT(steps), 1, 4e9, UNSET, NULL, BOUND},
    {"batch", "N", "sequences in a micro-batch (by size)", WHOLE, AT(batch), 1, 65536, UNSET, NULL, BOUND},
    {"seq", "N", "tokens in a sequence (by size)", WHOLE, AT(seq), 2, 65536, UNSET, NULL, BOUND},
    {"accumulate", "N", "micro-batches in an update (by size)", WHOLE, AT(accumulate), 1, 1 << 20,
     UNSET, NULL, BOUND},
    {"lr", "X", "peak learning rate of full-rank training (by size)", REAL, AT(lr), ABOVE_0, ANY,
     UNSET, NULL, BOUND},
    {"lora-lr", "X", "peak of low-rank training (twice --lr)", REAL, AT(lora_lr), ABOVE_0, ANY, UNSET,
     NULL, BOUND},
    {"min-lr-ratio", "X", "the cosine ends at this share of the peak (0.1)", REAL,
     AT(min_lr_ratio), ABOVE_0, 1, 0.1, NULL, BOUND},
    {"warmup", "N", "steps of the first climb (500, at most a 20th of the run)", WHOLE, AT(warmup), 0,
     4e9, UNSET, NULL, BOUND},
    {"warm-start", "N", "full-rank steps before low rank begins (a quarter of the run)", WHOLE,
     AT(warm_start), 0, 4e9, UNSET, NULL, BOUND},
    {"restarts", "N", "merges on the way; they cut the low-rank part into N + 1 equal cycles (3)",
     WHOLE, AT(restarts), 0, 1 << 20, 3, NULL, BOUND},
    {"restart-warmup", "N", "steps of the climb in each cycle (100, at most a 10th of one)", WHOLE,
     AT(restart_warmup), 0, 4e9, UNSET, NULL, BOUND},
    {"rank", "N", "rank of A and B (128, at most a quarter of the hidden size)", WHOLE, AT(rank), 1,
     65536, UNSET, NULL, BOUND},
    {"alpha", "X", "scale of the product is alpha / rank (32)", REAL, AT(alpha), ABOVE_0, ANY, 32, NULL, BOUND},
    {"dropout", "X", "of what enters A, below 1 (by size)", REAL, AT(dropout), 0, BELOW_1, UNSET, NULL, BOUND},
    {"order", "NAME", "of the products of a low-rank layer: auto, split or fold (auto)", CHOICE, AT(order),
     0, 0, RELORA_ORDER_AUTO, orders, FREE},
    {"recompute", "NAME", "none, or blocks: keep what enters a block, make the rest again in the backward"
     " (none)", CHOICE, AT(recompute), 0, 0, 0, recomputes, FREE},
    {"init-std", "X", "of the first weights (by size)", REAL, AT(init_std), 0, 10, UNSET, NULL, BOUND},
    {"reset", "NAME", "moments at a restart: zero, random or magnitude (magnitude)", CHOICE,
     AT(reset), 0, 0, RELORA_RESET_MAGNITUDE, resets, BOUND},
    {"reset-ratio", "X", "share of the moments that random and magnitude clear (0.99)", REAL,
     AT(reset_ratio), 0, 1, 0.99, NULL, BOUND},
    {"beta1", "X", "of Adam, below 1 (0.9)", REAL, AT(beta1), 0, BELOW_1, 0.9, NULL, BOUND},
    {"beta2", "X", "of Adam, below 1 (by size)", REAL, AT(beta2), 0, BELOW_1, UNSET, NULL, BOUND},
    {"eps", "X", "of Adam (1e-8)", REAL, AT(eps), ABOVE_0, 1, 1e-8, NULL, BOUND},
    {"weight-decay", "X", "decoupled, as in AdamW (0)", REAL, AT(weight_decay), 0, 1e3, 0, NULL, BOUND},
    {"clip", "X", "largest gradient norm; 0 for no limit (1)", REAL, AT(clip), 0, ANY, 1, NULL, BOUND},
    {"eval-every", "N", "steps between evaluations; 0 for one at the end (a 20th of the run)", WHOLE,
     AT(eval_every), 0, 4e9, UNSET, NULL, FREE},
    {"eval-batches", "N", "micro-batches in an evaluation (20)", WHOLE, AT(eval_batches), 1, 1 << 30,
     20, NULL, FREE},
    {"sample", "N", "tokens to write at the end; 0 for none (300)", WHOLE, AT(sample), 0, 1 << 20, 300,
     NULL, FREE},
    {"prompt", "TEXT", "how that text begins, for byte data (\"In the beginning\")", TEXT, AT(prompt), 0,
     0, 0, NULL, FREE},
    {"temperature", "X", "of the sample; 0 takes the likeliest token (0.8)", REAL, AT(temperature), 0,
     100, 0.8, NULL, FREE},
    {"save", "DIR", "folder for checkpoints; Ctrl-C leaves one there too", TEXT, AT(save), 0, 0, 0, NULL, FREE},
    {"save-every", "N", "updates between checkpoints; 0 for the end alone (a 20th of the run)", WHOLE,
     AT(save_every), 0, 4e9, UNSET, NULL, FREE},
    {"keep", "N", "newest checkpoints that stay; 0 for all (3)", WHOLE, AT(keep), 0, 1 << 30, 3, NULL, FREE},
    {"resume", "PATH", "go on from a checkpoint, the newest good one of a folder, or auto: of --save", TEXT,
     AT(resume), 0, 0, 0, NULL, FREE},
    {"init", "PATH", "model and first weights of a Llama folder of Hugging Face, or weights of a checkpoint", TEXT,
     AT(init), 0, 0, 0, NULL, FREE},
    {"export", "DIR", "write the trained model as a Hugging Face Llama folder", TEXT, AT(export), 0, 0, 0,
     NULL, FREE},
};
enum { ROWS = sizeof rows / sizeof *rows, HELP = 1000 };

static int64_t *whole_at(struct options *o, const struct option_row *row)
{
    return (int64_t *)(void *)((char *)o + row->offset);
}

static double *real_at(struct options *o, const struct option_row *row)
{
    return (double *)(void *)((char *)o + row->offset);
}

static const char **text_at(struct options *o, const struct option_row *row)
{
    return (const char **)(void *)((char *)o + row->offset);
}

static void print_help(void)
{
    puts("Usage: pretrain [OPTION]...\n\n"
         "Trains a small Llama on a text by ReLoRA with librelora, on the CPU or a GPU.\n"
         "Ctrl-C ends a run early, with everything that belongs to an end. (Defaults in brackets.)\n");
    for (int i = 0; i < ROWS; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s %s", rows[i].name, rows[i].argument);
        printf("  %-22s %s\n", left, rows[i].help);
    }
    printf("  %-22s this text\n\nsize  hidden   ffn heads layers  seq  batch accum.  steps     lr"
           "  beta2 dropout init-std\n", "--help");
    for (int i = 0; i < size_count; i++) {
        const struct size *s = &sizes[i];
        printf("%-5s %6" PRId64 " %5" PRId64 " %5" PRId64 " %6" PRId64 " %4" PRId64 " %6" PRId64
               " %6" PRId64 " %6" PRId64 " %6g %6g %7g %8g\n",
               s->name, s->hidden, s->ffn, s->heads, s->layers, s->seq, s->batch, s->accumulate,
               s->steps, s->lr, s->beta2, s->dropout, s->init_std);
    }
}

/* "a, b or c" of the names a choice has. */
static void list_choices(const struct option_row *row, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; used < size && (row->choices ? row->choices[i].name != NULL : i < size_count); i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                                 row->choices ? row->choices[i].name : sizes[i].name);
}

static int set_choice(struct options *o, const struct option_row *row, const char *text)
{
    char all[256];
    for (int i = 0; row->choices ? row->choices[i].name != NULL : i < size_count; i++)
        if (strcmp(text, row->choices ? row->choices[i].name : sizes[i].name) == 0) {
            *whole_at(o, row) = row->choices ? row->choices[i].value : i;
            return 0;
        }
    list_choices(row, all, sizeof all);
    return fail("--%s %s: accepted are %s", row->name, text, all);
}

static int set_whole(struct options *o, const struct option_row *row, const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)value < row->low || (double)value > row->high)
        return fail("--%s %s: accepted is a whole number from %.0f to %.0f", row->name, text, row->low,
                    row->high);
    *whole_at(o, row) = value;
    return 0;
}

static int set_real(struct options *o, const struct option_row *row, const char *text)
{
    char *end, low[32], high[32] = "";
    double value = strtod(text, &end);
    if (end != text && !*end && value >= row->low && value <= row->high) {
        *real_at(o, row) = value;
        return 0;
    }
    if (row->low == ABOVE_0)
        snprintf(low, sizeof low, "above 0");
    else
        snprintf(low, sizeof low, "of at least %g", row->low);
    if (row->high == BELOW_1)
        snprintf(high, sizeof high, " and below 1");
    else if (row->high < ANY)
        snprintf(high, sizeof high, " and at most %g", row->high);
    return fail("--%s %s: accepted is a number %s%s", row->name, text, low, high);
}

static int set(struct options *o, const struct option_row *row, const char *text)
{
    switch (row->kind) {
    case WHOLE:
        return set_whole(o, row, text);
    case REAL:
        return set_real(o, row, text);
    case CHOICE:
        return set_choice(o, row, text);
    default:
        if (!*text)
            return fail("--%s: accepted is a text that is not empty", row->name);
        *text_at(o, row) = text;
        return 0;
    }
}

static void set_initial(struct options *o)
{
    *o = (struct options){0};
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].kind == REAL)
            *real_at(o, &rows[i]) = rows[i].initial;
        else if (rows[i].kind != TEXT)
            *whole_at(o, &rows[i]) = (int64_t)rows[i].initial;
    }
    o->out = "out";
    o->prompt = "In the beginning";
}

int options_read(struct options *options, int argc, char **argv)
{
    struct option table[ROWS + 2] = {{0}};
    for (int i = 0; i < ROWS; i++)
        table[i] = (struct option){rows[i].name, required_argument, NULL, i};
    table[ROWS] = (struct option){"help", no_argument, NULL, HELP};
    set_initial(options);
    opterr = 0; /* the sentences are ours */
    for (;;) {
        int at = optind ? optind : 1, found = getopt_long(argc, argv, ":", table, NULL);
        if (found == -1)
            break;
        if (found == HELP) {
            print_help();
            return 1;
        }
        if (found == ':')
            return fail("%s needs a value; see --help", argv[at]);
        if (found == '?')
            return fail("unknown option %s; --help lists what is accepted", argv[at]);
        if (set(options, &rows[found], optarg) != 0)
            return -1;
    }
    if (optind < argc)
        return fail("%s is no option; a text is given as --data %s", argv[optind], argv[optind]);
    return options_resolve(options);
}

const char *options_choice(const char *option, int64_t value)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; strcmp(rows[i].name, option) == 0 && rows[i].choices &&
                        rows[i].choices[j].name; j++)
            if (rows[i].choices[j].value == value)
                return rows[i].choices[j].name;
    return "?";
}

/* ---- for checkpoints ---- */

static void print_value(const struct options *o, const struct option_row *row, char *text, size_t size)
{
    union { /* the accessors are for writing too */
        const struct options *read;
        struct options *write;
    } same = {o};
    if (row->kind == REAL) {
        double value = *real_at(same.write, row);
        snprintf(text, size, "%.15g", value); /* as it was typed, if that is exact */
        if (strtod(text, NULL) < value || strtod(text, NULL) > value)
            snprintf(text, size, "%.17g", value);
    } else if (row->kind == CHOICE)
        snprintf(text, size, "%s", row->choices ? options_choice(row->name, *whole_at(same.write, row))
                                                : sizes[o->size].name);
    else
        snprintf(text, size, "%" PRId64, *whole_at(same.write, row));
}

void options_describe(const struct options *o, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < ROWS; i++) {
        char value[64];
        if (rows[i].free || used >= size)
            continue;
        print_value(o, &rows[i], value, sizeof value);
        used += (size_t)snprintf(text + used, size - used, "%s=%s\n", rows[i].name, value);
    }
}

int options_compare(const struct options *o, const char *text)
{
    int result = 0;
    for (int i = 0; i < ROWS; i++) {
        char value[64], name[64];
        if (rows[i].free)
            continue;
        print_value(o, &rows[i], value, sizeof value);
        snprintf(name, sizeof name, "%s=", rows[i].name);
        const char *line = text;
        while (line && strncmp(line, name, strlen(name)) != 0)
            line = (line = strchr(line, '\n')) ? line + 1 : NULL;
        const char *stored = line ? line + strlen(name) : "nothing";
        int length = (int)strcspn(stored, "\n");
        if ((size_t)length == strlen(value) && !strncmp(stored, value, strlen(value)))
            continue;
        result = fail("--%s is %s, but the checkpoint was made with %.*s", rows[i].name, value, length,
                      stored);
    }
    return result;
}
