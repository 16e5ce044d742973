/* The results: a table of what has a target, and bench.json. */
#include "bench.h"
#include <stdarg.h>

enum { MAX_ROWS = 200 };
static struct row {
    char name[80];
    const char *unit;
    double value, target, bound;
    int higher;
} rows[MAX_ROWS];
static int row_count;

void add_row(double value, const char *unit, double target, int higher, double bound, const char *name, ...)
{
    va_list args;
    if (row_count == MAX_ROWS) return;
    struct row *row = &rows[row_count++];
    *row = (struct row){.unit = unit, .value = value, .target = target, .bound = bound, .higher = higher};
    va_start(args, name);
    vsnprintf(row->name, sizeof row->name, name, args);
    va_end(args);
}

static int met(const struct row *row)
{
    return row->higher ? row->value >= row->target : row->value <= row->target;
}

void print_rows(void)
{
    int hits = 0, targets = 0, bounds = 0;
    for (int i = 0; i < row_count; i++) bounds += !isnan(rows[i].bound);
    printf("\n%-58s %8s      target        %s\n", "What is asked for", "value",
           bounds ? "by operations" : "");
    for (int i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        char bound[20] = "";
        if (isnan(row->target)) continue;
        if (!isnan(row->bound)) snprintf(bound, sizeof bound, "%7.3f", row->bound);
        printf("%-58s %8.3f %-4s %s %-5.3g %-5s %s\n", row->name, row->value, row->unit,
               row->higher ? ">=" : "<=", row->target, met(row) ? "met" : "NOT", bound);
        hits += met(row);
        targets++;
    }
    if (targets) printf("%d of %d met\n", hits, targets);
    if (bounds)
        printf(
            "By operations: what would be, if all products were equally fast and nothing else took time\n");
}

static void write_number(FILE *file, const char *name, double value)
{
    if (isfinite(value)) fprintf(file, ", \"%s\": %.6g", name, value);
    else fprintf(file, ", \"%s\": null", name);
}

static void write_row(FILE *file, const struct row *row, const char *more, double value, double target,
                      int first)
{
    fprintf(file, "%s\n    {\"name\": \"%s%s\"", first ? "" : ",", row->name, more);
    write_number(file, "value", value);
    fprintf(file, ", \"unit\": \"%s\"", row->unit);
    write_number(file, "target", target);
    fprintf(file, ", \"higher\": %s}", row->higher ? "true" : "false");
}

int write_rows(const char *path, const char *head)
{
    FILE *file = fopen(path, "w");
    if (!file) return -1;
    fprintf(file, "{\n%s  \"rows\": [", head);
    for (int i = 0; i < row_count; i++) {
        write_row(file, &rows[i], "", rows[i].value, rows[i].target, i == 0);
        if (!isnan(rows[i].bound)) write_row(file, &rows[i], ", by operations", rows[i].bound, NO_BOUND, 0);
    }
    fprintf(file, "\n  ]\n}\n");
    return fclose(file);
}
