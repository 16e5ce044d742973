/* Parts of examples/pretrain, from inside. What the program does as a process is tested in test/pretrain. */
#ifndef TEST_PROGRAM_SUITES_H
#define TEST_PROGRAM_SUITES_H

#include <check.h>

Suite *program_health(void);
Suite *program_metrics(void);
Suite *program_processors(void);
Suite *program_progress(void);

#endif
