/* Stopping and going on: a run's checkpoints, its first weights, and what it leaves for others. */
#ifndef PRETRAIN_CHECKPOINT_H
#define PRETRAIN_CHECKPOINT_H

#include "train.h"

/* Write step-N.safetensors into the folder of --save and drop the oldest beyond --keep. */
int checkpoint_save(const struct trainer *trainer);

/* Put the trainer, which has just been opened, where --resume says. */
int checkpoint_resume(struct trainer *trainer);

/* Take first weights from --init. */
int checkpoint_init(struct trainer *trainer);

/* Write the model as a Hugging Face Llama folder. */
int export_llama(const struct trainer *trainer, const char *folder);

#endif
