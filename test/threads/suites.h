/* Several threads, and the host's own OpenMP setting. A thread of these tests asserts nothing itself: it
 * hands back numbers, and the test looks at them. */
#ifndef TEST_THREADS_SUITES_H
#define TEST_THREADS_SUITES_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

Suite *threads_fork(void);
Suite *threads_parallel(void);
Suite *threads_any(void);
Suite *threads_errors(void);
Suite *threads_holds(void);
Suite *threads_release(void);
Suite *threads_counts(void);
Suite *threads_host(void);
Suite *threads_settings(void);
Suite *threads_float_mode(void);
Suite *threads_module(void);

#endif
