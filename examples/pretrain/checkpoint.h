/* Stopping and going on: a run's checkpoints, its first weights, and what it leaves for others. */
#ifndef PRETRAIN_CHECKPOINT_H
#define PRETRAIN_CHECKPOINT_H

#include "train.h"

/* Write step-N.safetensors into the folder of --save and drop the oldest beyond --keep. */
int checkpoint_save(const struct trainer *trainer);

/* For a trainer that has just been opened: try the folders of --save and --export, put it where --resume
 * says, or else take first weights from --init. */
int checkpoint_prepare(struct trainer *trainer);
#endif
