/* What a person sees on stderr: a bar on a terminal, a line now and then elsewhere. */
#ifndef PRETRAIN_PROGRESS_H
#define PRETRAIN_PROGRESS_H

#include <stdint.h>

struct progress {
    int terminal;
    int64_t first, total, every; /* steps; plain lines come every so many */
    double started, drawn, loss; /* loss is smoothed */
    int bar_shown;
};

double progress_now(void); /* seconds, monotonic */
void progress_begin(struct progress *progress, int64_t first, int64_t total);
void progress_step(struct progress *progress, int64_t step, double loss, double lr,
                   double tokens_per_s);
/* A line of its own; the bar comes back below it. */
#ifdef __GNUC__
__attribute__((format(printf, 2, 3)))
#endif
void progress_line(struct progress *progress, const char *format, ...);
void progress_end(struct progress *progress);

#endif
