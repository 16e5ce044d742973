/* Options and reports across the ABI; a table's rows, applied. */
#include "options.h"

#include <stdio.h>

#include "numeric.h"

const char *const dtype_names[] = {NULL, "F32", "BF16", NULL};
const char *const rounding_names[] = {NULL, "NEAREST", "STOCHASTIC", NULL};

/* ---- one field ---- */

static int is_narrow(const struct option *row)
{
    return row->type == OPTION_I32 || row->type == OPTION_ENUM || row->type == OPTION_FLAGS;
}

struct option_value option_get(const struct option *row, const void *options)
{
    struct option_value value = {0};
    const unsigned char *field = (const unsigned char *)options + row->at;
    uint32_t narrow;
    if (row->type == OPTION_POINTER) return value;
    if (row->type == OPTION_F64) {
        memcpy(&value.number, field, sizeof value.number);
    } else if (is_narrow(row)) {
        memcpy(&narrow, field, sizeof narrow);
        value.integer = row->type == OPTION_FLAGS ? (int64_t)narrow : (int64_t)(int32_t)narrow;
    } else {
        memcpy(&value.integer, field, sizeof value.integer);
    }
    return value;
}

struct option_value option_default(const struct option *row)
{
    if (row->type == OPTION_F64) return (struct option_value){.number = row->value};
    /* Or clang would convert a fraction before it knows, which raises a flag of the host's floating-point mode. */
    volatile double whole = row->value;
    return (struct option_value){.integer = (int64_t)whole};
}

static void put_default(const struct option *row, void *options)
{
    unsigned char *field = (unsigned char *)options + row->at;
    struct option_value value = option_default(row);
    uint32_t narrow = (uint32_t)value.integer;
    if (row->type == OPTION_POINTER) return; /* NULL already */
    if (row->type == OPTION_F64) memcpy(field, &value.number, sizeof value.number);
    else if (is_narrow(row)) memcpy(field, &narrow, sizeof narrow);
    else memcpy(field, &value.integer, sizeof value.integer);
}

int option_name_count(const struct option *row)
{
    int n = row->type == OPTION_ENUM; /* place 0 of an enumeration may be empty */
    while (row->names && row->names[n]) n++;
    return n;
}

/* ---- a struct ---- */

static void put_defaults(const struct options *table, void *options)
{
    uint32_t size = (uint32_t)table->size;
    memset(options, 0, table->size);
    memcpy(options, &size, sizeof size);
    for (int i = 0; i < table->count; i++) put_default(&table->rows[i], options);
}

relora_status options_write(const struct options *table, void *to, size_t to_size)
{
    unsigned char defaults[OPTIONS_MAX];
    if (!to) return RELORA_E_ARGUMENT;
    if (to_size < sizeof(uint32_t) || to_size > OPTIONS_MAX) return RELORA_E_STRUCT_SIZE;
    put_defaults(table, defaults);
    memset(to, 0, to_size);
    memcpy(to, defaults, to_size < table->size ? to_size : table->size);
    uint32_t n = (uint32_t)to_size;
    memcpy(to, &n, sizeof n);
    return RELORA_OK;
}

relora_status options_take(const struct options *table, void *to, const void *from)
{
    uint32_t n, size = (uint32_t)table->size;
    put_defaults(table, to);
    if (!from) return RELORA_OK;
    memcpy(&n, from, sizeof n);
    if (n < table->first_size || n > OPTIONS_MAX) return RELORA_E_STRUCT_SIZE;
    if (n < size && n % sizeof(void *)) return RELORA_E_STRUCT_SIZE; /* no release ended within a pointer */
    for (size_t i = size; i < n; i++)
        if (((const unsigned char *)from)[i]) return RELORA_E_STRUCT_SIZE;
    memcpy(to, from, n < size ? n : size);
    memcpy(to, &size, sizeof size);
    return RELORA_OK;
}

relora_status report_init(void *to, size_t to_size)
{
    uint32_t n = (uint32_t)to_size;
    if (!to) return RELORA_E_ARGUMENT;
    if (to_size < sizeof n || to_size > OPTIONS_MAX) return RELORA_E_STRUCT_SIZE;
    memset(to, 0, to_size);
    memcpy(to, &n, sizeof n);
    return RELORA_OK;
}

relora_status report_write(void *to, const void *report, size_t size)
{
    uint32_t n;
    if (!to) return RELORA_OK;
    memcpy(&n, to, sizeof n);
    if (n < sizeof n || n > OPTIONS_MAX) return RELORA_E_STRUCT_SIZE;
    memset(to, 0, n);
    memcpy(to, report, n < size ? n : size);
    memcpy(to, &n, sizeof n);
    return RELORA_OK;
}

/* ---- what is refused ---- */

