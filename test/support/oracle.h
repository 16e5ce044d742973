/* The layer of relora/linear.h in double precision, term by term as the formulas stand there. */
#ifndef TEST_SUPPORT_ORACLE_H
#define TEST_SUPPORT_ORACLE_H

#include <stdint.h>
#include "relora/relora.h"

struct oracle {
    int64_t rows, in, out, rank;
    int bf16;                              /* round A, B, u and h to BF16 where they enter a product */
    double s;                              /* alpha / rank or tanh(scale) */
    const double *w;                       /* [out, in], or NULL */
    const double *a;                       /* [rank, in], or NULL */
    const double *b;                       /* [out, rank] */
    const double *bias;                    /* [out], or NULL */
    const double *x;                       /* [rows, in] */
    const double *dy;                      /* [rows, out] */
    const double *keep;                    /* [rows, in]: 0 or 1 / (1 - p); NULL: no dropout */
    double *y, *dx, *dw, *da, *db, *dbias; /* results, made by oracle_run() */
    double dscale;
};

/** Read parameters of `layer` and compute everything, in memory that lives until env_close(). */
void oracle_run(struct oracle *o, relora_linear *layer, double s);
/** What dropout does to a [rows, in] input: the value it multiplies each element by. Read off a layer of
 *  A = B = identity, which the header lets share the mask: it depends on (seed, layer, call) only. */
double *oracle_keep(const relora_linear_options *options, int64_t rows, uint64_t call);
/** W + s B A in double. */
double *oracle_merged(relora_linear *layer, double s);

#endif
