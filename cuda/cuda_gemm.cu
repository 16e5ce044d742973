/* The matrix product by cuBLASLt. How a kind of product is best computed is asked once and kept with the
 * queue, as are a handle and the memory that cuBLASLt may work in: then equal calls give equal bits,
 * however many streams are busy. Sums are made in F32 and rounded once. A bias for a BF16 result has to be
 * BF16 too, so it is rounded first: half a unit in its last place, and no more than the result's own
 * rounding where they are of a size. cuBLASLt counts columns first, where our c = op(a) op(b) reads
 * c' = op(b)' op(a)': b is its left operand. */
#include "cuda_queue.h"

#include <string.h>

struct kind { /* what a plan depends on; compared byte by byte, so without padding */
    int64_t m, n, k, lda, ldb, ldc;
    int32_t type_a, type_c, ta, tb, accumulate, tf32;
    int32_t align_a, align_b, align_c, align_bias; /* align_bias is 0 if there is no bias */
};

struct plan {
    struct kind kind;
    int32_t possible; /* 0: cuBLASLt cannot do it */
    cublasLtMatmulDesc_t work;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
    int32_t proven; /* it has run */
    uint64_t used; /* when; the oldest gives way */
};

enum { PLANS = 512 };

struct cuda_products {
    struct cuda_products *next; /* in the pool's list */
    cublasLtHandle_t handle;
    void *workspace;
    size_t workspace_bytes;
    uint64_t clock;
    int32_t count;
    struct plan plan[PLANS];
};

static const char *const what = "a matrix product";

static relora_status result(struct queue *q, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS) return RELORA_OK;
    cudaGetLastError(); /* the host must not find it in a call of its own */
    return cuda_failed(q, status == CUBLAS_STATUS_ALLOC_FAILED ? RELORA_E_NO_MEMORY : RELORA_E_BACKEND, what,
                       cublasLtGetStatusName(status));
}

/* ---- making a plan ---- */

static cudaDataType_t type_of(int32_t dtype)
{
    return dtype == RELORA_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

template <class T> static cublasStatus_t set(cublasLtMatmulDesc_t work, cublasLtMatmulDescAttributes_t name, T value)
{
    return cublasLtMatmulDescSetAttribute(work, name, &value, sizeof value);
}

template <class T> static cublasStatus_t set(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t name,
                                             T value)
{
    return cublasLtMatmulPreferenceSetAttribute(p, name, &value, sizeof value);
}

static cublasStatus_t describe_work(struct plan *p, const void *bias)
{
    const struct kind *k = &p->kind;
    cublasComputeType_t type = k->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cublasStatus_t s = cublasLtMatmulDescCreate(&p->work, type, CUDA_R_32F);
    if (!s) s = set(p->work, CUBLASLT_MATMUL_DESC_TRANSA, k->tb ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (!s) s = set(p->work, CUBLASLT_MATMUL_DESC_TRANSB, k->ta ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (s || !bias) return s;
    s = set(p->work, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    if (!s) s = set(p->work, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)type_of(k->type_c));
    return s ? s : set(p->work, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

/* rows x cols as it lies in memory */
static cublasStatus_t describe_matrix(cublasLtMatrixLayout_t *layout, int32_t dtype, int64_t rows, int64_t cols,
                                      int64_t ld)
{
    return cublasLtMatrixLayoutCreate(layout, type_of(dtype), (uint64_t)cols, (uint64_t)rows, ld);
}

static cublasStatus_t describe_matrices(struct plan *p)
{
    const struct kind *k = &p->kind;
    cublasStatus_t s = describe_matrix(&p->a, k->type_a, k->ta ? k->k : k->m, k->ta ? k->m : k->k, k->lda);
    if (!s) s = describe_matrix(&p->b, k->type_a, k->tb ? k->n : k->k, k->tb ? k->k : k->n, k->ldb);
    return s ? s : describe_matrix(&p->c, k->type_c, k->m, k->n, k->ldc);
}

/* Parts of a sum may be added up in F32 only, not in the type of c. */
static cublasStatus_t describe_wishes(cublasLtMatmulPreference_t wishes, const struct kind *k, size_t workspace_bytes)
{
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasStatus_t s = set(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    if (!s) s = set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)k->align_b);
    if (!s) s = set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)k->align_a);
    if (!s) s = set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)k->align_c);
    if (!s) s = set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)k->align_c);
    return s ? s : set(wishes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, sums);
}

static cublasStatus_t choose(struct plan *p, const struct cuda_products *products)
{
    cublasLtMatmulPreference_t wishes;
    cublasLtMatmulHeuristicResult_t found = {};
    int count = 0;
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&wishes);
    if (s) return s;
    s = describe_wishes(wishes, &p->kind, products->workspace_bytes);
    if (!s)
        s = cublasLtMatmulAlgoGetHeuristic(products->handle, p->work, p->b, p->a, p->c, p->c, wishes, 1, &found,
                                           &count);
    cublasLtMatmulPreferenceDestroy(wishes);
    if (!s && count && !found.state) {
        p->algo = found.algo;
        p->possible = 1;
    }
    return s;
}

