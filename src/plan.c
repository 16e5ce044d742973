/* The orders of products, after RunLoRA (Cherniuk et al., 2023), whose thirty-two pairs come down to
 * these: the others never win. With T rows, W [m, n] and rank r, in multiply-adds:
 *
 *     forward   SPLIT    Tnm + Tr(n + m)          y = x W^T + (x A^T)(s B)^T
 *               FOLD     Tnm + nmr                y = x (W + s B A)^T
 *     backward  SPLIT    Tnm + Tr(3n + 2m)        dx = g W + (g s B) A
 *               FOLD     Tnm + 2Tr(n + m) + nmr   dx = g (W + s B A)
 *               THROUGH  2Tnm + 3nmr              dA = s B^T G, dB = s G A^T, G = g^T x
 *
 * Operations alone decide between orders that are far apart. Near the border it counts that a fold
 * passes over every element of W, and the second product of a SPLIT over every element of y or dx. */
#include "plan.h"

/* What such a pass costs for each element, in multiply-adds of the same time: measured with `bench plan`
 * on two cores with AVX-512. */
static double fold_cost(const struct plan_case *c)
{
    return c->dtype == RELORA_F32 ? 32 : 96;
}

static double split_cost(const struct plan_case *c)
{
    return c->dtype == RELORA_F32 ? 32 : 16;
}

/* Products with F32 operands in a layer whose products are BF16. */
static double f32_cost(const struct plan_case *c)
{
    return c->dtype == RELORA_F32 ? 1 : 2;
}

static int allowed(const struct plan_case *c, relora_order order)
{
    return order == RELORA_ORDER_SPLIT || (order == RELORA_ORDER_FOLD && c->may_fold) ||
           (order == RELORA_ORDER_THROUGH && c->may_fold && c->may_through);
}

struct cost {
    double products, time; /* multiply-adds; the same with passes, as time */
};

static struct cost forward_cost(const struct plan_case *c, relora_order order)
{
    double T = (double)c->rows, n = (double)c->in, m = (double)c->out, r = (double)c->rank;
    double more = order == RELORA_ORDER_SPLIT ? T * r * (n + m) : n * m * r;
    double pass = order == RELORA_ORDER_SPLIT ? split_cost(c) * T * m : fold_cost(c) * n * m;
    return (struct cost){T * n * m + more, T * n * m + more + pass};
}

static struct cost backward_cost(const struct plan_case *c, relora_order order)
{
    double T = (double)c->rows, n = (double)c->in, m = (double)c->out, r = (double)c->rank;
    double dx = c->wants_dx ? 1 : 0;
    struct cost fold = {dx * n * m * (T + r), dx * n * m * (T + r + fold_cost(c))};
    struct cost cost;
    switch (order) {
    case RELORA_ORDER_SPLIT:
        cost.products = dx * T * n * (m + r) + 2 * T * r * (n + m);
        cost.time = cost.products + dx * split_cost(c) * T * n;
        return cost;
    case RELORA_ORDER_FOLD:
        cost.products = fold.products + 2 * T * r * (n + m);
        cost.time = fold.time + 2 * T * r * (n + m);
        return cost;
    default:
        cost.products = fold.products + T * n * m + 2 * n * m * r;
        cost.time = fold.time + T * n * m + 2 * n * m * r * f32_cost(c) + fold_cost(c) * n * m;
        return cost;
    }
}

static struct plan choose(const struct plan_case *c, relora_order wanted, relora_order last,
                          struct cost (*cost_of)(const struct plan_case *, relora_order))
{
    struct cost best = cost_of(c, RELORA_ORDER_SPLIT);
    relora_order order = RELORA_ORDER_SPLIT;
    for (relora_order o = RELORA_ORDER_FOLD; o <= last; o++) {
        struct cost cost = cost_of(c, o);
        if (!allowed(c, o)) continue;
        if (wanted == RELORA_ORDER_AUTO ? cost.time < best.time : wanted == o) best = cost, order = o;
    }
    return (struct plan){order, 2 * best.products};
}

struct plan plan_forward(const struct plan_case *c, relora_order wanted)
{
    return choose(c, wanted, RELORA_ORDER_FOLD, forward_cost);
}

struct plan plan_backward(const struct plan_case *c, relora_order wanted)
{
    return choose(c, wanted, RELORA_ORDER_THROUGH, backward_cost);
}
