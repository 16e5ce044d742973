/* What a person sees on stderr: a bar on a terminal, a line now and then elsewhere. */
#ifndef PRETRAIN_PROGRESS_H
#define PRETRAIN_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

struct progress {
    int terminal;
    int64_t first, total, every; /* steps; plain lines come every so many, */
    double started, spoken;      /* and after half a minute */
    double drawn, polled, loss;  /* loss is smoothed; below 0 before the first */
    int64_t step;
    double lr, tokens_per_s;
};

double progress_now(void); /* seconds, monotonic */
void progress_begin(struct progress *progress, int64_t first, int64_t total);
void progress_step(struct progress *progress, int64_t step, double loss, double lr, double tokens_per_s);
/* Within a step or an evaluation: `part` of `parts` are done, of "micro-batch" and the like. */
void progress_part(struct progress *progress, const char *what, int64_t part, int64_t parts);
/* A line of its own; the bar comes back below it. */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
void progress_line(struct progress *progress, const char *format, ...);
void progress_end(struct progress *progress);

/* The bar, in less than `columns` columns. */
void progress_draw(const struct progress *progress, int columns, double left, char *text, size_t size);

#endif
