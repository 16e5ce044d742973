/* The files a run leaves in its folder: train.csv with a row for each step, eval.csv with a row for
 * each evaluation. Every row is written out at once, so they are valid whenever the run ends. */
#ifndef PRETRAIN_METRICS_H
#define PRETRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

struct metrics {
    FILE *train, *eval;
};

struct metrics_row {
    int64_t step; /* updates done; a skipped one does not count */
    double loss, lr, grad_norm, clip, tokens_per_s;
    int skipped;
    const char *event; /* "", "warm_start_end", "restart" or "finish" */
};

/* Makes the folder if need be. A run that goes on after `rows` steps, skipped ones included, which made
 * `step` updates, keeps those rows, and the evaluations before it: it repeats one that belongs to `step`. */
int metrics_open(struct metrics *metrics, const char *folder, int64_t rows, int64_t step);
int metrics_close(struct metrics *metrics);
void metrics_step(struct metrics *metrics, const struct metrics_row *row);
void metrics_eval(struct metrics *metrics, int64_t step, double loss);
/* Write one line to folder/summary.txt. */
int metrics_summary(const char *folder, const char *line);

#endif
