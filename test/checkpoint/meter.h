/* The environment of fixture.h over an allocator that remembers its highest level and can refuse one
 * request: the nth from now on, and no other. */
#ifndef TEST_CHECKPOINT_METER_H
#define TEST_CHECKPOINT_METER_H

#include <stdint.h>

struct meter {
    int64_t refuse;   /* the request to refuse, from 1; 0: none */
    int64_t requests; /* since meter_refuse() */
    int64_t peak;     /* bytes outstanding at most, since meter_start() */
};
extern struct meter meter;

/** Close env and open it anew over the meter. */
void meter_env(void);
void meter_refuse(int64_t nth);
void meter_start(void);

#endif
