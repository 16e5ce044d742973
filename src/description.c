/* Descriptions of objects: written by a table, compared field by field. */
#include "description.h"

#include <stdio.h>

#include "numeric.h"

enum {
    LAST_FULL = 4, /* releases up to 0.4 compare whole texts, so the fields they know are always written */
    VALUE = 160    /* room for a value of ours, spoken */
};

/* ---- writing ---- */

/* As it stands in a file. */
static void print_value(const struct option *row, struct option_value value, char out[VALUE])
{
    switch (row->type) {
    case OPTION_F64: numeric_text(out, VALUE, "%.17g", value.number); break;
    case OPTION_U64: snprintf(out, VALUE, "%llu", (unsigned long long)value.integer); break;
    case OPTION_FLAGS: snprintf(out, VALUE, "%u", (uint32_t)value.integer & ~row->quiet); break;
    default:
        if (row->type == OPTION_ENUM && !row->as_number)
            snprintf(out, VALUE, "%s", row->names[value.integer]);
        else snprintf(out, VALUE, "%lld", (long long)value.integer);
    }
}

static int is_told(const struct option *row)
{
    return row->type != OPTION_POINTER && row->quiet != QUIET;
}

static const char *heading_of(const struct options *table)
{
    return table->heading ? table->heading : "";
}

void description_put(struct text *text, const struct options *table, const void *options)
{
    for (int i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        char value[VALUE], usual[VALUE];
        if (!is_told(row)) continue;
        print_value(row, option_get(row, options), value);
        print_value(row, option_default(row), usual);
        if (row->since > LAST_FULL && !strcmp(value, usual)) continue;
        text_put(text, "%s%s=%s\n", heading_of(table), row->name, value);
    }
}

/* ---- reading ---- */

struct line {
    const char *name, *value;
    int name_length, value_length;
};

/* The line at *at, which moves behind it; 0 at the end. */
static int next_line(const char **at, const char *until, struct line *line)
{
    if (!**at || (until && !strncmp(*at, until, strlen(until)))) return 0;
    size_t length = strcspn(*at, "\n");
    const char *equals = memchr(*at, '=', length);
    size_t name_length = equals ? (size_t)(equals - *at) : length;
    size_t value_at = equals ? name_length + 1 : length;
    *line = (struct line){*at, *at + value_at, (int)name_length, (int)(length - value_at)};
    *at += length + ((*at)[length] == '\n');
    return 1;
}

static int is_field(const struct line *line, const struct options *table, const struct option *row)
{
    size_t heading = strlen(heading_of(table)), name = strlen(row->name);
    return (size_t)line->name_length == heading + name && !memcmp(line->name, heading_of(table), heading) &&
           !memcmp(line->name + heading, row->name, name);
}

static int find_field(const char *text, const char *until, const struct options *table,
                      const struct option *row, struct line *line)
{
    while (next_line(&text, until, line))
        if (is_field(line, table, row)) return 1;
    return 0;
}

/* A whole number of at most nine digits, or -1. */
static int64_t parse(const char *digits, int length)
{
    int64_t n = length && length < 10 ? 0 : -1;
    for (int i = 0; i < length && n >= 0; i++)
        n = digits[i] >= '0' && digits[i] <= '9' ? 10 * n + digits[i] - '0' : -1;
    return n;
}

static void speak_flags(const struct option *row, int64_t flags, char out[VALUE])
{
    int n = 0;
    for (int bit = 0; bit < option_name_count(row) && n < VALUE; bit++) {
        if (!(flags >> bit & 1)) continue;
        n += snprintf(out + n, VALUE - (size_t)n, "%s%s", n ? "|" : "", row->names[bit]);
        flags &= ~(INT64_C(1) << bit);
    }
    if (flags && n < VALUE) snprintf(out + n, VALUE - (size_t)n, "%s0x%llx", n ? "|" : "", (long long)flags);
}

/* The value of a line as a sentence has it: names for numbers. Equal values speak equally. */
static void speak(const struct option *row, const char *value, int length, char out[VALUE])
{
    int64_t n = row->names ? parse(value, length) : -1;
    if (n > 0 && row->type == OPTION_FLAGS) speak_flags(row, n, out);
    else if (n >= 0 && row->type == OPTION_ENUM && n < option_name_count(row) && row->names[n])
        snprintf(out, VALUE, "%s", row->names[n]);
    else snprintf(out, VALUE, "%.*s", length, value);
}

/* ---- comparing ---- */

static relora_status told(const struct text *why)
{
    return why->failed ? RELORA_E_NO_MEMORY : RELORA_E_STATE;
}

static relora_status compare_field(const struct options *table, const struct option *row, const char *ours,
                                   const char *theirs, const char *until, struct text *why)
{
    char usual[VALUE], mine[VALUE], other[VALUE];
    const char *heading = heading_of(table);
    print_value(row, option_default(row), usual);
    const struct line absent = {.value = usual, .value_length = (int)strlen(usual)};
    struct line line;
    if (!find_field(ours, NULL, table, row, &line)) line = absent;
    speak(row, line.value, line.value_length, mine);
    int there = find_field(theirs, until, table, row, &line);
    if (!there) line = absent;
    speak(row, line.value, line.value_length, other);
    if (!strcmp(mine, other)) return RELORA_OK;
    text_put(why, "%s%s=%s here, but %s%s=%s in the file%s", heading, row->name, mine, heading, row->name,
             other, there ? "" : ", which leaves it at its default");
    return told(why);
}

/* Is it a field, and the first line of that name? */
enum known { UNKNOWN, KNOWN, TWICE };
static enum known look_up(const struct options *const *tables, const struct line *line, const char *text)
{
    struct line first;
    for (; *tables; tables++) {
        for (int i = 0; i < (*tables)->count; i++) {
            const struct option *row = &(*tables)->rows[i];
            if (!is_told(row) || !is_field(line, *tables, row)) continue;
            return find_field(text, NULL, *tables, row, &first) && first.name == line->name ? KNOWN : TWICE;
        }
    }
    return UNKNOWN;
}

/* Lines of the file that are no field of ours. 0 means not used, as behind a struct of options. */
static relora_status check_lines(const struct options *const *tables, const char **theirs, const char *until,
                                 struct text *why)
{
    const char *start = *theirs;
    struct line line;
    while (next_line(theirs, until, &line)) {
        enum known known = look_up(tables, &line, start);
        int unused = line.value_length == 1 && line.value[0] == '0';
        if (known == KNOWN || (known == UNKNOWN && unused)) continue;
        if (known == TWICE) text_put(why, "%.*s is in the file twice", line.name_length, line.name);
        else
            text_put(why, "the file has %.*s=%.*s, which this release does not know", line.name_length,
                     line.name, line.value_length, line.value);
        return told(why);
    }
    return RELORA_OK;
}

relora_status description_compare(const struct options *const *tables, const char *ours, const char **theirs,
                                  const char *until, struct text *why)
{
    for (const struct options *const *table = tables; *table; table++) {
        for (int i = 0; i < (*table)->count; i++) {
            const struct option *row = &(*table)->rows[i];
            relora_status status =
                is_told(row) ? compare_field(*table, row, ours, *theirs, until, why) : RELORA_OK;
            if (status < 0) return status;
        }
    }
    return check_lines(tables, theirs, until, why);
}
