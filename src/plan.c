/* The orders of products, after RunLoRA (Cherniuk et al., 2023), whose thirty-two pairs come down to
 * these: the others never win. With T rows, W [m, n] and rank r, in multiply-adds:
 *
 *     forward   SPLIT    Tnm + Tr(n + m)          y = x W^T + (x A^T)(s B)^T
 *               FOLD     Tnm + nmr                y = x (W + s B A)^T
 *     backward  SPLIT    Tnm + Tr(3n + 2m)        dx = g W + (g s B) A
 *               FOLD     Tnm + 2Tr(n + m) + nmr   dx = g (W + s B A)
 *               THROUGH  2Tnm + 3nmr              dA = s B^T G, dB = s G A^T, G = g^T x
 *
 * A backward in which one factor is frozen leaves out the products that nothing needs then: those of its
 * gradient, and u = x A^T if B is frozen, or h = g B if A is and dx does not come from it.
 *
 * Operations alone decide between orders that are far apart. Near the border it counts that a fold
 * passes over every element of W, and the second product of a SPLIT over every element of y or dx;
 * on a device, where memory is far slower than products, each product with a factor is such a pass. */
#include "plan.h"
#include "float_mode.h"

/* In multiply-adds of the same time. */
struct costs {
    double fold;         /* of the pass over W, each element */
    double split;        /* of SPLIT's second product for each element of y or dx, beside its own r */
    double read, update; /* what a product with a factor costs at least for each element of x or g that it
                            reads, and of y or dx that it adds to */
    double f32; /* a multiply-add of THROUGH's products with the gradient of W, with the pass over that */
};

/* By what multiplies. Each row is the middle of those that choose best among the times that `bench --cases FILE plan`
 * writes: on an Intel Xeon with AMX, and on the same held to AVX-512 or AVX2 (docs/performance.md). FAST_BF16 is of
 * a Zen 4. A fold of BF16 needs a random word for each element, which without AVX-512 takes four times as long. */
enum cpu_kind {
    LIBRARY_F32, /* oneDNN, or a BLAS: AVX2 and AVX-512 differ less than two runs */
    OWN_F32,
    NARROW_BF16, /* as fast as F32, with loops of AVX2 or less */
    WIDE_BF16,   /* as fast as F32, with AVX-512 */
    FAST_BF16,   /* twice as fast: AVX512_BF16 */
    TILED_BF16   /* seven times as fast: AMX, beside which nothing but products takes little time */
};
static const struct costs cpu_costs[] = {
    [LIBRARY_F32] = {.fold = 50, .split = 15, .f32 = 1.15},
    [OWN_F32] = {.fold = 27, .split = 20, .f32 = 1.15},
    [NARROW_BF16] = {.fold = 75, .split = 17, .f32 = 1.15},
    [WIDE_BF16] = {.fold = 33, .split = 10, .f32 = 1.15},
    [FAST_BF16] = {.fold = 96, .split = 16, .f32 = 2.2},
    [TILED_BF16] = {.fold = 700, .update = 225, .f32 = 4.8},
};

static enum cpu_kind cpu_kind_of(const struct plan_case *c)
{
    if (c->dtype == RELORA_F32) return c->provider == RELORA_PROVIDER_OWN ? OWN_F32 : LIBRARY_F32;
    if (c->converts) return c->isa >= RELORA_ISA_AVX512 ? WIDE_BF16 : NARROW_BF16;
    return c->isa == RELORA_ISA_AMX ? TILED_BF16 : FAST_BF16;
}

/* Reasoned, not measured, for a device of 790 TFLOP/s in BF16, 60 in F32, and 4.3 TB/s of memory: a byte moved
 * takes as long as 395e12 / 4.3e12 = 92 multiply-adds in BF16, 30e12 / 4.3e12 = 7 in F32. A product with a
 * factor of rank 128 waits for its large operand, so that counts, not the rank: x and g are read, 2 or 4
 * bytes an element, y and dx read and written. A fold in BF16 writes and reads B A, 4 bytes
 * each, half of which the L2 cache keeps away from the memory, reads W and writes the sum: 8 bytes. One in F32
 * copies W and adds to the copy: 16 bytes. */
