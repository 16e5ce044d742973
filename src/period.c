/* When cycles begin, in whole numbers: what is due depends on the count of updates alone. */
#include "period.h"

int64_t period_start(const struct period *p, int64_t k)
{
    const double most = 4e18; /* below the largest count, with room for rounding */
    if (!p->growth) return k * p->every;
    double about = (double)k * (double)p->every + (double)p->growth * 0.5 * (double)k * (double)(k - 1);
    if (about > most) return INT64_MAX;
    int64_t pairs = k % 2 ? (k - 1) / 2 * k : k / 2 * (k - 1);
    return k * p->every + p->growth * pairs;
}

int64_t period_cycle(const struct period *p, int64_t t)
{
    int64_t low = 0, high = t / p->every;
    if (!p->growth) return high;
    while (low < high) { /* the last cycle that does not begin after t */
        int64_t middle = high - (high - low) / 2;
        if (period_start(p, middle) <= t) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* Updates of cycle k; INT64_MAX likewise. */
static int64_t length_of(const struct period *p, int64_t k)
{
    return k && p->growth > (INT64_MAX - p->every) / k ? INT64_MAX : p->every + k * p->growth;
}

int64_t period_restart(const struct period *p, int64_t done, int64_t index)
{
    int64_t t = done - 1; /* the restart follows the first update of a cycle */
    if (t < p->every) return 0;
    int64_t k = period_cycle(p, t), length = length_of(p, k);
    int64_t groups = p->groups ? p->groups : 1, group = index % groups;
    int64_t later = length / groups * group + length % groups * group / groups;
    return t - period_start(p, k) == later ? k : 0;
}
