/* The run: warm start, low-rank training with restarts, evaluation. */
#ifndef PRETRAIN_TRAIN_H
#define PRETRAIN_TRAIN_H

#include <signal.h>
#include "data.h"
#include "feed.h"
#include "metrics.h"
#include "model.h"
#include "options.h"
#include "progress.h"

struct trainer {
    const struct options *options;
    const struct data *data;
    volatile sig_atomic_t *stop; /* set by a signal: end after this step */

    relora_context *ctx;
    relora_stream *stream;
    struct model *model;
    struct activations *acts;
    struct feed *feed;
    int32_t *tokens, *targets; /* [batch, seq], of an evaluation */

    /* of the present phase */
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle; /* NULL while there is nothing to merge */

    struct metrics metrics;
    struct progress progress;

    int64_t step;     /* updates done: what schedule and cycle count */
    int64_t attempts; /* steps with the skipped ones: what draws batches and dropout */
    int64_t skipped, restarts;
    double seconds;   /* spent in training steps */
    double val_loss;  /* of the last evaluation */
    int skipping;     /* the update just tried was skipped */
    int save_failed;  /* the last checkpoint could not be written */
};

/* All memory is taken here. On failure a sentence was printed; close it all the same. */
int trainer_open(struct trainer *trainer, const struct options *options, const struct data *data,
                 volatile sig_atomic_t *stop);
void trainer_close(struct trainer *trainer);
int trainer_run(struct trainer *trainer);

/* phase.c: enter full-rank or low-rank training with an optimizer and a schedule of its own. */
int phase_full(struct trainer *trainer);
int phase_low_rank(struct trainer *trainer);

/* "14.0 bytes per parameter (...), 12 MB; activations 34 MB", of the present phase */
void trainer_memory(const struct trainer *trainer, char *text, size_t size);

/* sample.c: continue the prompt on stdout. */
int sample_print(struct trainer *trainer);

#endif