enum { BYTE_BF16 = 92, BYTE_F32 = 7 };
static const struct costs device_costs[] = {
    [RELORA_F32] = {.fold = 16 * BYTE_F32, .read = 4 * BYTE_F32, .update = 8 * BYTE_F32, .f32 = 1.1},
    [RELORA_BF16] = {.fold = 8 * BYTE_BF16, .read = 2 * BYTE_BF16, .update = 4 * BYTE_BF16, .f32 = 14},
};

static const struct costs *costs_of(const struct plan_case *c)
{
    return c->device == RELORA_DEVICE_CUDA ? &device_costs[c->dtype] : &cpu_costs[cpu_kind_of(c)];
}

int plan_waits(const struct plan_case *c)
{
    return (double)c->rank < costs_of(c)->read;
}

static double most(double a, double b)
{
    return a > b ? a : b;
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
    const struct costs *k = costs_of(c);
    double T = (double)c->rows, n = (double)c->in, m = (double)c->out, r = (double)c->rank;
    if (order == RELORA_ORDER_FOLD)
        return (struct cost){T * n * m + n * m * r, T * n * m + n * m * (r + k->fold)};
    return (struct cost){T * n * m + T * r * (n + m),
                         T * n * m + T * n * most(r, k->read) + T * m * (most(r, k->update) + k->split)};
}

/* The sides, n and m, of the products that lead to dA and dB without going through G: u = x A^T, g^T u, h = g B and
 * h^T x. A trainable scale needs u and h whatever is frozen. */
static double gradient_sides(const struct plan_case *c, relora_order order)
{
    double n = (double)c->in, m = (double)c->out;
    int trains_a = !c->freezes_a, trains_b = !c->freezes_b, trains_scale = !c->may_through;
    int needs_u = trains_b || trains_scale;
    int needs_h = trains_a || trains_scale || (c->wants_dx && order == RELORA_ORDER_SPLIT);
    return (needs_u ? n : 0) + (trains_b ? m : 0) + (needs_h ? m : 0) + (trains_a ? n : 0);
}

static struct cost backward_cost(const struct plan_case *c, relora_order order)
{
    const struct costs *k = costs_of(c);
    double T = (double)c->rows, n = (double)c->in, m = (double)c->out, r = (double)c->rank;
    double dx = c->wants_dx ? 1 : 0, factors = 2 - (c->freezes_a ? 1 : 0) - (c->freezes_b ? 1 : 0);
    double sides = gradient_sides(c, order);
    struct cost gradients = {T * r * sides, T * sides * most(r, k->read)};
    struct cost fold = {dx * n * m * (T + r), dx * n * m * (T + r + k->fold)};
    switch (order) {
    case RELORA_ORDER_SPLIT:
        return (struct cost){dx * T * n * (m + r) + gradients.products,
                             dx * T * n * (m + most(r, k->update) + k->split) + gradients.time};
    case RELORA_ORDER_FOLD:
        return (struct cost){fold.products + gradients.products, fold.time + gradients.time};
    default:
        return (struct cost){fold.products + T * n * m + factors * n * m * r,
                             fold.time + T * n * m + n * m * (factors * r * k->f32)};
    }
}

typedef struct cost (*cost_fn)(const struct plan_case *, relora_order);

static struct plan cheapest(const struct plan_case *c, relora_order wanted, relora_order last,
                            cost_fn cost_of)
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

/* The order must not depend on the mode of the host's thread. What is volatile is computed in between. */
static struct plan choose(const struct plan_case *c, relora_order wanted, relora_order last, cost_fn cost_of)
{
    const struct plan_case *volatile asked = c;
    fenv_t host = float_mode_enter();
    volatile struct plan plan = cheapest(asked, wanted, last, cost_of);
    float_mode_leave(&host);
    return plan;
}

struct plan plan_forward(const struct plan_case *c, relora_order wanted)
{
    return choose(c, wanted, RELORA_ORDER_FOLD, forward_cost);
}

struct plan plan_backward(const struct plan_case *c, relora_order wanted)
{
    return choose(c, wanted, RELORA_ORDER_THROUGH, backward_cost);
}
