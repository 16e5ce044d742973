/* Stopping and going on: a run's checkpoints, its first weights, and what it leaves for others. */
#ifndef PRETRAIN_CHECKPOINT_H
#define PRETRAIN_CHECKPOINT_H

#include "train.h"

/* Write step-N.safetensors into the folder of --save and drop the oldest beyond --keep. */
int checkpoint_save(struct trainer *trainer);

/* Find the checkpoint of --resume and take over its options, before anything is made by them. Returns a status
 * of stop.h, after a sentence if it is not STATUS_DONE. */
int checkpoint_find(struct trainer *trainer, struct options *options);
/* For a trainer that has just been opened: put it where that checkpoint was, or else take first weights from
 * --init. */
int checkpoint_prepare(struct trainer *trainer);
#endif
