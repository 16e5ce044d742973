/* The calendar of restarts: cycles that may grow, and layers that may restart one group after the other. */
#ifndef RELORA_SRC_PERIOD_H
#define RELORA_SRC_PERIOD_H

#include <stdint.h>

struct period {
    int64_t every;  /* updates of the first cycle; 1 or more */
    int64_t growth; /* by which each cycle is longer than the one before it */
    int64_t groups; /* of layers, of which group g restarts g / groups of a cycle later; 0 is 1 */
};

/* Updates before cycle k = 0, 1, ...; INT64_MAX, if there are more than a count holds. */
int64_t period_start(const struct period *p, int64_t k);

/* The cycle in which update t = 0, 1, ... is. */
int64_t period_cycle(const struct period *p, int64_t t);

/* Number of the restart of layer `index` that follows when `done` updates are done, from 1; 0 if none does. */
int64_t period_restart(const struct period *p, int64_t done, int64_t index);

#endif
