/* The table of options, for the files that read, fill and print them. */
#ifndef PRETRAIN_OPTIONS_TABLE_H
#define PRETRAIN_OPTIONS_TABLE_H

#include <stddef.h>
#include "options.h"

enum kind_of_option { WHOLE, REAL, TEXT, CHOICE, LIST };

struct choice {
    const char *name;
    int64_t value;
};

struct option_row {
    const char *name, *argument, *help;
    enum kind_of_option kind;
    size_t offset;    /* in struct options */
    double low, high; /* accepted, both ends included */
    double initial;   /* UNSET: found later from the size or from other options */
    const struct choice *choices;
    enum {
        BOUND,
        FREE
    } free; /* FREE: a resumed run may have another value, its numbers do not
                                  depend on it */
};

#define UNSET (-1.0) /* no option accepts it */
#define ANY 1e300    /* a real number without a limit */
#define F32_MOST 3e38
#define ABOVE_0 1e-30
#define BELOW_1 0.9999999

extern const struct option_row option_rows[];
extern const int option_count;

static inline int64_t *whole_at(struct options *o, const struct option_row *row)
{
    return (int64_t *)(void *)((char *)o + row->offset);
}

static inline double *real_at(struct options *o, const struct option_row *row)
{
    return (double *)(void *)((char *)o + row->offset);
}

static inline const char **text_at(struct options *o, const struct option_row *row)
{
    return (const char **)(void *)((char *)o + row->offset);
}

static inline struct names *list_at(struct options *o, const struct option_row *row)
{
    return (struct names *)(void *)((char *)o + row->offset);
}

/* Set an option to what a text says. -1 after a sentence. */
int option_set(struct options *options, const struct option_row *row, const char *text);

#endif
