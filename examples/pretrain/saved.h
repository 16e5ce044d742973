/* The files of checkpoints in a folder: their names, which there are, and dropping old ones. */
#ifndef PRETRAIN_SAVED_H
#define PRETRAIN_SAVED_H

#include <limits.h>
#include <stdint.h>

/* Of the checkpoint after `step`; -1 after a sentence. */
int saved_path(char path[PATH_MAX], const char *folder, int64_t step);
/* Of another process, beside that of the first, for processes that train apart. */
int saved_path_of_rank(char path[PATH_MAX], const char *first, int rank);

/* Steps of all checkpoints, the newest first. Returns how many, or -1; *steps is to be freed. */
int saved_steps(const char *folder, int64_t **steps);

/* Remove what is older than the `keep` newest up to `last`, which is our own. Later ones are not ours: a
 * run that had to go back may find damaged ones there, and writes over them in time. A note says the first time that
 * one cannot be removed, and sets *told. */
void saved_drop_old(const char *folder, int64_t keep, int64_t last, int ranks, int *told);

/* What a run that was killed while it saved has left in a folder that is ours now: files that are not complete, and one
 * more than --keep, which may be all the room there is. `from` is the step that the run goes on from, or -1. */
void saved_tidy(const char *folder, int64_t keep, int64_t from, int ranks, int *told);

#endif