static relora_status check_integer(const struct option *row, int64_t value, const char *name,
                                   char why[OPTIONS_WHY])
{
    if ((double)value >= row->low && (double)value <= row->high) return RELORA_OK;
    int n = snprintf(why, OPTIONS_WHY, "%s.%s is %lld, ", name, row->name, (long long)value);
    if (row->low == row->high) numeric_text(why + n, OPTIONS_WHY - (size_t)n, "not %.0f", row->low);
    else if (isinf(row->high)) numeric_text(why + n, OPTIONS_WHY - (size_t)n, "less than %.0f", row->low);
    else numeric_text(why + n, OPTIONS_WHY - (size_t)n, "outside %.0f to %.0f", row->low, row->high);
    return RELORA_E_ARGUMENT;
}

static relora_status check_number(const struct option *row, double value, const char *name,
                                  char why[OPTIONS_WHY])
{
    int low = row->above_low ? value > row->low : value >= row->low;
    int high = row->below_high ? value < row->high : value <= row->high;
    if (isfinite(value) && low && high) return RELORA_OK;
    int n = numeric_text(why, OPTIONS_WHY, "%s.%s is %g, ", name, row->name, value);
    if (isinf(row->low)) snprintf(why + n, OPTIONS_WHY - (size_t)n, "not a finite number");
    else if (isinf(row->high))
        numeric_text(why + n, OPTIONS_WHY - (size_t)n, "not a finite number %s %g",
                     row->above_low ? "above" : "from", row->low);
    else
        numeric_text(why + n, OPTIONS_WHY - (size_t)n, "outside %c%g, %g%c", row->above_low ? '(' : '[',
                     row->low, row->high, row->below_high ? ')' : ']');
    return RELORA_E_ARGUMENT;
}

static relora_status check_enum(const struct option *row, int64_t value, const char *name,
                                char why[OPTIONS_WHY])
{
    int count = option_name_count(row);
    if (value >= 0 && value < count && row->names[value]) return RELORA_OK;
    int n = snprintf(why, OPTIONS_WHY, "%s.%s is %lld, not one of", name, row->name, (long long)value);
    const char *comma = "";
    for (int i = 0; i < count && n < OPTIONS_WHY; i++) {
        int again = row->names[i] && row->names[i + 1] && !strcmp(row->names[i], row->names[i + 1]);
        if (!row->names[i] || again) continue; /* 0 may have the name of the value it stands for */
        n += snprintf(why + n, OPTIONS_WHY - (size_t)n, "%s %s", comma, row->names[i]);
        comma = ",";
    }
    return RELORA_E_ARGUMENT;
}

static relora_status check_flags(const struct option *row, int64_t value, const char *name,
                                 char why[OPTIONS_WHY])
{
    uint32_t flags = (uint32_t)value, known = (UINT32_C(1) << option_name_count(row)) - 1;
    if (!(flags & ~known)) return RELORA_OK;
    if (known)
        snprintf(why, OPTIONS_WHY, "%s.%s is 0x%x, and only 0x%x is known", name, row->name, flags, known);
    else snprintf(why, OPTIONS_WHY, "%s.%s is 0x%x, and none is known", name, row->name, flags);
    return RELORA_E_ARGUMENT;
}

static int is_default(const struct option *row, const void *options)
{
    struct option_value value = option_get(row, options), usual = option_default(row);
    return row->type == OPTION_F64 ? value.number == usual.number : value.integer == usual.integer;
}

/* A field that this kind has no use for. */
static relora_status check_unused(const struct option *row, const void *options, const char *name,
                                  const char *kind, char why[OPTIONS_WHY])
{
    struct option_value value = option_get(row, options);
    if (row->ignored || is_default(row, options)) return RELORA_OK;
    if (row->type == OPTION_F64)
        numeric_text(why, OPTIONS_WHY, "%s.%s is %g, but is not used by %s", name, row->name, value.number,
                     kind);
    else
        snprintf(why, OPTIONS_WHY, "%s.%s is %lld, but is not used by %s", name, row->name,
                 (long long)value.integer, kind);
    return RELORA_E_ARGUMENT;
}

static relora_status check_row(const struct option *row, const void *options, const char *name,
                               char why[OPTIONS_WHY])
{
    struct option_value value = option_get(row, options);
    switch (row->type) {
    case OPTION_I32:
    case OPTION_I64: return check_integer(row, value.integer, name, why);
    case OPTION_F64: return check_number(row, value.number, name, why);
    case OPTION_ENUM: return check_enum(row, value.integer, name, why);
    case OPTION_FLAGS: return check_flags(row, value.integer, name, why);
    default: return RELORA_OK;
    }
}

relora_status options_check(const struct options *table, const void *options, const char *name,
                            char why[OPTIONS_WHY])
{
    const struct option *kinds = &table->rows[0]; /* looked at first, so that the others can rely on it */
    for (int i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        int64_t kind = row->kinds ? option_get(kinds, options).integer : 0;
        relora_status status = row->kinds && !(row->kinds >> kind & 1)
                                   ? check_unused(row, options, name, kinds->names[kind], why)
                                   : check_row(row, options, name, why);
        if (status < 0) return status;
    }
    return RELORA_OK;
}
