#include "support/oracle.h"
#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

static double *rounded(const double *values, int64_t n, int bf16)
{
    double *copy = doubles(n);
    for (int64_t i = 0; i < n; i++) copy[i] = bf16 ? bf16_round(values[i]) : values[i];
    return copy;
}

/* c[m, n] += factor * op(a) op(b); ta: a is [k, m], tb: b is [n, k] */
static void product(double *c, int64_t m, int64_t n, int64_t k, double factor, const double *a, int ta,
                    const double *b, int tb)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += (ta ? a[l * m + i] : a[i * k + l]) * (tb ? b[j * k + l] : b[l * n + j]);
            c[i * n + j] += factor * sum;
        }
}

static void base(struct oracle *o)
{
    for (int64_t i = 0; i < o->rows * o->out; i++) {
        if (o->bias) o->y[i] = o->bias[i % o->out];
        o->dbias[i % o->out] += o->dy[i];
    }
    product(o->dw, o->out, o->in, o->rows, 1, o->dy, 1, o->x, 0);
    if (!o->w) return;
    product(o->y, o->rows, o->out, o->in, 1, o->x, 0, o->w, 1);
    product(o->dx, o->rows, o->in, o->out, 1, o->dy, 0, o->w, 0);
}

static void branch(struct oracle *o)
{
    int64_t m = o->rows, r = o->rank;
    double *d = doubles(m * o->in), *u = doubles(m * r), *h = doubles(m * r), *ha = doubles(m * o->in);
    double *a = rounded(o->a, r * o->in, o->bf16), *b = rounded(o->b, o->out * r, o->bf16);
    for (int64_t i = 0; i < m * o->in; i++) d[i] = o->x[i] * (o->keep ? o->keep[i] : 1);
    product(u, m, r, o->in, 1, d, 0, a, 1);
    product(h, m, r, o->out, 1, o->dy, 0, b, 0);
    for (int64_t i = 0; i < m * r; i++) o->dscale += h[i] * u[i];
    u = rounded(u, m * r, o->bf16);
    h = rounded(h, m * r, o->bf16);
    product(o->y, m, o->out, r, o->s, u, 0, b, 1);
    product(o->da, r, o->in, m, o->s, h, 1, d, 0);
    product(o->db, o->out, r, m, o->s, o->dy, 1, u, 0);
    product(ha, m, o->in, r, o->s, h, 0, a, 0);
    for (int64_t i = 0; i < m * o->in; i++) o->dx[i] += ha[i] * (o->keep ? o->keep[i] : 1);
    o->dscale *= 1 - o->s * o->s;
}

static const double *param(relora_linear *layer, relora_param which)
{
    relora_tensor *t = relora_linear_param(layer, which);
    return t ? get(t) : NULL;
}

void oracle_run(struct oracle *o, relora_linear *layer, double s)
{
    o->w = param(layer, RELORA_PARAM_WEIGHT);
    o->a = param(layer, RELORA_PARAM_A);
    o->b = param(layer, RELORA_PARAM_B);
    o->bias = param(layer, RELORA_PARAM_BIAS);
    o->s = s;
    o->dscale = 0;
    o->y = doubles(o->rows * o->out);
    o->dx = doubles(o->rows * o->in);
    o->dw = doubles(o->out * o->in);
    o->dbias = doubles(o->out);
    o->da = doubles(o->rank * o->in);
    o->db = doubles(o->out * o->rank);
    base(o);
    if (o->a) branch(o);
}

static double *identity(int64_t n)
{
    double *values = doubles(n * n);
    for (int64_t i = 0; i < n; i++) values[i * n + i] = 1;
    return values;
}

double *oracle_keep(const relora_linear_options *options, int64_t rows, uint64_t call)
{
    int64_t in = options->in_features;
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, in, in, in);
    o.seed = options->seed;
    o.layer = options->layer;
    o.dropout = options->dropout;
    o.alpha = (double)in;
    relora_linear *probe = new_linear(&o);
    relora_tensor *x = new_matrix(RELORA_F32, rows, in), *y = new_matrix(RELORA_F32, rows, in);
    put(relora_linear_param(probe, RELORA_PARAM_A), identity(in));
    put(relora_linear_param(probe, RELORA_PARAM_B), identity(in));
    put_all(x, 1);
    OK(relora_linear_forward(probe, env.st, x, y, call, RELORA_TRAIN));
    return get(y);
}

double *oracle_merged(relora_linear *layer, double s)
{
    relora_tensor *w = relora_linear_param(layer, RELORA_PARAM_WEIGHT);
    relora_tensor *a = relora_linear_param(layer, RELORA_PARAM_A);
    int64_t out = relora_tensor_dim(w, 0), in = relora_tensor_dim(w, 1), rank = relora_tensor_dim(a, 0);
    double *merged = doubles(out * in);
    memcpy(merged, get(w), (size_t)(out * in) * sizeof *merged);
    product(merged, out, in, rank, s, get(relora_linear_param(layer, RELORA_PARAM_B)), 0, get(a), 0);
    return merged;
}
