/* The training of toy.c, for a test of the same on a device. */
#ifndef TEST_TRAIN_TOY_H
#define TEST_TRAIN_TOY_H

#include <stdint.h>

/** The loss before each update of a warm start and three restarts, in env; lives until env_close(). */
const double *toy_losses(int64_t *count);

#endif
