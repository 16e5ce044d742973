/* Orthonormal rows, what they hold of a matrix, and moments of B that go from one A to another. Gram-Schmidt with each row freed of those before it twice, which is
 * enough. A sum is whole within one thread, and its order is in span_math.h. */
#include <math.h>

#include "cpu.h"
#include "cpu_clones.h"
#include "span_math.h"

enum {
    COLUMNS = 1024, /* that one thread takes at a time */
    CHUNK = 64      /* columns of a row of moments */
};

static double add_lanes(double lanes[SPAN_LANES])
{
    for (int half = SPAN_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] += lanes[k + half];
    return lanes[0];
}

CPU_CLONES static void add_products(double lanes[SPAN_LANES], const double *a, const double *b, int64_t n)
{
    int64_t whole = n - n % SPAN_LANES;
    for (int64_t j = 0; j < whole; j += SPAN_LANES)
        for (int k = 0; k < SPAN_LANES; k++) lanes[k] += a[j + k] * b[j + k];
    for (int64_t j = whole; j < n; j++) lanes[j - whole] += a[j] * b[j];
}

static double dot(const double *a, const double *b, int64_t n)
{
    double lanes[SPAN_LANES] = {0};
    add_products(lanes, a, b, n);
    return add_lanes(lanes);
}

CPU_CLONES static void add_products_mixed(double lanes[SPAN_LANES], const float *a, const double *b,
                                          int64_t n)
{
    int64_t whole = n - n % SPAN_LANES;
    for (int64_t j = 0; j < whole; j += SPAN_LANES)
        for (int k = 0; k < SPAN_LANES; k++) lanes[k] += (double)a[j + k] * b[j + k];
    for (int64_t j = whole; j < n; j++) lanes[j - whole] += (double)a[j] * b[j];
}

static double dot_mixed(const float *a, const double *b, int64_t n)
{
    double lanes[SPAN_LANES] = {0};
    add_products_mixed(lanes, a, b, n);
    return add_lanes(lanes);
}

CPU_CLONES static void add_products_f32(double lanes[SPAN_LANES], const float *a, const float *b, int64_t n)
{
    int64_t whole = n - n % SPAN_LANES;
    for (int64_t j = 0; j < whole; j += SPAN_LANES)
        for (int k = 0; k < SPAN_LANES; k++) lanes[k] += (double)a[j + k] * (double)b[j + k];
    for (int64_t j = whole; j < n; j++) lanes[j - whole] += (double)a[j] * (double)b[j];
}

static double dot_f32(const float *a, const float *b, int64_t n)
{
    double lanes[SPAN_LANES] = {0};
    add_products_f32(lanes, a, b, n);
    return add_lanes(lanes);
}

/* ---- orthonormal rows ---- */

struct row { /* that is freed of the `done` rows before it */
    const struct span *s;
    double *x;
    int64_t done;
};

static void find_term(void *job, int64_t p)
{
    const struct row *r = job;
    r->s->terms[p] = dot(r->s->basis + p * r->s->cols, r->x, r->s->cols);
}

CPU_CLONES static void take_away(double *x, const double *basis, double term, int64_t n)
{
    for (int64_t j = 0; j < n; j++) x[j] -= term * basis[j];
}

static void take_terms_away(void *job, int64_t b)
{
    const struct row *r = job;
    int64_t j = b * COLUMNS, n = r->s->cols - j < COLUMNS ? r->s->cols - j : COLUMNS;
    for (int64_t p = 0; p < r->done; p++)
        take_away(r->x + j, r->s->basis + p * r->s->cols + j, r->s->terms[p], n);
}

/* Is there anything of the candidate that the rows so far do not have? It is the next one then. */
static int add_row(struct queue *q, const struct span *s, int64_t candidate, int64_t done)
{
    const float *source = span_source(s, candidate, done);
    struct row row = {s, s->basis + done * s->cols, done};
    int large = done * s->cols > CPU_SERIAL;
    for (int64_t j = 0; j < s->cols; j++) row.x[j] = span_element(s, source, candidate, j);
    double before = dot(row.x, row.x, s->cols);
    for (int pass = 0; pass < 2; pass++) {
        cpu_loop(q, done, large, find_term, &row);
        cpu_loop(q, (s->cols + COLUMNS - 1) / COLUMNS, large, take_terms_away, &row);
    }
    double left = dot(row.x, row.x, s->cols);
    if (!span_accepts(before, left)) return 0;
    double length = sqrt(left);
    for (int64_t j = 0; j < s->cols; j++) row.x[j] /= length;
    return 1;
}

static void write_row(void *job, int64_t i)
{
    const struct span *s = job;
    const double *basis = s->basis + i * s->cols;
    float *y = row_f32(s->y, i);
    for (int64_t j = 0; j < s->cols; j++) y[j] = (float)(s->length * basis[j]);
}