static void plan_clear(struct plan *p)
{
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->work) cublasLtMatmulDescDestroy(p->work);
    memset(p, 0, sizeof *p);
}

/* What cuBLASLt has no way to do is remembered as such. */
static cublasStatus_t plan_make(struct plan *p, const struct cuda_products *products, const struct kind *k,
                                const void *bias)
{
    plan_clear(p);
    p->kind = *k;
    cublasStatus_t s = describe_work(p, bias);
    if (!s) s = describe_matrices(p);
    if (!s) s = choose(p, products);
    if (!s) return s;
    plan_clear(p);
    p->kind = *k;
    return s == CUBLAS_STATUS_NOT_SUPPORTED ? CUBLAS_STATUS_SUCCESS : s;
}

static cublasStatus_t plan_find(struct cuda_products *products, const struct kind *k, const void *bias,
                                struct plan **out)
{
    struct plan *oldest = &products->plan[0];
    *out = NULL;
    for (int32_t i = 0; i < products->count && !*out; i++) {
        struct plan *p = &products->plan[i];
        if (!memcmp(&p->kind, k, sizeof *k)) *out = p;
        if (p->used < oldest->used) oldest = p;
    }
    if (!*out) {
        struct plan *p = products->count < PLANS ? &products->plan[products->count] : oldest;
        cublasStatus_t s = plan_make(p, products, k, bias);
        if (s) {
            plan_clear(p);
            return s;
        }
        if (p == &products->plan[products->count]) products->count++;
        *out = p;
    }
    (*out)->used = ++products->clock;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- handle and workspace ---- */

static struct cuda_products *take_kept(struct cuda_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct cuda_products *products = pool->products;
    if (products) pool->products = products->next;
    pthread_mutex_unlock(&pool->lock);
    return products;
}

static relora_status open_workspace(struct queue *q, struct cuda_products *products)
{
    int capability = 0;
    relora_status status = cuda_result(
        q, cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, q->device), what);
    size_t bytes = (size_t)(capability >= 9 ? 32 : 8) << 20; /* what NVIDIA advises from Hopper on, and before */
    if (status >= 0) status = cuda_alloc(q, bytes, &products->workspace);
    if (status >= 0) products->workspace_bytes = bytes;
    return status;
}

static relora_status open_products(struct queue *q)
{
    if (!q->products) q->products = take_kept(q->pool);
    if (!q->products) q->products = (struct cuda_products *)memory_alloc_zero(q->pool->memory, sizeof *q->products);
    if (!q->products) return RELORA_E_NO_MEMORY;
    struct cuda_products *products = q->products;
    if (!products->handle) {
        relora_status status = result(q, cublasLtCreate(&products->handle));
        if (status < 0) return status;
    }
    return products->workspace ? RELORA_OK : open_workspace(q, products);
}

/* To destroy a handle is to wait for the device, so the next queue gets it, with all that is known. */
void cuda_gemm_close(struct queue *q)
{
    struct cuda_products *products = q->products;
    if (!products) return;
    cuda_release(q, products->workspace, products->workspace_bytes);
    products->workspace = NULL;
    products->workspace_bytes = 0;
    pthread_mutex_lock(&q->pool->lock);
    products->next = q->pool->products;
    q->pool->products = products;
    pthread_mutex_unlock(&q->pool->lock);
    q->products = NULL;
}

void cuda_products_free(struct cuda_pool *pool)
{
    while (pool->products) {
        struct cuda_products *products = pool->products;
        pool->products = products->next;
        for (int32_t i = 0; i < products->count; i++) plan_clear(&products->plan[i]);
        if (products->handle) cublasLtDestroy(products->handle);
        memory_free(pool->memory, products, sizeof *products);
    }
}

/* ---- which kind it is ---- */

/* Up to that of the library's own memory: the widest accesses and the tensor memory accelerator ask for 16 bytes, and the
 * fewer kinds there are, the more often equal work has equal bits. */
static int32_t alignment(const void *pointer)
{
    uintptr_t bits = (uintptr_t)pointer | MEMORY_ALIGNMENT;
    return (int32_t)(bits & (~bits + 1));
}

static struct kind kind_of(const struct gemm *g, const void *bias)
{
    struct kind k = {};
    k.m = g->c.rows;
    k.n = g->c.cols;
    k.k = g->ta ? g->a.rows : g->a.cols;
    k.lda = g->a.ld;
    k.ldb = g->b.ld;
    k.ldc = g->c.ld;
    k.type_a = g->a.dtype;
    k.type_c = g->c.dtype;
    k.ta = g->ta != 0;
    k.tb = g->tb != 0;
    k.accumulate = g->accumulate != 0;
    k.tf32 = g->tf32 && g->a.dtype == RELORA_F32;
    k.align_a = alignment(g->a.data);
    k.align_b = alignment(g->b.data);
    k.align_c = alignment(g->c.data);
    if (bias) k.align_bias = alignment(bias);
    return k;
}

