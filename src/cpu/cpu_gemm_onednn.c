/* The matrix product by oneDNN's matmul primitive. Primitives are made once per kind of product and
 * kept with the queue. Both C APIs are served, 2.x and 3.x; where they differ is the first section.
 * What oneDNN cannot do on this processor (BF16 before AVX-512, say) goes to the portable product. */
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "cpu.h"

/* ---- the two APIs: memory descriptors are structs in 2.x, handles in 3.x ---- */

struct operands {
    dnnl_dims_t dims, strides;
    dnnl_data_type_t type;
};

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t descriptor;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_create_with_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    if (*d) dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t memory_make(dnnl_memory_t *m, descriptor *d, dnnl_engine_t engine)
{
    return dnnl_memory_create(m, *d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c,
                                 dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, bias ? *bias : NULL, *c, attr);
}

static dnnl_status_t scratch_make(dnnl_memory_t *m, size_t *bytes, dnnl_primitive_desc_t pd,
                                  dnnl_engine_t engine)
{
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    *bytes = md ? dnnl_memory_desc_get_size(md) : 0;
    return *bytes ? dnnl_memory_create(m, md, engine, DNNL_MEMORY_NONE) : dnnl_success;
}

#else

typedef dnnl_memory_desc_t descriptor;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_init_by_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    (void)d;
}

static dnnl_status_t memory_make(dnnl_memory_t *m, descriptor *d, dnnl_engine_t engine)
{
    return dnnl_memory_create(m, d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c,
                                 dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    return status ? status : dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL);
}

static dnnl_status_t scratch_make(dnnl_memory_t *m, size_t *bytes, dnnl_primitive_desc_t pd,
                                  dnnl_engine_t engine)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    *bytes = md ? dnnl_memory_desc_get_size(md) : 0;
    return *bytes ? dnnl_memory_create(m, md, engine, DNNL_MEMORY_NONE) : dnnl_success;
}

#endif

/* ---- the kinds of product a queue has met ---- */

struct kind { /* what a primitive depends on; compared byte by byte, so without padding */
    int64_t m, n, k, lda, ldb, ldc;
    int32_t type_a, type_c, ta, tb, accumulate, bias;
};

enum { ARG_A, ARG_B, ARG_C, ARG_BIAS, ARG_SCRATCH, ARG_COUNT };

struct entry {
    struct kind kind;
    dnnl_primitive_t primitive; /* NULL: oneDNN cannot do it */
    dnnl_memory_t memory[ARG_COUNT];
    size_t scratch_bytes;
    uint64_t used; /* when; the oldest gives way */
};

enum { CACHE_ENTRIES = 512 };

struct gemm_cache {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint64_t clock;
    int32_t count;
    struct entry entry[CACHE_ENTRIES];
};

static void entry_clear(struct entry *e)
{
    for (int i = 0; i < ARG_COUNT; i++)
        if (e->memory[i]) dnnl_memory_destroy(e->memory[i]);
    if (e->primitive) dnnl_primitive_destroy(e->primitive);
    memset(e, 0, sizeof *e);
}

void cpu_gemm_cache_free(struct queue *q)
{
    struct gemm_cache *cache = q->gemm_cache;
    if (!cache) return;
    for (int32_t i = 0; i < cache->count; i++) entry_clear(&cache->entry[i]);
    if (cache->stream) dnnl_stream_destroy(cache->stream);
    if (cache->engine) dnnl_engine_destroy(cache->engine);
    memory_free(q->memory, cache, sizeof *cache);
    q->gemm_cache = NULL;
}

static struct gemm_cache *cache_open(struct queue *q)
{
    if (q->gemm_cache) return q->gemm_cache;
    struct gemm_cache *cache = memory_alloc_zero(q->memory, sizeof *cache);
    if (!cache) return NULL;
    q->gemm_cache = cache;
    if (dnnl_engine_create(&cache->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&cache->stream, cache->engine, dnnl_stream_default_flags) != dnnl_success)
        cpu_gemm_cache_free(q);
    return q->gemm_cache;
}

/* ---- making a primitive ---- */

static dnnl_data_type_t type_of(int32_t dtype)
{
    return dtype == RELORA_F32 ? dnnl_f32 : dnnl_bf16;
}

/* rows x cols as the product sees it; a transposed operand has its strides exchanged */
static struct operands operands_of(int64_t rows, int64_t cols, int64_t ld, int32_t transposed,
                                   int32_t dtype)
{
    struct operands o = {{rows, cols}, {transposed ? 1 : ld, transposed ? ld : 1}, type_of(dtype)};
    return o;
}

static dnnl_status_t attributes_make(dnnl_primitive_attr_t *attr, const struct kind *k)
{
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!status) /* F32 means F32, whatever the environment says */
        status = dnnl_primitive_attr_set_fpmath_mode(*attr, dnnl_fpmath_mode_strict);
    if (status || !k->accumulate) return status;
    dnnl_post_ops_t ops = NULL;
    status = dnnl_post_ops_create(&ops);
    if (status) return status;
    status = append_sum(ops);
    if (!status) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

