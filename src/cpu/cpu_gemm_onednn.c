/* The matrix product by oneDNN's matmul primitive. Primitives are made once per kind of piece and
 * kept with the queue. Both C APIs are served, 2.x and 3.x; where they differ is the first section.
 * What oneDNN cannot do on this processor (BF16 before AVX-512, say), or only by its plain reference code,
 * goes to the library's own product.
 * oneDNN divides its work by the number of threads it asks OpenMP for, and leaves parts undone if it
 * gets fewer, which a host's setting is enough for. So it is only ever asked to work on one. */
#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"

/* ---- the two APIs: memory descriptors are structs in 2.x, handles in 3.x ---- */

struct operands {
    dnnl_dims_t dims, strides;
    dnnl_data_type_t type;
};

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t descriptor;
typedef const_dnnl_memory_desc_t described;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_create_with_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    if (*d) dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, bias ? *bias : NULL, *c, attr);
}

#else

typedef dnnl_memory_desc_t descriptor;
typedef const dnnl_memory_desc_t *described;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_init_by_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    (void)d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    return status ? status : dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL);
}

#endif

/* ---- one thread ---- */

/* oneDNN asks OpenMP how many threads it may have. The host's number of the calling thread is put back. */
static int one_thread(void)
{
    int host = omp_get_max_threads();
    if (host != 1) omp_set_num_threads(1);
    return host;
}

static void host_threads(int host)
{
    if (host != 1) omp_set_num_threads(host);
}

/* ---- the kinds of piece a queue has met ---- */

struct kind { /* what a primitive depends on; compared byte by byte, so without padding */
    int64_t m, n, k, lda, ldb, ldc;
    int32_t type_a, type_c, ta, tb, accumulate, bias;
};

enum { ARG_A, ARG_B, ARG_C, ARG_BIAS, ARG_SCRATCH, ARG_COUNT };

struct slot { /* what one piece of a product needs to itself while it is made */
    dnnl_stream_t stream;
    dnnl_memory_t memory[ARG_COUNT];
};

struct entry {
    struct kind kind;
    dnnl_primitive_t primitive; /* NULL: oneDNN cannot do it */
    struct slot *slot;          /* one for each piece, as many as there are threads; made when first used */
    size_t scratch_bytes;
    uint64_t used; /* when; the oldest gives way */
};

enum { CACHE_ENTRIES = 512 };

struct gemm_cache {
    dnnl_engine_t engine;
    uint64_t clock;
    int32_t count;
    struct entry entry[CACHE_ENTRIES];
};

static void slot_clear(struct slot *slot)
{
    for (int i = 0; i < ARG_COUNT; i++)
        if (slot->memory[i]) dnnl_memory_destroy(slot->memory[i]);
    if (slot->stream) dnnl_stream_destroy(slot->stream);
    memset(slot, 0, sizeof *slot);
}

static size_t slots_bytes(const struct queue *q)
{
    return (size_t)q->threads * sizeof(struct slot);
}

static void entry_clear(struct queue *q, struct entry *e)
{
    for (int32_t i = 0; e->slot && i < q->threads; i++) slot_clear(&e->slot[i]);
    memory_free(q->memory, e->slot, slots_bytes(q));
    if (e->primitive) dnnl_primitive_destroy(e->primitive);
    memset(e, 0, sizeof *e);
}

void cpu_gemm_cache_free(struct queue *q)
{
    struct gemm_cache *cache = q->gemm_cache;
    if (!cache) return;
    for (int32_t i = 0; i < cache->count; i++) entry_clear(q, &cache->entry[i]);
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
    if (dnnl_engine_create(&cache->engine, dnnl_cpu, 0) != dnnl_success) cpu_gemm_cache_free(q);
    return q->gemm_cache;
}

/* ---- making a primitive ---- */

static dnnl_data_type_t type_of(int32_t dtype)
{
    return dtype == RELORA_F32 ? dnnl_f32 : dnnl_bf16;
}

/* rows x cols as the product sees it; a transposed operand has its strides exchanged */
static struct operands operands_of(int64_t rows, int64_t cols, int64_t ld, int32_t transposed, int32_t dtype)
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

