/* Whole trainings, and the model of examples/pretrain. */
#ifndef TEST_TRAIN_SUITES_H
#define TEST_TRAIN_SUITES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

Suite *train_toy(void);
Suite *train_model(void);
Suite *train_resume(void);

#endif
