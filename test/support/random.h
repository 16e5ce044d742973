/* Random numbers of the tests: a generator of their own, so that nothing of the library is used to
 * test the library. */
#ifndef TEST_SUPPORT_RANDOM_H
#define TEST_SUPPORT_RANDOM_H

#include <stdint.h>

struct rnd {
    uint64_t state;
};

struct rnd rnd_seed(uint64_t seed);
uint64_t rnd_bits(struct rnd *r);
double rnd_uniform(struct rnd *r, double low, double high);
double rnd_normal(struct rnd *r);
void rnd_fill_normal(struct rnd *r, double *to, int64_t n, double scale);

#endif
