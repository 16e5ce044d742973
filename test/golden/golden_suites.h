/* Values from the authors' PyTorch code (README.md): one suite per kind of file. */
#ifndef TEST_GOLDEN_SUITES_H
#define TEST_GOLDEN_SUITES_H

#include "support/close.h"
#include "support/golden.h"
#include "support/objects.h"

/** golden_open() of a file that is closed at env_close(). */
static inline void close_golden(void *p) { golden_close(p); }

static inline struct golden *open_golden(const char *name)
{
    struct golden *g = golden_open(name);
    defer(close_golden, g);
    return g;
}

Suite *golden_layer(void);
Suite *golden_schedule(void);
Suite *golden_prune(void);
Suite *golden_trajectory(void);
Suite *golden_polar(void);
Suite *golden_restart(void);

#endif
