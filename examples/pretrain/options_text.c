/* Options as a checkpoint keeps them: written, taken over, compared. */
#include "options_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "report.h"

const char *options_choice(const char *option, int64_t value)
{
    for (int i = 0; i < option_count; i++)
        for (int j = 0; strcmp(option_rows[i].name, option) == 0 && option_rows[i].choices &&
                        option_rows[i].choices[j].name;
             j++)
            if (option_rows[i].choices[j].value == value) return option_rows[i].choices[j].name;
    return "?";
}

/* Unset to the end: the shape, if that of a Llama folder is used. */
static int is_unset(const struct options *o, const struct option_row *row)
{
    union {
        const struct options *read;
        struct options *write;
    } same = {o};
    return row->kind == WHOLE && *whole_at(same.write, row) < 0;
}

static void print_value(const struct options *o, const struct option_row *row, char *text, size_t size)
{
    union { /* the accessors are for writing too */
        const struct options *read;
        struct options *write;
    } same = {o};
    if (row->kind == REAL) {
        double value = *real_at(same.write, row);
        snprintf(text, size, "%.15g", value); /* as it was typed, if that is exact */
        if (strtod(text, NULL) < value || strtod(text, NULL) > value) snprintf(text, size, "%.17g", value);
    } else if (row->kind == CHOICE)
        snprintf(text, size, "%s",
                 row->choices ? options_choice(row->name, *whole_at(same.write, row)) : sizes[o->size].name);
    else snprintf(text, size, "%" PRId64, *whole_at(same.write, row));
}

void options_describe(const struct options *o, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < option_count; i++) {
        char value[64];
        if (option_rows[i].free || is_unset(o, &option_rows[i]) || used >= size) continue;
        print_value(o, &option_rows[i], value, sizeof value);
        used += (size_t)snprintf(text + used, size - used, "%s=%s\n", option_rows[i].name, value);
    }
    if (o->end > o->steps && used < size)
        snprintf(text + used, size - used, "prolonged=%" PRId64 "\n", o->end);
}

/* The value of a line "name=value"; -1 if there is none or it does not fit. */
static int find_value(const char *text, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    const char *line = text;
    while (line && (strncmp(line, name, length) != 0 || line[length] != '='))
        line = (line = strchr(line, '\n')) ? line + 1 : NULL;
    if (!line) return -1;
    line += length + 1;
    int count = (int)strcspn(line, "\n");
    return snprintf(value, size, "%.*s", count, line) < (int)size ? 0 : -1;
}

static int is_known(const char *name, size_t length)
{
    for (int i = 0; i < option_count; i++)
        if (strlen(option_rows[i].name) == length && strncmp(option_rows[i].name, name, length) == 0)
            return 1;
    return length == strlen("prolonged") && strncmp(name, "prolonged", length) == 0;
}

/* A later release may have options that the numbers depend on. */
static int check_names(const char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t length = strcspn(line, "=\n");
        if (!is_known(line, length))
            return fail("--resume: the checkpoint was made with --%.*s, which this release does not know",
                        (int)length, line);
    }
    return 0;
}

/* All that were not given, and the planned number of steps whatever was given. */
static int take_over(struct options *o, const char *text)
{
    char value[64];
    for (int i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        int given = (o->given >> i & 1) && strcmp(row->name, "steps") != 0;
        if (row->free == BOUND && !given && find_value(text, row->name, value, sizeof value) == 0 &&
            option_set(o, row, value))
            return fail("--resume: the checkpoint's options are not those of this program");
    }
    return 0;
}

/* Those that were given against those of the checkpoint. */
static int compare(const struct options *o, const char *text)
{
    int result = 0;
    for (int i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        char value[64], stored[64];
        if (row->free == FREE || !(o->given >> i & 1) || strcmp(row->name, "steps") == 0) continue;
        print_value(o, row, value, sizeof value);
        if (find_value(text, row->name, stored, sizeof stored)) snprintf(stored, sizeof stored, "nothing");
        if (strcmp(value, stored) != 0)
            result = fail("--%s is %s, but the checkpoint was made with %s", row->name, value, stored);
    }
    return result;
}

int options_adopt(struct options *o, const char *text, int64_t *planned)
{
    char value[64];
    int64_t asked = options_given(o, "steps") ? o->steps : 0;
    if (check_names(text) || take_over(o, text)) return -1;
    *planned = o->steps;
    if (find_value(text, "prolonged", value, sizeof value) == 0) *planned = strtoll(value, NULL, 10);
    o->end = asked > *planned ? asked : *planned;
    if (options_resolve(o) || compare(o, text)) return -1;
    if (asked && asked < *planned)
        return fail("--steps is %" PRId64 ", but the checkpoint is of a run of %" PRId64
                    "; a run can be made "
                    "longer, not shorter",
                    asked, *planned);
    return 0;
}