/* ---- what is made ready before ---- */

/* A BF16 operand whose rows do not begin at multiples of 16 bytes keeps cuBLASLt from its fast kernels. Where each of its
 * elements is multiplied by this many others, a copy costs a tenth of the product at most. */
enum { WORTH_A_COPY = 1024 };

static inline int64_t copy_ld(struct view v)
{
    return (v.cols + 7) / 8 * 8;
}

static bool wants_copy(struct view v, int64_t others)
{
    return v.dtype == RELORA_BF16 && v.rows > 1 && others >= WORTH_A_COPY && (v.ld % 8 || alignment(v.data) < 16);
}

struct ready { /* what a product works on, and where copies lie in the queue's scratch */
    struct gemm g;
    const void *bias; /* in the type of c and aligned as vector loads want it; NULL if there is none */
    bool copies_a, copies_b;
};

static size_t rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static relora_status copy_rows(struct queue *q, struct view *v, char **memory)
{
    struct conversion copy = {{*memory, v->rows, v->cols, copy_ld(*v), v->dtype}, *v, {1, NULL}, 0};
    relora_status status = cuda_convert(q, &copy, 1);
    *memory += rounded((size_t)(copy.y.rows * copy.y.ld) * sizeof(bf16));
    *v = copy.y;
    return status;
}

static relora_status ready_bias(struct queue *q, struct ready *r, char *memory)
{
    int64_t n = r->g.c.cols;
    struct view ready = {memory, 1, n, n, r->g.c.dtype}, given = {(void *)r->g.bias, 1, n, n, RELORA_F32};
    struct conversion cast = {ready, given, {1, NULL}, 0};
    r->bias = memory;
    return cuda_convert(q, &cast, 1);
}

static relora_status make_ready(struct queue *q, const struct gemm *g, struct ready *r)
{
    *r = {*g, g->bias, wants_copy(g->a, g->c.cols), wants_copy(g->b, g->c.rows)};
    bool casts = g->bias && (g->c.dtype != RELORA_F32 || alignment(g->bias) < 16);
    size_t bytes = casts ? rounded((size_t)g->c.cols * sizeof(float)) : 0;
    if (r->copies_a) bytes += rounded((size_t)(g->a.rows * copy_ld(g->a)) * sizeof(bf16));
    if (r->copies_b) bytes += rounded((size_t)(g->b.rows * copy_ld(g->b)) * sizeof(bf16));
    if (!bytes) return RELORA_OK;
    char *memory = (char *)cuda_scratch(q, bytes);
    if (!memory) return RELORA_E_NO_MEMORY;
    relora_status status = RELORA_OK;
    if (r->copies_a) status = copy_rows(q, &r->g.a, &memory);
    if (r->copies_b && status >= 0) status = copy_rows(q, &r->g.b, &memory);
    return casts && status >= 0 ? ready_bias(q, r, memory) : status;
}

/* ---- running it ---- */

static cublasStatus_t run(struct queue *q, const struct gemm *g, const struct plan *p, const void *bias)
{
    const struct cuda_products *products = q->products;
    float one = 1, keep = g->accumulate ? 1.0f : 0.0f;
    cublasStatus_t s = bias ? set(p->work, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias) : CUBLAS_STATUS_SUCCESS;
    if (s) return s;
    return cublasLtMatmul(products->handle, p->work, &one, g->b.data, p->b, g->a.data, p->a, &keep, g->c.data, p->c,
                          g->c.data, p->c, &p->algo, products->workspace, products->workspace_bytes, q->stream);
}

/* What the heuristic offers may still be refused at its first run; then it is no way to do it. */
static relora_status run_first(struct queue *q, const struct gemm *g, struct plan *p, const void *bias)
{
    cublasStatus_t s = run(q, g, p, bias);
    p->proven = s == CUBLAS_STATUS_SUCCESS;
    if (s != CUBLAS_STATUS_NOT_SUPPORTED && s != CUBLAS_STATUS_INVALID_VALUE) return result(q, s);
    cudaGetLastError(); /* the host must not find it in a call of its own */
    p->possible = 0;
    return cuda_gemm_plain(q, g);
}

relora_status cuda_gemm(struct queue *q, const struct gemm *g)
{
    struct plan *p = NULL;
    struct ready r;
    device_scope scope(q);
    if (!g->c.rows || !g->c.cols) return RELORA_OK;
    if (!(g->ta ? g->a.rows : g->a.cols)) return cuda_gemm_plain(q, g); /* nothing to multiply */
    relora_status status = open_products(q);
    if (status >= 0) status = make_ready(q, g, &r);
    if (status < 0) return status;
    struct kind k = kind_of(&r.g, r.bias);
    status = result(q, plan_find(q->products, &k, r.bias, &p));
    if (status < 0) return status;
    if (!p->possible) return cuda_gemm_plain(q, g);
    return p->proven ? result(q, run(q, &r.g, p, r.bias)) : run_first(q, &r.g, p, r.bias);
}