relora_status cpu_span(struct queue *q, const struct span *span)
{
    struct span s = *span;
    int64_t done = 0;
    for (int64_t c = 0; c < span_candidates(&s) && done < s.rows; c++)
        if (span_has(&s, c, done)) done += add_row(q, &s, c, done);
    for (int64_t i = done * s.cols; i < s.rows * s.cols; i++) s.basis[i] = 0;
    if (s.y.data) cpu_loop(q, s.rows, view_is_large(s.y), write_row, &s);
    return RELORA_OK;
}

/* ---- shares ---- */

static void find_share(void *job, int64_t i)
{
    const struct share *s = job;
    const float *x = row_f32(s->x, i);
    double inside = 0;
    for (int64_t p = 0; p < s->rows; p++) {
        double term = dot_mixed(x, s->basis + p * s->x.cols, s->x.cols);
        inside += term * term;
    }
    s->partials[2 * i] = inside;
    s->partials[2 * i + 1] = dot_f32(x, x, s->x.cols);
}

relora_status cpu_share(struct queue *q, const struct share *share)
{
    struct share s = *share;
    cpu_loop(q, s.x.rows, view_is_large(s.x), find_share, &s);
    for (int64_t i = 0; i < s.x.rows; i++) {
        s.sums[0] += s.partials[2 * i];
        s.sums[1] += s.partials[2 * i + 1];
    }
    return RELORA_OK;
}

/* ---- the map: [A A^T | A A'^T], and elimination ---- */

static void multiply_row(void *job, int64_t i)
{
    const struct project *p = job;
    int64_t rank = p->old.rows;
    double *row = p->map + i * 2 * rank;
    for (int64_t k = 0; k < rank; k++) {
        row[k] = dot_f32(row_f32(p->old, i), row_f32(p->old, k), p->old.cols);
        row[rank + k] = dot_f32(row_f32(p->old, i), row_f32(p->now, k), p->old.cols);
    }
}

CPU_CLONES static void subtract(double *row, const double *pivot, double factor, int64_t n)
{
    for (int64_t k = 0; k < n; k++) row[k] -= factor * pivot[k];
}

struct elimination {
    double *map;
    int64_t rank, pivot;
};

static void eliminate_row(void *job, int64_t i)
{
    const struct elimination *e = job;
    const double *pivot = e->map + e->pivot * 2 * e->rank;
    double *row = e->map + i * 2 * e->rank;
    if (i == e->pivot) return;
    int64_t k = e->pivot + 1; /* what is left of it is not looked at again */
    subtract(row + k, pivot + k, project_ratio(row[e->pivot], pivot[e->pivot]), 2 * e->rank - k);
}

static void make_map(struct queue *q, struct project *p)
{
    int64_t rank = p->old.rows, wide = 2 * rank;
    double trace = 0;
    struct elimination e = {p->map, rank, 0};
    cpu_loop(q, rank, rank * rank * p->old.cols > CPU_SERIAL, multiply_row, p);
    for (int64_t i = 0; i < rank; i++) trace += p->map[i * wide + i];
    for (int64_t i = 0; i < rank; i++) p->map[i * wide + i] += project_ridge(trace, rank);
    for (; e.pivot < rank; e.pivot++) cpu_loop(q, rank, rank * rank > CPU_SERIAL, eliminate_row, &e);
    for (int64_t i = 0; i < rank; i++)
        for (int64_t k = rank; k < wide; k++)
            p->map[i * wide + k] = project_ratio(p->map[i * wide + k], p->map[i * wide + i]);
}

/* ---- the moments ---- */

struct moments { /* to carry */
    const struct project *p;
    struct project_bias bias;
};

CPU_CLONES static void add_scaled(double *m, double *variance, const double *x, double first, double second,
                                  int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        m[k] += first * x[k];
        variance[k] += second * (x[k] * x[k]);
    }
}

static void project_row(void *user, int64_t i)
{
    const struct moments *job = user;
    const struct project *p = job->p;
    int64_t rank = p->old.rows;
    const float *m = row_f32(p->m_from, i), *v = row_f32(p->v_from, i);
    for (int64_t first = 0; first < rank; first += CHUNK) {
        double mean[CHUNK] = {0}, variance[CHUNK] = {0};
        int64_t n = rank - first < CHUNK ? rank - first : CHUNK;
        for (int64_t k = 0; k < rank; k++)
            add_scaled(mean, variance, p->map + k * 2 * rank + rank + first, (double)m[k],
                       project_variance(job->bias, (double)m[k], (double)v[k]), n);
        for (int64_t k = 0; k < n; k++) {
            row_f32(p->m, i)[first + k] = (float)mean[k];
            row_f32(p->v, i)[first + k] = project_second(job->bias, mean[k], variance[k]);
        }
    }
}

relora_status cpu_project(struct queue *q, const struct project *project)
{
    struct project p = *project;
    struct moments job = {&p, project_bias_make(p.beta1, p.beta2, p.steps ? *p.steps : p.count)};
    make_map(q, &p);
    cpu_loop(q, p.m.rows, p.m.rows * p.old.rows * p.old.rows > CPU_SERIAL, project_row, &job);
    return RELORA_OK;
}
