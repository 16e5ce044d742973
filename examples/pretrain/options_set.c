/* The value of one option, from its text. */
#include "options_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "report.h"

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
    if (isspace((unsigned char)*text) || end == text || *end || errno || (double)value < row->low ||
        (double)value > row->high)
        return fail("--%s %s: accepted is a whole number from %.0f to %.0f", row->name, text, row->low,
                    row->high);
    *whole_at(o, row) = value;
    return 0;
}

static int set_real(struct options *o, const struct option_row *row, const char *text)
{
    char *end, low[32], high[32] = "";
    double value = strtod(text, &end);
    if (!isspace((unsigned char)*text) && end != text && !*end && value >= row->low && value <= row->high) {
        *real_at(o, row) = value;
        return 0;
    }
    if (row->low == ABOVE_0) snprintf(low, sizeof low, "above 0");
    else snprintf(low, sizeof low, "of at least %g", row->low);
    if (row->high == BELOW_1) snprintf(high, sizeof high, " and below 1");
    else if (row->high < ANY) snprintf(high, sizeof high, " and at most %g", row->high);
    return fail("--%s %s: accepted is a number %s%s", row->name, text, low, high);
}

int option_set(struct options *o, const struct option_row *row, const char *text)
{
    switch (row->kind) {
    case WHOLE: return set_whole(o, row, text);
    case REAL: return set_real(o, row, text);
    case CHOICE: return set_choice(o, row, text);
    default:
        if (!*text) return fail("--%s: accepted is a text that is not empty", row->name);
        if (row->kind == LIST) return names_add(list_at(o, row), text);
        *text_at(o, row) = text;
        return 0;
    }
}
