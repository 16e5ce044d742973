#ifndef TEST_THREADS_SETTINGS_H
#define TEST_THREADS_SETTINGS_H

#include "threads/suites.h"

/** What a child of the suite does: compute at `place`, and write the result to its standard output. */
int settings_child(const char *place);

#endif
