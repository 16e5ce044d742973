/* The matrix product by a BLAS. It gets pieces from the library's own loop, each to be made by the calling thread
 * alone, as oneDNN does. BLIS is told so in the call. The others have cblas_sgemm: where they run on OpenMP, they obey the
 * number of the calling thread; where they have threads of their own, there is only a number for the whole process,
 * which belongs to the host (docs/threads.md).
 * BF16 goes to the next provider, as does what is too large for a BLAS whose integers have 32 bits. */
#if defined(RELORA_BLAS_blis)
#include <blis.h>
#elif defined(RELORA_BLAS_accelerate)
#include <Accelerate/Accelerate.h>
#elif defined(RELORA_BLAS_mkl)
#include <mkl_cblas.h>
#else
#include <cblas.h>
#endif
#include <limits.h>

#include "cpu.h"

struct product {
    const struct gemm *g;
    struct gemm_cut cut;
};

static int fits(struct view v)
{
    return v.rows <= INT_MAX && v.cols <= INT_MAX && v.ld <= INT_MAX;
}

static int can(const struct gemm *g)
{
    return g->a.dtype == RELORA_F32 && fits(g->a) && fits(g->b) && fits(g->c);
}

#if defined(RELORA_BLAS_blis)
static void multiply(const struct gemm *g)
{
    float one = 1, beta = g->accumulate ? 1 : 0;
    rntm_t single = BLIS_RNTM_INITIALIZER;
    bli_rntm_set_num_threads(1, &single);
    bli_sgemm_ex(g->ta ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE, g->tb ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE,
                 g->c.rows, g->c.cols, g->ta ? g->a.rows : g->a.cols, &one, g->a.data, g->a.ld, 1, g->b.data,
                 g->b.ld, 1, &beta, g->c.data, g->c.ld, 1, NULL, &single);
}
#else
static void multiply(const struct gemm *g)
{
    cblas_sgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans, g->tb ? CblasTrans : CblasNoTrans,
                (int)g->c.rows, (int)g->c.cols, (int)(g->ta ? g->a.rows : g->a.cols), 1, g->a.data,
                (int)g->a.ld, g->b.data, (int)g->b.ld, g->accumulate ? 1 : 0, g->c.data, (int)g->c.ld);
}
#endif

static void run_piece(void *job, int64_t i)
{
    const struct product *p = job;
    struct gemm g = cpu_gemm_piece(p->g, &p->cut, i);
    int host = cpu_one_thread();
    multiply(&g);
    cpu_host_threads(host);
    if (g.bias) cpu_gemm_add_bias(g.c, g.bias);
}

relora_status cpu_gemm_blas(struct queue *q, const struct gemm *g)
{
    struct product p = {g, cpu_gemm_cut(g, q->threads)};
    if (!can(g)) return RELORA_E_UNSUPPORTED;
    cpu_loop(q, p.cut.down * p.cut.across, 1, run_piece, &p);
    return RELORA_OK;
}

relora_status cpu_gemm_blas_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path)
{
    (void)q;
    if (!can(g)) return RELORA_E_UNSUPPORTED;
    path->provider = RELORA_PROVIDER_BLAS;
    return RELORA_OK;
}