static dnnl_status_t entry_build(struct entry *e, dnnl_engine_t engine, descriptor md[ARG_COUNT],
                                 dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd = NULL;
    descriptor *bias = e->kind.bias ? &md[ARG_BIAS] : NULL;
    dnnl_status_t status =
        matmul_make(&pd, engine, &md[ARG_A], &md[ARG_B], bias, &md[ARG_C], attr);
    if (!status) status = dnnl_primitive_create(&e->primitive, pd);
    for (int i = ARG_A; i <= ARG_BIAS && !status; i++)
        if (i != ARG_BIAS || bias) status = memory_make(&e->memory[i], &md[i], engine);
    if (!status) status = scratch_make(&e->memory[ARG_SCRATCH], &e->scratch_bytes, pd, engine);
    if (pd) dnnl_primitive_desc_destroy(pd);
    return status;
}

/* A kind oneDNN does not know is remembered without a primitive; RELORA_E_* only if memory ran out. */
static relora_status entry_make(struct entry *e, dnnl_engine_t engine, const struct kind *k)
{
    struct operands o[ARG_COUNT] = {
        [ARG_A] = operands_of(k->m, k->k, k->lda, k->ta, k->type_a),
        [ARG_B] = operands_of(k->k, k->n, k->ldb, k->tb, k->type_a),
        [ARG_C] = operands_of(k->m, k->n, k->ldc, 0, k->type_c),
        [ARG_BIAS] = operands_of(1, k->n, k->n, 0, RELORA_F32),
    };
    descriptor md[ARG_COUNT];
    dnnl_primitive_attr_t attr = NULL;
    memset(md, 0, sizeof md);
    dnnl_status_t status = dnnl_success;
    for (int i = ARG_A; i <= ARG_BIAS && !status; i++) status = descriptor_make(&md[i], &o[i]);
    if (!status) status = attributes_make(&attr, k);
    e->kind = *k;
    if (!status) status = entry_build(e, engine, md, attr);
    if (attr) dnnl_primitive_attr_destroy(attr);
    for (int i = ARG_A; i <= ARG_BIAS; i++) descriptor_free(&md[i]);
    if (!status) return RELORA_OK;
    entry_clear(e);
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    e->kind = *k;
    return RELORA_OK;
}

static relora_status entry_find(struct gemm_cache *cache, const struct kind *k, struct entry **out)
{
    struct entry *oldest = &cache->entry[0];
    for (int32_t i = 0; i < cache->count; i++) {
        struct entry *e = &cache->entry[i];
        if (!memcmp(&e->kind, k, sizeof *k)) {
            *out = e;
            return RELORA_OK;
        }
        if (e->used < oldest->used) oldest = e;
    }
    struct entry *e = cache->count < CACHE_ENTRIES ? &cache->entry[cache->count] : oldest;
    entry_clear(e);
    relora_status status = entry_make(e, cache->engine, k);
    if (status < 0) return status;
    if (e == &cache->entry[cache->count]) cache->count++;
    *out = e;
    return RELORA_OK;
}

/* ---- running it ---- */

static relora_status entry_run(struct queue *q, struct entry *e, const struct gemm *g)
{
    static const int names[ARG_COUNT] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS,
                                         DNNL_ARG_SCRATCHPAD};
    union { /* oneDNN takes pointers to what it only reads as void *, so const has to go */
        const float *read;
        void *data;
    } bias = {g->bias};
    void *data[ARG_COUNT] = {g->a.data, g->b.data, g->c.data, bias.data, NULL};
    if (e->scratch_bytes && !(data[ARG_SCRATCH] = cpu_scratch(q, e->scratch_bytes)))
        return RELORA_E_NO_MEMORY;
    dnnl_exec_arg_t args[ARG_COUNT];
    int count = 0;
    for (int i = 0; i < ARG_COUNT; i++) {
        if (!e->memory[i]) continue;
        if (dnnl_memory_set_data_handle(e->memory[i], data[i]) != dnnl_success) return RELORA_E_BACKEND;
        args[count].arg = names[i];
        args[count++].memory = e->memory[i];
    }
    dnnl_stream_t stream = q->gemm_cache->stream;
    dnnl_status_t status = dnnl_primitive_execute(e->primitive, stream, count, args);
    if (!status) status = dnnl_stream_wait(stream);
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    return status ? RELORA_E_BACKEND : RELORA_OK;
}

static relora_status find_and_run(struct queue *q, const struct gemm *g, const struct kind *k)
{
    struct entry *e;
    struct gemm_cache *cache = cache_open(q);
    if (!cache) return RELORA_E_NO_MEMORY;
    relora_status status = entry_find(cache, k, &e);
    if (status < 0) return status;
    e->used = ++cache->clock;
    return e->primitive ? entry_run(q, e, g) : cpu_gemm_portable(q, g);
}

relora_status cpu_gemm_onednn(struct queue *q, const struct gemm *g)
{
    struct kind k = {.m = g->c.rows,
                     .n = g->c.cols,
                     .k = g->ta ? g->a.rows : g->a.cols,
                     .lda = g->a.ld,
                     .ldb = g->b.ld,
                     .ldc = g->c.ld,
                     .type_a = g->a.dtype,
                     .type_c = g->c.dtype,
                     .ta = g->ta != 0,
                     .tb = g->tb != 0,
                     .accumulate = g->accumulate != 0,
                     .bias = g->bias != NULL};
    if (!k.m || !k.n || !k.k) return cpu_gemm_portable(q, g); /* nothing to multiply */
#ifdef _OPENMP
    int threads = omp_get_max_threads(); /* the host's; oneDNN has no argument for it */
    if (threads != q->threads) omp_set_num_threads(q->threads);
#endif
    relora_status status = find_and_run(q, g, &k);
#ifdef _OPENMP
    if (threads != q->threads) omp_set_num_threads(threads);
#endif
    return status;
}
