/* The files a run leaves in its folder: train.csv with a row for each step, eval.csv with a row for
 * each evaluation. Every row is written out at once, so they are valid whenever the run ends. */
#ifndef PRETRAIN_METRICS_H
#define PRETRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

enum { METRICS_ROW = 160 };

struct metrics {
    FILE *train, *eval;
    const char *folder;    /* borrowed */
    int error;             /* of the first row that could not be written; 0 if none */
    char row[METRICS_ROW]; /* the last row of train.csv, up to the speed */
};

struct metrics_row {
    int64_t step; /* updates done; a skipped one does not count */
    double loss, lr, grad_norm, clip, tokens_per_s;
    int skipped;
    const char *event; /* "", "warm_start_end", "full_rank", "restart" or "finish" */
};

/* Where a resumed run goes on. */
struct metrics_place {
    int64_t rows, step; /* steps, skipped ones included, and updates before it; both 0 in a new run */
    int64_t most;       /* the last update that this run can have a row of */
    const char *row;    /* `row` of that time; "" if it is not known */
};

/* Files of an earlier run are moved into a folder of their own, and a note says so. A resumed run keeps its
 * own rows up to its place, and the evaluations before it: it repeats one that belongs to `step`. */
int metrics_open(struct metrics *metrics, const char *folder, const struct metrics_place *place);
/* Rows that could not be written are a failure here. */
int metrics_close(struct metrics *metrics);
/* Files that were removed under the run are written anew, with all their rows; the folder is there. */
void metrics_keep(struct metrics *metrics);
void metrics_step(struct metrics *metrics, const struct metrics_row *row);
void metrics_eval(struct metrics *metrics, int64_t step, double loss);
/* Write one line to folder/summary.txt. */
int metrics_summary(const char *folder, const char *line);

#endif
