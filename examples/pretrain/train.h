/* The run: warm start, low-rank training with restarts, evaluation. */
#ifndef PRETRAIN_TRAIN_H
#define PRETRAIN_TRAIN_H

#include <limits.h>
#include "data.h"
#include "feed.h"
#include "folder.h"
#include "health.h"
#include "metrics.h"
#include "model.h"
#include "options.h"
#include "progress.h"
#include "ranks.h"

struct trainer {
    const struct options *options;
    struct data *data;
    const struct ranks *ranks;
    int64_t batch, accumulate; /* sequences in a micro-batch, and those of all ranks in an update */
    struct folders *folders;   /* that of --save may have to be made again */

    relora_context *ctx;
    relora_reader *from; /* the checkpoint that is to be gone on from; NULL once that is done */
    char from_path[PATH_MAX];
    int resumed; /* it was one */
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
    struct metrics_place place; /* where they go on */
    char row[METRICS_ROW];      /* their last row then */
    struct progress progress;
    struct health health;

    int64_t end;     /* updates of the whole run, as far as the present schedule knows */
    int64_t planned; /* those of the checkpoint */

    int64_t step;     /* updates done: what schedule and cycle count */
    int64_t attempts; /* steps with the skipped ones: what draws batches and dropout */
    int64_t skipped, restarts;
    double seconds;   /* spent in training steps */
    double val_loss;  /* of the last evaluation, below 0 before the first; */
    double accuracy;  /* of --classify, at the end; below 0 before */
    int64_t val_step; /* after how many updates it was */
    int64_t saved;    /* step of the last checkpoint of this process, or -1 */
    int stepped;      /* a step in full rank was told of */
    int skipping;     /* the update just tried was skipped */
    int save_failed;  /* the last checkpoint could not be written */
    int told_of_old;  /* that an old one cannot be removed */
    int stopped;      /* an end was asked for and came before that of the run */
    int data_failed;  /* tokens could not be had */
    int died;         /* the run is complete, and no good */
};

/* The context alone, with which a checkpoint can be read. */
int trainer_start(struct trainer *trainer, const struct options *options, const struct ranks *ranks,
                  struct folders *folders);
/* All memory is taken here. On failure a sentence was printed; close it all the same. */
int trainer_open(struct trainer *trainer, struct data *data);
void trainer_close(struct trainer *trainer);
/* To the end, or until it is asked to stop: then the update under way is dropped, and a checkpoint written. */
int trainer_run(struct trainer *trainer);

/* Do the processes train by themselves now, and meet at restarts? */
int trainer_is_apart(const struct trainer *trainer);

/* division.c: what each process has of an update. Make micro-batches that go round. */
void division_make(struct trainer *trainer);
/* -1 after a sentence: the options are not for processes that meet at restarts alone. */
int division_check(const struct trainer *trainer);
/* Micro-batches of an update: of all processes or, if they are apart, of this one. */
int64_t division_micros(const struct trainer *trainer);
/* The first micro-batch of the last --batch sequences, and does this process have one from there on? */
int64_t division_last(const struct trainer *trainer);
int division_has_last(const struct trainer *trainer);

/* phase.c: enter full-rank or low-rank training with an optimizer and a schedule of its own. */
int phase_full(struct trainer *trainer);
int phase_low_rank(struct trainer *trainer);
/* Go on in the present phase with the learning rate of a run that ends later. */
int phase_prolong(struct trainer *trainer, int64_t end);

/* "14.0 bytes per parameter (...), 12 MB; activations 34 MB", of the present phase */
void trainer_memory(const struct trainer *trainer, char *text, size_t size);

/* sample.c: is the prompt one for this data? To be asked before a run that takes days. -1 after a sentence. */
int sample_check(const struct options *options, const struct data *data);
/* Continue the prompt on stdout; not to the end if an end is asked for. */
int sample_print(struct trainer *trainer);

/* classify.c: t->accuracy, the share of the validation's lines that are given their label. -1 after a sentence, or if
 * an end is asked for. */
int classify(struct trainer *trainer);

#endif
