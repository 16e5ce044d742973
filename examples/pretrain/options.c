/* The command line. */
#include "options.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "options_table.h"
#include "processors.h"
#include "report.h"

/* ---- help ---- */

static void print_help(void)
{
    puts(
        "Usage: pretrain [OPTION]...\n\n"
        "Trains a small Llama on text, by ReLoRA with librelora, on the CPU or a GPU. Give the value of an option\n"
        "as the next word or after a =. If an option is given twice, the last value counts. Defaults are in\n"
        "parentheses; \"by size\" refers to the table below.\n");
    for (int i = 0; i < option_count; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s %s", option_rows[i].name, option_rows[i].argument);
        printf("  %-22s %s\n", left, option_rows[i].help);
    }
    printf("  %-22s print this text\n  %-22s print the release\n", "-h, --help", "--version");
    puts(
        "\nA run stops at the next micro-batch on INT (Ctrl-C), TERM, HUP, USR1, USR2, XCPU or PWR, and when nobody\n"
        "reads its output any more. It then writes the checkpoint of --save and the folder of --export. A second\n"
        "INT or TERM ends it at once.\n\n"
        "Exit status:\n"
        "  0  the run is complete\n"
        "  1  it failed or has died\n"
        "  2  an option is wrong\n"
        "  3  it was stopped before its end; --resume continues it\n\n"
        "size  hidden   ffn heads layers  seq  batch accum.  steps     lr  beta2 dropout init-std");
    for (int i = 0; i < size_count; i++) {
        const struct size *s = &sizes[i];
        printf("%-5s %6" PRId64 " %5" PRId64 " %5" PRId64 " %6" PRId64 " %4" PRId64 " %6" PRId64 " %6" PRId64
               " %6" PRId64 " %6g %6g %7g %8g\n",
               s->name, s->hidden, s->ffn, s->heads, s->layers, s->seq, s->batch, s->accumulate, s->steps,
               s->lr, s->beta2, s->dropout, s->init_std);
    }
}

/* ---- names ---- */

/* How many letters must be changed, put in, left out or swapped to make one word of the other. */
static int distance(const char *a, const char *b)
{
    enum { MOST = 32 };
    int row[3][MOST + 1];
    int m = (int)strlen(a), n = (int)strlen(b);
    if (m > MOST || n > MOST) return MOST;
    for (int j = 0; j <= n; j++) row[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[m % 3][n];
}

/* The option that a wrong name is nearest to; NULL if it is near none. */
static const char *nearest(const char *name)
{
    const char *best = NULL;
    int least = 1 + (int)strlen(name) / 3;
    for (int i = 0; i < option_count; i++) {
        const char *known = option_rows[i].name;
        size_t length = strlen(known);
        int far = distance(name, known);
        if (strncmp(name, known, length) == 0 && name[length] == '-') far = 1; /* batch-size */
        if (far <= least) {
            best = known;
            least = far - 1;
        }
    }
    return best;
}

static int unknown(const char *word)
{
    char name[64] = "";
    size_t length = 0;
    const char *at = word + strspn(word, "-");
    for (; at[length] && at[length] != '=' && length < sizeof name - 1; length++)
        name[length] = (char)(at[length] == '_' ? '-' : at[length]);
    const char *close = nearest(name);
    if (close)
        return fail("unknown option %s; did you mean --%s? --help lists what is accepted", word, close);
    return fail("unknown option %s; --help lists what is accepted", word);
}

/* The option of a word "--name" or "--name=value", whose name may be cut short; -1 if there is none, after a
 * sentence. */
static int find_option(const char *word)
{
    const char *name = word + 2;
    size_t length = strcspn(name, "=");
    int found = -1, others = 0;
    for (int i = 0; i < option_count; i++)
        if (length > 0 && strncmp(option_rows[i].name, name, length) == 0) {
            if (option_rows[i].name[length] == '\0') return i;
            others += found >= 0;
            found = i;
        }
    if (found >= 0 && others)
        return fail("%.*s is short for several options; --help lists them", (int)length + 2, word);
    return found >= 0 ? found : unknown(word);
}

/* ---- reading ---- */

/* Is this word an option rather than a value? */
static int is_option(const char *word)
{
    for (int i = 0; i < option_count && strncmp(word, "--", 2) == 0; i++) {
        size_t length = strlen(option_rows[i].name);
        if (strncmp(word + 2, option_rows[i].name, length) == 0 && strchr("=", word[length + 2]))
            return 1; /* the end of a word is in that string too */
    }
    return strcmp(word, "--help") == 0 || strcmp(word, "--version") == 0;
}

/* The option at argv[*at] and its values; *at comes to stand after them. */
static int read_option(struct options *o, char **argv, int *at)
{
    char *word = argv[(*at)++], *equals = strchr(word, '=');
    if (strncmp(word, "--", 2) != 0 && word[0] == '-' && word[1]) return unknown(word);
    if (strncmp(word, "--", 2) != 0) return fail("%s is not an option; give a text as --data %s", word, word);
    int i = find_option(word);
    if (i < 0) return -1;
    const struct option_row *row = &option_rows[i];
    if (!equals && (!argv[*at] || is_option(argv[*at])))
        return fail("--%s needs a value; see --help", row->name);
    if (row->kind == LIST && list_at(o, row)->count) {
        note("--%s was given before; the new value replaces %s", row->name, list_at(o, row)->name[0]);
        names_free(list_at(o, row));
    }
    o->given |= UINT64_C(1) << i;
    if (option_set(o, row, equals ? equals + 1 : argv[(*at)++])) return -1;
    while (row->kind == LIST && !equals && argv[*at] && argv[*at][0] != '-')
        if (option_set(o, row, argv[(*at)++])) return -1;
    return 0;
}

static void set_initial(struct options *o)
{
    *o = (struct options){0};
    for (int i = 0; i < option_count; i++) {
        if (option_rows[i].kind == REAL) *real_at(o, &option_rows[i]) = option_rows[i].initial;
        else if (option_rows[i].kind == WHOLE || option_rows[i].kind == CHOICE)
            *whole_at(o, &option_rows[i]) = (int64_t)option_rows[i].initial;
    }
    o->out = "out";
    o->prompt = "In the beginning";
}

int options_read(struct options *options, int argc, char **argv)
{
    set_initial(options);
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            print_help();
            return 1;
        }
        if (strcmp(argv[at], "--version") == 0) {
            printf("pretrain of librelora %s (%s)\n", relora_version_string(), relora_build_info());
            return 1;
        }
        if (read_option(options, argv, &at)) return -1;
    }
    if (options_take_recipe(options)) return -1;
    if (options->resume && strcmp(options->resume, "auto") == 0 && !options->save)
        return fail("--resume auto looks in the folder of --save, which is not given");
    if (options->threads < 0) options->threads = processors_default() < 1024 ? processors_default() : 1024;
    return options->resume ? 0 : options_resolve(options);
}

int options_given(const struct options *o, const char *name)
{
    for (int i = 0; i < option_count; i++)
        if (strcmp(option_rows[i].name, name) == 0) return (int)(o->given >> i & 1);
    return 0;
}

void options_free(struct options *options)
{
    names_free(&options->data);
    names_free(&options->val_data);
    json_decref(options->config);
}
