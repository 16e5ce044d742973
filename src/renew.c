/* How A begins, and what it has in common with the A before. The matrices are as small as factors. */
#include "renew.h"

#include <math.h>

#include "float_mode.h"
#include "merge.h"

const char *const init_names[] = {"UNIFORM", "UNIFORM", "MATCHED", "GRADIENT", "GIVEN", NULL};

/* A basis has no more rows than columns. */
static int64_t basis_rows(const struct view *a)
{
    return a->rows < a->cols ? a->rows : a->cols;
}

struct renew_memory renew_lay_out(const struct renewal *r, struct scratch *scratch)
{
    struct renew_memory memory = {.sums = merge_sums(scratch)};
    size_t rows = (size_t)r->a.rows, elements = size_mul(rows, (size_t)r->a.cols);
    size_t bytes = size_mul(elements, sizeof(double));
    int64_t drawn = r->init == RELORA_INIT_GRADIENT ? r->a.rows : 0;
    memory.old = scratch_take(scratch, r->keeps ? r->a.rows : 0, r->a.cols, RELORA_F32);
    if (renew_is_uniform(r->init)) return memory;
    memory.drawn = scratch_take(scratch, drawn, r->a.cols, RELORA_F32);
    memory.basis = scratch_bytes(scratch, bytes);
    memory.terms = scratch_bytes(scratch, size_mul(rows, sizeof(double)));
    memory.old_basis = scratch_bytes(scratch, r->measures ? bytes : 0);
    memory.partials = scratch_bytes(scratch, r->measures ? size_mul(rows, 2 * sizeof(double)) : 0);
    return memory;
}

/* ---- the new A ---- */

static struct view rows_of(struct view v, int64_t first, int64_t rows)
{
    return v.data ? view_rows(v, first, rows) : v;
}

/* With more rows than columns each `cols` of them are orthonormal, so that A^T A stays a multiple of 1. */
static relora_status span_groups(const struct call *c, struct span s, double *basis)
{
    struct span all = s;
    for (int64_t first = 0; first < all.y.rows; first += all.cols) {
        int64_t left = all.y.rows - first;
        s.rows = left < all.cols ? left : all.cols;
        s.y = rows_of(all.y, first, s.rows);
        s.first = rows_of(all.first, first, s.rows);
        s.then = rows_of(all.then, first, s.rows);
        s.last = rows_of(all.last, first, s.rows);
        s.basis = basis + first * all.cols;
        TRY(call_queue(c, c->backend->span(c->queue, &s)));
    }
    return RELORA_OK;
}

relora_status renew_orthonormal(const struct call *c, struct view y, double *basis, double *terms)
{
    struct span s = {.y = y, .first = y, .cols = y.cols, .length = 1, .terms = terms};
    return span_groups(c, s, basis);
}

/* Rows of norm sqrt(in / rank): then the mean of A^T A is 1, and an update of B moves W by s times itself. */
static relora_status span_matched(const struct call *c, const struct renewal *r,
                                  const struct renew_memory *memory, struct view drawn)
{
    double ratio = float_mode_quotient((double)r->a.cols, (double)r->a.rows);
    struct span s = {.y = r->a,
                     .last = drawn,
                     .cols = r->a.cols,
                     .complete = 1,
                     .length = float_mode_root(ratio),
                     .terms = memory->terms};
    if (r->init == RELORA_INIT_GRADIENT) s.first = r->gradient;
    if (r->init == RELORA_INIT_GRADIENT && !r->forgets) s.then = r->a;
    return span_groups(c, s, memory->basis);
}

relora_status renew_uniform(const struct call *c, const struct renewal *r, int dead)
{
    struct draw draw = draw_make(r->seed, r->layer, r->draws_b ? DRAW_FACTOR_B : DRAW_FACTOR_A, r->cycle);
    struct view drawn = r->draws_b ? r->b : r->a, other = r->draws_b ? r->a : r->b;
    return call_queue(c, merge_draw_factors(c->backend, c->queue, drawn, other, draw, dead));
}

static relora_status renew_a(const struct call *c, const struct renewal *r, const struct renew_memory *memory)
{
    struct renewal drawn = *r;
    if (r->init == RELORA_INIT_GIVEN) return call_queue(c, c->backend->fill(c->queue, r->b, 0));
    if (r->init == RELORA_INIT_GRADIENT) drawn.a = memory->drawn;
    TRY(renew_uniform(c, &drawn, 0));
    return renew_is_uniform(r->init) ? RELORA_OK : span_matched(c, r, memory, drawn.a);
}

/* ---- what it has in common ---- */

/* The share of x inside of a basis. */
static relora_status add_share(const struct call *c, const struct renew_memory *memory, struct view x,
                               const double *basis, int64_t rows, int sums)
{
    struct share s = {
        .x = x, .basis = basis, .rows = rows, .sums = memory->sums + sums, .partials = memory->partials};
    return x.data ? call_queue(c, c->backend->share(c->queue, &s)) : RELORA_OK;
}

static relora_status measure_before(const struct call *c, const struct renewal *r,
                                    const struct renew_memory *memory)
{
    int64_t rows = basis_rows(&r->a);
    struct span s = {.first = view_rows(r->a, 0, rows),
                     .rows = rows,
                     .cols = r->a.cols,
                     .basis = memory->old_basis,
                     .terms = memory->terms};
    TRY(call_queue(c, c->backend->span(c->queue, &s)));
    return add_share(c, memory, r->gradient, memory->old_basis, rows, RENEW_BEFORE);
}

static relora_status measure_after(const struct call *c, const struct renewal *r,
                                   const struct renew_memory *memory)
{
    int64_t rows = basis_rows(&r->a);
    const double *basis = r->init == RELORA_INIT_GIVEN ? memory->old_basis : memory->basis;
    TRY(add_share(c, memory, r->a, memory->old_basis, rows, RENEW_OVERLAP));
    return add_share(c, memory, r->gradient, basis, rows, RENEW_AFTER);
}

relora_status renew(const struct call *c, const struct renewal *r, const struct renew_memory *memory)
{
    const struct scale one = {.value = 1};
    int measures = r->measures && !renew_is_uniform(r->init);
    if (measures) TRY(measure_before(c, r, memory));
    if (r->keeps) TRY(call_convert(c, memory->old, r->a, one));
    TRY(renew_a(c, r, memory));
    return measures ? measure_after(c, r, memory) : RELORA_OK;
}

double renew_share(const double sums[2])
{
    return isfinite(sums[1]) && sums[1] > 0 ? float_mode_quotient(sums[0], sums[1]) : 0;
}
