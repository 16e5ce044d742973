#include "support/random.h"
#include <math.h>

struct rnd rnd_seed(uint64_t seed)
{
    struct rnd r = {seed * 0x9e3779b97f4a7c15u + 1};
    return r;
}

uint64_t rnd_bits(struct rnd *r) /* splitmix64 */
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double rnd_uniform(struct rnd *r, double low, double high)
{
    return low + (high - low) * ((double)(rnd_bits(r) >> 11) / 9007199254740992.0);
}

double rnd_normal(struct rnd *r) /* Box and Muller */
{
    double u = rnd_uniform(r, 0, 1), v = rnd_uniform(r, 0, 1);
    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

void rnd_fill_normal(struct rnd *r, double *to, int64_t n, double scale)
{
    for (int64_t i = 0; i < n; i++) to[i] = scale * rnd_normal(r);
}
