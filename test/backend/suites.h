/* A device that fails, tested without one; see faulty.h. */
#ifndef TEST_BACKEND_SUITES_H
#define TEST_BACKEND_SUITES_H

#include <check.h>

Suite *backend_constructors(void);
Suite *backend_training(void);
Suite *backend_files(void);
Suite *backend_finished(void);
Suite *backend_groups(void);

#endif
