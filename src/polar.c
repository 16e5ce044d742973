/* U V^T by products alone: with G = X X^T, a step X := a X + (b G + c G^2) X makes a s + b s^3 + c s^5 of
 * every singular value s, and leaves the singular vectors. */
#include "polar.h"

#include <math.h>

#include "convert.h"
#include "float_mode.h"

/* The polynomials of degree 5 that come closest to 1, each on the interval where the one before leaves singular values
 * that began between 1/20000 and 1 (test/golden/make_polar.py). They allow for values 1 % above that
 * interval, so that rounding cannot lead out of it. After the last they lie between 0.9975 and 1.0025. */
enum { STEPS = 8 };
static const struct polynomial { /* first s + third s^3 + fifth s^5 */
    double first, third, fifth;
} polynomials[STEPS] = {
    {8.427837, -24.529833, 17.850043}, {4.211328, -3.064800, 0.557745}, {4.199574, -3.056868, 0.556870},
    {4.150917, -3.023972, 0.553241},   {3.960524, -2.894251, 0.538940}, {3.358735, -2.471573, 0.492537},
    {2.354807, -1.692813, 0.409260},   {1.890462, -1.257132, 0.367214},
};

/* ---- memory ---- */

enum { SLICE_LEAST = 256, PAIRS = 3 };

static int is_tall(struct view x)
{
    return x.rows > x.cols;
}

static int64_t shorter(struct view x)
{
    return is_tall(x) ? x.cols : x.rows;
}

static int64_t longer(struct view x)
{
    return is_tall(x) ? x.rows : x.cols;
}

/* Nearly equal, and no larger than the shorter side, unless that is small. */
static int64_t slice_of(struct view x)
{
    int64_t most = shorter(x) > SLICE_LEAST ? shorter(x) : SLICE_LEAST;
    int64_t count = (longer(x) - 1) / most + 1;
    return (longer(x) - 1) / count + 1;
}

struct polar_memory polar_lay_out(struct view x, struct scratch *scratch)
{
    int64_t side = shorter(x), slice = slice_of(x);
    struct polar_memory memory;
    memory.norms = scratch_bytes(scratch, sizeof(double[PAIRS][2]));
    memory.partials = scratch_bytes(scratch, size_mul((size_t)x.rows, 2 * sizeof(double)));
    memory.gram = scratch_take(scratch, side, side, RELORA_F32);
    memory.square = scratch_take(scratch, side, side, RELORA_F32);
    memory.slice = scratch_take(scratch, is_tall(x) ? slice : side, is_tall(x) ? side : slice, RELORA_F32);
    return memory;
}

/* ---- one step ---- */

static relora_status multiply(const struct call *c, struct gemm g)
{
    return call_queue(c, c->backend->gemm(c->queue, &g));
}

static relora_status scale_by(const struct call *c, struct view y, struct view x, double factor)
{
    return call_convert(c, y, x, (struct scale){.value = factor});
}

static relora_status make_gram(const struct call *c, struct view x, const struct polar_memory *memory)
{
    TRY(multiply(c, (struct gemm){.a = x, .ta = is_tall(x), .b = x, .tb = !is_tall(x), .c = memory->gram}));
    return multiply(c, (struct gemm){.a = memory->gram, .b = memory->gram, .c = memory->square});
}

/* X := a X + M X, or a X + X M, slice by slice; M is in place of the square. */
static relora_status apply(const struct call *c, struct view x, double a, const struct polar_memory *memory)
{
    int64_t slice = slice_of(x);
    for (int64_t first = 0; first < longer(x); first += slice) {
        int64_t count = longer(x) - first < slice ? longer(x) - first : slice;
        struct view part = is_tall(x) ? view_rows(x, first, count) : view_cols(x, first, count);
        struct view copy = memory->slice;
        *(is_tall(x) ? &copy.rows : &copy.cols) = count;
        TRY(scale_by(c, copy, part, 1));
        TRY(scale_by(c, part, part, a));
        struct gemm g = {.a = memory->square, .b = copy, .c = part, .accumulate = 1};
        if (is_tall(x)) g.a = copy, g.b = memory->square;
        TRY(multiply(c, g));
    }
    return RELORA_OK;
}

/* As if X had been divided by `size` before. */
static relora_status take_step(const struct call *c, struct view x, const struct polynomial *p, double size,
                               const struct polar_memory *memory)
{
    double factors[] = {p->first, p->third, p->fifth};
    for (int i = 0; i < 3; i++)
        for (int power = 0; power < 2 * i + 1; power++) factors[i] = float_mode_quotient(factors[i], size);
    TRY(scale_by(c, memory->square, memory->square, factors[2]));
    struct merge sum = {.y = memory->square,
                        .x = memory->gram,
                        .scale = {.value = factors[1]},
                        .rounding = RELORA_ROUND_NEAREST};
    TRY(call_queue(c, c->backend->merge(c->queue, &sum)));
    return apply(c, x, factors[0], memory);
}

/* ---- sizes ---- */

/* norms[1] += |y|^2; y stays. */
static relora_status add_square(const struct call *c, struct view y, double *norms, double *partials)
{
    struct merge m = {.y = y, .x = y, .rounding = RELORA_ROUND_NEAREST, .norms = norms, .partials = partials};
    return call_queue(c, c->backend->merge(c->queue, &m));
}

/* The sums of the second, fourth and eighth powers of the singular values. */
static relora_status measure(const struct call *c, struct view x, const struct polar_memory *memory,
                             double sums[PAIRS])
{
    const struct view matrices[PAIRS] = {x, memory->gram, memory->square};
    double norms[PAIRS][2];
    for (int i = 0; i < PAIRS; i++)
        TRY(add_square(c, matrices[i], memory->norms + 2 * (size_t)i, memory->partials));
    struct copy up = {norms, memory->norms, 1, sizeof norms, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    TRY(call_queue(c, c->backend->queue_sync(c->queue)));
    for (int i = 0; i < PAIRS; i++) sums[i] = norms[i][1];
    return RELORA_OK;
}

/* The power of 2 that makes all elements less than 4, which rounds none but those that are far smaller; from the bits,
 * since a host's floating-point mode may know no denormals. */
static int exponent_of(uint32_t largest)
{
    int exponent = (int)(largest >> 23) - 126;
    return exponent < 126 ? exponent : 126;
}

static relora_status start(const struct call *c, const struct polar_memory *memory)
{
    const double zeros[2 * PAIRS] = {0};
    struct copy down = {memory->norms, zeros, 1, sizeof zeros, 0, 0, COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &down));
}

/* The eighth root of the sum of eighth powers is not below the largest singular value, and for n equal ones above it
 * by n^(1/8) alone. */
relora_status polar_factor(const struct call *c, struct view x, uint32_t largest,
                           const struct polar_memory *memory, struct polar_sizes *sizes)
{
    double sums[PAIRS];
    int exponent = exponent_of(largest);
    TRY(start(c, memory));
    TRY(scale_by(c, x, x, ldexp(1, -exponent)));
    TRY(make_gram(c, x, memory));
    TRY(measure(c, x, memory, sums));
    double size = float_mode_root(float_mode_root(float_mode_root(sums[2])));
    TRY(take_step(c, x, &polynomials[0], size, memory));
    for (int i = 1; i < STEPS; i++) {
        TRY(make_gram(c, x, memory));
        TRY(take_step(c, x, &polynomials[i], 1, memory));
    }
    sizes->norm = ldexp(float_mode_root(sums[0]), exponent);
    sizes->rank = float_mode_quotient(sums[0], float_mode_quotient(sums[1], sums[0]));
    return RELORA_OK;
}