static size_t described_bytes(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    described md = dnnl_primitive_desc_query_md(pd, what, 0);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

/* oneDNN's code of last resort, a thousand times slower than the rest. */
static int is_reference(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return !status && name && strncmp(name, "ref", 3) == 0;
}

static dnnl_status_t primitive_make(struct entry *e, dnnl_engine_t engine, dnnl_primitive_attr_t attr)
{
    const struct kind *k = &e->kind;
    struct operands o[] = {
        [ARG_A] = operands_of(k->m, k->k, k->lda, k->ta, k->type_a),
        [ARG_B] = operands_of(k->k, k->n, k->ldb, k->tb, k->type_a),
        [ARG_C] = operands_of(k->m, k->n, k->ldc, 0, k->type_c),
        [ARG_BIAS] = operands_of(1, k->n, k->n, 0, RELORA_F32),
    };
    descriptor md[ARG_BIAS + 1];
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_success;
    memset(md, 0, sizeof md);
    for (int i = ARG_A; i <= ARG_BIAS && !status; i++) status = descriptor_make(&md[i], &o[i]);
    if (!status)
        status = matmul_make(&pd, engine, &md[ARG_A], &md[ARG_B], k->bias ? &md[ARG_BIAS] : NULL, &md[ARG_C],
                             attr);
    if (!status && is_reference(pd)) status = dnnl_unimplemented;
    if (!status) status = dnnl_primitive_create(&e->primitive, pd);
    if (!status) e->scratch_bytes = described_bytes(pd, dnnl_query_scratchpad_md);
    if (pd) dnnl_primitive_desc_destroy(pd);
    for (int i = ARG_A; i <= ARG_BIAS; i++) descriptor_free(&md[i]);
    return status;
}

/* A kind oneDNN does not know is remembered without a primitive; RELORA_E_* only if memory ran out. */
static relora_status entry_make(struct queue *q, struct entry *e, const struct kind *k)
{
    dnnl_primitive_attr_t attr = NULL;
    e->kind = *k;
    e->slot = memory_alloc_zero(q->memory, slots_bytes(q));
    if (!e->slot) return RELORA_E_NO_MEMORY;
    int host = one_thread();
    dnnl_status_t status = attributes_make(&attr, k);
    if (!status) status = primitive_make(e, q->gemm_cache->engine, attr);
    if (attr) dnnl_primitive_attr_destroy(attr);
    host_threads(host);
    if (!status) return RELORA_OK;
    entry_clear(q, e);
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    e->kind = *k;
    return RELORA_OK;
}

static relora_status entry_find(struct queue *q, const struct kind *k, struct entry **out)
{
    struct gemm_cache *cache = q->gemm_cache;
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
    entry_clear(q, e);
    relora_status status = entry_make(q, e, k);
    if (status < 0) {
        entry_clear(q, e);
        return status;
    }
    if (e == &cache->entry[cache->count]) cache->count++;
    *out = e;
    return RELORA_OK;
}

/* ---- a piece ---- */

static const struct {
    dnnl_query_t query;
    int index, name;
} arguments[ARG_COUNT] = {
    [ARG_A] = {dnnl_query_src_md, 0, DNNL_ARG_SRC},
    [ARG_B] = {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
    [ARG_C] = {dnnl_query_dst_md, 0, DNNL_ARG_DST},
    [ARG_BIAS] = {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
    [ARG_SCRATCH] = {dnnl_query_scratchpad_md, 0, DNNL_ARG_SCRATCHPAD},
};

static int has_argument(const struct entry *e, int i)
{
    return i == ARG_BIAS ? e->kind.bias : i == ARG_SCRATCH ? e->scratch_bytes != 0 : 1;
}

static dnnl_status_t slot_make(struct slot *slot, const struct entry *e, dnnl_engine_t engine)
{
    const_dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_primitive_get_primitive_desc(e->primitive, &pd);
    if (!status) status = dnnl_stream_create(&slot->stream, engine, dnnl_stream_default_flags);
    for (int i = 0; i < ARG_COUNT && !status; i++) {
        if (!has_argument(e, i)) continue;
        described md = dnnl_primitive_desc_query_md(pd, arguments[i].query, arguments[i].index);
        status = dnnl_memory_create(&slot->memory[i], md, engine, DNNL_MEMORY_NONE);
    }
    if (status) slot_clear(slot);
    return status;
}

static dnnl_status_t slot_run(const struct slot *slot, dnnl_primitive_t primitive, const struct gemm *g,
                              void *scratch)
{
    union { /* oneDNN takes pointers to what it only reads as void *, so const has to go */
        const float *read;
        void *data;
    } bias = {g->bias};
    void *data[ARG_COUNT] = {g->a.data, g->b.data, g->c.data, bias.data, scratch};
    dnnl_exec_arg_t args[ARG_COUNT];
    dnnl_status_t status = dnnl_success;
    int count = 0;
    for (int i = 0; i < ARG_COUNT && !status; i++) {
        if (!slot->memory[i]) continue;
        status = dnnl_memory_set_data_handle(slot->memory[i], data[i]);
        args[count].arg = arguments[i].name;
        args[count++].memory = slot->memory[i];
    }
    if (!status) status = dnnl_primitive_execute(primitive, slot->stream, count, args);
    return status ? status : dnnl_stream_wait(slot->stream);
}

static relora_status status_of(dnnl_status_t status)
{
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    return status ? RELORA_E_BACKEND : RELORA_OK;
}

/* ---- all of them ---- */

struct product {
    const struct gemm *g;
    struct gemm_cut cut;
    struct entry *edge[2][2]; /* the kinds of piece: is it of the last row, of the last column */
    unsigned char *scratch;
    size_t scratch_pitch; /* of a piece */
    atomic_int status;
};

static struct kind kind_of(const struct gemm *g)
{
    return (struct kind){.m = g->c.rows,
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
}

static struct entry **entry_of(struct product *p, int64_t i)
{
    return &p->edge[i / p->cut.across == p->cut.down - 1][i % p->cut.across == p->cut.across - 1];
}

/* Everything that the pieces need; `able` becomes 0 if oneDNN cannot do one of them. */
static relora_status prepare(struct queue *q, struct product *p, int *able)
{
    const int64_t pieces = p->cut.down * p->cut.across;
    relora_status status = RELORA_OK;
    *able = 1;
    for (int64_t i = 0; i < pieces && status >= 0 && *able; i++) {
        struct entry **e = entry_of(p, i);
        if (!*e) {
            struct gemm piece = cpu_gemm_piece(p->g, &p->cut, i);
            struct kind kind = kind_of(&piece);
            status = entry_find(q, &kind, e);
            if (status < 0) return status;
            (*e)->used = ++q->gemm_cache->clock;
        }
        *able = (*e)->primitive != NULL;
        if (*able && !(*e)->slot[i].stream)
            status = status_of(slot_make(&(*e)->slot[i], *e, q->gemm_cache->engine));
        if ((*e)->scratch_bytes > p->scratch_pitch) p->scratch_pitch = (*e)->scratch_bytes;
    }
    p->scratch_pitch = (p->scratch_pitch + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
    if (status < 0 || !*able || !p->scratch_pitch) return status;
    p->scratch = cpu_scratch(q, (size_t)pieces * p->scratch_pitch);
    return p->scratch ? RELORA_OK : RELORA_E_NO_MEMORY;
}

static void run_piece(void *job, int64_t i)
{
    struct product *p = job;
    struct gemm piece = cpu_gemm_piece(p->g, &p->cut, i);
    const struct entry *e = *entry_of(p, i);
    void *scratch = p->scratch ? p->scratch + (size_t)i * p->scratch_pitch : NULL;
    int host = one_thread();
    relora_status status = status_of(slot_run(&e->slot[i], e->primitive, &piece, scratch));
    host_threads(host);
    if (status < 0) atomic_store(&p->status, status);
}

relora_status cpu_gemm_onednn(struct queue *q, const struct gemm *g)
{
    struct product p = {.g = g, .cut = cpu_gemm_cut(g, q->threads)};
    int able = 0;
    atomic_init(&p.status, RELORA_OK);
    if (!g->c.rows || !g->c.cols || !(g->ta ? g->a.rows : g->a.cols)) return cpu_gemm_portable(q, g);
    if (!cache_open(q)) return RELORA_E_NO_MEMORY;
    relora_status status = prepare(q, &p, &able);
    if (status < 0) return status;
    if (!able) return cpu_gemm_own(q, g, cpu_gemm_own_best());
    cpu_loop(q, p.cut.down * p.cut.across, 1, run_piece, &p);
    return atomic_load(&p.status);
}
